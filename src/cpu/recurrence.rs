//! Loops along an axis, each step of which reads the one before: unrolled into instructions.

use super::lanes::Func;
use super::lower::Lowering;
use super::pointwise::Tape;
use super::view::View;
use crate::ir::{Binary, Unary};
use crate::tensor::DType;

impl Lowering<'_> {
    pub(super) fn cumsum(&mut self, dtype: DType, x: &View, axis: usize, y: &View) {
        for i in 0..x.shape[axis] {
            let mut tape = Tape::default();
            let term = tape.load(x.at(axis, i));
            if let Some(former) = i.checked_sub(1) {
                let sum = tape.load(y.at(axis, former));
                tape.apply(Func::Binary(Binary::Add, dtype), &[sum, term]);
            }
            self.pointwise(tape, &y.at(axis, i));
        }
    }

    /// A product and a pointwise chain for each step in time.
    pub(super) fn gru(&mut self, args: &[View], y: &View) {
        let [x, h0, w, b] = args else {
            unreachable!("typing gives a gru four operands")
        };
        let time = x.shape.len() - 2;
        let (steps, size) = (x.shape[time], h0.shape[time]);
        let product = self.region(&[&h0.shape[..time], &[3 * size]].concat());
        // A matrix for the product even where there is no leading axis.
        let matrix = |v: &View| {
            let mut v = v.clone();
            if time == 0 {
                v.shape.insert(0, 1);
                v.strides.insert(0, 0);
            }
            v
        };
        let mut h = h0.clone();
        for t in 0..steps {
            let next = y.at(time, t);
            self.matmul(&matrix(&h), w, &matrix(&product));
            let tape = gru_step(&x.at(time, t), &h, &product, &b.broadcast(&product.shape));
            self.pointwise(tape, &next);
            h = next;
        }
    }
}

/// `h' = (1 - z) n + z h` from the gates' two projections.
fn gru_step(x: &View, h: &View, hw: &View, b: &View) -> Tape {
    let (axis, size) = (h.shape.len() - 1, h.shape[h.shape.len() - 1]);
    let mut tape = Tape::default();
    let float = |op: Binary| Func::Binary(op, DType::F32);
    let mut gate = |i: usize| {
        let mut load = |v: &View| tape.load(v.sliced(axis, i * size, 1, size));
        let (x, hw, b) = (load(x), load(hw), load(b));
        (x, tape.apply(float(Binary::Add), &[hw, b]))
    };
    let gates = [gate(0), gate(1), gate(2)];
    let [r, z] = [gates[0], gates[1]].map(|(x, hw)| {
        let sum = tape.apply(float(Binary::Add), &[x, hw]);
        tape.apply(Func::Unary(Unary::Sigmoid, DType::F32), &[sum])
    });
    let (xn, hn) = gates[2];
    let reset = tape.apply(float(Binary::Mul), &[r, hn]);
    let sum = tape.apply(float(Binary::Add), &[xn, reset]);
    let n = tape.apply(Func::Unary(Unary::Tanh, DType::F32), &[sum]);
    // (1 - z) n + z h = n + z (h - n)
    let h = tape.load(h.clone());
    let difference = tape.apply(float(Binary::Sub), &[h, n]);
    let step = tape.apply(float(Binary::Mul), &[z, difference]);
    tape.apply(float(Binary::Add), &[n, step]);
    tape
}
