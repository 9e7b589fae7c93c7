//! Random steps that move elements, look them up, or need a loop.

use loopfm::ir::{Binary, Fold, Op, Scalar, Value};
use loopfm::tensor::{DType, Dim, Shape};

use super::EXTENTS;
use super::build::Build;
use super::moves::{integer, of, peer};
use super::steps::PER_ROW;

/// Any value; mostly floats.
fn some(b: &mut Build, pool: &[Value]) -> Value {
    let floats = of(b, pool, DType::F32);
    floats.filter(|_| !b.rng.one_in(5)).unwrap_or_else(|| b.rng.pick(pool))
}

/// A random axis of fixed extent, and that extent.
pub(super) fn axis(b: &mut Build, x: Value) -> Option<(usize, usize)> {
    let all: Vec<(usize, usize)> = (0..b.graph.shape(x).rank())
        .filter_map(|a| Some((a, b.fixed_axis(x, a)?)))
        .collect();
    (!all.is_empty()).then(|| b.rng.pick(&all))
}

/// Joins two neighbouring axes, splits one, or inserts an axis of extent 1.
pub(super) fn reshape(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let mut dims = b.shape(x).0;
    let at = b.rng.below(dims.len().max(1));
    match b.rng.below(4) {
        0 if dims.len() < 5 => dims.insert(at, Dim::Fixed(1)),
        1 => {
            let whole = *dims.get(at)?;
            let divisors: Vec<usize> = (2..=whole.factor()).filter(|n| whole.factor() % n == 0).collect();
            let inner = if divisors.is_empty() { 1 } else { b.rng.pick(&divisors) };
            let split = [whole.with_factor(whole.factor() / inner), Dim::Fixed(inner)];
            dims.splice(at..=at, split);
        }
        // Rows stay the outer part of a joint axis.
        _ => {
            let (outer, inner) = (*dims.get(at)?, *dims.get(at + 1).filter(|d| !d.is_symbolic())?);
            dims.splice(at..=at + 1, [outer.with_factor(outer.factor() * inner.factor())]);
        }
    }
    b.reshape(x, Shape(dims))
}

pub(super) fn permute(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let order = b.rng.shuffled(b.graph.shape(x).rank());
    b.apply(Op::Permute(order), &[x])
}

pub(super) fn slice(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let (axis, n) = axis(b, x)?;
    let start = b.rng.below(n);
    let stop = b.rng.between(start + 1, n);
    let step = b.rng.pick(&[1, 1, 2, 3]);
    b.apply(
        Op::Slice {
            axis,
            start,
            stop,
            step,
        },
        &[x],
    )
}

pub(super) fn concat(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let (axis, n) = axis(b, x)?;
    let mut parts = vec![x];
    for _ in 0..b.rng.between(1, 3) {
        let part = peer(b, pool, x)?;
        let stop = b.rng.between(1, n);
        let (start, step) = (0, 1);
        let whole = b.rng.one_in(2);
        let op = Op::Slice {
            axis,
            start,
            stop,
            step,
        };
        parts.push(if whole { part } else { b.apply(op, &[part])? });
    }
    b.apply(Op::Concat(axis), &parts)
}

/// An index below `n` from an integer value.
fn index(b: &mut Build, ints: Value, n: usize) -> Option<Value> {
    let n = b.constant(Scalar::I32(n as i32));
    b.binary(Binary::Rem, ints, n)
}

/// Rows of an embedding table by a value; or indices along an axis by fixed positions.
pub(super) fn gather(b: &mut Build, pool: &[Value]) -> Option<Value> {
    if b.rng.one_in(3) {
        let x = some(b, pool);
        let (axis, n) = axis(b, x)?;
        let count = b.rng.pick(EXTENTS);
        let at = b.declare(Op::Iota, &[], DType::I32, Shape::fixed(&[count]))?;
        let at = index(b, at, n)?;
        return b.apply(Op::Gather(axis), &[x, at]);
    }
    let (n, width) = (b.rng.pick(EXTENTS), b.rng.pick(EXTENTS));
    let ids = integer(b, pool)?;
    if b.graph.shape(ids).per_row().iter().product::<usize>() * width > PER_ROW {
        return None;
    }
    let ids = index(b, ids, n)?;
    if b.rng.one_in(5) {
        let table = b.param(&[width, n], 1.0);
        return b.apply(Op::Gather(1), &[table, ids]).filter(|v| b.shape(*v).rank() < 5);
    }
    let table = b.param(&[n, width], 1.0);
    b.apply(Op::Gather(0), &[table, ids]).filter(|v| b.shape(*v).rank() < 5)
}

