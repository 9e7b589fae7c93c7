//! Architectures: from a [`Spec`] to a graph, for inference and for training. One file each, read top to bottom.
//!
//! A checkpoint without a graph names its architecture and sizes in `config.json` beside the weights (or metadata
//! `loopfm.config`); [`load`] builds the graph and says which tensors do not fit. A trainer builds the same model in
//! [`Mode::Train`] and starts from [`Network::init`].
//!
//! At inference every model has the outputs `prob [rows]`, `logit [rows]` and `hidden [rows, H]`, what its logit is made of
//! last; hidden layers named in `extract` and the `embedding` of an autoencoder follow.

mod autoencoder;
mod dcnv2;
mod deepfm;
mod dien;
mod din;
mod dmin;
mod dmr;
mod features;
mod fm;
mod fmfm;
mod init;
mod layers;
mod loopfm;
mod parts;
mod sections;
mod sides;
mod sizes;
mod spec;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use self::parts::Parts;
use crate::import::{self, Checkpoint};
use crate::ir::{Graph, TypeError, Unary, Value};
use crate::nn;

use crate::tensor::{Dim, Shape, Tensors};

pub use self::init::{Init, Parameter};
pub use self::spec::Spec;
pub use crate::import::Model;

/// An architecture.
struct Architecture {
    name: &'static str,
    /// Sections of a specification that it reads besides those that all do.
    reads: &'static [&'static str],
    build: fn(&Spec, &mut Parts) -> Result<Trunk, Fault>,
}

/// Every architecture.
const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "fm",
        reads: fm::READS,
        build: fm::build,
    },
    Architecture {
        name: "fmfm",
        reads: fmfm::READS,
        build: fmfm::build,
    },
    Architecture {
        name: "deepfm",
        reads: deepfm::READS,
        build: deepfm::build,
    },
    Architecture {
        name: "dcnv2",
        reads: dcnv2::READS,
        build: dcnv2::build,
    },
    Architecture {
        name: "din",
        reads: din::READS,
        build: din::build,
    },
    Architecture {
        name: "dien",
        reads: dien::READS,
        build: dien::build,
    },
    Architecture {
        name: "dmr",
        reads: dmr::READS,
        build: dmr::build,
    },
    Architecture {
        name: "dmin",
        reads: dmin::READS,
        build: dmin::build,
    },
];

/// What an architecture comes to, before its heads.
struct Trunk {
    /// `[rows, H]`.
    hidden: Value,
    /// `[rows, 1]`.
    logit: Value,
}

/// What a graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Inference: no dropout, statistics as they are, one head.
    Eval,
    /// A training step: dropout, statistics of the batch, the head of a teacher, the loss of an autoencoder. Every row
    /// brings its own inputs, `per_request` or not.
    Train,
}

/// A model built from its [`Spec`].
#[derive(Clone, Debug)]
pub struct Network {
    /// What is computed. Outputs in training: `logit`, `logit_kd`, and `next.<name>`, what statistics become.
    pub graph: Graph,
    /// `[rows]`.
    pub logit: Value,
    /// The logit that a teacher trains, `[rows]`; in training alone.
    pub logit_kd: Option<Value>,
    /// Layers that `extract` and `autoencoder.of` may name, `[rows, width]` each.
    pub hidden: Vec<(String, Value)>,
    /// The autoencoder's part.
    pub code: Option<Code>,
    /// Every parameter by name, the same ones in both modes.
    pub parameters: IndexMap<String, Parameter>,
}

/// What an autoencoder adds to a model.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The code, `[rows, width]`, within -1..1.
    pub z: Value,
    /// Mean squared error of every decoder, added, `[rows, 1]`; in training alone.
    pub loss: Option<Value>,
}

impl Network {
    /// Fresh values of every parameter: a function of the seed.
    #[must_use]
    pub fn init(&self, seed: u64) -> Tensors {
        let start = |(name, p): (&String, &Parameter)| (name.clone(), p.start(name, seed));
        self.parameters.iter().map(start).collect()
    }
}

