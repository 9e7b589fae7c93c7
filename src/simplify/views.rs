//! Views of views: `reshape`, `permute`, `broadcast`, `slice`, `concat` and `gather` that compose to fewer of them.
//!
//! All rules move elements only, so they are exact.

use super::edit::{Edit, Replaced, constant, pad, peephole, rewrite, trim, trimmed, volume};
use super::slices::slice;
use super::{Fault, Weights};
use crate::ir::{Graph, Op, Value};
use crate::tensor::{Dim, Shape};

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    let g = rewrite(g, flatten)?;
    Ok(peephole(&g, &[reshape, permute, broadcast, slice, concat, gather])?)
}

/// A concatenation that only another one along the same axis reads is part of it. One that others read too is a value
/// of its own: a history of several features is one history.
fn flatten(e: &mut Edit<'_>, v: Value) -> Replaced {
    let Op::Concat(axis) = *e.old.op(v) else {
        return Ok(None);
    };
    let mut parts: Vec<Value> = Vec::new();
    for a in e.old.args(v) {
        let inner = *e.old.op(*a) == Op::Concat(axis) && e.only_user(*a).is_some();
        parts.extend(if inner { e.old.args(*a) } else { std::slice::from_ref(a) });
    }
    let parts: Vec<Value> = parts.into_iter().map(|p| e.at(p)).collect();
    e.new.concat(&parts, axis).map(Some)
}

/// `reshape(reshape(x)) = reshape(x)`; one to the operand's own shape is nothing; of a concatenation along the first of
/// the axes that become one, a concatenation of reshapes.
fn reshape(g: &mut Graph, v: Value) -> Replaced {
    if *g.op(v) != Op::Reshape {
        return Ok(None);
    }
    let (x, to) = (g.args(v)[0], g.shape(v).clone());
    if *g.shape(x) == to {
        return Ok(Some(x));
    }
    if *g.op(x) == Op::Reshape {
        let inner = g.args(x)[0];
        return g.reshape(inner, &to).map(Some);
    }
    let Op::Concat(axis) = *g.op(x) else {
        return Ok(None);
    };
    let Some(at) = flat_axis(g.shape(x), &to, axis) else {
        return Ok(None);
    };
    let mut parts = Vec::new();
    for part in g.args(x).to_vec() {
        let mut shape = to.clone();
        let others = to.0[at].factor() / g.shape(x).0[axis].factor();
        shape.0[at] = Dim::Fixed(g.shape(part).0[axis].factor() * others);
        parts.push(g.reshape(part, &shape)?);
    }
    g.concat(&parts, at).map(Some)
}

/// The axis of `to` that a reshape makes of `axis` and further axes behind it.
fn flat_axis(from: &Shape, to: &Shape, axis: usize) -> Option<usize> {
    let until = |shape: &Shape, i: usize| volume(&shape.0[..i]);
    let same = |j: &usize| until(to, *j) == until(from, axis) && to.0[*j] != Dim::Fixed(1);
    let at = (0..to.rank()).find(same).filter(|j| !to.0[*j].is_symbolic())?;
    let ends = |i: usize| until(from, i) == until(to, at + 1);
    let several = from.0[axis] != Dim::Fixed(0) && from.0[axis] != to.0[at];
    (several && (axis + 1..=from.rank()).any(ends)).then_some(at)
}

/// `permute(permute(x))` is one permutation; where only axes of extent 1 move it is a reshape; axes of extent 1 that a
/// reshape before it added are added after it.
fn permute(g: &mut Graph, v: Value) -> Replaced {
    let Op::Permute(perm) = g.op(v).clone() else {
        return Ok(None);
    };
    let x = g.args(v)[0];
    let dims = &g.shape(x).0;
    if perm.iter().filter(|a| dims[**a] != Dim::Fixed(1)).is_sorted() {
        let to = g.shape(v).clone();
        return g.reshape(x, &to).map(Some);
    }
    if let Op::Permute(inner) = g.op(x) {
        let both: Vec<usize> = perm.iter().map(|a| inner[*a]).collect();
        let source = g.args(x)[0];
        return g.permute(source, &both).map(Some);
    }
    let Some(&source) = g.args(x).first().filter(|_| *g.op(x) == Op::Reshape) else {
        return Ok(None);
    };
    let (own, added): (Vec<usize>, Vec<usize>) = (0..perm.len()).partition(|a| dims[*a] != Dim::Fixed(1));
    if added.is_empty() || !own.iter().map(|a| &dims[*a]).eq(&g.shape(source).0) {
        return Ok(None);
    }
    let order = perm
        .iter()
        .filter_map(|a| own.binary_search(a).ok())
        .collect::<Vec<_>>();
    let to = g.shape(v).clone();
    let y = g.permute(source, &order)?;
    g.reshape(y, &to).map(Some)
}

