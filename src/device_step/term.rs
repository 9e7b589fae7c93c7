//! A term: a sum over the batch, or a parameter, and where its elements are in a value.

use super::by_rows::ByRows;
use crate::ir::{Fold, Graph, Op, Value};
use crate::tensor::Sizes;

/// A sum over the batch as part of a gradient, or a parameter as part of a value: a box of its elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// The sum, or the parameter.
    pub(super) sum: Value,
    pub(super) scale: f32,
    /// Element of the sum that the first one is.
    from: usize,
    /// The axes of the gradient.
    axes: Vec<Axis>,
}

/// A part of a line of a value: elements of a term from one on, by a stride, at these indices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) from: usize,
    pub(super) stride: usize,
    pub(super) start: usize,
    pub(super) count: usize,
}

/// An axis of a gradient and what a term has of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    extent: usize,
    /// First index.
    start: usize,
    count: usize,
    /// Elements of the sum from one index to the next.
    stride: usize,
}

impl Axis {
    fn whole(count: usize, stride: usize) -> Self {
        Self {
            extent: count,
            start: 0,
            count,
            stride,
        }
    }
}

/// Where an element of a sum, a matrix, is in the gradient: row `i` and column `j` at
/// `row i + outer (j / block) + inner (j % block)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) row: usize,
    pub(super) block: usize,
    pub(super) outer: usize,
    pub(super) inner: usize,
}

impl Term {
    /// A sum as it stands.
    pub(super) fn whole(g: &Graph, sum: Value) -> Option<Self> {
        matrix(g, sum)?;
        Some(Self::all(g, sum))
    }

    /// All elements of a value.
    pub(super) fn all(g: &Graph, v: Value) -> Self {
        let shape = g.shape(v).per_row();
        let axes = shape.iter().zip(strides(&shape));
        Self {
            sum: v,
            scale: 1.0,
            from: 0,
            axes: axes.map(|(n, stride)| Axis::whole(*n, stride)).collect(),
        }
    }

    /// Whether neighbours on the last axis are neighbours in the parameter.
    pub(super) fn is_along_lines(&self) -> bool {
        self.axes.iter().rfind(|a| a.extent != 1).is_none_or(|a| a.stride == 1)
    }

    /// What it has of a line of the value: of the indices of all axes but the last.
    pub(super) fn run(&self, line: &[usize]) -> Option<Run> {
        let (last, outer) = self.axes.split_last()?;
        let mut from = self.from;
        for (a, i) in outer.iter().zip(line) {
            from += i.checked_sub(a.start).filter(|i| *i < a.count)? * a.stride;
        }
        Some(Run {
            from,
            stride: last.stride,
            start: last.start,
            count: last.count,
        })
    }

    /// Whether it lies in a gradient as the sum does.
    pub(super) fn is_straight(&self) -> bool {
        let places = self.places();
        let straight = |(a, place): (&Axis, usize)| a.extent == 1 || a.stride == place;
        self.is_whole() && self.from == 0 && self.axes.iter().zip(places).all(straight)
    }

    /// Whether the gradient has no elements but its own.
    fn is_whole(&self) -> bool {
        self.axes.iter().all(|a| a.count == a.extent)
    }

    /// Elements of the gradient from one index of an axis to the next.
    fn places(&self) -> Vec<usize> {
        strides(&self.axes.iter().map(|a| a.extent).collect::<Vec<_>>())
    }

    /// First element of the gradient that it is in.
    pub(super) fn offset(&self) -> usize {
        self.axes
            .iter()
            .zip(self.places())
            .map(|(a, place)| a.start * place)
            .sum()
    }

    /// The elements of the gradient that it is in.
    pub(super) fn elements(&self) -> Vec<usize> {
        let mut all = vec![self.offset()];
        for (a, place) in self.axes.iter().zip(self.places()) {
            let of = |first: usize| (0..a.count).map(move |i| first + i * place);
            all = all.into_iter().flat_map(of).collect();
        }
        all
    }

    pub(super) fn negative(self) -> Self {
        Self {
            scale: -self.scale,
            ..self
        }
    }

