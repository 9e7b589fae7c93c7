//! What can be wrong with logs and with what is declared of them.

use std::io;
use std::path::PathBuf;

use crate::container::io_exit_code;

/// Logs, declarations or encoders that are refused. Rows count from 0 in their file; a CSV file's header is no row.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{origin}: {why}")]
    Declaration { origin: String, why: String },
    #[error("{origin}, feature `{feature}`: {why}")]
    Feature {
        origin: String,
        feature: String,
        why: String,
    },
    #[error("`{pattern}`: no such file")]
    NoFile { pattern: String },
    #[error("`{file}`: column `{column}`, {what}, is missing; there are {}", there.join(", "))]
    Missing {
        file: String,
        column: String,
        what: String,
        there: Vec<String>,
    },
    #[error("`{file}`: column `{column}` is {seen}, {expected}")]
    Kind {
        file: String,
        column: String,
        seen: String,
        expected: String,
    },
    #[error(
        "column `{column}` is in `{first}` and in `{second}`: name it in the `columns` of the [[join]] that it is to come from"
    )]
    Ambiguous {
        column: String,
        first: String,
        second: String,
    },
    #[error("`{file}`, row {row}: `{column}` is {seen}, it must be {expected}")]
    Cell {
        file: String,
        row: u64,
        column: String,
        seen: String,
        expected: String,
    },
    #[error("`{file}`, row {row}: feature `{feature}` has no row for {seen}, and its `oov` is \"error\"")]
    Unknown {
        file: String,
        row: u64,
        feature: String,
        seen: String,
    },
    #[error(
        "{rows} of {of} rows happened after they were ingested, at most a share of {share} may (`rejects`): {first}"
    )]
    Rejects {
        rows: u64,
        of: u64,
        share: f64,
        first: Box<Error>,
    },
    #[error("`{file}`, row {row} (line {line}): {why}")]
    Record {
        file: String,
        row: u64,
        line: u64,
        why: String,
    },
    #[error("`{file}`: {why}")]
    Damaged { file: String, why: String },
    #[error("no rows in {what}")]
    Empty { what: String },
    #[error("encoder: {why}")]
    Encoder { why: String },
    #[error("encoder is of format `{seen}`, this build reads `{expected}`")]
    Format { seen: String, expected: &'static str },
}

impl Error {
    /// Exit status of a command that fails with this: 1 refused, 4 no memory or disk, 5 a damaged file, 6 a version
    /// unknown here.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => io_exit_code(source),
            Self::Damaged { .. } => 5,
            Self::Format { .. } => 6,
            _ => 1,
        }
    }
}
