//! Slices of views: what a slice leaves out is not made. Exact.

use super::edit::{Replaced, volume};
use crate::ir::{Graph, Op, Value};
use crate::tensor::{Dim, Shape};

/// A slice of a whole axis is nothing, of a slice one slice, of a broadcast axis no slice; a slice of a concatenation
/// takes only the parts it meets; a slice of a permutation is a permuted slice; one of a reshape, along the first of the
/// axes that one became, is a reshaped slice.
pub(super) fn slice(g: &mut Graph, v: Value) -> Replaced {
    let Op::Slice {
        axis,
        start,
        stop,
        step,
    } = *g.op(v)
    else {
        return Ok(None);
    };
    let (x, to) = (g.args(v)[0], g.shape(v).clone());
    if *g.shape(x) == to {
        return Ok(Some(x));
    }
    let args = g.args(x).to_vec();
    match g.op(x).clone() {
        Op::Slice {
            axis: a,
            start: s,
            step: k,
            ..
        } if a == axis => {
            let op = Op::Slice {
                axis,
                start: s + start * k,
                stop: s + (stop - 1) * k + 1,
                step: k * step,
            };
            g.apply(op, &args).map(Some)
        }
        Op::Broadcast => {
            let lead = to.rank() - g.shape(args[0]).rank();
            let repeated = axis < lead || g.shape(args[0]).0[axis - lead] == Dim::Fixed(1);
            let part = if repeated {
                args[0]
            } else {
                let op = Op::Slice {
                    axis: axis - lead,
                    start,
                    stop,
                    step,
                };
                g.apply(op, &args)?
            };
            g.broadcast(part, &to).map(Some)
        }
        Op::Permute(perm) => {
            let op = Op::Slice {
                axis: perm[axis],
                start,
                stop,
                step,
            };
            let part = g.apply(op, &args)?;
            g.permute(part, &perm).map(Some)
        }
        Op::Reshape if step == 1 => {
            let Some(a) = split_axis(g.shape(args[0]), g.shape(x), axis) else {
                return Ok(None);
            };
            let others = g.shape(args[0]).0[a].factor() / g.shape(x).0[axis].factor();
            let part = g.slice(args[0], a, start * others, stop * others)?;
            g.reshape(part, &to).map(Some)
        }
        Op::Concat(a) if a == axis && step == 1 => {
            let mut parts = Vec::new();
            let mut at = 0;
            for part in args {
                let n = g.shape(part).0[axis].factor();
                let (from, till) = (start.max(at), stop.min(at + n));
                if from < till {
                    parts.push(g.slice(part, axis, from - at, till - at)?);
                }
                at += n;
            }
            g.concat(&parts, axis).map(Some)
        }
        Op::Concat(a) if a != axis => {
            let slice = |x: &Value| {
                let op = Op::Slice {
                    axis,
                    start,
                    stop,
                    step,
                };
                g.apply(op, &[*x])
            };
            let parts = args.iter().map(slice).collect::<Result<Vec<_>, _>>()?;
            g.concat(&parts, a).map(Some)
        }
        _ => Ok(None),
    }
}

/// The axis of `from` that a reshape makes into `axis` of `to` and what follows it.
fn split_axis(from: &Shape, to: &Shape, axis: usize) -> Option<usize> {
    let same = |i: &usize| volume(&from.0[..*i]) == volume(&to.0[..axis]) && from.0[*i] != Dim::Fixed(1);
    let splits = |i: &usize| !from.0[*i].is_symbolic() && from.0[*i] != to.0[axis];
    let at = (0..from.rank()).find(same).filter(splits)?;
    let ends = |j: usize| volume(&to.0[..j]) == volume(&from.0[..=at]);
    (axis + 1..=to.rank()).any(ends).then_some(at)
}