    /// With axes in another order.
    pub(super) fn turned(self, perm: &[usize]) -> Self {
        let axes = perm.iter().map(|a| self.axes[*a]).collect();
        Self { axes, ..self }
    }

    /// `count` indices of an axis alone; not where it has but some of that axis.
    pub(super) fn cut(mut self, axis: usize, start: usize, step: usize, count: usize) -> Option<Self> {
        let a = self.axes.get_mut(axis).filter(|a| a.count == a.extent)?;
        self.from += start * a.stride;
        *a = Axis::whole(count, a.stride * step);
        Some(self)
    }

    /// In a longer axis, further on.
    pub(super) fn within(mut self, axis: usize, start: usize, extent: usize) -> Self {
        self.axes[axis].start += start;
        self.axes[axis].extent = extent;
        self
    }

    /// Its elements in another shape, row by row; not where it has but some of the value.
    pub(super) fn reshaped(mut self, to: &[usize]) -> Option<Self> {
        if !self.is_whole() {
            return None;
        }
        let mut from: Vec<(usize, usize)> = self.axes.iter().map(|a| (a.count, a.stride)).collect();
        from.retain(|(n, _)| *n != 1);
        // Neighbours that are one axis.
        from.dedup_by(|b, a| {
            let one = a.1 == b.0 * b.1;
            if one {
                *a = (a.0 * b.0, b.1);
            }
            one
        });
        let mut axes = Vec::new();
        for n in to.iter().rev().copied() {
            if n == 1 {
                axes.push(Axis::whole(1, 1));
                continue;
            }
            let (left, stride) = from.last_mut()?;
            if !left.is_multiple_of(n) {
                return None;
            }
            axes.push(Axis::whole(n, *stride));
            (*left, *stride) = (*left / n, *stride * n);
            if *left == 1 {
                from.pop();
            }
        }
        axes.reverse();
        self.axes = axes;
        Some(self)
    }

    /// Where its elements are, if two strides of columns say so.
    pub(super) fn order(&self, g: &Graph) -> Option<Order> {
        let (rows, columns) = matrix(g, self.sum)?;
        if self.axes.iter().map(|a| a.count).product::<usize>() != rows * columns {
            return None;
        }
        let mut of_rows = Vec::new();
        let mut of_columns = Vec::new();
        let axes = self.axes.iter().zip(self.places());
        for (Axis { count, stride, .. }, place) in axes.rev().filter(|(a, _)| a.count != 1) {
            let within = (columns / stride.max(&1)).clamp(1, *count);
            if *stride >= columns {
                of_rows.push((*stride, place));
            } else {
                of_columns.push((*stride, place));
                if within < *count {
                    of_rows.push((columns, place * within));
                }
            }
        }
        of_columns.sort_unstable();
        let row = match of_rows[..] {
            [] => 1,
            [(stride, place)] if stride == columns => place,
            _ => return None,
        };
        match of_columns[..] {
            [] => Some((columns.max(1), 0, 1)),
            [(1, inner)] => Some((columns, 0, inner)),
            [(1, inner), (block, outer)] => Some((block, outer, inner)),
            _ => None,
        }
        .map(|(block, outer, inner)| Order {
            row,
            block,
            outer,
            inner,
        })
    }
}

/// Elements from one index of each axis to the next, of a tensor of this shape.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut stride = 1;
    let mut all: Vec<usize> = Vec::with_capacity(shape.len());
    for n in shape.iter().rev() {
        all.push(stride);
        stride *= n;
    }
    all.reverse();
    all
}

/// Rows and columns of a sum over the batch, if it is one matrix or vector.
pub(super) fn matrix(g: &Graph, sum: Value) -> Option<(usize, usize)> {
    let shape = g.shape(sum).at(Sizes::ONE);
    let all = shape.iter().product();
    match g.op(sum) {
        Op::MatMul if shape.len() == 2 => Some((shape[0], shape[1])),
        _ if ByRows::of(g, sum).is_some() => Some((shape[1], shape[2])),
        Op::Reduce(Fold::Sum, _) => Some((1, all)),
        Op::ScatterAdd(0) => Some((shape[0], all / shape[0].max(1))),
        _ => None,
    }
}
