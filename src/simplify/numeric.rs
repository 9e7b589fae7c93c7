//! Numeric features leave the product that they are concatenated into: `concat(x, q c) W = x W_x + q (c W_q)`, where `q`
//! is one column of an input and `c` a constant row (or one).
//!
//! A raw feature has the scale of what it counts, seconds or prices, and the product undoes that scale by cancellation:
//! normalisation is folded into `W` and the bias. Weights in f16 would cancel three digits only; a row of `n` numbers
//! costs nothing to keep as it is. And an embedding of a number, `d` columns wide, takes one multiplication instead of
//! `d`.
//!
//! Floating point: reassociates one sum; `c W_q` is folded in `f64`.

use super::affine::{copies, product};
use super::edit::{Edit, Replaced, constant_under, live, pad, peel, rewrite, trimmed};
use super::{Fault, Weights};
use crate::ir::{Binary, Graph, Op, TypeError, Value};
use crate::tensor::{DType, Dim, Shape};

/// More features than this are a matrix.
const FEW: usize = 4;

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    let g = rewrite(g, |e, v| match product(e.old, v) {
        Some((a, w)) if !copies(e, w) => leave(e, v, a, w),
        _ => Ok(None),
    })?;
    Ok(live(&g)?)
}

/// A feature and the row that it multiplies, if that is not 1.
struct Feature {
    column: Value,
    row: Option<Value>,
}

fn leave(e: &mut Edit<'_>, v: Value, a: Value, w: Value) -> Replaced {
    let g = e.old;
    let last = g.shape(a).rank() - 1;
    let parts = if *g.op(a) == Op::Concat(last) { g.args(a) } else { &[] };
    let features = parts.iter().filter(|p| feature(g, **p).is_some()).count();
    if features == 0 || features > FEW || features == parts.len() {
        return Ok(None);
    }
    let whole = e.at(w);
    let (mut others, mut rows, mut terms) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    for part in parts {
        let stop = start + g.shape(*part).0[last].factor();
        let own = e.new.slice(whole, 0, start, stop)?;
        match feature(g, *part) {
            Some(feature) => terms.push(term(e, &feature, own, g.shape(v))?),
            None => {
                others.push(e.at(*part));
                rows.push(own);
            }
        }
        start = stop;
    }
    let x = e.new.concat(&others, last)?;
    let rows = e.new.concat(&rows, 0)?;
    let y = e.new.matmul(x, rows)?;
    let sum = terms
        .into_iter()
        .try_fold(y, |sum, t| e.new.binary(Binary::Add, sum, t))?;
    Ok(Some(sum))
}

/// `q (c W)`.
fn term(e: &mut Edit<'_>, feature: &Feature, w: Value, to: &Shape) -> Result<Value, TypeError> {
    let row = match feature.row {
        Some(c) => {
            let c = e.at(c);
            let c = pad(&mut e.new, c, 2)?;
            let c = e.new.broadcast(c, &Shape(vec![Dim::Fixed(1), e.new.shape(w).0[0]]))?;
            e.new.matmul(c, w)?
        }
        None => w,
    };
    let row = e.new.reshape(row, &Shape(vec![to.0[to.rank() - 1]]))?;
    let column = e.at(feature.column);
    let (column, row) = (e.new.broadcast(column, to)?, e.new.broadcast(row, to)?);
    e.new.binary(Binary::Mul, column, row)
}

/// A value as a feature times a row.
fn feature(g: &Graph, v: Value) -> Option<Feature> {
    let last = g.shape(v).rank() - 1;
    if g.shape(v).0[last] == Dim::Fixed(1) {
        return is_raw(g, v).then_some(Feature { column: v, row: None });
    }
    let (Op::Binary(Binary::Mul), &[x, y]) = (g.op(v), g.args(v)) else {
        return None;
    };
    let (column, row) = (peel(g, x), constant_under(g, y)?);
    let one_column = g.shape(column).rank() == last + 1 && g.shape(column).0[last] == Dim::Fixed(1);
    let one_row = trimmed(g.shape(row)).len() <= 1;
    (one_column && one_row && is_raw(g, column)).then_some(Feature { column, row: Some(row) })
}

/// Whether a value is a view of a float input.
fn is_raw(g: &Graph, v: Value) -> bool {
    match g.op(v) {
        Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast => is_raw(g, g.args(v)[0]),
        Op::Input(_) => g.ty(v).dtype == DType::F32,
        _ => false,
    }
}
