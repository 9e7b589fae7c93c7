//! Scalar algebra: identities of single ops.
//!
//! Exact unless a rule says otherwise, but for the sign of zero (`x + 0`) and the payload of NaN.

use super::edit::{Replaced, Rule, constant_under, number, peephole, scalar};
use super::{Fault, Weights};
use crate::ir::{Binary, Graph, Op, Scalar, Unary, Value};
use crate::tensor::DType;

const RULES: &[Rule] = &[
    order, involution, identity, power, quotient, difference, cast, detach, choice,
];

pub(super) fn run(g: &Graph, weights: &mut Weights<'_>) -> Result<Graph, Fault> {
    let g = super::fold::exact_scalars(g, weights)?;
    Ok(peephole(&g, RULES)?)
}

fn binary(g: &Graph, v: Value) -> Option<(Binary, Value, Value)> {
    match (g.op(v), g.args(v)) {
        (Op::Binary(b), &[x, y]) => Some((*b, x, y)),
        _ => None,
    }
}

/// Constants stand on the right: `c x = x c`. Later rules look for them there alone.
fn order(g: &mut Graph, v: Value) -> Replaced {
    let Some((op, x, y)) = binary(g, v).filter(|(op, ..)| op.commutes()) else {
        return Ok(None);
    };
    if constant_under(g, x).is_none() || constant_under(g, y).is_some() {
        return Ok(None);
    }
    g.binary(op, y, x).map(Some)
}

/// `--x = x`, `!!x = x`, `!(x == y) = (x != y)`.
fn involution(g: &mut Graph, v: Value) -> Replaced {
    let Op::Unary(u @ (Unary::Neg | Unary::Not)) = *g.op(v) else {
        return Ok(None);
    };
    let x = g.args(v)[0];
    match (u, g.op(x).clone()) {
        (_, Op::Unary(inner)) if inner == u => Ok(Some(g.args(x)[0])),
        (Unary::Not, Op::Binary(op @ (Binary::Eq | Binary::Ne))) => {
            let other = if op == Binary::Eq { Binary::Ne } else { Binary::Eq };
            let args = g.args(x).to_vec();
            g.apply(Op::Binary(other), &args).map(Some)
        }
        _ => Ok(None),
    }
}

/// `x + 0 = x - 0 = x * 1 = x / 1 = x ^ 1 = x`, `x && true = x || false = x`.
fn identity(g: &mut Graph, v: Value) -> Replaced {
    let Some((op, x, y)) = binary(g, v) else {
        return Ok(None);
    };
    let neutral = match op {
        Binary::Add | Binary::Sub => (0.0, 0, None),
        Binary::Mul | Binary::Div => (1.0, 1, None),
        Binary::Pow => (1.0, 1, None),
        Binary::And => (f64::NAN, 0, Some(true)),
        Binary::Or | Binary::Xor => (f64::NAN, 0, Some(false)),
        _ => return Ok(None),
    };
    let fits = match scalar(g, y) {
        Some(Scalar::I32(c)) => c == neutral.1,
        Some(Scalar::Bool(c)) => Some(c) == neutral.2,
        Some(Scalar::F32(_)) | None => number(g, y) == Some(neutral.0),
    };
    Ok(fits.then_some(x))
}

/// `x^2 = x x`, `x^3 = x x x`, `x^0.5 = sqrt x`, `x^-0.5 = rsqrt x`, `x^-1 = recip x`, `recip(sqrt x) = rsqrt x`; last
/// bits may differ.
fn power(g: &mut Graph, v: Value) -> Replaced {
    if let Op::Unary(Unary::Recip) = g.op(v) {
        let x = g.args(v)[0];
        return match g.op(x) {
            Op::Unary(Unary::Sqrt) => g.unary(Unary::Rsqrt, g.args(x)[0]).map(Some),
            _ => Ok(None),
        };
    }
    let Some((Binary::Pow, x, y)) = binary(g, v) else {
        return Ok(None);
    };
    let Some(n) = number(g, y) else {
        return Ok(None);
    };
    let result = if n == 2.0 {
        g.binary(Binary::Mul, x, x)
    } else if n == 3.0 {
        let square = g.binary(Binary::Mul, x, x)?;
        g.binary(Binary::Mul, square, x)
    } else if n == 0.5 {
        g.unary(Unary::Sqrt, x)
    } else if n == -0.5 {
        g.unary(Unary::Rsqrt, x)
    } else if n == -1.0 {
        g.unary(Unary::Recip, x)
    } else {
        return Ok(None);
    };
    result.map(Some)
}

