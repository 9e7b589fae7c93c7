//! Loops along an axis, each step of which reads the one before: unrolled into instructions.

use super::lanes::Func;
use super::lower::Lowering;
use super::pointwise::{Tape, Var};
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
        let gru = Gru::new(args);
        let product = self.region(&[gru.lead(), &[3 * gru.size]].concat());
        let mut h = gru.h0.clone();
        for t in 0..gru.steps {
            let next = y.at(gru.time, t);
            self.matmul(&gru.matrix(&h), (gru.w, false), &gru.matrix(&product));
            let mut step = Step::new(&gru, t, &h, &product);
            step.next_state();
            self.pointwise(step.tape, &next);
            h = next;
        }
    }

    /// The same steps backwards: `y` is what [`crate::ir::Op::GruGrad`] packs side by side.
    pub(super) fn gru_grad(&mut self, args: &[View], y: &View) {
        let (forward, states) = args.split_at(args.len() - 2);
        let gru = Gru::new(forward);
        let size = gru.size;
        let (hs, dhs) = (&states[0], &states[1]);
        let product = self.region(&[gru.lead(), &[3 * size]].concat());
        let through = self.region(&[gru.lead(), &[3 * size]].concat());
        let [passed, dz_of_a] = [0; 2].map(|_| self.region(&[gru.lead(), &[size]].concat()));
        for t in (0..gru.steps).rev() {
            let h = t
                .checked_sub(1)
                .map_or_else(|| gru.h0.clone(), |before| hs.at(gru.time, before));
            self.matmul(&gru.matrix(&h), (gru.w, false), &gru.matrix(&product));
            let part = |t: usize, i: usize| y.at(gru.time, t).sliced(gru.time, i * size, 1, size);
            let later = (t + 1 < gru.steps).then(|| part(t + 1, 4));
            let dh = [Some(dhs.at(gru.time, t)), later];
            for (i, which) in [Passed::R, Passed::Z, Passed::N, Passed::Hidden, Passed::State]
                .into_iter()
                .enumerate()
            {
                let mut step = Step::new(&gru, t, &h, &product);
                step.pass(&dh, which);
                self.pointwise(step.tape, &part(t, i));
            }
            if gru.attention.is_some() {
                let mut step = Step::new(&gru, t, &h, &product);
                step.pass(&dh, Passed::Attention);
                self.pointwise(step.tape, &dz_of_a);
                let da = y.at(gru.time, t).sliced(gru.time, 5 * size, 1, 1);
                self.sum(&dz_of_a, gru.time, &da);
            }
            // Through `h w + b`: its gradients are those of `x_r` and `x_z`, and the fourth.
            for (to, from) in [(0, 0), (1, 1), (2, 3)] {
                self.copy(part(t, from), &through.sliced(gru.time, to * size, 1, size));
            }
            let transposed = gru.w.permuted(&[1, 0]);
            self.matmul(&gru.matrix(&through), (&transposed, false), &gru.matrix(&passed));
            let mut tape = Tape::default();
            let (own, passed) = (tape.load(part(t, 4)), tape.load(passed.clone()));
            tape.apply(float(Binary::Add), &[own, passed]);
            self.pointwise(tape, &part(t, 4));
        }
    }
}

/// The operands of a GRU.
struct Gru<'a> {
    x: &'a View,
    h0: &'a View,
    w: &'a View,
    b: &'a View,
    attention: Option<&'a View>,
    /// The axis of time, which is the last one of a state.
    time: usize,
    steps: usize,
    size: usize,
}

impl<'a> Gru<'a> {
    fn new(args: &'a [View]) -> Self {
        let [x, h0, w, b, rest @ ..] = args else {
            unreachable!("typing gives a gru four operands or five")
        };
        let time = x.shape.len() - 2;
        Self {
            x,
            h0,
            w,
            b,
            attention: rest.first(),
            time,
            steps: x.shape[time],
            size: h0.shape[time],
        }
    }

    fn lead(&self) -> &[usize] {
        &self.h0.shape[..self.time]
    }

    /// A matrix for the product even where there is no leading axis.
    fn matrix(&self, v: &View) -> View {
        let mut v = v.clone();
        if self.time == 0 {
            v.shape.insert(0, 1);
            v.strides.insert(0, 0);
        }
        v
    }
}

/// What a step of a GRU passes back.
#[derive(Clone, Copy)]
enum Passed {
    /// To `x_r`, `x_z` and `x_n`.
    R,
    Z,
    N,
    /// To `h w_n + b_n`.
    Hidden,
    /// To the state before it, not through the product.
    State,
    /// To the attention, from each unit.
    Attention,
}

/// One step in time, as it is written on a tape.
struct Step {
    tape: Tape,
    h: Var,
    r: Var,
    z: Var,
    n: Var,
    /// `h w_n + b_n`, which `r` scales.
    hidden: Var,
    attention: Option<Var>,
}

