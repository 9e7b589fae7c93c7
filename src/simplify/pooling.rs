//! Sums of a history's rows by their scores, as products.

use std::collections::BTreeSet;

use super::edit::{Replaced, constant, pad, padded, peel};
use super::matmul::transposed;
use super::sink::is_pointwise;
use crate::ir::{Binary, Fold, Graph, Op, Value};
use crate::tensor::{Dim, Shape};

/// `sum over t of w [.., T, 1] * x [.., T, D] = w^T x` where products made `w`, the scores of an attention: the product that
/// makes a score may then add the row that it weighs as it goes. Rows that arithmetic makes stay with their sum, which
/// makes them as it reads.
pub(super) fn weighted_rows(g: &mut Graph, v: Value) -> Replaced {
    let Op::Reduce(Fold::Sum, axes) = g.op(v).clone() else {
        return Ok(None);
    };
    let product = g.args(v)[0];
    let (Op::Binary(Binary::Mul), &[x, y]) = (g.op(product), g.args(product)) else {
        return Ok(None);
    };
    let to = g.shape(product).clone();
    let rank = to.rank();
    if rank < 3 || axes != [rank - 2] || to.0[rank - 1] == Dim::Fixed(1) {
        return Ok(None);
    }
    // Which of rows and columns a value has itself, and does not repeat.
    let own = |v: Value| {
        let dims = padded(g.shape(peel(g, v)), rank).0;
        (dims[rank - 2] == to.0[rank - 2], dims[rank - 1] == to.0[rank - 1])
    };
    let (w, x) = match (own(x), own(y)) {
        ((true, false), (true, true)) => (x, y),
        ((true, true), (true, false)) => (y, x),
        _ => return Ok(None),
    };
    if constant(g, x) || is_made(g, x) || !is_scored(g, w) {
        return Ok(None);
    }
    let mut dims = to.0;
    dims[rank - 1] = Dim::Fixed(1);
    let scores = pad(g, peel(g, w), rank)?;
    let scores = g.broadcast(scores, &Shape(dims))?;
    let scores = transposed(g, scores)?;
    g.matmul(scores, x).map(Some)
}

/// Whether a value is arithmetic, under its views.
pub(super) fn is_made(g: &Graph, mut v: Value) -> bool {
    while matches!(g.op(v), Op::Broadcast | Op::Reshape | Op::Permute(_)) {
        v = g.args(v)[0];
    }
    is_pointwise(g.op(v))
}

/// Whether a value comes from a product by arithmetic, folds and views.
fn is_scored(g: &Graph, v: Value) -> bool {
    let mut seen = BTreeSet::new();
    let mut stack = vec![v];
    while let Some(v) = stack.pop() {
        match g.op(v) {
            Op::MatMul => return true,
            Op::Gather(_) => {}
            _ if seen.insert(v) => stack.extend(g.args(v)),
            _ => {}
        }
    }
    false
}
