//! The normal form of a matrix product: data on the left in its own space, a plain `[k, n]` weight on the right.

use super::edit::{Replaced, Rule, constant, constant_under, inverse, kept_axis, pad, peephole};
use super::{Fault, Weights};
use crate::ir::{Binary, Fold, Graph, Op, TypeError, Value};
use crate::tensor::{Dim, Shape};

const RULES: &[Rule] = &[
    outer,
    shared_weight,
    weight_left,
    broadcast_left,
    views_left,
    batched_views,
    one_column,
    super::pooling::weighted_rows,
];

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    Ok(peephole(g, RULES)?)
}

fn operands(g: &Graph, v: Value) -> Option<(Value, Value)> {
    match (g.op(v), g.args(v)) {
        (Op::MatMul, &[a, b]) => Some((a, b)),
        _ => None,
    }
}

/// A product over an inner extent of 1 needs no loop: `x [.., m, 1] y [.., 1, n] = broadcast(x) * broadcast(y)`.
fn outer(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, b)) = operands(g, v).filter(|(a, _)| g.shape(*a).0.last() == Some(&Dim::Fixed(1))) else {
        return Ok(None);
    };
    g.binary(Binary::Mul, a, b).map(Some)
}

/// The `[k, n]` matrix that a value repeats over all leading axes.
fn matrix(g: &mut Graph, v: Value) -> Replaced {
    let rank = g.shape(v).rank();
    if rank == 2 || *g.op(v) != Op::Broadcast {
        return Ok((rank == 2).then_some(v));
    }
    let whole = Shape(g.shape(v).0[rank - 2..].to_vec());
    let x = pad(g, g.args(v)[0], rank)?;
    let dims = &g.shape(x).0;
    if dims[..rank - 2].iter().any(|d| *d != Dim::Fixed(1)) {
        return Ok(None);
    }
    let own = Shape(dims[rank - 2..].to_vec());
    let x = g.reshape(x, &own)?;
    g.broadcast(x, &whole).map(Some)
}

/// `x broadcast(W) = x W`.
fn shared_weight(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, b)) = operands(g, v).filter(|(_, b)| g.shape(*b).rank() > 2) else {
        return Ok(None);
    };
    match matrix(g, b)? {
        Some(w) => g.matmul(a, w).map(Some),
        None => Ok(None),
    }
}

/// `W x = (x^T W^T)^T` for a constant `W`, the same for all rows.
fn weight_left(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, b)) = operands(g, v) else {
        return Ok(None);
    };
    if constant_under(g, a).is_none() || constant_under(g, b).is_some() {
        return Ok(None);
    }
    let Some(w) = matrix(g, a)? else {
        return Ok(None);
    };
    let (w, x) = (transposed(g, w)?, transposed(g, b)?);
    let y = g.matmul(x, w)?;
    transposed(g, y).map(Some)
}

pub(super) fn transposed(g: &mut Graph, v: Value) -> Result<Value, TypeError> {
    let rank = g.shape(v).rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    g.permute(v, &perm)
}

/// `broadcast(x) W = broadcast(x W)` over row axes, and over leading axes that both operands of a batched product
/// repeat.
fn broadcast_left(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, b)) = operands(g, v).filter(|(a, _)| *g.op(*a) == Op::Broadcast) else {
        return Ok(None);
    };
    let (rank, to) = (g.shape(a).rank(), g.shape(v).clone());
    let inner = pad(g, g.args(a)[0], rank)?;
    let mut dims = g.shape(inner).0.clone();
    dims[rank - 1] = g.shape(a).0[rank - 1];
    if g.shape(b).rank() == 2 {
        if dims == g.shape(a).0 {
            return Ok(None);
        }
        let x = g.broadcast(inner, &Shape(dims))?;
        let y = g.matmul(x, b)?;
        return g.broadcast(y, &to).map(Some);
    }
    if *g.op(b) != Op::Broadcast {
        return Ok(None);
    }
    let right = pad(g, g.args(b)[0], rank)?;
    let lead: Vec<Dim> = (0..rank - 2)
        .map(|i| {
            if dims[i] == Dim::Fixed(1) {
                g.shape(right).0[i]
            } else {
                dims[i]
            }
        })
        .collect();
    if lead == g.shape(a).0[..rank - 2] {
        return Ok(None);
    }
    let under = |g: &Graph, v: Value| Shape(lead.iter().chain(&g.shape(v).0[rank - 2..]).copied().collect());
    let (left_shape, right_shape) = (under(g, a), under(g, b));
    let x = g.broadcast(inner, &left_shape)?;
    let w = g.broadcast(right, &right_shape)?;
    let y = g.matmul(x, w)?;
    g.broadcast(y, &to).map(Some)
}

