//! How far numbers are from others.

use crate::tensor::{Data, HostTensor};

/// How far numbers are from a reference.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Greatest absolute difference; infinite when a number is missing on one side alone (NaN).
    pub max_abs: f64,
    /// The same over the reference's greatest absolute value: the measured error.
    pub of_max: f64,
    /// Mean of `seen - reference`: a bias shows here that the others hide.
    pub mean: f64,
    /// Cosine of the angle between both.
    pub cosine: f64,
}

impl Difference {
    /// Compares numbers one by one; both sides have the same length.
    #[must_use]
    pub fn of(seen: &[f64], reference: &[f64]) -> Self {
        let pairs = || seen.iter().copied().zip(reference.iter().copied());
        let max_abs = pairs().map(|(a, b)| apart(a, b)).fold(0.0, f64::max);
        let greatest = reference.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let sum = |term: fn(f64, f64) -> f64| pairs().map(|(a, b)| term(a, b)).sum::<f64>();
        let (aa, ab, bb) = (sum(|a, _| a * a), sum(|a, b| a * b), sum(|_, b| b * b));
        Self {
            max_abs,
            of_max: if max_abs == 0.0 { 0.0 } else { max_abs / greatest },
            mean: sum(|a, b| a - b) / seen.len().max(1) as f64,
            // Rounding may take the quotient a little beyond 1.
            cosine: if aa == bb && ab == aa {
                1.0
            } else {
                (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0)
            },
        }
    }
}

/// The distance of two numbers; equal infinities and two NaN are no distance apart.
fn apart(a: f64, b: f64) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// Elements as numbers, truth values as 0 and 1.
#[must_use]
pub fn numbers(tensor: &HostTensor) -> Vec<f64> {
    match &tensor.data {
        Data::F32(x) => x.iter().map(|x| f64::from(*x)).collect(),
        Data::I32(x) => x.iter().map(|x| f64::from(*x)).collect(),
        Data::Bool(x) => x.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let d = Difference::of(&[1.0, 2.5, -4.0], &[1.0, 2.0, -4.0]);
        assert_eq!((d.max_abs, d.of_max), (0.5, 0.125));
        assert!((d.mean - 0.5 / 3.0).abs() < 1e-15);
        assert!(d.cosine > 0.99 && d.cosine < 1.0);
        let same = Difference::of(&[0.0, f64::INFINITY], &[0.0, f64::INFINITY]);
        assert_eq!((same.max_abs, same.of_max), (0.0, 0.0));
    }

    #[test]
    fn what_is_no_number_is_far_away() {
        for (seen, reference) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, f64::NEG_INFINITY)] {
            assert_eq!(Difference::of(&[seen], &[reference]).max_abs, f64::INFINITY);
        }
        // No bound lets it pass.
        assert!(Difference::of(&[f64::NAN], &[1.0]).of_max > 1e300);
    }
}
