//! Rules of ops that need a loop.

use super::{Built, Done, Walk};
use crate::ir::{Binary, Fold, Op, Scalar, Value};
use crate::tensor::{Dim, Shape};

impl Walk<'_> {
    /// Of `a b`: `dy b^T` and `a^T dy`. A matrix that all leading axes share gets the sum over them: one product of
    /// all rows, whose number may be symbolic.
    pub(super) fn matmul(&mut self, a: Value, b: Value, dy: Value) -> Done {
        if self.wants(a) {
            let turned = self.turned(b)?;
            let gradient = self.g.matmul(dy, turned)?;
            self.give(a, gradient);
        }
        if self.wants(b) {
            let shared = self.g.shape(b).rank() == 2;
            let (a, dy) = if shared {
                (self.flat(a)?, self.flat(dy)?)
            } else {
                (a, dy)
            };
            let turned = self.turned(a)?;
            let gradient = self.g.matmul(turned, dy)?;
            self.give(b, gradient);
        }
        Ok(())
    }

    /// The last two axes exchanged.
    fn turned(&mut self, x: Value) -> Built {
        let rank = self.g.shape(x).rank();
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 2, rank - 1);
        self.permuted(x, &perm)
    }

    /// All axes but the last as one.
    fn flat(&mut self, x: Value) -> Built {
        let dims = &self.g.shape(x).0;
        let (last, outer) = dims.split_last().expect("typing: rank 2 or more");
        let count = outer.iter().map(|d| d.factor()).product();
        let kind = outer.iter().find(|d| d.is_symbolic()).unwrap_or(&Dim::Fixed(1));
        let shape = Shape(vec![kind.with_factor(count), *last]);
        self.shaped(x, &shape)
    }

    /// Of a fold `y` of `x`: a sum passes the gradient to every element, an extreme to those that equal it, in equal
    /// shares.
    pub(super) fn reduce(&mut self, fold: Fold, x: Value, y: Value, dy: Value) -> Done {
        let shape = self.g.shape(x).clone();
        let gradient = match fold {
            Fold::Sum => self.g.broadcast(dy, &shape)?,
            Fold::Max | Fold::Min => {
                let Op::Reduce(_, axes) = self.g.op(y).clone() else {
                    unreachable!("the caller matched it")
                };
                let equal = self.g.binary(Binary::Eq, x, y)?;
                let number = self.indicator(equal)?;
                let count = self.g.reduce(Fold::Sum, number, &axes)?;
                let share = self.g.binary(Binary::Div, dy, count)?;
                let zero = self.g.constant_f32(0.0)?;
                self.g.select(equal, share, zero)?
            }
        };
        self.give(x, gradient);
        Ok(())
    }

    /// Of a running sum: one that runs the other way.
    pub(super) fn cumsum(&mut self, axis: usize, x: Value, dy: Value) -> Done {
        let n = self.extent(x, axis);
        let numbers = self.numbers(n)?;
        let last = i32::try_from(n).unwrap_or(i32::MAX).saturating_sub(1);
        let last = self.g.apply(Op::Const(Scalar::I32(last)), &[])?;
        let reverse = self.g.binary(Binary::Sub, last, numbers)?;
        let turned = self.g.apply(Op::Gather(axis), &[dy, reverse])?;
        let sums = self.g.apply(Op::CumSum(axis), &[turned])?;
        let gradient = self.g.apply(Op::Gather(axis), &[sums, reverse])?;
        self.give(x, gradient);
        Ok(())
    }

    /// Of all states `hs` of a gated recurrent unit.
    pub(super) fn gru(&mut self, args: &[Value], hs: Value, dhs: Value) -> Done {
        let packed = [args, &[hs, dhs]].concat();
        let packed = self.g.apply(Op::GruGrad, &packed)?;
        let last = self.g.shape(hs).rank() - 1;
        let (time, size) = (last - 1, self.extent(hs, last));
        let [x, h0, w, b, ref attention @ ..] = *args else {
            unreachable!("typing gives four operands or five")
        };
        if self.wants(x) {
            let gradient = self.g.slice(packed, last, 0, 3 * size)?;
            self.give(x, gradient);
        }
        if self.wants(h0) {
            let before = self.g.slice(packed, last, 4 * size, 5 * size)?;
            let first = self.g.slice(before, time, 0, 1)?;
            self.reshape(h0, first)?;
        }
        if let Some(&a) = attention.first().filter(|a| self.wants(**a)) {
            let gradient = self.g.slice(packed, last, 5 * size, 5 * size + 1)?;
            self.reshape(a, gradient)?;
        }
        if self.wants(w) || self.wants(b) {
            // Of `h w + b` at each step.
            let (gates, candidate) = (
                self.g.slice(packed, last, 0, 2 * size)?,
                self.g.slice(packed, last, 3 * size, 4 * size)?,
            );
            let gradient = self.g.concat(&[gates, candidate], last)?;
            let gradient = self.flat(gradient)?;
            if self.wants(b) {
                let sum = self.g.reduce(Fold::Sum, gradient, &[0])?;
                self.reshape(b, sum)?;
            }
            if self.wants(w) {
                let states = self.states_before(h0, hs, time)?;
                let states = self.flat(states)?;
                let states = self.turned(states)?;
                let gradient = self.g.matmul(states, gradient)?;
                self.give(w, gradient);
            }
        }
        Ok(())
    }

    /// The state that each step starts from: the first one, then all of `hs` but the last.
    fn states_before(&mut self, h0: Value, hs: Value, time: usize) -> Built {
        let steps = self.extent(hs, time);
        let mut dims = self.g.shape(hs).0.clone();
        dims[time] = Dim::Fixed(1);
        let first = self.g.reshape(h0, &Shape(dims))?;
        if steps == 1 {
            return Ok(first);
        }
        let later = self.g.slice(hs, time, 0, steps - 1)?;
        self.g.concat(&[first, later], time)
    }
}
