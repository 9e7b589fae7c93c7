//! One random step: an op of the table on values that suit it, or a block of ops that models are made of.

use loopfm::ir::{Binary, Fold, Op, Scalar, Unary, Value};
use loopfm::tensor::{DType, Dim, Shape};

use super::build::Build;
use super::steps::{PER_ROW, eighths};
use super::{EXTENTS, blocks};

/// Appends a random step; `None` when it came to nothing. Results too large for a row are refused.
pub(super) fn any(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let v = match b.rng.below(23) {
        0 | 1 => unary(b, pool),
        2..=5 => binary(b, pool),
        6 => select(b, pool),
        7 => cast(b, pool),
        8 | 9 => reshape(b, pool),
        10 => permute(b, pool),
        11 => slice(b, pool),
        12 => concat(b, pool),
        13 => gather(b, pool),
        14 => take_along(b, pool),
        15 | 16 => dense(b, pool),
        17 => product(b, pool),
        18 => reduce(b, pool),
        19 => cumsum(b, pool),
        _ => {
            let x = of(b, pool, DType::F32)?;
            blocks::any(b, x)
        }
    }?;
    let per_row: usize = b.graph.shape(v).per_row().iter().product();
    (per_row <= PER_ROW).then_some(v)
}

/// A value of an element type; late ones more often.
fn of(b: &mut Build, pool: &[Value], dtype: DType) -> Option<Value> {
    let all: Vec<Value> = pool.iter().copied().filter(|v| b.dtype(*v) == dtype).collect();
    let from = if b.rng.one_in(2) {
        all.len().saturating_sub(3)
    } else {
        0
    };
    (!all.is_empty()).then(|| b.rng.pick(&all[from..]))
}

/// An operand to go with `x`: another value of its type, or a parameter or constant that broadcasts to it.
fn peer(b: &mut Build, pool: &[Value], x: Value) -> Option<Value> {
    let ty = b.graph.ty(x).clone();
    let alike: Vec<Value> = pool.iter().copied().filter(|v| *b.graph.ty(*v) == ty).collect();
    if !alike.is_empty() && !b.rng.one_in(3) {
        return Some(b.rng.pick(&alike));
    }
    let y = match ty.dtype {
        DType::F32 if b.rng.one_in(3) => 2.0 * b.rng.unit(),
        DType::F32 => {
            let from = b.rng.below(ty.shape.rank() + 1);
            let extents: Vec<usize> = ty.shape.0[from..]
                .iter()
                .map(|d| {
                    if d.is_symbolic() || b.rng.one_in(4) {
                        1
                    } else {
                        d.factor()
                    }
                })
                .collect();
            let w = b.param(&extents, 1.0);
            return b.broadcast(w, &ty.shape);
        }
        DType::I32 => {
            let c = b.rng.between(1, 9) as i32;
            let c = b.constant(Scalar::I32(c));
            return b.broadcast(c, &ty.shape);
        }
        DType::Bool => {
            let c = b.rng.one_in(2);
            let c = b.constant(Scalar::Bool(c));
            return b.broadcast(c, &ty.shape);
        }
    };
    let y = b.float(y);
    b.broadcast(y, &ty.shape)
}

fn unary(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let op = b.rng.pick(Unary::ALL);
    let whole = b.rng.one_in(4);
    let x = match op {
        Unary::Neg | Unary::Abs | Unary::Sign if whole => return integer(b, pool).and_then(|x| b.unary(op, x)),
        Unary::Not => of(b, pool, DType::Bool)?,
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc => stepwise(b, pool)?,
        _ => {
            let x = of(b, pool, DType::F32)?;
            let x = b.tame(x, 3.0)?;
            match op {
                Unary::Log | Unary::Log1p | Unary::Sqrt | Unary::Rsqrt | Unary::Recip => b.positive(x)?,
                _ => x,
            }
        }
    };
    b.unary(op, x)
}

fn integer(b: &mut Build, pool: &[Value]) -> Option<Value> {
    of(b, pool, DType::I32)
}

fn stepwise(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let ints = integer(b, pool)?;
    eighths(b, ints)
}

