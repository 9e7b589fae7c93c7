//! Views sink: `f(view(x), view(y)) = view(f(x, y))`.
//!
//! Below a broadcast the op runs once for what is repeated; below a reshape or permutation it costs the same, but
//! meets the op that made its operand. Views travel towards the outputs only, so the rules end. All are exact, but for
//! the sum of a repeated value, `sum over n of x = n x`.

use super::edit::{Replaced, Rule, inverse, kept_axis, pad, padded, peel, peephole, through_reshape};
use super::{Fault, Weights};
use crate::ir::{Binary, Fold, Graph, Op, Scalar, TensorType, TypeError, Value};
use crate::tensor::{DType, Dim, Shape};

const RULES: &[Rule] = &[
    broadcast_below_view,
    pointwise_broadcast,
    pointwise_reshape,
    pointwise_permute,
    concat_reshape,
    concat_permute,
    reduce,
];

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    Ok(peephole(g, RULES)?)
}

pub(super) fn is_pointwise(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast)
}

/// The pointwise op of `v` on other operands of one shape.
fn again(g: &mut Graph, v: Value, args: &[Value], shape: &Shape) -> Result<Value, TypeError> {
    let ty = TensorType::new(g.ty(v).dtype, shape.clone());
    g.declare(g.op(v).clone(), args, ty)
}

/// `reshape(broadcast(x)) = broadcast(reshape(x))` where the repeated axes stay apart from the others;
/// `permute(broadcast(x)) = broadcast(permute(x))`.
fn broadcast_below_view(g: &mut Graph, v: Value) -> Replaced {
    let Some(&x) = g.args(v).first() else {
        return Ok(None);
    };
    if *g.op(x) != Op::Broadcast {
        return Ok(None);
    }
    let (to, inner) = (g.shape(v).clone(), g.args(x)[0]);
    match g.op(v).clone() {
        Op::Reshape => match through_reshape(g.shape(inner), g.shape(x), &to) {
            Some(shape) => {
                let y = g.reshape(inner, &shape)?;
                g.broadcast(y, &to).map(Some)
            }
            None => Ok(None),
        },
        Op::Permute(perm) => {
            let y = pad(g, inner, perm.len())?;
            let y = g.permute(y, &perm)?;
            g.broadcast(y, &to).map(Some)
        }
        _ => Ok(None),
    }
}

/// A pointwise op of values that all repeat along an axis runs on what they repeat.
fn pointwise_broadcast(g: &mut Graph, v: Value) -> Replaced {
    if !is_pointwise(g.op(v)) {
        return Ok(None);
    }
    let to = g.shape(v).clone();
    let inner: Vec<Value> = g.args(v).iter().map(|a| peel(g, *a)).collect();
    let rank = inner.iter().map(|x| g.shape(*x).rank()).max().unwrap_or(0);
    let mut dims = vec![Dim::Fixed(1); rank];
    for x in &inner {
        let own = padded(g.shape(*x), rank).0;
        for (d, own) in dims.iter_mut().zip(own) {
            *d = if own == Dim::Fixed(1) { *d } else { own };
        }
    }
    let shape = Shape(dims);
    if shape == to {
        return Ok(None);
    }
    let mut args = Vec::new();
    for x in inner {
        args.push(g.broadcast(x, &shape)?);
    }
    let y = again(g, v, &args, &shape)?;
    g.broadcast(y, &to).map(Some)
}

/// `f(reshape(x), reshape(y), broadcast(c)) = reshape(f(x, y, broadcast(reshape(c))))`.
fn pointwise_reshape(g: &mut Graph, v: Value) -> Replaced {
    let args = g.args(v).to_vec();
    let Some(first) = args.iter().find(|a| *g.op(**a) == Op::Reshape) else {
        return Ok(None);
    };
    if !is_pointwise(g.op(v)) {
        return Ok(None);
    }
    let (from, to) = (g.shape(g.args(*first)[0]).clone(), g.shape(v).clone());
    let mut moved = Vec::new();
    for a in args {
        let x = g.args(a).first().copied();
        match (g.op(a), x) {
            (Op::Reshape, Some(x)) if *g.shape(x) == from => moved.push(x),
            (Op::Broadcast, Some(x)) => {
                let Some(shape) = through_reshape(g.shape(x), &to, &from) else {
                    return Ok(None);
                };
                let x = g.reshape(x, &shape)?;
                moved.push(g.broadcast(x, &from)?);
            }
            _ => return Ok(None),
        }
    }
    let y = again(g, v, &moved, &from)?;
    g.reshape(y, &to).map(Some)
}