impl Step {
    /// The gates of step `t` from the state before it and its product.
    fn new(gru: &Gru<'_>, t: usize, h: &View, product: &View) -> Self {
        let (axis, size) = (gru.time, gru.size);
        let (x, b) = (gru.x.at(axis, t), gru.b.broadcast(&product.shape));
        let mut tape = Tape::default();
        let mut gate = |i: usize| {
            let mut load = |v: &View| tape.load(v.sliced(axis, i * size, 1, size));
            let (x, hw, b) = (load(&x), load(product), load(&b));
            (x, tape.apply(float(Binary::Add), &[hw, b]))
        };
        let gates = [gate(0), gate(1), gate(2)];
        let [r, z] = [gates[0], gates[1]].map(|(x, hw)| {
            let sum = tape.apply(float(Binary::Add), &[x, hw]);
            tape.apply(Func::Unary(Unary::Sigmoid, DType::F32), &[sum])
        });
        let (xn, hidden) = gates[2];
        let reset = tape.apply(float(Binary::Mul), &[r, hidden]);
        let sum = tape.apply(float(Binary::Add), &[xn, reset]);
        let n = tape.apply(Func::Unary(Unary::Tanh, DType::F32), &[sum]);
        let attention = gru.attention.map(|a| {
            let mut a = a.at(axis, t);
            a.shape.push(size);
            a.strides.push(0);
            tape.load(a)
        });
        let h = tape.load(h.clone());
        Self {
            tape,
            h,
            r,
            z,
            n,
            hidden,
            attention,
        }
    }

    fn binary(&mut self, op: Binary, x: Var, y: Var) -> Var {
        self.tape.apply(float(op), &[x, y])
    }

    /// `h + c (n - h)`, where the candidate's weight `c` is `1 - z`, or `a z`.
    fn next_state(&mut self) {
        match self.attention {
            // (1 - z) n + z h = n + z (h - n)
            None => {
                let difference = self.binary(Binary::Sub, self.h, self.n);
                let part = self.binary(Binary::Mul, self.z, difference);
                self.binary(Binary::Add, self.n, part);
            }
            Some(a) => {
                let c = self.binary(Binary::Mul, a, self.z);
                let difference = self.binary(Binary::Sub, self.n, self.h);
                let part = self.binary(Binary::Mul, c, difference);
                self.binary(Binary::Add, self.h, part);
            }
        }
    }

    /// One of the step's gradients, given those of its state: from the loss and from the step after it.
    fn pass(&mut self, dh: &[Option<View>; 2], which: Passed) {
        use Binary::{Mul, Sub};
        let dh: Vec<Var> = dh.iter().flatten().map(|v| self.tape.load(v.clone())).collect();
        let dh = match dh[..] {
            [loss, later] => self.binary(Binary::Add, loss, later),
            _ => dh[0],
        };
        let one = self.tape.constant(1.0);
        // What the candidate weighs, and what it leaves of the old state.
        let kept = match self.attention {
            None => self.z,
            Some(a) => {
                let c = self.binary(Mul, a, self.z);
                self.binary(Sub, one, c)
            }
        };
        match which {
            Passed::State => {
                self.binary(Mul, dh, kept);
            }
            Passed::Z | Passed::Attention => {
                let difference = self.binary(Sub, self.n, self.h);
                let dc = self.binary(Mul, dh, difference);
                match (which, self.attention) {
                    (Passed::Attention, _) => {
                        self.binary(Mul, dc, self.z);
                    }
                    // `c = a z`, or `1 - z`: its slope by `z` is the attention, or -1.
                    (_, attention) => {
                        let dz = match attention {
                            Some(a) => self.binary(Mul, dc, a),
                            None => self.tape.apply(Func::Unary(Unary::Neg, DType::F32), &[dc]),
                        };
                        self.through_sigmoid(dz, self.z, one);
                    }
                }
            }
            Passed::R | Passed::N | Passed::Hidden => {
                let c = self.binary(Sub, one, kept);
                let dn = self.binary(Mul, dh, c);
                let square = self.binary(Mul, self.n, self.n);
                let slope = self.binary(Sub, one, square);
                let dn = self.binary(Mul, dn, slope);
                match which {
                    Passed::R => {
                        let dr = self.binary(Mul, dn, self.hidden);
                        self.through_sigmoid(dr, self.r, one);
                    }
                    Passed::Hidden => {
                        self.binary(Mul, dn, self.r);
                    }
                    // The last value of the tape is the result.
                    _ => {}
                }
            }
        }
    }

    /// `d s (1 - s)`.
    fn through_sigmoid(&mut self, d: Var, s: Var, one: Var) {
        let rest = self.binary(Binary::Sub, one, s);
        let slope = self.binary(Binary::Mul, s, rest);
        self.binary(Binary::Mul, d, slope);
    }
}

fn float(op: Binary) -> Func {
    Func::Binary(op, DType::F32)
}
