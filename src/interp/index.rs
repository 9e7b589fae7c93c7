//! Operations that move elements and compute none.

use super::Real;
use super::value::{Elements, Tensor, map_elements};

/// Extent and stride of each axis of a walk.
type Axes = Vec<(usize, usize)>;

/// Strides of the axes of a dense tensor.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Visits the offset of each index of `axes`, row-major.
pub(super) fn walk(axes: &[(usize, usize)], offset: usize, visit: &mut impl FnMut(usize)) {
    match axes {
        [] => visit(offset),
        [(n, stride)] => (0..*n).for_each(|i| visit(offset + i * stride)),
        [(n, stride), inner @ ..] => (0..*n).for_each(|i| walk(inner, offset + i * stride, visit)),
    }
}

fn strided<E: Copy>(x: &[E], axes: &[(usize, usize)], offset: usize) -> Vec<E> {
    let mut out = Vec::with_capacity(axes.iter().map(|(n, _)| n).product());
    walk(axes, offset, &mut |i| out.push(x[i]));
    out
}

pub(super) fn broadcast<T: Real>(x: &Tensor<T>, to: &[usize]) -> Elements<T> {
    let lead = to.len() - x.shape.len();
    let kept = x.shape.iter().zip(strides(&x.shape));
    let stride = kept.map(|(n, stride)| if *n == 1 { 0 } else { stride });
    let axes: Axes = to
        .iter()
        .copied()
        .zip([0].repeat(lead).into_iter().chain(stride))
        .collect();
    map_elements!(&x.data, x => strided(x, &axes, 0))
}

pub(super) fn permute<T: Real>(x: &Tensor<T>, perm: &[usize]) -> Elements<T> {
    let strides = strides(&x.shape);
    let axes: Axes = perm.iter().map(|&a| (x.shape[a], strides[a])).collect();
    map_elements!(&x.data, x => strided(x, &axes, 0))
}

pub(super) fn slice<T: Real>(x: &Tensor<T>, axis: usize, start: usize, step: usize, to: &[usize]) -> Elements<T> {
    let mut strides = strides(&x.shape);
    let offset = start * strides[axis];
    strides[axis] *= step;
    let axes: Axes = to.iter().copied().zip(strides).collect();
    map_elements!(&x.data, x => strided(x, &axes, offset))
}

pub(super) fn concat<T: Real>(parts: &[&Tensor<T>], axis: usize) -> Elements<T> {
    // Elements of each part that stand together.
    let runs: Vec<usize> = parts.iter().map(|p| p.shape[axis..].iter().product()).collect();
    let outer = parts[0].shape[..axis].iter().product();
    let parts = parts.iter().copied();
    match &parts.clone().next().expect("typing: a part or more").data {
        Elements::Float(_) => Elements::Float(interleave(parts.map(Tensor::floats), &runs, outer)),
        Elements::Int(_) => Elements::Int(interleave(parts.map(Tensor::ints), &runs, outer)),
        Elements::Bool(_) => Elements::Bool(interleave(parts.map(Tensor::bools), &runs, outer)),
    }
}

fn interleave<'a, E: Copy + 'a>(parts: impl Iterator<Item = &'a [E]> + Clone, runs: &[usize], outer: usize) -> Vec<E> {
    let mut out = Vec::with_capacity(outer * runs.iter().sum::<usize>());
    for i in 0..outer {
        for (part, run) in parts.clone().zip(runs) {
            out.extend_from_slice(&part[i * run..][..*run]);
        }
    }
    out
}

/// An index outside its axis.
pub(super) struct Outside {
    /// Position among the indices.
    pub(super) at: usize,
    /// The index.
    pub(super) value: i32,
    /// Extent of the axis.
    pub(super) extent: usize,
}

fn in_axis(index: &[i32], extent: usize) -> Result<Vec<usize>, Outside> {
    let check = |(at, value): (usize, &i32)| match usize::try_from(*value) {
        Ok(i) if i < extent => Ok(i),
        _ => Err(Outside {
            at,
            value: *value,
            extent,
        }),
    };
    index.iter().enumerate().map(check).collect()
}

pub(super) fn gather<T: Real>(x: &Tensor<T>, index: &Tensor<T>, axis: usize) -> Result<Elements<T>, Outside> {
    let n = x.shape[axis];
    let index = in_axis(index.ints(), n)?;
    let outer: usize = x.shape[..axis].iter().product();
    let run: usize = x.shape[axis + 1..].iter().product();
    Ok(map_elements!(&x.data, x => {
        let mut out = Vec::with_capacity(outer * index.len() * run);
        for o in 0..outer {
            for i in &index {
                out.extend_from_slice(&x[(o * n + i) * run..][..run]);
            }
        }
        out
    }))
}

/// Zeros of shape `to`, to which elements of `u` are added at `index` along the axis.
pub(super) fn scatter_add<T: Real>(
    u: &Tensor<T>,
    index: &Tensor<T>,
    axis: usize,
    to: &[usize],
) -> Result<Elements<T>, Outside> {
    let n = to[axis];
    let index = in_axis(index.ints(), n)?;
    let run: usize = to[axis + 1..].iter().product();
    let mut y = vec![T::ZERO; to.iter().product()];
    if run > 0 {
        for (i, u) in u.floats().chunks_exact(run).enumerate() {
            let at = (i / index.len() * n + index[i % index.len()]) * run;
            for (y, u) in y[at..].iter_mut().zip(u) {
                *y = *y + *u;
            }
        }
    }
    Ok(Elements::Float(y))
}

pub(super) fn take_along<T: Real>(x: &Tensor<T>, index: &Tensor<T>, axis: usize) -> Result<Elements<T>, Outside> {
    let (n, m) = (x.shape[axis], index.shape[axis]);
    let inner: usize = x.shape[axis + 1..].iter().product();
    let index = in_axis(index.ints(), n)?;
    // Result element `(outer, _, inner)` is operand element `(outer, index, inner)`.
    let source = |(at, i): (usize, &usize)| (at / (m * inner) * n + i) * inner + at % inner;
    Ok(map_elements!(&x.data, x => index.iter().enumerate().map(|at| x[source(at)]).collect()))
}
