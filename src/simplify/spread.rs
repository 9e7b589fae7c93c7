//! What repeats is gathered: `(x + broadcast(y)) + broadcast(z) = x + broadcast(y + z)`, likewise for products.
//!
//! The inner sum runs once for all rows that repeat it; so a bias joins the part of a split product that is computed
//! once per row. Floating point: reassociates.

use super::edit::{Edit, Replaced, live, padded, peel, rewrite};
use super::{Fault, Weights};
use crate::ir::{Binary, Graph, Op, Value};
use crate::tensor::{DType, Shape, Sizes};

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    let g = rewrite(g, gathered)?;
    Ok(live(&g)?)
}

/// The operands of a commutative float op: one that is whole and what the other one repeats.
fn whole_and_repeated(g: &Graph, v: Value, op: Binary) -> Option<(Value, Value)> {
    let (Op::Binary(seen), &[x, y]) = (g.op(v), g.args(v)) else {
        return None;
    };
    if *seen != op || g.ty(v).dtype != DType::F32 {
        return None;
    }
    let repeats = |v: Value| *g.op(v) == Op::Broadcast;
    match (repeats(x), repeats(y)) {
        (false, true) => Some((x, peel(g, y))),
        (true, false) => Some((y, peel(g, x))),
        _ => None,
    }
}

fn gathered(e: &mut Edit<'_>, v: Value) -> Replaced {
    let Op::Binary(op @ (Binary::Add | Binary::Mul)) = *e.old.op(v) else {
        return Ok(None);
    };
    let Some((inner, z)) = whole_and_repeated(e.old, v, op) else {
        return Ok(None);
    };
    let Some((x, y)) = whole_and_repeated(e.old, inner, op).filter(|_| e.only_user(inner).is_some()) else {
        return Ok(None);
    };
    if !nests(e.old.shape(y), e.old.shape(z)) {
        return Ok(None);
    }
    let (x, y, z) = (e.at(x), e.at(y), e.at(z));
    let once = e.new.binary(op, y, z)?;
    e.new.binary(op, x, once).map(Some)
}

/// Whether two shapes broadcast to one that is no larger than the larger of them.
fn nests(x: &Shape, y: &Shape) -> bool {
    let rank = x.rank().max(y.rank());
    let (a, b) = (padded(x, rank), padded(y, rank));
    let joint = Shape(a.0.iter().zip(&b.0).map(|(a, b)| *a.max(b)).collect());
    let several = Sizes { rows: 64, requests: 64 };
    joint.numel(several) <= x.numel(several).max(y.numel(several))
}
