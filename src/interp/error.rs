//! Why a batch cannot be evaluated.

/// A batch, or weights, that the graph cannot be evaluated on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The batch lacks an input.
    #[error("input `{input}` is missing from the batch")]
    MissingInput {
        /// Its name.
        input: String,
    },
    /// The batch has a tensor that no input takes.
    #[error("the batch has `{input}`, the graph has no such input: {}", expected.join(", "))]
    UnexpectedInput {
        /// The tensor's name.
        input: String,
        /// The graph's inputs.
        expected: Vec<String>,
    },
    /// An input of another element type or shape.
    #[error("input `{input}` is {seen}, the graph takes {expected}")]
    InputType {
        /// Its name.
        input: String,
        /// Type and extents in the batch.
        seen: String,
        /// Type and extents in the graph.
        expected: String,
    },
    /// Two inputs imply different sizes of the batch.
    #[error("input `{input}` holds {seen} {what}, `{first}` holds {expected}")]
    SizesDiffer {
        /// `rows` or `requests`.
        what: &'static str,
        /// The later input.
        input: String,
        /// What it holds.
        seen: usize,
        /// The input that fixed the size.
        first: String,
        /// What that one holds.
        expected: usize,
    },
    /// Neither one request nor one per row, and no map between them.
    #[error("`request_of_row` is missing, and {rows} rows of {requests} requests do not imply it")]
    RequestOfRow {
        /// Rows of the batch.
        rows: usize,
        /// Requests of the batch.
        requests: usize,
    },
    /// The weights lack a parameter.
    #[error("parameter `{param}` has no weights")]
    MissingParam {
        /// Its name.
        param: String,
    },
    /// Weights of another element type or shape.
    #[error("weights of `{param}` are {seen}, the graph takes {expected}")]
    ParamType {
        /// Its name.
        param: String,
        /// Type and extents of the weights.
        seen: String,
        /// Type and extents in the graph.
        expected: String,
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