/// `broadcast(broadcast(x)) = broadcast(x)`; leading axes of extent 1 need no reshape before it.
fn broadcast(g: &mut Graph, v: Value) -> Replaced {
    if *g.op(v) != Op::Broadcast {
        return Ok(None);
    }
    let (x, to) = (g.args(v)[0], g.shape(v).clone());
    if *g.shape(x) == to {
        return Ok(Some(x));
    }
    let inner = match g.op(x) {
        Op::Broadcast => g.args(x)[0],
        Op::Reshape if g.shape(x).0.first() == Some(&Dim::Fixed(1)) => {
            let source = g.args(x)[0];
            // The source's own leading units stay with it: trimming them would only add a node.
            if g.shape(source).rank() <= to.rank() && trimmed(g.shape(source)) == trimmed(g.shape(x)) {
                source
            } else {
                trim(g, x)?
            }
        }
        _ => return Ok(None),
    };
    g.broadcast(inner, &to).map(Some)
}

/// Neighbouring slices of one value are one slice; repetitions of an axis of extent 1 are a broadcast; of broadcasts
/// along common axes a broadcast.
fn concat(g: &mut Graph, v: Value) -> Replaced {
    let Op::Concat(axis) = *g.op(v) else {
        return Ok(None);
    };
    let (args, to) = (g.args(v).to_vec(), g.shape(v).clone());
    if args.iter().all(|a| *a == args[0]) && g.shape(args[0]).0[axis] == Dim::Fixed(1) {
        return g.broadcast(args[0], &to).map(Some);
    }
    let mut merged: Vec<Value> = Vec::new();
    for part in &args {
        match merged.last().and_then(|last| adjoining(g, *last, *part, axis)) {
            Some((x, start, stop)) => {
                merged.pop();
                merged.push(g.slice(x, axis, start, stop)?);
            }
            None => merged.push(*part),
        }
    }
    if merged != args {
        return g.concat(&merged, axis).map(Some);
    }
    common_broadcast(g, &args, axis, &to)
}

/// Two slices of one value that lie side by side: the value, where the first starts and where the second stops.
fn adjoining(g: &Graph, x: Value, y: Value, along: usize) -> Option<(Value, usize, usize)> {
    let parts = |v: Value| match *g.op(v) {
        Op::Slice {
            axis,
            start,
            stop,
            step: 1,
        } if axis == along => Some((g.args(v)[0], start, stop)),
        _ => None,
    };
    let ((a, start, middle), (b, next, stop)) = (parts(x)?, parts(y)?);
    (a == b && middle == next).then_some((a, start, stop))
}

/// `concat(broadcast(x), broadcast(y)) = broadcast(concat(x, y))` over axes that all parts repeat.
fn common_broadcast(g: &mut Graph, args: &[Value], axis: usize, to: &Shape) -> Replaced {
    if args.iter().any(|a| *g.op(*a) != Op::Broadcast) {
        return Ok(None);
    }
    let mut inner = Vec::new();
    for a in args {
        let x = g.args(*a)[0];
        inner.push(pad(g, x, to.rank())?);
    }
    let whole = |i: usize| i == axis || inner.iter().any(|x| g.shape(*x).0[i] != Dim::Fixed(1));
    let dims = |a: Value| {
        let dim = |(i, d): (usize, &Dim)| if whole(i) { *d } else { Dim::Fixed(1) };
        Shape(g.shape(a).0.iter().enumerate().map(dim).collect())
    };
    let shapes: Vec<Shape> = args.iter().map(|a| dims(*a)).collect();
    if shapes[0] == *g.shape(args[0]) {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for (x, shape) in inner.into_iter().zip(&shapes) {
        parts.push(g.broadcast(x, shape)?);
    }
    let joined = g.concat(&parts, axis)?;
    g.broadcast(joined, to).map(Some)
}

/// A lookup by repeated or reshaped indices is a repeated or reshaped lookup: `x[view(i)] = view(x[i])`.
fn gather(g: &mut Graph, v: Value) -> Replaced {
    let (Op::Gather(0), &[table, index]) = (g.op(v), g.args(v)) else {
        return Ok(None);
    };
    // The map from rows to requests stays where every reader looks for it.
    if !constant(g, table) || !matches!(g.op(index), Op::Broadcast | Op::Reshape) {
        return Ok(None);
    }
    let (reshaped, to) = (*g.op(index) == Op::Reshape, g.shape(v).clone());
    let mut inner = g.args(index)[0];
    if !reshaped {
        inner = pad(g, inner, g.shape(index).rank())?;
    }
    let rows = g.gather(table, inner)?;
    if reshaped {
        g.reshape(rows, &to).map(Some)
    } else {
        g.broadcast(rows, &to).map(Some)
    }
}
