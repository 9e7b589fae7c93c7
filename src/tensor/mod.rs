//! What a tensor is: element types, shapes with at most one symbolic size, dense host tensors.

mod dtype;
mod host;
mod shape;

pub use dtype::DType;
pub use host::{Data, HostTensor};
pub use shape::{Dim, Shape, Sizes};

/// Tensors by name, in order: weights of a model, inputs of a batch, outputs of a run.
pub type Tensors = indexmap::IndexMap<String, HostTensor>;
