//! A training step in pieces that an executor of row-local graphs can run.
//!
//! A step is one graph: forward, loss, backward and updates of parameters and optimiser state. Its meaning is dense: an
//! update of a table of a million rows is a tensor of a million rows. [`split`] takes it apart so that the work is that
//! of the batch: pieces over the rows of the *batch*, and pieces over the rows of *tables* that the batch touches,
//! which are graphs over `rows` of their own. Pieces run in order; what one hands to another goes by name.
//!
//! Parameters are inputs of pieces, since they change from step to step.

mod build;
mod tables;

use crate::ir::{Graph, TypeError, Value};

pub use build::split;

/// Prefix of the outputs of a step that are new values of parameters.
pub const NEXT: &str = "next.";

/// A part of a step.
#[derive(Debug)]
pub struct Piece {
    /// Row-local but for sums over rows. It has no parameters: `inputs` says what each input is.
    pub graph: Graph,
    /// Over which rows it runs.
    pub over: Over,
    /// For each input of `graph`, by name, where it comes from.
    pub inputs: Vec<(String, Source)>,
    /// For each output of `graph`, in order, where it goes.
    pub outputs: Vec<Target>,
}

/// The rows of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Those of the batch.
    Batch,
    /// Rows of tables of this extent, those that the indices name.
    Table {
        /// Rows of the tables in all.
        extent: usize,
        /// Which rows get what.
        sites: Vec<Site>,
    },
}

/// One sum of rows of a batch into rows of a table: row `i` gets the sum of `updates[j]` with `index[j] = i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What is added; one row of the table for each index.
    pub updates: Source,
    /// Where to.
    pub index: Source,
}

/// Where an input of a piece comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The batch, or a scalar of the step, by its name.
    Batch(String),
    /// A parameter or optimiser state, whole.
    State(String),
    /// The rows of a parameter or of optimiser state that are touched.
    Rows(String),
    /// What an earlier piece handed on.
    Value(Value),
    /// The sums of a [`Site`], by its number.
    Site(usize),
}

/// Where an output of a piece goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the caller, under this name.
    Metric(String),
    /// The new value of a parameter or of optimiser state.
    Next(String),
    /// The new values of the touched rows of one.
    NextRows(String),
    /// To later pieces.
    Value(Value),
}

/// Why a step cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An output is named after no parameter.
    #[error("output `{NEXT}{name}`: the step has no parameter of that name")]
    NoParam {
        /// What follows the prefix.
        name: String,
    },
    /// An output has another type than the parameter that it replaces.
    #[error("output `{NEXT}{name}` is {seen}, the parameter {expected}")]
    Type {
        /// Name of the parameter.
        name: String,
        /// Type of the output.
        seen: String,
        /// Type of the parameter.
        expected: String,
    },
    /// A piece is no graph: a fault of this module.
    #[error("a piece of the step: {0}")]
    Graph(#[from] TypeError),
}
