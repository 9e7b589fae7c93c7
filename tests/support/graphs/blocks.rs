//! Blocks of ops that models are made of.

use loopfm::ir::{Binary, Fold, Op, Scalar, Unary, Value};
use loopfm::tensor::{DType, Dim, Shape};

use super::build::Build;
use super::layout::axis;

/// A random block on a float value.
pub(super) fn any(b: &mut Build, x: Value) -> Option<Value> {
    let x = b.tame(x, 4.0)?;
    match b.rng.below(6) {
        0 => {
            let (axis, _) = axis(b, x)?;
            b.softmax(x, axis)
        }
        1 => layer_norm(b, x),
        2 => batch_norm(b, x),
        3 => gru(b, x),
        4 => masked(b, x),
        _ => attention(b, x),
    }
}

fn last_axis(b: &Build, x: Value) -> Option<(usize, usize)> {
    let last = b.graph.shape(x).rank().checked_sub(1)?;
    Some((last, b.fixed_axis(x, last)?))
}

/// Over the last axis; refused where a row of it is nearly constant, for then rounding decides.
fn layer_norm(b: &mut Build, x: Value) -> Option<Value> {
    let (last, n) = last_axis(b, x)?;
    let mean = b.mean(x, last)?;
    let x = b.binary(Binary::Sub, x, mean)?;
    let square = b.binary(Binary::Mul, x, x)?;
    let variance = b.mean(square, last)?;
    if b.value(variance).as_f32()?.iter().any(|v| *v < 1e-2) {
        return None;
    }
    let epsilon = b.float(1e-5);
    let variance = b.binary(Binary::Add, variance, epsilon)?;
    let scale = b.unary(Unary::Rsqrt, variance)?;
    let x = b.binary(Binary::Mul, x, scale)?;
    affine(b, x, n)
}

/// `gamma x + beta` over the last axis.
fn affine(b: &mut Build, x: Value, n: usize) -> Option<Value> {
    let gamma = b.param(&[n], 1.5);
    let beta = b.param(&[n], 0.5);
    let x = b.binary(Binary::Mul, x, gamma)?;
    b.binary(Binary::Add, x, beta)
}

/// With fixed statistics, as PyTorch exports it for inference.
fn batch_norm(b: &mut Build, x: Value) -> Option<Value> {
    let (_, n) = last_axis(b, x)?;
    let mean = b.param(&[n], 1.0);
    let variance = b.param(&[n], 2.0);
    let variance = b.positive(variance)?;
    let deviation = b.unary(Unary::Sqrt, variance)?;
    let scale = b.unary(Unary::Recip, deviation)?;
    let x = b.binary(Binary::Sub, x, mean)?;
    let x = b.binary(Binary::Mul, x, scale)?;
    affine(b, x, n)
}

/// Over the last axis but one, with a first state that is a parameter; every other time with attention.
fn gru(b: &mut Build, x: Value) -> Option<Value> {
    let steps = b.graph.shape(x).rank().checked_sub(2).filter(|a| *a > 0)?;
    b.fixed_axis(x, steps)?;
    let h = b.rng.pick(&[1, 3, 4, 8, 17, 32]);
    let mut lead = b.shape(x).0[..steps].to_vec();
    let attention = if b.rng.one_in(2) { Some(of_lines(b, x)?) } else { None };
    let x = b.linear(x, 3 * h)?;
    let w = b.param(&[h, 3 * h], (1.0 / h as f32).sqrt());
    let bias = b.param(&[3 * h], 0.5);
    let h0 = b.param(&[h], 1.0);
    lead.push(Dim::Fixed(h));
    let h0 = b.broadcast(h0, &Shape(lead))?;
    let args: Vec<Value> = [x, h0, w, bias].into_iter().chain(attention).collect();
    b.apply(Op::Gru, &args)
}

/// A number within 0..1 for each line of the last axis.
fn of_lines(b: &mut Build, x: Value) -> Option<Value> {
    let score = b.linear(x, 1)?;
    let score = b.unary(Unary::Sigmoid, score)?;
    let mut dims = b.shape(score).0;
    dims.pop();
    b.reshape(score, Shape(dims))
}

/// Zero after a length that each row has: `iota < length`.
fn masked(b: &mut Build, x: Value) -> Option<Value> {
    let shape = b.shape(x);
    let (axis, n) = axis(b, x)?;
    let mut column = vec![Dim::Fixed(1); shape.rank()];
    column[axis] = Dim::Fixed(n);
    let at = b.declare(Op::Iota, &[], DType::I32, Shape(vec![Dim::Fixed(n)]))?;
    let at = b.reshape(at, Shape(column))?;
    let at = b.broadcast(at, &shape)?;
    let length = b.rng.between(0, n) as i32;
    let length = b.constant(Scalar::I32(length));
    let inside = b.binary(Binary::Lt, at, length)?;
    let fill = b.rng.pick(&[0.0, -8.0]);
    let fill = b.float(fill);
    let fill = b.broadcast(fill, &shape)?;
    b.apply(Op::Select, &[inside, x, fill])
}

/// Target attention as DIN has it: the keys are `x`, the query one of them or a layer of it.
fn attention(b: &mut Build, x: Value) -> Option<Value> {
    let shape = b.shape(x);
    let (Some(t), true) = (b.fixed_axis(x, shape.rank().checked_sub(2)?), shape.rank() >= 3) else {
        return None;
    };
    let (time, (_, width)) = (shape.rank() - 2, last_axis(b, x)?);
    if t * width > 1024 {
        return None;
    }
    let query = b.apply(
        Op::Slice {
            axis: time,
            start: t - 1,
            stop: t,
            step: 1,
        },
        &[x],
    )?;
    let score = din_score(b, query, x)?;
    let soft = b.rng.one_in(2);
    let weight = if soft {
        b.softmax(score, time)?
    } else {
        b.scaled(score, 1.0 / t as f32)?
    };
    if b.rng.one_in(2) {
        let weighted = {
            let weight = b.broadcast(weight, &shape)?;
            b.binary(Binary::Mul, weight, x)?
        };
        return b.fold(Fold::Sum, weighted, time);
    }
    let mut order: Vec<usize> = (0..shape.rank()).collect();
    order.swap(time, time + 1);
    let weight = b.apply(Op::Permute(order), &[weight])?;
    b.apply(Op::MatMul, &[weight, x])
}

/// `MLP(concat(q, k, q - k, q k))`, one score for each key.
pub(super) fn din_score(b: &mut Build, query: Value, keys: Value) -> Option<Value> {
    let shape = b.shape(keys);
    let query = b.broadcast(query, &shape)?;
    let difference = b.binary(Binary::Sub, query, keys)?;
    let product = b.binary(Binary::Mul, query, keys)?;
    let all = b.apply(Op::Concat(shape.rank() - 1), &[query, keys, difference, product])?;
    let all = b.tame(all, 4.0)?;
    let n = b.rng.pick(&[1, 4, 8, 16, 36]);
    let hidden = b.linear(all, n)?;
    let hidden = b.activation(hidden)?;
    b.linear(hidden, 1)
}
