//! Sums over the batch of what products make row by row: the gradient of a matrix that is folded anew for each row.

use crate::ir::{Binary, Fold, Graph, Op, Value};
use crate::tensor::Dim;

/// The sum over the batch of products made row by row, `a^T b`, or of these times a weight for each of their lines: one
/// product of all lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByRows {
    /// `[rows, m, lines]`.
    pub(super) turned: Value,
    /// `[rows, lines, n]`.
    pub(super) b: Value,
    /// `[rows, m, 1]`.
    pub(super) weights: Option<Value>,
}

impl ByRows {
    pub(super) fn of(g: &Graph, sum: Value) -> Option<Self> {
        let n = g.node(sum);
        let x = *n.args.first()?;
        if n.op != Op::Reduce(Fold::Sum, vec![0]) || g.shape(x).rank() != 3 {
            return None;
        }
        let product = |v: Value| {
            let by_row = g.args(v).iter().all(|a| matches!(g.shape(*a).symbolic(), Some((0, _))));
            (*g.op(v) == Op::MatMul && by_row).then(|| (g.args(v)[0], g.args(v)[1]))
        };
        let by_line = |v: Value| {
            let column = (*g.op(v) == Op::Broadcast).then(|| g.args(v)[0])?;
            let line = g.shape(x).0[..2].iter().chain([&Dim::Fixed(1)]);
            g.shape(column).0.iter().eq(line).then_some(column)
        };
        let ((turned, b), weights) = match (g.op(x), g.args(x)) {
            (Op::MatMul, _) => (product(x)?, None),
            (Op::Binary(Binary::Mul), &[p, w]) => {
                let either = [(p, w), (w, p)].into_iter();
                let (p, w) = either.filter_map(|(p, w)| Some((product(p)?, by_line(w)?))).next()?;
                (p, Some(w))
            }
            _ => return None,
        };
        Some(Self { turned, b, weights })
    }
}
