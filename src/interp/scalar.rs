//! Functions of single elements.

use super::Real;
use super::value::{Elements, Tensor};
use crate::ir::{Binary, Unary};
use crate::random;
use crate::tensor::DType;

pub(super) fn unary<T: Real>(op: Unary, x: &Tensor<T>) -> Elements<T> {
    match &x.data {
        Elements::Float(x) => Elements::Float(x.iter().map(|x| of_float(op, *x)).collect()),
        Elements::Int(x) => Elements::Int(x.iter().map(|x| of_int(op, *x)).collect()),
        Elements::Bool(x) => Elements::Bool(x.iter().map(|x| !x).collect()),
    }
}

fn of_float<T: Real>(op: Unary, x: T) -> T {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign if x > T::ZERO => T::ONE,
        Unary::Sign if x < T::ZERO => -T::ONE,
        Unary::Sign => T::ZERO,
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round(),
        Unary::Trunc => x.trunc(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Log1p => x.log1p(),
        Unary::Expm1 => x.expm1(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => T::ONE / x.sqrt(),
        Unary::Recip => T::ONE / x,
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => x.sigmoid(),
        Unary::Erf => x.erf(),
        Unary::Not => unreachable!("typing keeps `not` to truth values"),
    }
}

fn of_int(op: Unary, x: i32) -> i32 {
    match op {
        Unary::Neg => x.wrapping_neg(),
        Unary::Abs => x.wrapping_abs(),
        Unary::Sign => x.signum(),
        Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Trunc
        | Unary::Exp
        | Unary::Log
        | Unary::Log1p
        | Unary::Expm1
        | Unary::Sqrt
        | Unary::Rsqrt
        | Unary::Recip
        | Unary::Sin
        | Unary::Cos
        | Unary::Tanh
        | Unary::Sigmoid
        | Unary::Erf
        | Unary::Not => unreachable!("typing keeps `{}` from integers", op.name()),
    }
}

pub(super) fn binary<T: Real>(op: Binary, x: &Tensor<T>, y: &Tensor<T>) -> Elements<T> {
    match (&x.data, &y.data) {
        (Elements::Float(x), Elements::Float(y)) if op.compares() => Elements::Bool(compare(op, x, y)),
        (Elements::Int(x), Elements::Int(y)) if op.compares() => Elements::Bool(compare(op, x, y)),
        (Elements::Bool(x), Elements::Bool(y)) if op.compares() => Elements::Bool(compare(op, x, y)),
        (Elements::Float(x), Elements::Float(y)) => Elements::Float(zip(x, y, |x, y| of_floats(op, x, y))),
        (Elements::Int(x), Elements::Int(y)) => Elements::Int(zip(x, y, |x, y| of_ints(op, x, y))),
        (Elements::Bool(x), Elements::Bool(y)) => Elements::Bool(zip(x, y, |x, y| of_bools(op, x, y))),
        _ => unreachable!("typing gives both operands of `{}` one type", op.name()),
    }
}

fn zip<E: Copy, R>(x: &[E], y: &[E], f: impl Fn(E, E) -> R) -> Vec<R> {
    x.iter().zip(y).map(|(x, y)| f(*x, *y)).collect()
}

fn compare<E: Copy + PartialOrd>(op: Binary, x: &[E], y: &[E]) -> Vec<bool> {
    zip(x, y, |x, y| match op {
        Binary::Eq => x == y,
        Binary::Ne => x != y,
        Binary::Lt => x < y,
        Binary::Le => x <= y,
        Binary::Gt => x > y,
        Binary::Ge => x >= y,
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Div
        | Binary::Pow
        | Binary::Max
        | Binary::Min
        | Binary::Rem
        | Binary::And
        | Binary::Or
        | Binary::Xor => unreachable!("`{}` does not compare", op.name()),
    })
}

fn of_floats<T: Real>(op: Binary, x: T, y: T) -> T {
    match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Pow => x.pow(y),
        Binary::Max => larger(x, y),
        Binary::Min => smaller(x, y),
        Binary::Rem => {
            let r = x % y;
            let other_sign = (r < T::ZERO) != (y < T::ZERO);
            if r != T::ZERO && other_sign { r + y } else { r }
        }
        Binary::Eq
        | Binary::Ne
        | Binary::Lt
        | Binary::Le
        | Binary::Gt
        | Binary::Ge
        | Binary::And
        | Binary::Or
        | Binary::Xor => unreachable!("typing keeps `{}` from floats", op.name()),
    }
}

