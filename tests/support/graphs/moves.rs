//! One random step: an op of the table on values that suit it, or a block of ops that models are made of.

use loopfm::ir::{Binary, Op, Scalar, Unary, Value};
use loopfm::tensor::DType;

use super::build::Build;
use super::steps::{PER_ROW, eighths};
use super::{blocks, layout};

/// Appends a random step; `None` when it came to nothing. Results too large for a row are refused.
pub(super) fn any(b: &mut Build, pool: &[Value]) -> Option<Value> {
    let v = match b.rng.below(23) {
        0 | 1 => unary(b, pool),
        2..=5 => binary(b, pool),
        6 => select(b, pool),
        7 => cast(b, pool),
        8 | 9 => layout::reshape(b, pool),
        10 => layout::permute(b, pool),
        11 => layout::slice(b, pool),
        12 => layout::concat(b, pool),
        13 => layout::gather(b, pool),
        14 => layout::take_along(b, pool),
        15 | 16 => layout::dense(b, pool),
        17 => layout::product(b, pool),
        18 => layout::reduce(b, pool),
        19 => layout::cumsum(b, pool),
        _ => {
            let x = of(b, pool, DType::F32)?;
            blocks::any(b, x)
        }
    }?;
    let per_row: usize = b.graph.shape(v).per_row().iter().product();
    (per_row <= PER_ROW).then_some(v)
}

/// A value of an element type; late ones more often.
pub(super) fn of(b: &mut Build, pool: &[Value], dtype: DType) -> Option<Value> {
    let all: Vec<Value> = pool.iter().copied().filter(|v| b.dtype(*v) == dtype).collect();
    let from = if b.rng.one_in(2) {
        all.len().saturating_sub(3)
    } else {
        0
    };
    (!all.is_empty()).then(|| b.rng.pick(&all[from..]))
}

/// An operand to go with `x`: another value of its type, or a parameter or constant that broadcasts to it.
pub(super) fn peer(b: &mut Build, pool: &[Value], x: Value) -> Option<Value> {
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

pub(super) fn integer(b: &mut Build, pool: &[Value]) -> Option<Value> {
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
