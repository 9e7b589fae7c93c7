//! Architectures that checkpoints may name instead of bringing a graph: one file each, read top to bottom.
//!
//! `config.json` beside the weights (or metadata `loopfm.config`) names the architecture and its sizes; its file here says
//! which tensors it expects and what is computed. Every model has the outputs `prob`, `logit` and `hidden`, the input of
//! its last linear layer.

mod dcnv2;
mod din;
mod parts;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::import::{self, Checkpoint};
use crate::ir::{Graph, TypeError};

pub use crate::import::Model;

/// From the text of a `config.json` to a graph.
type Build = fn(&str) -> Result<Graph, Fault>;

/// Every architecture by name.
const ARCHITECTURES: &[(&str, Build)] = &[("dcnv2", dcnv2::build), ("din", din::build)];

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error("`{}` has no graph: neither metadata `loopfm.graph` nor `loopfm.config` nor a `config.json` beside it", path.display())]
    NoConfig { path: PathBuf },
    #[error("`{}`: unknown architecture `{seen}`, known are {}", path.display(), known())]
    Architecture { path: PathBuf, seen: String },
    #[error("`{}`: {why}", path.display())]
    Config { path: PathBuf, why: String },
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Import(e) => e.exit_code(),
            Self::NoConfig { .. } | Self::Architecture { .. } | Self::Config { .. } => 1,
        }
    }
}

/// Loads a checkpoint: the graph in its metadata, else the architecture of its configuration.
///
/// # Errors
/// [`Error`] naming the file and what is wrong in it; tensors that do not fit are reported all at once.
pub fn load(path: &Path) -> Result<Model, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let graph = match checkpoint.graph()? {
        Some(graph) => graph,
        None => {
            let path = path.to_path_buf();
            let (path, text) = checkpoint.config()?.ok_or(Error::NoConfig { path })?;
            build(&text).map_err(|fault| fault.at(path))?
        }
    };
    Ok(Model::new(checkpoint, graph)?)
}

/// The graph that the text of a `config.json` describes.
///
/// # Errors
/// [`Fault`] saying what the text should have held.
pub fn build(config: &str) -> Result<Graph, Fault> {
    #[derive(Deserialize)]
    struct Named {
        architecture: String,
    }
    let Named { architecture: seen } = read(config)?;
    match ARCHITECTURES.iter().find(|(name, _)| *name == seen) {
        Some((_, build)) => build(config),
        None => Err(Fault::Architecture { seen }),
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It names no architecture known here.
    #[error("unknown architecture `{seen}`, known are {}", known())]
    Architecture {
        /// The name.
        seen: String,
    },
    /// It is not JSON, or has keys and sizes that the architecture has not.
    #[error("{0}")]
    Config(String),
    /// Its sizes do not fit each other.
    #[error(transparent)]
    Type(#[from] TypeError),
}

impl Fault {
    fn at(self, path: PathBuf) -> Error {
        match self {
            Self::Architecture { seen } => Error::Architecture { path, seen },
            fault => Error::Config {
                path,
                why: fault.to_string(),
            },
        }
    }
}

fn read<T: DeserializeOwned>(config: &str) -> Result<T, Fault> {
    serde_json::from_str(config).map_err(|e| Fault::Config(e.to_string()))
}

fn known() -> String {
    let names: Vec<String> = ARCHITECTURES.iter().map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}