/// `f(permute(x), permute(y), broadcast(c)) = permute(f(x, y, broadcast(permute(c))))`.
fn pointwise_permute(g: &mut Graph, v: Value) -> Replaced {
    let args = g.args(v).to_vec();
    let permuted = args.iter().find_map(|a| match g.op(*a) {
        Op::Permute(perm) => Some((perm.clone(), g.shape(g.args(*a)[0]).clone())),
        _ => None,
    });
    let Some((perm, from)) = permuted.filter(|_| is_pointwise(g.op(v))) else {
        return Ok(None);
    };
    let mut moved = Vec::new();
    for a in args {
        let x = g.args(a).first().copied();
        match (g.op(a), x) {
            (Op::Permute(p), Some(x)) if *p == perm => moved.push(x),
            (Op::Broadcast, Some(x)) => {
                let x = pad(g, x, perm.len())?;
                let x = g.permute(x, &inverse(&perm))?;
                moved.push(g.broadcast(x, &from)?);
            }
            _ => return Ok(None),
        }
    }
    let y = again(g, v, &moved, &from)?;
    g.permute(y, &perm).map(Some)
}

/// `concat(reshape(x), reshape(y)) = reshape(concat(x, y))` where the reshapes keep the axis.
fn concat_reshape(g: &mut Graph, v: Value) -> Replaced {
    let Op::Concat(axis) = *g.op(v) else {
        return Ok(None);
    };
    let (args, to) = (g.args(v).to_vec(), g.shape(v).clone());
    if args.iter().any(|a| *g.op(*a) != Op::Reshape) {
        return Ok(None);
    }
    let inner: Vec<Value> = args.iter().map(|a| g.args(*a)[0]).collect();
    let kept = |i: usize| kept_axis(g.shape(inner[i]), g.shape(args[i]), axis);
    let Some(at) = kept(0) else {
        return Ok(None);
    };
    let others = |x: Value| {
        let mut dims = g.shape(x).0.clone();
        dims.remove(at);
        dims
    };
    let alike = (0..args.len()).all(|i| kept(i) == Some(at) && others(inner[i]) == others(inner[0]));
    if !alike {
        return Ok(None);
    }
    let joined = g.concat(&inner, at)?;
    g.reshape(joined, &to).map(Some)
}

/// `concat(permute(x), permute(y)) = permute(concat(x, y))`.
fn concat_permute(g: &mut Graph, v: Value) -> Replaced {
    let Op::Concat(axis) = *g.op(v) else {
        return Ok(None);
    };
    let args = g.args(v).to_vec();
    let Op::Permute(perm) = g.op(args[0]).clone() else {
        return Ok(None);
    };
    if args.iter().any(|a| *g.op(*a) != Op::Permute(perm.clone())) {
        return Ok(None);
    }
    let inner: Vec<Value> = args.iter().map(|a| g.args(*a)[0]).collect();
    let joined = g.concat(&inner, perm[axis])?;
    g.permute(joined, &perm).map(Some)
}

/// A fold of a view is a view of a fold; of axes of extent 1 nothing; along a repeated axis no loop.
fn reduce(g: &mut Graph, v: Value) -> Replaced {
    let Op::Reduce(fold, axes) = g.op(v).clone() else {
        return Ok(None);
    };
    let (x, to) = (g.args(v)[0], g.shape(v).clone());
    let some: Vec<usize> = axes
        .iter()
        .copied()
        .filter(|a| g.shape(x).0[*a] != Dim::Fixed(1))
        .collect();
    if some.is_empty() {
        return Ok(Some(x));
    }
    let inner = g.args(x).first().copied();
    match (g.op(x).clone(), inner) {
        (Op::Broadcast, Some(y)) => reduce_broadcast(g, fold, &some, (y, x), &to).map(Some),
        (Op::Permute(perm), Some(y)) => {
            let mut moved: Vec<usize> = some.iter().map(|a| perm[*a]).collect();
            moved.sort_unstable();
            let y = g.reduce(fold, y, &moved)?;
            g.permute(y, &perm).map(Some)
        }
        (Op::Reshape, Some(y)) => {
            let kept = |a: &usize| kept_axis(g.shape(y), g.shape(x), *a);
            match some.iter().map(kept).collect::<Option<Vec<_>>>() {
                Some(moved) => {
                    let y = g.reduce(fold, y, &moved)?;
                    g.reshape(y, &to).map(Some)
                }
                None => Ok(None),
            }
        }
        _ if some.len() < axes.len() => g.reduce(fold, x, &some).map(Some),
        _ => Ok(None),
    }
}

/// The fold of `x`, which repeats `inner`, along `axes`.
fn reduce_broadcast(
    g: &mut Graph,
    fold: Fold,
    axes: &[usize],
    (inner, x): (Value, Value),
    to: &Shape,
) -> Result<Value, TypeError> {
    let mut y = pad(g, inner, g.shape(x).rank())?;
    let (repeated, own): (Vec<usize>, Vec<usize>) = axes.iter().partition(|a| g.shape(y).0[**a] == Dim::Fixed(1));
    if !own.is_empty() {
        y = g.reduce(fold, y, &own)?;
    }
    let n: usize = repeated.iter().map(|a| g.shape(x).0[*a].factor()).product();
    if fold == Fold::Sum && n > 1 {
        let times = match g.ty(x).dtype {
            DType::F32 => Scalar::F32(n as f32),
            DType::I32 | DType::Bool => Scalar::I32(i32::try_from(n).expect("an extent fits i32")),
        };
        let times = g.apply(Op::Const(times), &[])?;
        y = g.binary(Binary::Mul, y, times)?;
    }
    g.broadcast(y, to)
}