fn binary(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let op = b.rng.pick(Binary::ALL);
    if op.compares() {
        return compare(b, pool, op);
    }
    let dtype = match b.rng.below(5) {
        _ if op.is_logic() => DType::Bool,
        0 => DType::I32,
        _ => DType::F32,
    };
    let x = match (op, dtype) {
        (Binary::Rem, DType::F32) => stepwise(b, pool)?,
        _ => of(b, pool, dtype)?,
    };
    match (op, dtype) {
        (Binary::Div | Binary::Rem | Binary::Pow, DType::I32) => {
            let y = if op == Binary::Pow {
                2
            } else {
                b.rng.pick(&[-3, 2, 3, 7])
            };
            let y = b.constant(Scalar::I32(y));
            b.binary(op, x, y)
        }
        // A whole divisor keeps the remainder away from 0 and the divisor.
        (Binary::Rem, _) => {
            let y = b.rng.pick(&[-2.0, 1.0, 3.0]);
            let y = b.float(y);
            b.binary(op, x, y)
        }
        (Binary::Pow, _) => {
            let x = b.tame(x, 3.0)?;
            let x = b.positive(x)?;
            let y = b.rng.pick(&[2.0, 0.5, -1.0, 1.5, 3.0, 0.0]);
            let y = b.float(y);
            b.binary(op, x, y)
        }
        (Binary::Div, _) => {
            let y = peer(b, pool, x)?;
            let y = b.positive(y)?;
            b.binary(op, x, y)
        }
        _ => {
            let y = peer(b, pool, x)?;
            let (x, y) = if b.rng.one_in(2) { (x, y) } else { (y, x) };
            b.binary(op, x, y)
        }
    }
}

fn compare(b: &mut Build, pool: &[Value], op: Binary) -> Option<Value> {
    match b.rng.below(4) {
        0 => {
            let x = of(b, pool, DType::I32)?;
            let y = peer(b, pool, x)?;
            b.binary(op, x, y)
        }
        // Truth values are equal or not.
        1 if matches!(op, Binary::Eq | Binary::Ne) => {
            let x = of(b, pool, DType::Bool)?;
            let y = peer(b, pool, x)?;
            b.binary(op, x, y)
        }
        _ => {
            let x = of(b, pool, DType::F32)?;
            above(b, x, op)
        }
    }
}

/// `x` compared with the middle of the widest gap between its elements, which rounding does not bridge.
fn above(b: &mut Build, x: Value, op: Binary) -> Option<Value> {
    let mut sorted = b.value(x).as_f32()?.to_vec();
    sorted.sort_by(f32::total_cmp);
    let low = sorted.first()? - 1.0;
    let gap = |w: &[f32]| (w[1] - w[0], (w[0] + w[1]) / 2.0);
    let widest = sorted.windows(2).map(gap).max_by(|a, b| a.0.total_cmp(&b.0));
    let at = widest
        .filter(|(gap, _)| *gap > 0.02 * (1.0 + b.largest(x)))
        .map_or(low, |(_, at)| at);
    let at = b.float(at);
    b.binary(op, x, at)
}

fn select(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let dtype = b.rng.pick(&[DType::F32, DType::F32, DType::I32, DType::Bool]);
    let x = of(b, pool, dtype)?;
    let y = peer(b, pool, x)?;
    let shape = b.shape(x);
    let suits = |v: &Value| b.dtype(*v) == DType::Bool && *b.graph.shape(*v) == shape;
    let known: Vec<Value> = pool.iter().copied().filter(suits).collect();
    let c = match (known.is_empty(), dtype) {
        (false, _) => b.rng.pick(&known),
        (true, DType::F32) => above(b, x, Binary::Gt)?,
        (true, DType::I32) => b.binary(Binary::Lt, x, y)?,
        (true, DType::Bool) => return None,
    };
    b.apply(Op::Select, &[c, x, y])
}

fn cast(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let (from, to) = b.rng.pick(&[
        (DType::I32, DType::F32),
        (DType::I32, DType::Bool),
        (DType::Bool, DType::F32),
        (DType::Bool, DType::I32),
        (DType::F32, DType::I32),
        (DType::F32, DType::Bool),
    ]);
    let x = if from == DType::F32 {
        stepwise(b, pool)?
    } else {
        of(b, pool, from)?
    };
    b.cast(x, to)
}

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
fn reshape(b: &mut Build, pool: &[Value]) -> Option<Value> {
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

fn permute(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let order = b.rng.shuffled(b.graph.shape(x).rank());
    b.apply(Op::Permute(order), &[x])
}

fn slice(b: &mut Build, pool: &[Value]) -> Option<Value> {
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

fn concat(b: &mut Build, pool: &[Value]) -> Option<Value> {
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
fn gather(b: &mut Build, pool: &[Value]) -> Option<Value> {
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
fn take_along(b: &mut Build, pool: &[Value]) -> Option<Value> {
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

fn dense(b: &mut Build, pool: &[Value]) -> Option<Value> {
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
fn product(b: &mut Build, pool: &[Value]) -> Option<Value> {
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

fn reduce(b: &mut Build, pool: &[Value]) -> Option<Value> {
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

fn cumsum(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let x = some(b, pool);
    let (axis, n) = axis(b, x)?;
    let x = if b.dtype(x) == DType::F32 {
        b.tame(x, 32.0 / n as f32)?
    } else {
        x
    };
    b.apply(Op::CumSum(axis), &[x])
}
