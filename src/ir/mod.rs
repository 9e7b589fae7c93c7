//! The graph, its meaning and its text.
//!
//! A [`Graph`] is an append-only arena of typed [`Node`]s; ids ascend in topological order and equal nodes are one
//! node. Shapes are explicit: there is no implicit broadcasting, no stride, no aliasing, no mutation. At most one
//! extent of a shape is symbolic, a multiple of `rows` (candidates, impressions) or of `requests`; the reserved input
//! `request_of_row` maps one to the other.
//!
//! An [`Op`] is a leaf, *pointwise* (its element at an index is a scalar expression of its operands' elements at
//! computed indices: arithmetic, but also broadcast, reshape, permute, slice, concat and gather) or an *anchor*, which
//! needs a loop (`matmul`, `reduce_*`, `cumsum`, `scatter_add`, `gru`, `gru_grad`). Fusion and code generation rest on
//! that distinction.
//!
//! Rows meet only in sums over them, as a training step has them: `reduce_sum` and `matmul` over the symbolic extent, and
//! `scatter_add`. What is compiled for inference has none, and [`rows`] refuses them.
//!
//! Meaning beyond each op's own line: integers are 32-bit and wrap; `max` and `min` return NaN when an operand is NaN;
//! a sum is in unspecified order; an index outside its axis is an error, never clamped.

mod build;
mod graph;
mod infer;
mod op;
mod parse;
pub mod rows;
mod rules;
mod text;

pub use graph::{Graph, Node, REQUEST_OF_ROW, ScopeId, TensorType, Value};
pub use infer::{TypeError, infer, verify};
pub use op::{Binary, Fold, Op, Scalar, Unary};
pub use parse::{ParseError, parse};
pub use rows::NotRowLocal;