/// `x / c = x * (1 / c)` where the reciprocal is a normal number, `1 / x = recip x`, and for what repeats
/// `x / broadcast(y) = x * broadcast(1 / y)`: one division for all that share it. One more rounding; a subnormal `y`
/// overflows.
fn quotient(g: &mut Graph, v: Value) -> Replaced {
    let Some((Binary::Div, x, y)) = binary(g, v).filter(|_| g.ty(v).dtype == DType::F32) else {
        return Ok(None);
    };
    if number(g, x) == Some(1.0) {
        return g.unary(Unary::Recip, y).map(Some);
    }
    let repeated = if *g.op(y) == Op::Broadcast { g.args(y)[0] } else { y };
    let shared = match number(g, repeated) {
        Some(c) => normal(c) && normal(c.recip()),
        None => repeated != y && constant_under(g, y).is_none(),
    };
    if !shared {
        return Ok(None);
    }
    let factor = g.unary(Unary::Recip, repeated)?;
    g.binary(Binary::Mul, x, factor).map(Some)
}

/// Whether a number is a normal `f32`.
fn normal(x: f64) -> bool {
    (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&x.abs())
}

/// `x - c = x + (-c)`, so that affine chains know two ops alone; exact. `x - (-y) = x + y`, `x + (-y) = x - y`.
fn difference(g: &mut Graph, v: Value) -> Replaced {
    let Some((op @ (Binary::Add | Binary::Sub), x, y)) = binary(g, v) else {
        return Ok(None);
    };
    if g.ty(v).dtype != DType::F32 {
        return Ok(None);
    }
    if *g.op(y) == Op::Unary(Unary::Neg) && constant_under(g, y).is_none() {
        let other = if op == Binary::Add { Binary::Sub } else { Binary::Add };
        return g.binary(other, x, g.args(y)[0]).map(Some);
    }
    match constant_under(g, y) {
        Some(c) if op == Binary::Sub && constant_under(g, x).is_none() => {
            let minus = g.unary(Unary::Neg, c)?;
            g.binary(Binary::Add, x, minus).map(Some)
        }
        _ => Ok(None),
    }
}

/// A cast to the operand's type is nothing; through a wider type it is direct.
fn cast(g: &mut Graph, v: Value) -> Replaced {
    if *g.op(v) != Op::Cast {
        return Ok(None);
    }
    let (x, to) = (g.args(v)[0], g.ty(v).dtype);
    if g.ty(x).dtype == to {
        return Ok(Some(x));
    }
    if *g.op(x) == Op::Cast {
        let source = g.args(x)[0];
        // Truth values survive any number type.
        if g.ty(source).dtype == DType::Bool {
            return g.cast(source, to).map(Some);
        }
    }
    Ok(None)
}

/// `detach(x) = x`: a graph that is simplified has all its gradients.
fn detach(g: &mut Graph, v: Value) -> Replaced {
    Ok((*g.op(v) == Op::Detach).then(|| g.args(v)[0]))
}

/// `select(true, x, y) = x`, `select(false, x, y) = y`, `select(c, x, x) = x`, `select(!c, x, y) = select(c, y, x)`.
fn choice(g: &mut Graph, v: Value) -> Replaced {
    let (Op::Select, &[c, x, y]) = (g.op(v), g.args(v)) else {
        return Ok(None);
    };
    match scalar(g, c) {
        Some(Scalar::Bool(c)) => return Ok(Some(if c { x } else { y })),
        _ if x == y => return Ok(Some(x)),
        _ => {}
    }
    match g.op(c) {
        Op::Unary(Unary::Not) => g.select(g.args(c)[0], y, x).map(Some),
        _ => Ok(None),
    }
}
