//! Rules of ops that move elements: their gradients move back, and where one was read more than once, add up.

use super::parts::Part;
use super::{Built, Done, Walk};
use crate::ir::{Binary, Fold, Op, TensorType, Value};
use crate::tensor::{DType, Dim, Shape};

impl Walk<'_> {
    /// Of a repetition of `x`: the sum over the repetitions.
    pub(super) fn broadcast(&mut self, x: Value, dy: Value) -> Done {
        let (from, to) = (self.g.shape(x).clone(), self.g.shape(dy).clone());
        let lead = to.rank() - from.rank();
        let repeated = |axis: &usize| *axis < lead || from.0[axis - lead] != to.0[*axis];
        let axes: Vec<usize> = (0..to.rank()).filter(repeated).collect();
        let sum = match axes.as_slice() {
            [] => dy,
            axes => self.g.reduce(Fold::Sum, dy, axes)?,
        };
        self.reshape(x, sum)
    }

    /// Of `x` under another shape.
    pub(super) fn reshape(&mut self, x: Value, dy: Value) -> Done {
        let gradient = self.shaped(dy, &self.g.shape(x).clone())?;
        self.give(x, gradient);
        Ok(())
    }

    pub(super) fn permute(&mut self, perm: &[usize], x: Value, dy: Value) -> Done {
        let mut back = vec![0; perm.len()];
        perm.iter().enumerate().for_each(|(to, from)| back[*from] = to);
        let gradient = self.permuted(dy, &back)?;
        self.give(x, gradient);
        Ok(())
    }

    /// A value under another shape, that of a reshape from its operand.
    pub(super) fn shaped(&mut self, x: Value, shape: &Shape) -> Built {
        let from = if *self.g.op(x) == Op::Reshape {
            self.g.args(x)[0]
        } else {
            x
        };
        self.g.reshape(from, shape)
    }

    /// A value with its axes in another order, that of a permutation from its operand.
    pub(super) fn permuted(&mut self, x: Value, perm: &[usize]) -> Built {
        if let Op::Permute(inner) = self.g.op(x) {
            let (both, from): (Vec<usize>, Value) = (perm.iter().map(|a| inner[*a]).collect(), self.g.args(x)[0]);
            return self.g.permute(from, &both);
        }
        self.g.permute(x, perm)
    }

    pub(super) fn slice(&mut self, axis: usize, start: usize, step: usize, x: Value, dy: Value) -> Done {
        let rest = self.extent(x, axis) - start;
        let gradient = self.spread(axis, step, rest, dy)?;
        self.parts[x.index()].push(Part::Sliced { axis, start, gradient });
        Ok(())
    }

    /// Indices of an axis `step` apart, with zeros between them; those beyond `most` are cut off.
    fn spread(&mut self, axis: usize, step: usize, most: usize, x: Value) -> Built {
        if step == 1 {
            return Ok(x);
        }
        let mut dims = self.g.shape(x).0.clone();
        let count = dims[axis].factor();
        // One index needs no zeros behind it: a huge step must not make them.
        let step = if count == 1 { 1 } else { step };
        dims.insert(axis + 1, Dim::Fixed(1));
        let apart = self.g.reshape(x, &Shape(dims.clone()))?;
        dims[axis + 1] = Dim::Fixed(step - 1);
        let padded = if step == 1 {
            apart
        } else {
            let zeros = self.zeros(&Shape(dims.clone()))?;
            self.g.concat(&[apart, zeros], axis + 1)?
        };
        dims.remove(axis + 1);
        dims[axis] = Dim::Fixed(count * step);
        let joined = self.g.reshape(padded, &Shape(dims))?;
        self.g.slice(joined, axis, 0, most.min(count * step))
    }

    pub(super) fn concat(&mut self, axis: usize, parts: &[Value], dy: Value) -> Done {
        let mut start = 0;
        for &part in parts {
            let stop = start + self.extent(part, axis);
            if self.wants(part) && stop > start {
                let gradient = self.g.slice(dy, axis, start, stop)?;
                self.give(part, gradient);
            }
            start = stop;
        }
        Ok(())
    }

    /// Of `y[j] = x[idx[j]]` along an axis, each row by indices of its own: to `x[i]` goes the sum of all `dy[j]` with
    /// `idx[j] = i`.
    pub(super) fn take_along(&mut self, axis: usize, x: Value, index: Value, dy: Value) -> Done {
        let n = self.extent(x, axis);
        let mut dims = self.g.shape(dy).0.clone();
        dims.insert(axis, Dim::Fixed(1));
        let (index, dy) = (
            self.g.reshape(index, &Shape(dims.clone()))?,
            self.g.reshape(dy, &Shape(dims.clone()))?,
        );
        let inner = dims.len() - axis - 1;
        let numbers = self.numbers(n)?;
        let mut column = vec![Dim::Fixed(n)];
        column.resize(inner + 1, Dim::Fixed(1));
        let numbers = self.g.reshape(numbers, &Shape(column))?;
        dims[axis] = Dim::Fixed(n);
        let (index, numbers) = (
            self.g.broadcast(index, &Shape(dims.clone()))?,
            self.g.broadcast(numbers, &Shape(dims))?,
        );
        let meant = self.g.binary(Binary::Eq, index, numbers)?;
        let zero = self.g.constant_f32(0.0)?;
        let kept = self.g.select(meant, dy, zero)?;
        let sum = self.g.reduce(Fold::Sum, kept, &[axis + 1])?;
        self.reshape(x, sum)
    }

    /// `0..n`.
    pub(super) fn numbers(&mut self, n: usize) -> Built {
        let ty = TensorType::new(DType::I32, Shape::fixed(&[n]));
        self.g.declare(Op::Iota, &[], ty)
    }
}
