//! What the readers of a value pass back to it, and their sum.
//!
//! Gradients of slices and of lookups stay what they are until all are known: slices that do not overlap become one
//! concatenation instead of a sum of mostly zeros, lookups in one table one `scatter_add` instead of a sum of tables.

use super::{Built, Walk};
use crate::ir::{Binary, Op, TensorType, TypeError, Unary, Value};
use crate::tensor::{DType, Dim, Shape};

/// A summand of a gradient.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Of the value's shape.
    Whole(Value),
    /// Of the indices from `start` on along an axis; zero elsewhere.
    Sliced { axis: usize, start: usize, gradient: Value },
    /// Of the indices that `index` holds along an axis; zero elsewhere.
    Looked { axis: usize, index: Value, gradient: Value },
}

/// A slice of an axis: where it starts and its gradient.
type Piece = (usize, Value);

impl Walk<'_> {
    /// The sum of what was passed back to a value; `None` if nothing was.
    pub(super) fn total(&mut self, v: Value) -> Result<Option<Value>, TypeError> {
        let shape = self.g.shape(v).clone();
        let mut terms = Vec::new();
        let mut pieces: Vec<Vec<Piece>> = vec![Vec::new(); shape.rank()];
        let mut lookups = Vec::new();
        for part in std::mem::take(&mut self.parts[v.index()]) {
            match part {
                Part::Whole(gradient) => terms.push(gradient),
                Part::Sliced { axis, start, gradient } => pieces[axis].push((start, gradient)),
                Part::Looked { axis, index, gradient } => lookups.push((axis, index, gradient)),
            }
        }
        for (axis, pieces) in pieces.into_iter().enumerate() {
            for row in self.apart(axis, pieces) {
                terms.push(self.filled(axis, &row, &shape)?);
            }
        }
        for (axis, index, gradient) in self.merged(lookups, &shape)? {
            let ty = TensorType::new(DType::F32, shape.clone());
            terms.push(self.g.declare(Op::ScatterAdd(axis), &[gradient, index], ty)?);
        }
        let mut sum = None;
        for term in terms {
            sum = Some(match sum {
                None => term,
                Some(sum) => self.plus(sum, term)?,
            });
        }
        Ok(sum)
    }

    /// `x + y`, of `-y` the difference.
    fn plus(&mut self, x: Value, y: Value) -> Built {
        let negative = |v: Value| (*self.g.op(v) == Op::Unary(Unary::Neg)).then(|| self.g.args(v)[0]);
        match (negative(x), negative(y)) {
            (_, Some(y)) => self.g.binary(Binary::Sub, x, y),
            (Some(x), None) => self.g.binary(Binary::Sub, y, x),
            (None, None) => self.g.binary(Binary::Add, x, y),
        }
    }

    /// Slices of an axis in as few rows as possible, so that none overlap in a row.
    fn apart(&self, axis: usize, mut pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
        pieces.sort_by_key(|(start, _)| *start);
        let end = |row: &Vec<Piece>| row.last().map_or(0, |p| p.0 + self.extent(p.1, axis));
        let mut rows: Vec<Vec<Piece>> = Vec::new();
        for piece in pieces {
            match rows.iter_mut().find(|row| end(row) <= piece.0) {
                Some(row) => row.push(piece),
                None => rows.push(vec![piece]),
            }
        }
        rows
    }

    /// Slices of an axis side by side, with zeros between them.
    fn filled(&mut self, axis: usize, row: &[Piece], shape: &Shape) -> Built {
        let gap = |walk: &mut Self, from: usize, to: usize| -> Result<Option<Value>, TypeError> {
            let mut dims = shape.0.clone();
            dims[axis] = Dim::Fixed(to - from);
            (to > from).then(|| walk.zeros(&Shape(dims))).transpose()
        };
        let mut all = Vec::new();
        let mut at = 0;
        for (start, gradient) in row {
            all.extend(gap(self, at, *start)?);
            all.push(*gradient);
            at = start + self.extent(*gradient, axis);
        }
        all.extend(gap(self, at, shape.0[axis].factor())?);
        self.g.concat(&all, axis)
    }

    /// Lookups `(axis, index, gradient)`, those of each row in a table shared by all rows as one.
    fn merged(
        &mut self,
        lookups: Vec<(usize, Value, Value)>,
        table: &Shape,
    ) -> Result<Vec<(usize, Value, Value)>, TypeError> {
        if lookups.len() < 2 {
            return Ok(lookups);
        }
        let (mut merged, mut by_rows) = (Vec::new(), [Vec::new(), Vec::new()]);
        for lookup @ (axis, index, gradient) in lookups {
            let kind = match self.g.shape(index).0.first() {
                Some(dim @ Dim::Rows(_)) => Some((0, dim.with_factor(1))),
                Some(dim @ Dim::Requests(_)) => Some((1, dim.with_factor(1))),
                _ => None,
            };
            match kind.filter(|_| axis == 0 && table.symbolic().is_none()) {
                None => merged.push(lookup),
                Some((kind, rows)) => {
                    let each: usize = self.g.shape(index).per_row().iter().product();
                    let flat = vec![rows, Dim::Fixed(each)];
                    let index = self.g.reshape(index, &Shape(flat.clone()))?;
                    let flat = [flat.as_slice(), &table.0[1..]].concat();
                    by_rows[kind].push((index, self.g.reshape(gradient, &Shape(flat))?));
                }
            }
        }
        for lookups in by_rows.iter().filter(|l| !l.is_empty()) {
            let (indices, gradients): (Vec<Value>, Vec<Value>) = lookups.iter().copied().unzip();
            merged.push((0, self.g.concat(&indices, 1)?, self.g.concat(&gradients, 1)?));
        }
        Ok(merged)
    }

    pub(super) fn extent(&self, v: Value, axis: usize) -> usize {
        self.g.shape(v).0[axis].factor()
    }
}
