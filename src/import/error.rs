//! Why a checkpoint is refused.

use std::path::PathBuf;

use super::{NonFinite, Problem};
use crate::container::{self, Dtype, io_exit_code};
use crate::ir::ParseError;

/// A checkpoint that cannot be imported.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}`: {source}", path.display())]
    Container { path: PathBuf, source: container::Error },
    #[error("`{}` holds neither `model.safetensors.index.json` nor `model.safetensors`", path.display())]
    EmptyFolder { path: PathBuf },

    #[error("`{}`: {why}", path.display())]
    Json { path: PathBuf, why: String },
    #[error("`{}`: shard name `{name}` is not the plain name of a file", path.display())]
    ShardName { path: PathBuf, name: String },
    #[error("`{}`: shard `{name}` leads out of its folder, to `{}`", path.display(), target.display())]
    ShardEscapes {
        path: PathBuf,
        name: String,
        target: PathBuf,
    },
    #[error("`{}`: index and shards disagree:{}", path.display(), lines(problems))]
    Shards { path: PathBuf, problems: Vec<String> },
    #[error("`{}`: metadata `{key}` differs from another shard's", path.display())]
    ShardMetadata { path: PathBuf, key: String },

    #[error("`{}`: tensor `{tensor}` is {seen}, taken are F16, BF16, F32, F64, I32, I64, BOOL and U8", path.display())]
    Dtype { path: PathBuf, tensor: String, seen: Dtype },
    #[error("`{}`: tensor `{tensor}`, element {index}: {value} is beyond {to}", path.display())]
    OutOfRange {
        path: PathBuf,
        tensor: String,
        index: usize,
        value: String,
        to: &'static str,
    },
    #[error("`{}`: tensor `{tensor}`, element {index}: {value} is no truth value (0 or 1)", path.display())]
    NotBool {
        path: PathBuf,
        tensor: String,
        index: usize,
        value: u8,
    },
    #[error("`{}`: weights that are not finite:{}", path.display(), lines(tensors))]
    NonFinite { path: PathBuf, tensors: Vec<NonFinite> },

    #[error("`{}`: metadata `loopfm.format` is `{seen}`, this build reads `1`", path.display())]
    Format { path: PathBuf, seen: String },
    #[error("`{}`: {source}", path.display())]
    Graph { path: PathBuf, source: ParseError },
    #[error("`{}` has no graph: no metadata `loopfm.graph`", path.display())]
    NoGraph { path: PathBuf },
    #[error("`{}`: tensors do not fit the model:{}", path.display(), lines(problems))]
    Mismatch { path: PathBuf, problems: Vec<Problem> },
}

impl Error {
    /// Exit status of a command that fails with this: 1 refused, 4 no memory or disk, 6 a version unknown here.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => io_exit_code(source),
            Self::Container { source, .. } => source.exit_code(),
            Self::Format { .. } => 6,
            _ => 1,
        }
    }
}

fn lines<T: std::fmt::Display>(list: &[T]) -> String {
    list.iter().map(|x| format!("\n  {x}")).collect()
}
