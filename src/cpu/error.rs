//! Why a graph or a batch cannot be run.

use crate::ir::NotRowLocal;

/// A graph, weights or a batch that the executor cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The graph mixes rows, so that they cannot be computed block by block.
    #[error("not row-local: {0}")]
    NotRowLocal(#[from] NotRowLocal),
    /// The graph is no training step.
    #[error("no training step: {0}")]
    Step(#[from] crate::pieces::Error),
    /// Weights that are missing or of another type, all of them.
    #[error("{}", list(.0))]
    Weights(Vec<Mismatch>),
    /// Inputs that are missing, unexpected or of another type, all of them.
    #[error("{}", list(.0))]
    Batch(Vec<Mismatch>),
    /// Neither one request nor one per row, and no map between them.
    #[error("`request_of_row` is missing, and {rows} rows of {requests} requests do not imply it")]
    RequestOfRow {
        /// Rows of the batch.
        rows: usize,
        /// Requests of the batch.
        requests: usize,
    },
    /// An index outside its axis.
    #[error("row {row}: index {value} of {index} is outside 0..{extent} of {table}")]
    Index {
        /// Where the indices come from.
        index: String,
        /// What is indexed.
        table: String,
        /// Row (or request) of the batch; for indices of fixed extents, the position among them.
        row: usize,
        /// The index.
        value: i32,
        /// Extent of the axis.
        extent: usize,
    },
}

/// A tensor that is not what the graph wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is not there.
    #[error("`{name}` is missing, the graph takes {expected}")]
    Missing {
        /// Its name.
        name: String,
        /// Type and extents in the graph.
        expected: String,
    },
    /// The graph has no such input.
    #[error("`{name}` is no input of the graph")]
    Unexpected {
        /// Its name.
        name: String,
    },
    /// It has another element type or shape.
    #[error("`{name}` is {seen}, the graph takes {expected}")]
    Type {
        /// Its name.
        name: String,
        /// Type and extents of the tensor.
        seen: String,
        /// Type and extents in the graph.
        expected: String,
    },
}

fn list(mismatches: &[Mismatch]) -> String {
    let lines: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
