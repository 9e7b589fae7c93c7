//! Operations that need a loop over operands.

use super::Real;
use super::index::{strides, walk};
use super::scalar::{larger, smaller};
use super::value::{Elements, Tensor};
use crate::ir::Fold;

pub(super) fn matmul<T: Real>(a: &Tensor<T>, b: &Tensor<T>) -> Vec<T> {
    let (outer, [m, k]) = a.shape.split_last_chunk().expect("typing: rank 2 or more");
    let n = *b.shape.last().expect("typing: rank 2 or more");
    let mut y = vec![T::ZERO; outer.iter().product::<usize>() * m * n];
    if y.is_empty() || *k == 0 {
        return y;
    }
    let shared = b.shape.len() == 2;
    let per_outer = if shared { y.len() } else { m * n };
    let products = y
        .chunks_exact_mut(per_outer)
        .zip(a.floats().chunks_exact(per_outer / n * k));
    for ((y, a), b) in products.zip(b.floats().chunks_exact(k * n)) {
        for (y, a) in y.chunks_exact_mut(n).zip(a.chunks_exact(*k)) {
            for (a, b) in a.iter().zip(b.chunks_exact(n)) {
                add_scaled(y, *a, b);
            }
        }
    }
    y
}

/// `y += a b`.
pub(super) fn add_scaled<T: Real>(y: &mut [T], a: T, b: &[T]) {
    for (y, b) in y.iter_mut().zip(b) {
        *y = *y + a * *b;
    }
}

pub(super) fn reduce<T: Real>(fold: Fold, x: &Tensor<T>, axes: &[usize]) -> Elements<T> {
    let mut to = x.shape.clone();
    axes.iter().for_each(|&a| to[a] = 1);
    match &x.data {
        Elements::Float(data) => Elements::Float(match fold {
            Fold::Sum => folded(data, &x.shape, &to, T::ZERO, |x, y| x + y),
            Fold::Max => folded(data, &x.shape, &to, T::LOWEST, larger),
            Fold::Min => folded(data, &x.shape, &to, -T::LOWEST, smaller),
        }),
        Elements::Int(data) => Elements::Int(match fold {
            Fold::Sum => folded(data, &x.shape, &to, 0, i32::wrapping_add),
            Fold::Max => folded(data, &x.shape, &to, i32::MIN, i32::max),
            Fold::Min => folded(data, &x.shape, &to, i32::MAX, i32::min),
        }),
        Elements::Bool(_) => unreachable!("typing keeps folds to numbers"),
    }
}

/// Each element of `x` folded into the element of the result at the same index, 0 on folded axes.
fn folded<E: Copy>(x: &[E], shape: &[usize], to: &[usize], start: E, fold: impl Fn(E, E) -> E) -> Vec<E> {
    let stride = strides(to)
        .into_iter()
        .zip(to)
        .map(|(stride, n)| if *n == 1 { 0 } else { stride });
    let axes: Vec<(usize, usize)> = shape.iter().copied().zip(stride).collect();
    let mut y = vec![start; to.iter().product()];
    let mut elements = x.iter();
    walk(&axes, 0, &mut |at| {
        if let Some(x) = elements.next() {
            y[at] = fold(y[at], *x);
        }
    });
    y
}

pub(super) fn cumsum<T: Real>(x: &Tensor<T>, axis: usize) -> Elements<T> {
    let inner: usize = x.shape[axis + 1..].iter().product();
    let run = x.shape[axis] * inner;
    match &x.data {
        Elements::Float(x) => Elements::Float(running(x, run, inner, |x, y| x + y)),
        Elements::Int(x) => Elements::Int(running(x, run, inner, i32::wrapping_add)),
        Elements::Bool(_) => unreachable!("typing keeps sums to numbers"),
    }
}

/// Runs of `run` elements in which each is added to the one `step` before it.
fn running<E: Copy>(x: &[E], run: usize, step: usize, add: impl Fn(E, E) -> E) -> Vec<E> {
    let mut y = x.to_vec();
    for at in 0..y.len() {
        if at % run >= step {
            y[at] = add(y[at - step], y[at]);
        }
    }
    y
}
