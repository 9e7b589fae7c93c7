//! What tests share: comparison with tolerances, tensors by hand, random graphs.

pub(crate) mod by_hand;
pub(crate) mod compare;
pub(crate) mod files;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub(crate) mod graphs;
pub(crate) mod models;
pub(crate) mod rng;
pub(crate) mod terms;
pub(crate) mod tiny;

use indexmap::IndexMap;
use loopfm::interp::{Real, Tensor};
use loopfm::tensor::{HostTensor, Tensors};

/// Named tensors.
pub(crate) fn tensors<const N: usize>(named: [(&str, HostTensor); N]) -> Tensors {
    named.into_iter().map(|(name, t)| (name.to_owned(), t)).collect()
}

/// Outputs of the interpreter as tensors of a batch.
pub(crate) fn hosts<T: Real>(outputs: &IndexMap<String, Tensor<T>>) -> Tensors {
    outputs.iter().map(|(name, t)| (name.clone(), t.to_host())).collect()
}