impl Spec {
    /// Builds the model.
    ///
    /// # Errors
    /// [`Fault`] when sizes do not fit each other or the architecture.
    pub fn build(&self, mode: Mode) -> Result<Network, Fault> {
        let architecture = known(&self.architecture)?;
        self.reads(architecture.reads)?;
        let mut p = Parts::new(mode);
        let trunk = (architecture.build)(self, &mut p)?;
        p.point("hidden", trunk.hidden);
        let logit = row_of(&mut p, trunk.logit)?;
        let logit_kd = self.distilled(&mut p, trunk.hidden)?;
        let code = self
            .autoencoder
            .as_ref()
            .map(|like| autoencoder::code(&mut p, like))
            .transpose()?;
        let mut outputs = vec![("logit".to_owned(), logit)];
        if mode == Mode::Eval {
            outputs.insert(0, ("prob".to_owned(), p.graph.unary(Unary::Sigmoid, logit)?));
            outputs.push(("hidden".to_owned(), trunk.hidden));
            for name in &self.extract.0 {
                let layer = p.found("extract", name)?;
                if !outputs.iter().any(|(known, _)| known == name) {
                    outputs.push((name.clone(), layer));
                }
            }
            outputs.extend(code.map(|code| ("embedding".to_owned(), code.z)));
        } else {
            outputs.extend(logit_kd.map(|logit| ("logit_kd".to_owned(), logit)));
            outputs.append(&mut p.next);
        }
        p.graph.outputs = outputs;
        Ok(Network {
            graph: p.graph,
            logit,
            logit_kd,
            hidden: p.hidden,
            code,
            parameters: p.parameters,
        })
    }

    /// The head that a teacher trains: `kd.weight [1, H]`, `kd.bias [1]`.
    fn distilled(&self, p: &mut Parts, hidden: Value) -> Result<Option<Value>, Fault> {
        let Some(like) = self.kd else { return Ok(None) };
        if !p.training() {
            p.declare_linear("kd", p.width(hidden), 1)?;
            return Ok(None);
        }
        let hidden = nn::scale_gradient(&mut p.graph, hidden, like.gradient_scale)?;
        let logit = p.linear("kd", hidden, 1)?;
        row_of(p, logit).map(Some)
    }
}

/// `[rows, 1]` as `[rows]`.
fn row_of(p: &mut Parts, x: Value) -> Result<Value, Fault> {
    Ok(p.graph.reshape(x, &Shape(vec![Dim::Rows(1)]))?)
}

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error("`{}` has no graph: neither metadata `loopfm.graph` nor `loopfm.config` nor a `config.json` beside it", path.display())]
    NoConfig { path: PathBuf },
    #[error("`{}`: unknown architecture `{seen}`, known are {}", path.display(), names())]
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

/// Loads a checkpoint: the graph in its metadata, else the architecture of its configuration. Tensors that training alone
/// uses may be there or not.
///
/// # Errors
/// [`Error`] naming the file and what is wrong in it; tensors that do not fit are reported all at once.
pub fn load(path: &Path) -> Result<Model, Error> {
    let mut checkpoint = Checkpoint::open(path)?;
    let graph = match checkpoint.graph()? {
        Some(graph) => graph,
        None => {
            let path = path.to_path_buf();
            let (path, text) = checkpoint.config()?.ok_or(Error::NoConfig { path })?;
            let network = Spec::from_json(&text).and_then(|spec| spec.build(Mode::Eval));
            let network = network.map_err(|fault| fault.at(path))?;
            checkpoint.spare = network.parameters.keys().cloned().collect();
            network.graph
        }
    };
    Ok(Model::new(checkpoint, graph)?)
}

/// The specification of a checkpoint's architecture, if it says which it is: metadata `loopfm.config`, or what its graph is
/// built by where it brings none.
///
/// # Errors
/// [`Error`] naming the file and what is wrong in it.
pub fn spec_of(path: &Path) -> Result<Option<Spec>, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let own = checkpoint.metadata.contains_key(import::CONFIG) || !checkpoint.metadata.contains_key(import::GRAPH);
    match checkpoint.config()?.filter(|_| own) {
        Some((path, text)) => Spec::from_json(&text).map(Some).map_err(|fault| fault.at(path)),
        None => Ok(None),
    }
}

/// The inference graph that the text of a `config.json` describes.
///
/// # Errors
/// [`Fault`] saying what the text should have held.
pub fn build(config: &str) -> Result<Graph, Fault> {
    Ok(Spec::from_json(config)?.build(Mode::Eval)?.graph)
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It names no architecture known here.
    #[error("unknown architecture `{seen}`, known are {}", names())]
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

fn known(name: &str) -> Result<&'static Architecture, Fault> {
    let found = ARCHITECTURES.iter().find(|a| a.name == name);
    found.ok_or_else(|| Fault::Architecture { seen: name.to_owned() })
}

fn names() -> String {
    let names: Vec<String> = ARCHITECTURES.iter().map(|a| format!("`{}`", a.name)).collect();
    names.join(", ")
}