/// `view(x) W = view(x W)` for reshapes and permutations of row axes.
fn views_left(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, b)) = operands(g, v).filter(|(_, b)| g.shape(*b).rank() == 2) else {
        return Ok(None);
    };
    let last = g.shape(a).rank() - 1;
    match g.op(a).clone() {
        Op::Reshape => {
            let (x, to) = (g.args(a)[0], g.shape(v).clone());
            let rank = g.shape(x).rank();
            if rank < 2 || last_axis(g.shape(x), g.shape(a)) != Some(rank - 1) {
                return Ok(None);
            }
            let y = g.matmul(x, b)?;
            g.reshape(y, &to).map(Some)
        }
        Op::Permute(perm) if perm[last] == last => {
            let y = g.matmul(g.args(a)[0], b)?;
            g.permute(y, &perm).map(Some)
        }
        _ => Ok(None),
    }
}

/// The axis of `from` that is the last one of `to`; of extents 1 the last one.
fn last_axis(from: &Shape, to: &Shape) -> Option<usize> {
    if from.0.last() == to.0.last() && from.0.last() == Some(&Dim::Fixed(1)) {
        return Some(from.rank() - 1);
    }
    kept_axis(from, to, to.rank() - 1)
}

/// `view(x) view(y) = view(x y)` where both views rearrange the leading axes alike.
fn batched_views(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, b)) = operands(g, v).filter(|(_, b)| g.shape(*b).rank() > 2) else {
        return Ok(None);
    };
    let (rank, to) = (g.shape(a).rank(), g.shape(v).clone());
    match (g.op(a).clone(), g.op(b).clone()) {
        (Op::Reshape, Op::Reshape) => {
            let (x, y) = (g.args(a)[0], g.args(b)[0]);
            let (p, q) = (g.shape(x), g.shape(y));
            let n = p.rank();
            let fits = n > 2
                && n == q.rank()
                && p.0[..n - 2] == q.0[..n - 2]
                && p.0[n - 2..] == g.shape(a).0[rank - 2..]
                && q.0[n - 2..] == g.shape(b).0[rank - 2..];
            if !fits || constant(g, x) {
                return Ok(None);
            }
            let z = g.matmul(x, y)?;
            g.reshape(z, &to).map(Some)
        }
        (Op::Permute(p), Op::Permute(q)) if p == q && p[rank - 2..] == [rank - 2, rank - 1] => {
            let z = g.matmul(g.args(a)[0], g.args(b)[0])?;
            g.permute(z, &p).map(Some)
        }
        _ => Ok(None),
    }
}

/// `permute(x) y = permute(sum over k of x * y)` for a row's own `y` of one column, where the permutation brings the inner
/// axis to the end: the fold reads `x` as it lies.
fn one_column(g: &mut Graph, v: Value) -> Replaced {
    let Some((a, y)) = operands(g, v).filter(|(_, y)| g.shape(*y).rank() > 2) else {
        return Ok(None);
    };
    let Op::Permute(perm) = g.op(a).clone() else {
        return Ok(None);
    };
    let (last, x) = (perm.len() - 1, g.args(a)[0]);
    if g.shape(v).0[last] != Dim::Fixed(1) || perm[last] == last {
        return Ok(None);
    }
    let row = transposed(g, y)?;
    let row = g.permute(row, &inverse(&perm))?;
    let products = g.binary(Binary::Mul, x, row)?;
    let sum = g.reduce(Fold::Sum, products, &[perm[last]])?;
    g.permute(sum, &perm).map(Some)
}