/// The larger; NaN if either is.
pub(super) fn larger<T: Real>(x: T, y: T) -> T {
    if x.is_nan() || x > y { x } else { y }
}

/// The smaller; NaN if either is.
pub(super) fn smaller<T: Real>(x: T, y: T) -> T {
    if x.is_nan() || x < y { x } else { y }
}

fn of_ints(op: Binary, x: i32, y: i32) -> i32 {
    match op {
        Binary::Add => x.wrapping_add(y),
        Binary::Sub => x.wrapping_sub(y),
        Binary::Mul => x.wrapping_mul(y),
        // By zero: as WGSL has it, x / 0 = x and x % 0 = 0.
        Binary::Div if y == 0 => x,
        Binary::Rem if y == 0 => 0,
        Binary::Div => x.wrapping_div(y),
        Binary::Rem => {
            let r = x.wrapping_rem(y);
            if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
        }
        Binary::Pow => int_pow(x, y),
        Binary::Max => x.max(y),
        Binary::Min => x.min(y),
        Binary::Eq
        | Binary::Ne
        | Binary::Lt
        | Binary::Le
        | Binary::Gt
        | Binary::Ge
        | Binary::And
        | Binary::Or
        | Binary::Xor => unreachable!("typing keeps `{}` from integers", op.name()),
    }
}

/// A negative power is the truncated reciprocal, 0 for 0, as in PyTorch.
fn int_pow(x: i32, y: i32) -> i32 {
    match u32::try_from(y) {
        Ok(y) => x.wrapping_pow(y),
        Err(_) => match x {
            1 => 1,
            -1 if y % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        },
    }
}

fn of_bools(op: Binary, x: bool, y: bool) -> bool {
    match op {
        Binary::And => x & y,
        Binary::Or => x | y,
        Binary::Xor => x ^ y,
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Div
        | Binary::Pow
        | Binary::Max
        | Binary::Min
        | Binary::Rem
        | Binary::Eq
        | Binary::Ne
        | Binary::Lt
        | Binary::Le
        | Binary::Gt
        | Binary::Ge => unreachable!("typing keeps `{}` from truth values", op.name()),
    }
}

pub(super) fn select<T: Real>(c: &Tensor<T>, x: &Tensor<T>, y: &Tensor<T>) -> Elements<T> {
    let c = c.bools();
    match (&x.data, &y.data) {
        (Elements::Float(x), Elements::Float(y)) => Elements::Float(choose(c, x, y)),
        (Elements::Int(x), Elements::Int(y)) => Elements::Int(choose(c, x, y)),
        (Elements::Bool(x), Elements::Bool(y)) => Elements::Bool(choose(c, x, y)),
        _ => unreachable!("typing gives both choices one type"),
    }
}

fn choose<E: Copy>(c: &[bool], x: &[E], y: &[E]) -> Vec<E> {
    let choices = x.iter().zip(y);
    c.iter()
        .zip(choices)
        .map(|(c, (x, y))| if *c { *x } else { *y })
        .collect()
}

/// As many numbers of a stream as the shape has elements.
pub(super) fn uniform<T: Real>(seed: i32, stream: u32, shape: &[usize]) -> Vec<T> {
    let n: usize = shape.iter().product();
    (0..n as u64)
        .map(|i| T::from_f32(random::uniform(seed, stream, i)))
        .collect()
}

pub(super) fn cast<T: Real>(x: &Tensor<T>, to: DType) -> Elements<T> {
    match (&x.data, to) {
        (Elements::Float(_), DType::F32) | (Elements::Int(_), DType::I32) | (Elements::Bool(_), DType::Bool) => {
            x.data.clone()
        }
        (Elements::Float(x), DType::I32) => Elements::Int(x.iter().map(|x| x.to_i32()).collect()),
        (Elements::Float(x), DType::Bool) => Elements::Bool(x.iter().map(|x| *x != T::ZERO).collect()),
        (Elements::Int(x), DType::F32) => Elements::Float(x.iter().map(|x| T::from_i32(*x)).collect()),
        (Elements::Int(x), DType::Bool) => Elements::Bool(x.iter().map(|x| *x != 0).collect()),
        (Elements::Bool(x), DType::F32) => Elements::Float(x.iter().map(|x| T::from_i32(i32::from(*x))).collect()),
        (Elements::Bool(x), DType::I32) => Elements::Int(x.iter().map(|x| i32::from(*x)).collect()),
    }
}
