//! Why there are no embeddings.

use crate::bundle::{FEATURES, NOTE_CUTOFF};
use crate::session::SessionError;
use crate::{compress, data, embeddings, history};

/// An extraction that cannot start or go on. What was committed stays, and the next run goes on after it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("the bundle does not say how raw rows become inputs: its model's metadata lack `{FEATURES}`")]
    NoFeatures,
    #[error("the bundle does not say when its training ended (metadata `{NOTE_CUTOFF}`): `--cutoff` says it")]
    NoCutoff,
    #[error("metadata `{note}` of the bundle: {why}")]
    Note { note: &'static str, why: String },
    #[error("the model has no output `{name}`, there are {}", there.join(", "))]
    Output { name: String, there: Vec<String> },
    #[error(
        "the model reads `{name}`, which neither its features make nor the log's own past: that is `hist_` and a feature, `mask`, or `label` of a log with labels"
    )]
    Input { name: String },
    #[error(
        "row {row} of {time} ms is not later than {cutoff} ms, up to when the model has learnt: take later days, or say `--allow-leak` and why, which the log then bears"
    )]
    Known { row: u64, time: i64, cutoff: i64 },
    #[error(
        "row {row} of {time} ms comes after one of {now} ms: a model that reads histories takes its log in order of time"
    )]
    Late { row: u64, time: i64, now: i64 },
    #[error(transparent)]
    History(#[from] history::Error),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Log(#[from] embeddings::Error),
    #[error("nothing to fit the storage to: {0}")]
    Fit(#[from] compress::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the model cannot be continued to what is stored: {why}")]
    Stored { why: String },
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Data(e) => e.exit_code(),
            Self::History(e) => e.exit_code(),
            Self::Log(e) => e.exit_code(),
            Self::Session(e) => e.exit_code(),
            Self::Fit(e) => e.exit_code(),
            Self::Stored { .. } => 70,
            Self::NoFeatures
            | Self::NoCutoff
            | Self::Note { .. }
            | Self::Output { .. }
            | Self::Input { .. }
            | Self::Late { .. }
            | Self::Known { .. } => 1,
        }
    }
}
