//! The numbers that floats of a graph are evaluated in.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

/// A float type that graphs are evaluated in: `f32` as devices do, `f64` as the meaning.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + 'static
{
    /// Nothing.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Below every number: where a maximum starts.
    const LOWEST: Self;

    /// The same number, exactly.
    fn from_f32(x: f32) -> Self;
    /// The nearest number.
    fn from_i32(x: i32) -> Self;
    /// The nearest `f32`.
    fn to_f32(self) -> f32;
    /// The same number, exactly.
    fn to_f64(self) -> f64;
    /// Towards zero; beyond the range its end, NaN is 0.
    fn to_i32(self) -> i32;
    /// Whether this is no number.
    fn is_nan(self) -> bool;
    /// `|x|`.
    fn abs(self) -> Self;
    /// Largest whole number not above.
    fn floor(self) -> Self;
    /// Smallest whole number not below.
    fn ceil(self) -> Self;
    /// Nearest whole number, ties to even.
    fn round(self) -> Self;
    /// Towards zero.
    fn trunc(self) -> Self;
    /// `e^x`.
    fn exp(self) -> Self;
    /// `e^x - 1`.
    fn expm1(self) -> Self;
    /// Natural logarithm.
    fn log(self) -> Self;
    /// `ln(1 + x)`.
    fn log1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Gauss error function.
    fn erf(self) -> Self;
    /// `self^y`.
    fn pow(self, y: Self) -> Self;

    /// `1 / (1 + e^-x)`, never through an overflow.
    #[must_use]
    fn sigmoid(self) -> Self {
        let e = (-self.abs()).exp();
        let small = e / (Self::ONE + e);
        if self < Self::ZERO {
            small
        } else {
            Self::ONE / (Self::ONE + e)
        }
    }
}

macro_rules! real {
    ($($ty:ident: $erf:expr;)*) => {$(
        impl Real for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = Self::NEG_INFINITY;

            fn from_f32(x: f32) -> Self {
                Self::from(x)
            }
            fn from_i32(x: i32) -> Self {
                x as Self
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn to_i32(self) -> i32 {
                self as i32
            }
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn floor(self) -> Self {
                self.floor()
            }
            fn ceil(self) -> Self {
                self.ceil()
            }
            fn round(self) -> Self {
                self.round_ties_even()
            }
            fn trunc(self) -> Self {
                self.trunc()
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn expm1(self) -> Self {
                self.exp_m1()
            }
            fn log(self) -> Self {
                self.ln()
            }
            fn log1p(self) -> Self {
                self.ln_1p()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn sin(self) -> Self {
                self.sin()
            }
            fn cos(self) -> Self {
                self.cos()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
            fn erf(self) -> Self {
                $erf(self)
            }
            fn pow(self, y: Self) -> Self {
                self.powf(y)
            }
        }
    )*};
}

real! {
    f32: |x| erf(f64::from(x)) as f32;
    f64: erf;
}

/// `erf x = 2/sqrt(pi) e^(-x^2) (x + 2 x^3/3 + 4 x^5/(3*5) + ..)`: no term cancels another.
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}
