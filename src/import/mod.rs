//! The paranoid door: checkpoints in safetensors, whole, sharded or in a folder.
//!
//! A checkpoint is opened (headers alone are read), its tensors' types are compared with what a graph expects, and only
//! then are its weights read. Every refusal names the file, the tensor, what was seen and what was expected; tensors
//! that do not fit a graph are all reported at once. No path that stands in a file is followed out of its folder.

mod bind;
mod checkpoint;
mod convert;
mod error;
mod index;

use std::collections::BTreeMap;
use std::path::Path;

pub use bind::{Problem, bind};
pub use checkpoint::Checkpoint;
pub use convert::NonFinite;
pub use error::Error;

use crate::bundle::is_note;
use crate::ir::{self, Graph};
use crate::tensor::Tensors;

/// Metadata key of the graph's text.
pub const GRAPH: &str = "loopfm.graph";
/// Metadata key of the format's version.
pub const FORMAT: &str = "loopfm.format";
/// Metadata key of the model's name.
pub const MODEL: &str = "loopfm.model";
/// Metadata key of an architecture's sizes, the text that `config.json` holds otherwise.
pub const CONFIG: &str = "loopfm.config";

/// A graph and its weights.
#[derive(Clone, Debug)]
pub struct Model {
    /// The model's name: metadata `loopfm.model`, else the name of its file.
    pub name: String,
    /// What is computed.
    pub graph: Graph,
    /// The graph's parameters by name, in the graph's order.
    pub weights: Tensors,
}

/// Opens a file, a folder or an `*.index.json` whose metadata holds a graph, and reads its weights.
///
/// # Errors
/// [`Error`]; [`Error::NoGraph`] when the metadata has none.
pub fn load(path: &Path) -> Result<Model, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let graph = checkpoint.graph()?.ok_or_else(|| Error::NoGraph {
        path: path.to_path_buf(),
    })?;
    Model::new(checkpoint, graph)
}

impl Model {
    /// Takes a graph's parameters from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with every tensor that does not fit, and failures to read them.
    pub fn new(checkpoint: Checkpoint, graph: Graph) -> Result<Self, Error> {
        bind(&checkpoint, &graph)?;
        let name = checkpoint.name();
        let mut read = checkpoint.read_weights()?;
        let weights = graph
            .params()
            .filter_map(|(_, name, _)| read.swap_remove_entry(name))
            .collect();
        Ok(Self { name, graph, weights })
    }
}

impl Checkpoint {
    /// The graph in the metadata, if there is one.
    ///
    /// # Errors
    /// [`Error`] when its format is unknown or its text is no graph.
    pub fn graph(&self) -> Result<Option<Graph>, Error> {
        let Some(text) = self.metadata.get(GRAPH) else {
            return Ok(None);
        };
        let path = || self.path.clone();
        match self.metadata.get(FORMAT).map(String::as_str) {
            None | Some("1") => {}
            Some(seen) => {
                return Err(Error::Format {
                    path: path(),
                    seen: seen.to_owned(),
                });
            }
        }
        match ir::parse(text) {
            Ok(graph) => Ok(Some(graph)),
            Err(source) => Err(Error::Graph { path: path(), source }),
        }
    }
}

/// What a model's file says beside its graph and weights, and its bundle takes over ([`is_note`]).
///
/// # Errors
/// [`Error`] when the file is unsound.
pub fn notes(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut metadata = Checkpoint::open(path)?.metadata;
    metadata.retain(|key, _| is_note(key));
    Ok(metadata)
}

/// All tensors of a file (or folder, or index) and its metadata: batches, goldens. Infinities and NaN are let through.
///
/// # Errors
/// [`Error`] when the file is unsound or holds what no graph can take.
pub fn read_tensors(path: &Path) -> Result<(Tensors, BTreeMap<String, String>), Error> {
    let mut checkpoint = Checkpoint::open(path)?;
    let metadata = std::mem::take(&mut checkpoint.metadata);
    Ok((checkpoint.read()?, metadata))
}
