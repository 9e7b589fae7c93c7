//! Why there are no histories.

/// Histories that cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("column `{column}` has {seen} rows, `key` has {expected}")]
    Rows {
        column: &'static str,
        seen: usize,
        expected: usize,
    },
    #[error("`{name}` is {seen}, it must be {expected}")]
    Setting {
        name: &'static str,
        seen: i64,
        expected: &'static str,
    },
    #[error("{seen} events, at most {} can be numbered: split the log by key", u32::MAX)]
    TooMany { seen: usize },
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        1
    }
}
