//! Training on a device: a step of a graph whose outputs replace its parameters, as a few dispatches on memory that stays.
//!
//! 1. Weights that rows read across their lines, or sums of parts of such, are put together first (`made`).
//! 2. What works row by row goes through the pipeline of inference as it is (`rows`): its outputs are the operands of
//!    sums over the batch. Where rows wait for such a sum (a mean, a variance, the gradients of these), they are cut into
//!    *phases*, and the sum is made between two of them and written where weights are.
//! 3. The sums of a phase are one dispatch, `shaders/sums.wgsl`, and on software adapters a second one where lanes share
//!    what they load (`lanes`); rows of gradients of tables are another,
//!    `shaders/segments.wgsl`, over lookups that the host has sorted (`tables`). No atomics: the same batch gives the same
//!    bits.
//! 4. `shaders/combine.wgsl` adds up the parts of gradients, and their squares.
//! 5. One workgroup computes what is a number: metrics, the norm, factors of the update (`numbers`).
//! 6. Updates are the same few scalar statements for every element of every tensor (`updates`): one dispatch for all
//!    tensors with the same statements. Where a table changes only in the rows that a batch looks up, its gradient has these
//!    rows alone, and a workgroup takes one of them: neither time nor memory depends on the table's size.
//!
//! A step that has not this form is refused by name: then [`crate::cpu::Stepper`] runs it.

mod assemble;
mod by_rows;
mod form;
mod jobs;
mod kernels;
mod lanes;
mod layout;
mod made;
mod matrices;
mod numbers;
mod outline;
mod places;
mod plan;
mod rows;
mod scatters;
mod stepper;
mod tables;
mod term;
mod terms;
mod updates;
mod work;

use crate::compile::CompileError;
use crate::cpu;
use crate::ir::rows::NotRowLocal;
use crate::ir::{Graph, TypeError, Value};
use crate::run;
use crate::wgsl::Rejected;

pub use stepper::Stepper;
pub use work::Work;

/// Why a device does not take a step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The step has not the form of the module's documentation.
    #[error("{value} `{op}`{}: {why}; a device does not run this step", if scope.is_empty() { String::new() } else { format!(" of `{scope}`") })]
    Form {
        /// The value.
        value: Value,
        /// Name of its operation.
        op: &'static str,
        /// Its module path.
        scope: String,
        /// What is wrong.
        why: String,
    },
    /// Rows are mixed by something else than sums.
    #[error(transparent)]
    NotRowLocal(#[from] NotRowLocal),
    /// No kernels for what works row by row.
    #[error("the rows of the step: {0}")]
    Compile(#[from] CompileError),
    /// Parameters or optimiser state that do not fit the graph.
    #[error("state: {0}")]
    State(String),
    /// The device, or a batch.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// Indices that could not be computed.
    #[error("indices of tables: {0}")]
    Index(#[from] cpu::Error),
    /// A part of the step is no graph: a fault of this module.
    #[error("a part of the step: {0}")]
    Graph(#[from] TypeError),
    /// naga refuses a kernel: a fault of this module.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl Error {
    fn refused(g: &Graph, value: Value, why: &str) -> Self {
        Self::Form {
            value,
            op: g.op(value).name(),
            scope: g.scope_of(value).to_owned(),
            why: why.to_owned(),
        }
    }
}
