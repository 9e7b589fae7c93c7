//! Why a loop does not run.

use std::path::PathBuf;

use crate::compile::CompileError;
use crate::container::{self, io_exit_code};
use crate::{compress, data, embeddings, history, metrics, model, train};

/// A loop that cannot start or go on. What was finished before stays.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}`: {source}", path.display())]
    Write { path: PathBuf, source: container::Error },
    #[error("`{name}` is {seen}, it must be {expected}")]
    Setting {
        name: &'static str,
        seen: String,
        expected: String,
    },
    #[error("{why}")]
    Declared { why: String },
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error("the log has no labels: `label` of its features names a column that is there")]
    NoLabel,
    #[error("row {row} in the order of the log: the label is {seen}, it must be 0 or 1")]
    Label { row: usize, seen: f32 },
    #[error("the log has no dates: `log.chunks` divides it")]
    NoDays,
    #[error(
        "day {earlier} has impressions after some of day {later}: days must follow the times, so leave `day` out of the features and let times tell them"
    )]
    Days { earlier: i32, later: i32 },
    #[error("split `{name}`, {days}, has no impressions")]
    Empty { name: &'static str, days: String },
    #[error(
        "row {row}, day {day}, of the vertical model's training days has no embedding: the foundation model's first block is not embedded, so `split.train` starts after it"
    )]
    Untaught { row: usize, day: i32 },
    #[error("input `{name}` is neither a column of the log nor a history of one")]
    Input { name: String },
    #[error("`fm.items` names `{name}`, which is no field of the foundation model")]
    Item { name: String },
    #[error("row {row} of {time} ms was embedded by a foundation model that had learnt from rows up to {cutoff} ms")]
    Leak { row: usize, time: i64, cutoff: i64 },
    #[error("row {row} names version {version} of the foundation model, which there is not")]
    Version { row: usize, version: usize },
    #[error(transparent)]
    Log(#[from] embeddings::Error),
    #[error(transparent)]
    Compress(#[from] compress::Error),
    #[error(transparent)]
    History(#[from] history::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Model(#[from] model::Fault),
    #[error("the foundation model: {0}")]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Metric(#[from] metrics::Error),
    #[error("stopped before it was done")]
    Stopped,
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => io_exit_code(source),
            Self::Write { source, .. } => source.exit_code(),
            Self::Data(e) => e.exit_code(),
            Self::Log(e) => e.exit_code(),
            Self::Compress(e) => e.exit_code(),
            Self::History(e) => e.exit_code(),
            Self::Train(e) => e.exit_code(),
            Self::Compile(e) => e.exit_code(),
            Self::Metric(e) => e.exit_code(),
            Self::Leak { .. } | Self::Version { .. } | Self::Stopped => 70,
            Self::Setting { .. }
            | Self::Declared { .. }
            | Self::NoLabel
            | Self::Label { .. }
            | Self::NoDays
            | Self::Days { .. }
            | Self::Empty { .. }
            | Self::Untaught { .. }
            | Self::Input { .. }
            | Self::Item { .. }
            | Self::Model(_) => 1,
        }
    }
}