/// Positions along an axis that differ from row to row.
pub(super) fn take_along(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let (axis, n) = axis(b, x)?;
    let mut to = b.shape(x);
    to.0[axis] = Dim::Fixed(b.rng.between(1, n.min(33)));
    let ids = pool[0];
    let start = match to.0[0] {
        Dim::Rows(1) => {
            let mut column = vec![Dim::Fixed(1); to.rank()];
            column[0] = Dim::Rows(1);
            b.reshape(ids, Shape(column))?
        }
        _ => b.constant(Scalar::I32(3)),
    };
    let start = b.broadcast(start, &to)?;
    let along = b.declare(Op::Iota, &[], DType::I32, Shape(vec![to.0[axis]]))?;
    let mut column = vec![Dim::Fixed(1); to.rank()];
    column[axis] = to.0[axis];
    let along = b.reshape(along, Shape(column))?;
    let at = b.binary(Binary::Add, start, along)?;
    let at = index(b, at, n)?;
    b.apply(Op::TakeAlong(axis), &[x, at])
}

pub(super) fn dense(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = of(b, pool, DType::F32)?;
    let n = b.rng.pick(EXTENTS);
    let last = b.graph.shape(x).rank().checked_sub(1)?;
    let per_row: usize = b.graph.shape(x).per_row().iter().product();
    if per_row / b.fixed_axis(x, last)? * n > PER_ROW {
        return None;
    }
    let x = b.tame(x, 4.0)?;
    let y = b.linear(x, n)?;
    b.activation(y)
}

/// A product of two values of the batch, one matrix each for every leading index.
pub(super) fn product(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = of(b, pool, DType::F32)?;
    let x = b.tame(x, 2.0)?;
    let shape = b.shape(x);
    let lead = shape.rank().checked_sub(2).filter(|n| *n > 0)?;
    let (m, k) = (b.fixed_axis(x, lead)?, b.fixed_axis(x, lead + 1)?);
    if m * m * shape.per_row().iter().product::<usize>() > 64 * PER_ROW {
        return None;
    }
    let left = b.scaled(x, 1.0 / k as f32)?;
    let right = if b.rng.one_in(2) {
        let mut order: Vec<usize> = (0..shape.rank()).collect();
        order.swap(lead, lead + 1);
        b.apply(Op::Permute(order), &[x])?
    } else {
        let n = b.rng.pick(&EXTENTS[..8]);
        let w = b.param(&[k, n], 1.0);
        let mut to = shape.clone();
        (to.0[lead], to.0[lead + 1]) = (Dim::Fixed(k), Dim::Fixed(n));
        b.broadcast(w, &to)?
    };
    b.apply(Op::MatMul, &[left, right])
}

pub(super) fn reduce(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let fold = b.rng.pick(Fold::ALL);
    let mut axes: Vec<usize> = (0..b.rng.between(1, 2))
        .filter_map(|_| axis(b, x))
        .map(|(a, _)| a)
        .collect();
    axes.sort_unstable();
    axes.dedup();
    let n: usize = axes.iter().filter_map(|a| b.fixed_axis(x, *a)).product();
    let mean = fold == Fold::Sum && b.dtype(x) == DType::F32 && b.rng.one_in(2);
    let x = if mean { b.scaled(x, 1.0 / n as f32)? } else { x };
    b.apply(Op::Reduce(fold, axes), &[x])
}

pub(super) fn cumsum(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let (axis, n) = axis(b, x)?;
    let x = if b.dtype(x) == DType::F32 {
        b.tame(x, 32.0 / n as f32)?
    } else {
        x
    };
    b.apply(Op::CumSum(axis), &[x])
}
