//! Tensors and graphs written by hand.

use loopfm::ir::{self, Graph};
use loopfm::tensor::HostTensor;

/// Floats.
pub(crate) fn f(shape: &[usize], x: &[f32]) -> HostTensor {
    HostTensor::f32(shape, x.to_vec())
}

/// Integers.
pub(crate) fn i(shape: &[usize], x: &[i32]) -> HostTensor {
    HostTensor::i32(shape, x.to_vec())
}

/// Truth values, as 0 and 1.
pub(crate) fn b(shape: &[usize], x: &[u8]) -> HostTensor {
    HostTensor::bool(shape, x.iter().map(|x| *x == 1).collect())
}

/// A graph whose only output is its last node.
pub(crate) fn graph(nodes: &[&str]) -> Graph {
    let numbered: String = nodes.iter().enumerate().map(|(i, n)| format!("%{i} = {n}\n")).collect();
    let text = format!("loopfm 1\n{numbered}return \"y\" = %{}\n", nodes.len() - 1);
    ir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}
