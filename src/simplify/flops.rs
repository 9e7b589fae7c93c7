//! What a graph costs: floating-point operations of its anchors.

use super::pooling::is_made;
use crate::ir::{Fold, Graph, Node, Op, Value};
use crate::tensor::Sizes;

/// Floating-point operations of the anchors that the outputs need, at these sizes: a product counts `2 m k n`, a fold or
/// running sum its elements, a sum twice where arithmetic makes them, a GRU its recurrent products. Other pointwise ops
/// ride along with anchors and count nothing; what no input reaches is computed once, not per batch.
#[must_use]
pub fn flops(g: &Graph, sizes: Sizes) -> u64 {
    let live = g.live();
    let mut varies = vec![false; g.len()];
    for (v, n) in g.iter() {
        varies[v.index()] = matches!(n.op, Op::Input(_)) || n.args.iter().any(|a| varies[a.index()]);
    }
    let cost = |(v, n): (Value, &Node)| -> usize {
        let numel = |i: usize| g.shape(n.args[i]).numel(sizes);
        match n.op {
            _ if !live[v.index()] || !varies[v.index()] => 0,
            Op::MatMul => 2 * numel(0) * n.ty.shape.0.last().map_or(1, |d| d.at(sizes)),
            Op::Reduce(Fold::Sum, _) if is_made(g, n.args[0]) => 2 * numel(0),
            Op::Reduce(..) | Op::CumSum(_) => numel(0),
            Op::Gru => 6 * n.ty.shape.numel(sizes) * n.ty.shape.0.last().map_or(1, |d| d.at(sizes)),
            _ => 0,
        }
    };
    g.iter().map(|n| cost(n) as u64).sum()
}
