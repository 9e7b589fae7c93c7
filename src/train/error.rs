//! Why training does not start, or stops.

use std::fmt;
use std::path::PathBuf;

use crate::container::{self, io_exit_code};
#[cfg(feature = "gpu")]
use crate::device_step;
use crate::interp::EvalError;
use crate::ir::{TypeError, Value};
use crate::run::AdapterQuery;
use crate::{cpu, import, model, optim};

/// Training that cannot start or go on. Nothing of the run's files has changed but what the last checkpoint says.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{}`: {why}", path.display())]
    Spec { path: PathBuf, why: String },
    #[error("`{name}` is {seen}, it must be {expected}")]
    Setting {
        name: &'static str,
        seen: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Model(#[from] model::Error),
    #[error("model: {0}")]
    Architecture(#[from] model::Fault),
    #[error(
        "model `{model}` has neither an output `logit` nor an output `prob` that is the sigmoid of one value a row"
    )]
    NoLogit { model: String },
    #[error("the loss has `{part}`, model `{model}` has no such {what}")]
    NoPart {
        model: String,
        part: String,
        what: &'static str,
    },
    #[error(transparent)]
    Type(#[from] TypeError),
    #[error(transparent)]
    Step(#[from] optim::Error),

    #[error(transparent)]
    Data(#[from] DataError),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Log(#[from] Box<crate::data::Error>),
    #[error("field `{field}` has no `vocabulary`, and the data's features have no `{field}` that could say it")]
    NoVocabulary { field: String },
    #[error("field `{field}` has a `vocabulary` of {seen}, its feature has {expected} rows")]
    Vocabulary { field: String, seen: u64, expected: usize },
    #[error("interpreter: {0}")]
    Interpreter(#[from] EvalError),
    #[error("executor: {0}")]
    Executor(#[from] cpu::Error),
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Device(#[from] device_step::Error),
    #[error("built without the feature `gpu`: {0} cannot be opened")]
    NoGpu(AdapterQuery),
    #[error("step {step}: {}{blame}; weights are those before this step", if loss.is_finite() { "a gradient is not finite" } else { "the loss is not finite" })]
    NonFinite { step: u64, loss: f32, blame: Blame },
    #[error("validation after step {step}: the model's predictions are not finite")]
    Predictions { step: u64 },
    #[error("model `{model}` has no output `{output}`; there are {}", there.join(", "))]
    NoOutput {
        model: String,
        output: String,
        there: Vec<String>,
    },
    #[error("model `{model}`, row {row}: output `{output}` is {seen}, which is no finite number")]
    Output {
        model: String,
        output: String,
        row: usize,
        seen: f32,
    },

    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("`{}`: {source}", path.display())]
    Write { path: PathBuf, source: container::Error },
}

/// Data that cannot be trained on. Rows count from 0 in their file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum DataError {
    #[error(transparent)]
    Read(#[from] import::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Log(#[from] Box<crate::data::Error>),
    #[error("{source_name}: column `{column}` is missing, it must be {expected}; there are {}", there.join(", "))]
    Missing {
        source_name: String,
        column: String,
        expected: String,
        there: Vec<String>,
    },
    #[error("{source_name}: column `{column}` is {seen}, it must be {expected}")]
    Type {
        source_name: String,
        column: String,
        seen: String,
        expected: String,
    },
    #[error("{source_name}: `{column}` is both a column and gathered")]
    Twice { source_name: String, column: String },
    #[error("{source_name}: column `{column}` has {seen} rows, `{first}` has {expected}")]
    Rows {
        source_name: String,
        column: String,
        seen: usize,
        first: String,
        expected: usize,
    },
    #[error("{source_name} has no rows")]
    Empty { source_name: String },
    #[error("{source_name}, row {row}: `{column}` is {seen}, it must be within 0..=1")]
    Label {
        source_name: String,
        row: usize,
        column: String,
        seen: f32,
    },
    #[error("{source_name}, row {row}: weight `{column}` is {seen}, it must be finite and not negative")]
    Weight {
        source_name: String,
        row: usize,
        column: String,
        seen: f32,
    },
    #[error("{source_name}, row {row}: `{column}` is {seen}, which is no finite number")]
    NonFinite {
        source_name: String,
        row: usize,
        column: String,
        seen: f32,
    },
    #[error("{source_name}, row {row}: index {seen} of {column} is outside 0..{extent} of {table}")]
    Index {
        source_name: String,
        row: usize,
        column: String,
        seen: i32,
        extent: usize,
        table: String,
    },
    #[error("{source_name}: every label of `{column}` is {label}: there is nothing to tell apart")]
    OneClass {
        source_name: String,
        column: String,
        label: f32,
    },
    #[error(
        "{source_name}: a batch of {rows} rows, of row {row} and others, has no label of `{column}` below 1 (\
         `one-class = \"allow\"` in `[data]` trains on such batches)"
    )]
    AllPositive {
        source_name: String,
        row: usize,
        rows: usize,
        column: String,
    },
    #[error("{source_name}: {why}")]
    Evaluate { source_name: String, why: EvalError },
}

/// A checkpoint that this run cannot go on from.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum CheckpointError {
    #[error(transparent)]
    Read(#[from] import::Error),
    #[error("`{}` is no checkpoint: no metadata `{key}`", path.display())]
    NotOne { path: PathBuf, key: &'static str },
    #[error("`{}` is a checkpoint of format `{seen}`, this build reads `{expected}`", path.display())]
    Format {
        path: PathBuf,
        seen: String,
        expected: &'static str,
    },
    #[error("`{}` belongs to a run of another configuration: model, data or settings differ (hash {seen}, this run's {expected})", path.display())]
    Other {
        path: PathBuf,
        seen: String,
        expected: String,
    },
    #[error("`{}`: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("`{}` exists: `--resume` goes on from it, another `--out` starts anew", path.display())]
    Exists { path: PathBuf },
    #[error("`{}` does not exist, there is nothing to resume", path.display())]
    Absent { path: PathBuf },
}

/// The first node that made a number that is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// The node as in the step graph's text, its op and its scope; `None` where the interpreter, evaluating the same
    /// batch, met nothing.
    pub node: Option<(Value, String, String)>,
    /// What it made.
    pub made: String,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            None => write!(f, " (in the interpreter it is)"),
            Some((v, op, scope)) => {
                write!(f, ", the first {} comes from {v} {op}", self.made)?;
                if scope.is_empty() {
                    Ok(())
                } else {
                    write!(f, " of `{scope}`")
                }
            }
        }
    }
}

impl Error {
    /// Exit status of a command that fails with this: 1 refused, 3 the device cannot, 4 no memory or disk, 5 damaged, 6 a
    /// version unknown here, 7 device lost, 70 a bug.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => io_exit_code(source),
            Self::Write { source, .. } => source.exit_code(),
            Self::Model(e) => e.exit_code(),
            #[cfg(feature = "data")]
            Self::Log(e) | Self::Data(DataError::Log(e)) => e.exit_code(),
            Self::Data(DataError::Read(e)) | Self::Checkpoint(CheckpointError::Read(e)) => e.exit_code(),
            Self::Checkpoint(CheckpointError::Format { .. } | CheckpointError::Other { .. }) => 6,
            Self::Checkpoint(CheckpointError::Damaged { .. }) => 5,
            #[cfg(feature = "gpu")]
            Self::Device(e) => device_exit_code(e),
            Self::NoGpu(_) => 3,
            _ => 1,
        }
    }
}

#[cfg(feature = "gpu")]
fn device_exit_code(e: &device_step::Error) -> u8 {
    use device_step::Error as E;
    match e {
        E::Form { .. } | E::NotRowLocal(_) | E::Compile(_) => 3,
        E::Run(e) => e.exit_code(),
        E::State(_) | E::Index(_) => 1,
        E::Graph(_) | E::Rejected(_) => 70,
    }
}
