//! What can go wrong with a log of embeddings.

use std::io;
use std::path::{Path, PathBuf};

use crate::container::{self, io_exit_code};

/// A log that cannot be written or read. What was committed before stays as it is.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}`: {bytes} bytes cannot be written: {source}; what was committed before is whole", path.display())]
    Write {
        path: PathBuf,
        bytes: u64,
        source: io::Error,
    },
    #[error("`{}` is locked by {by}", dir.display())]
    Locked { dir: PathBuf, by: String },
    #[error("`{}` holds embeddings of FM {expected}, these are of FM {seen}: write them to another folder", dir.display())]
    OtherFm {
        dir: PathBuf,
        seen: String,
        expected: String,
    },
    #[error("`{}`: {what} is {expected} in this log, {seen} here: write to another folder", dir.display())]
    OtherForm {
        dir: PathBuf,
        what: &'static str,
        seen: String,
        expected: String,
    },
    #[error("`{}` is a log of format {seen}, this build reads {expected}", path.display())]
    Format { path: PathBuf, seen: u64, expected: u64 },
    #[error("`{}` is no log of embeddings: it has no `{}`", dir.display(), super::manifest::FILE)]
    NotOne { dir: PathBuf },
    #[error("`{}`, line {line}: {why}", path.display())]
    Manifest { path: PathBuf, line: usize, why: String },
    #[error("`{}`: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("`{}`: {source}", path.display())]
    Container { path: PathBuf, source: container::Error },
    #[error("an append has failed before: open the log anew, which goes on after what was committed")]
    Failed,

    #[error("column `{column}` has {seen} {unit}, it must have {expected}")]
    Rows {
        column: String,
        seen: usize,
        expected: usize,
        unit: &'static str,
    },
    #[error("{what} reaches row {seen}, there are {rows}")]
    Beyond { what: String, seen: usize, rows: usize },
    #[error("row {row} comes after row {before}: rows of a log ascend")]
    Order { row: u64, before: u64 },
    #[error(
        "row {row} is of time {time}, and the FM was trained on events up to {cutoff} (ms): an embedding of an event whose \
         label the FM saw leaks it"
    )]
    Cutoff { row: u64, time: i64, cutoff: i64 },
    #[error("row {row}, element {element} is {seen:?}, which {storage} cannot hold")]
    Value {
        row: usize,
        element: usize,
        seen: f32,
        storage: &'static str,
    },
    #[error("`{name}` is {seen}, it must be {expected}")]
    Setting {
        name: &'static str,
        seen: String,
        expected: &'static str,
    },
}

impl Error {
    /// Exit status of a command that fails with this: 1 refused, 4 no memory or disk, 5 damaged, 6 another format or FM, 8
    /// locked.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } | Self::Write { source, .. } => io_exit_code(source),
            Self::Container { source, .. } => match source.exit_code() {
                4 => 4,
                _ => 5,
            },
            Self::Manifest { .. } | Self::Damaged { .. } => 5,
            Self::OtherFm { .. } | Self::Format { .. } => 6,
            Self::Locked { .. } => 8,
            _ => 1,
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    pub(super) fn damaged(path: &Path, why: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            why: why.to_string(),
        }
    }
}
