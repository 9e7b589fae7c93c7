//! Why a bundle is refused.

use std::path::PathBuf;

use super::FORMAT;
use crate::container::{self, io_exit_code};

/// A bundle that cannot be read, written or laid out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{}`: {source}", path.display())]
    At { path: PathBuf, source: Box<Error> },
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Container(#[from] container::Error),
    #[error("no bundle: no metadata `loopfm.*` of one")]
    NotABundle,
    #[error("bundle format `{seen}`, this build reads `{FORMAT}`")]
    Format { seen: String },
    #[error("section `{section}` is missing")]
    Missing { section: String },
    #[error("section `{section}` is unknown")]
    Unexpected { section: String },
    #[error("section `{section}` is corrupt: its BLAKE3 is {seen}, recorded is {expected}")]
    Hash {
        section: String,
        seen: String,
        expected: String,
    },
    #[error("section `{section}` is corrupt: {why}")]
    Section { section: &'static str, why: String },
    #[error(
        "the header is corrupt at byte {at}: its content is sound, its text is not what this content is written as"
    )]
    Header { at: usize },
    #[error("tensor `{tensor}` is stored as {seen}, a bundle holds F16, F32, I32 and BOOL")]
    Dtype { tensor: String, seen: String },
    #[error("tensor `{tensor}`: {why}")]
    Tensor { tensor: String, why: String },
    #[error("the manifest contradicts the bundle: {why}")]
    Inconsistent { why: String },
}

impl Error {
    /// Exit status of a command that fails with this: 1 no bundle at all, 4 no memory or disk, 5 corrupt, 6 a format
    /// unknown here.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::At { source, .. } => source.exit_code(),
            Self::Io(e) | Self::Container(container::Error::Io(e)) => io_exit_code(e),
            Self::Container(container::Error::Memory { .. }) => 4,
            Self::Container(container::Error::NotAFile) | Self::NotABundle => 1,
            Self::Format { .. } => 6,
            _ => 5,
        }
    }

    /// The error behind the file's name.
    #[must_use]
    pub fn root(&self) -> &Self {
        match self {
            Self::At { source, .. } => source.root(),
            _ => self,
        }
    }
}
