//! Why there are no histories.

use std::io;
use std::path::PathBuf;

use crate::container::{self, io_exit_code};

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
    #[error("an event brings {seen} bytes, each must bring {expected}")]
    Payload { seen: usize, expected: usize },
    #[error("a history at {t} was asked for after an event of {now}: what it needs may be forgotten")]
    Past { t: i64, now: i64 },
    #[error("the histories are not sound: {why}")]
    Broken { why: String },

    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}`: {source}", path.display())]
    Container { path: PathBuf, source: container::Error },
    #[error("`{}` is no state of histories: no metadata `loopfm.ring`", path.display())]
    NotAState { path: PathBuf },
    #[error("`{}` is a state of format `{seen}`, this build reads `{expected}`", path.display())]
    Format {
        path: PathBuf,
        seen: String,
        expected: &'static str,
    },
    #[error("`{}`: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
}

impl Error {
    /// Exit status of a command that fails with this: 1 refused, 4 no memory or disk, 5 damaged, 6 another format.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => io_exit_code(source),
            Self::Container {
                source: container::Error::Io(e),
                ..
            } => io_exit_code(e),
            Self::Container { source, .. } => match source.exit_code() {
                4 => 4,
                _ => 5,
            },
            Self::Damaged { .. } => 5,
            Self::Format { .. } => 6,
            _ => 1,
        }
    }
}
