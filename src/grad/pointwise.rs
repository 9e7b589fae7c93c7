//! Rules of functions of single elements.

use super::{Built, Done, Walk};
use crate::ir::{Binary, Op, Scalar, Unary, Value};
use crate::tensor::DType;

impl Walk<'_> {
    /// Of `y = op(x)`.
    pub(super) fn unary(&mut self, op: Unary, x: Value, y: Value, dy: Value) -> Done {
        let gradient = match op {
            Unary::Neg => self.neg(dy)?,
            Unary::Abs => {
                let sign = self.g.unary(Unary::Sign, x)?;
                self.mul(dy, sign)?
            }
            Unary::Exp => self.mul(dy, y)?,
            Unary::Log => self.g.binary(Binary::Div, dy, x)?,
            Unary::Log1p => {
                let x = self.with(Binary::Add, x, 1.0)?;
                self.g.binary(Binary::Div, dy, x)?
            }
            Unary::Expm1 => {
                let e = self.with(Binary::Add, y, 1.0)?;
                self.mul(dy, e)?
            }
            Unary::Sqrt => {
                let twice = self.with(Binary::Mul, y, 2.0)?;
                self.g.binary(Binary::Div, dy, twice)?
            }
            Unary::Rsqrt => {
                // -y^3 / 2
                let square = self.mul(y, y)?;
                let cube = self.mul(square, y)?;
                let slope = self.with(Binary::Mul, cube, -0.5)?;
                self.mul(dy, slope)?
            }
            Unary::Recip => {
                let square = self.mul(y, y)?;
                let slope = self.neg(square)?;
                self.mul(dy, slope)?
            }
            Unary::Sin => {
                let cos = self.g.unary(Unary::Cos, x)?;
                self.mul(dy, cos)?
            }
            Unary::Cos => {
                let sin = self.g.unary(Unary::Sin, x)?;
                let slope = self.neg(sin)?;
                self.mul(dy, slope)?
            }
            Unary::Tanh => {
                let square = self.mul(y, y)?;
                let slope = self.one_minus(square)?;
                self.mul(dy, slope)?
            }
            Unary::Sigmoid => {
                let rest = self.one_minus(y)?;
                let slope = self.mul(y, rest)?;
                self.mul(dy, slope)?
            }
            Unary::Erf => {
                // 2 / sqrt(pi) e^(-x^2)
                let square = self.mul(x, x)?;
                let exponent = self.neg(square)?;
                let e = self.g.unary(Unary::Exp, exponent)?;
                let slope = self.with(Binary::Mul, e, std::f32::consts::FRAC_2_SQRT_PI)?;
                self.mul(dy, slope)?
            }
            Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc | Unary::Not => return Ok(()),
        };
        self.give(x, gradient);
        Ok(())
    }

    /// Of `out = op(x, y)`.
    pub(super) fn binary(&mut self, op: Binary, [x, y]: [Value; 2], out: Value, dy: Value) -> Done {
        match op {
            Binary::Add | Binary::Sub => {
                if self.wants(x) {
                    self.give(x, dy);
                }
                if self.wants(y) {
                    let gradient = if op == Binary::Add { dy } else { self.neg(dy)? };
                    self.give(y, gradient);
                }
            }
            Binary::Mul => {
                for (to, other) in [(x, y), (y, x)] {
                    if self.wants(to) {
                        let gradient = self.mul(dy, other)?;
                        self.give(to, gradient);
                    }
                }
            }
            Binary::Div => {
                let gradient = self.g.binary(Binary::Div, dy, y)?;
                if self.wants(x) {
                    self.give(x, gradient);
                }
                if self.wants(y) {
                    // -dy x / y^2
                    let product = self.mul(gradient, out)?;
                    let gradient = self.neg(product)?;
                    self.give(y, gradient);
                }
            }
            Binary::Pow => self.pow([x, y], out, dy)?,
            Binary::Max | Binary::Min => self.extreme(op, [x, y], dy)?,
            Binary::Rem => {
                // x - floor(x / y) y
                if self.wants(x) {
                    self.give(x, dy);
                }
                if self.wants(y) {
                    let quotient = self.g.binary(Binary::Div, x, y)?;
                    let times = self.g.unary(Unary::Floor, quotient)?;
                    let product = self.mul(dy, times)?;
                    let gradient = self.neg(product)?;
                    self.give(y, gradient);
                }
            }
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => {}
            Binary::And | Binary::Or | Binary::Xor => {}
        }
        Ok(())
    }

    /// Of `out = x^y`: `y x^(y - 1)`, 0 for a power of 0; and `out ln x`, 0 for 0 to what is not negative.
    fn pow(&mut self, [x, y]: [Value; 2], out: Value, dy: Value) -> Done {
        let zero = self.g.constant_f32(0.0)?;
        if self.wants(x) {
            let slope = match self.number(y) {
                Some(2.0) => self.mul(x, y)?,
                constant => {
                    let less = self.with(Binary::Sub, y, 1.0)?;
                    let power = self.g.binary(Binary::Pow, x, less)?;
                    let slope = self.mul(y, power)?;
                    if constant.is_some_and(|y| y != 0.0) {
                        slope
                    } else {
                        let none = self.g.binary(Binary::Eq, y, zero)?;
                        self.g.select(none, zero, slope)?
                    }
                }
            };
            let gradient = self.mul(dy, slope)?;
            self.give(x, gradient);
        }
        if self.wants(y) {
            let log = self.g.unary(Unary::Log, x)?;
            let slope = self.mul(out, log)?;
            let (of_zero, whole) = (self.g.binary(Binary::Eq, x, zero)?, self.g.binary(Binary::Ge, y, zero)?);
            let none = self.g.binary(Binary::And, of_zero, whole)?;
            let slope = self.g.select(none, zero, slope)?;
            let gradient = self.mul(dy, slope)?;
            self.give(y, gradient);
        }
        Ok(())
    }

    /// Of the larger or the smaller of two: to the one that it is, half to each where they are equal. A constant
    /// takes nothing: what lies on such a bound keeps all, except at `max(x, 0)`, whose slope at 0 is 0.
    fn extreme(&mut self, op: Binary, [x, y]: [Value; 2], dy: Value) -> Done {
        let zero = self.g.constant_f32(0.0)?;
        for (to, other) in [(x, y), (y, x)] {
            if !self.wants(to) {
                continue;
            }
            let (inside, within) = match op {
                Binary::Max => (Binary::Gt, Binary::Ge),
                _ => (Binary::Lt, Binary::Le),
            };
            let gradient = match self.number(other) {
                Some(bound) => {
                    let kept = if op == Binary::Max && bound == 0.0 {
                        inside
                    } else {
                        within
                    };
                    let kept = self.g.binary(kept, to, other)?;
                    self.g.select(kept, dy, zero)?
                }
                None => {
                    let (first, equal) = (self.g.binary(inside, to, other)?, self.g.binary(Binary::Eq, to, other)?);
                    let half = self.with(Binary::Mul, dy, 0.5)?;
                    let shared = self.g.select(equal, half, zero)?;
                    self.g.select(first, dy, shared)?
                }
            };
            self.give(to, gradient);
        }
        Ok(())
    }

    /// Of `c ? x : y`.
    pub(super) fn select(&mut self, [c, x, y]: [Value; 3], dy: Value) -> Done {
        let zero = self.g.constant_f32(0.0)?;
        if self.wants(x) {
            let gradient = self.g.select(c, dy, zero)?;
            self.give(x, gradient);
        }
        if self.wants(y) {
            let gradient = self.g.select(c, zero, dy)?;
            self.give(y, gradient);
        }
        Ok(())
    }

    /// `x y`, without ones.
    pub(super) fn mul(&mut self, x: Value, y: Value) -> Built {
        match (self.number(x), self.number(y)) {
            (Some(1.0), _) => Ok(y),
            (_, Some(1.0)) => Ok(x),
            _ => self.g.binary(Binary::Mul, x, y),
        }
    }

    /// `-x`, of `-y` again `y`.
    fn neg(&mut self, x: Value) -> Built {
        match self.g.op(x) {
            Op::Unary(Unary::Neg) => Ok(self.g.args(x)[0]),
            _ => self.g.unary(Unary::Neg, x),
        }
    }

    fn one_minus(&mut self, x: Value) -> Built {
        let one = self.g.constant_f32(1.0)?;
        self.g.binary(Binary::Sub, one, x)
    }

    /// `op(x, c)`.
    pub(super) fn with(&mut self, op: Binary, x: Value, c: f32) -> Built {
        let c = self.g.constant_f32(c)?;
        self.g.binary(op, x, c)
    }

    /// The constant that every element of a value is.
    fn number(&self, v: Value) -> Option<f32> {
        match (self.g.op(v), self.g.constant(v)) {
            (_, Some(Scalar::F32(x))) => Some(x),
            (Op::Broadcast | Op::Reshape, _) => self.number(self.g.args(v)[0]),
            _ => None,
        }
    }

    /// 0 and 1 for truth values.
    pub(super) fn indicator(&mut self, c: Value) -> Built {
        self.g.cast(c, DType::F32)
    }
}
