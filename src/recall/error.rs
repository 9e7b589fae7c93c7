//! Why there is no past.

use std::path::PathBuf;

use crate::bundle::NOTE_HISTORY;
use crate::{embeddings, history};

/// Why there is no past.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("the model reads no embeddings: it has no input `loopfm`")]
    NoHistory,
    #[error("the bundle does not say whose embeddings it reads: its model's metadata lack `{note}`")]
    NoNote { note: &'static str },
    #[error("metadata `{NOTE_HISTORY}` of the bundle: {why}")]
    Note { why: String },
    #[error("the model was trained with embeddings of FM {expected}, these are of FM {seen}")]
    OtherFm { expected: String, seen: String },
    #[error("the model reads embeddings of {expected} numbers, these have {seen}")]
    Width { expected: usize, seen: usize },
    #[error("the model reads `{name}`, which is neither among its features nor beside these embeddings")]
    Input { name: String },
    #[error(
        "the model's histories hold positives alone, this log does not say which events are: it has no side `label`"
    )]
    NoLabels,
    #[error("the model's histories are {expected}, this state was made for {seen}")]
    OtherRule { expected: String, seen: String },
    #[error("the state holds {expected}, the log {seen}")]
    OtherLog { expected: String, seen: String },
    #[error("`{}` does not say what its events bring: it is no state of a log of embeddings", path.display())]
    NotAState { path: PathBuf },
    #[error("a state knows its users up to now, not up to each row of a batch: what stays on the device is a log")]
    StateStays,
    #[error(transparent)]
    Log(#[from] embeddings::Error),
    #[error(transparent)]
    History(#[from] history::Error),
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OtherFm { .. } | Self::OtherRule { .. } | Self::OtherLog { .. } => 6,
            Self::Log(e) => e.exit_code(),
            Self::History(e) => e.exit_code(),
            _ => 1,
        }
    }
}
