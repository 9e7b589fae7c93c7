//! Whether a difference outlives training again.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Error;
use super::paired::deviation;

/// A paired t-test: values of two variants, one pair a seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedT {
    /// Mean of `to - from`.
    pub mean: f64,
    /// Standard deviation of these differences.
    pub deviation: f64,
    /// The mean over its standard error.
    pub t: f64,
    /// Degrees of freedom: pairs less one.
    pub df: u32,
    /// Two-sided probability of such a `t` where there is no difference.
    pub p: f64,
    /// 95 % interval of the mean difference.
    pub low: f64,
    /// Its end.
    pub high: f64,
}

/// Tests whether `to` differs from `from`; element `i` of both is of the same seed.
///
/// ```
/// let test = loopfm::metrics::paired_t(&[0.5, 0.5, 0.5], &[0.51, 0.52, 0.53])?;
/// assert_eq!(test.df, 2);
/// assert!(test.p < 0.1);
/// # Ok::<(), loopfm::metrics::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Pairs`], [`Error::NotFinite`], and [`Error::NoSpread`] where all differences are the same.
pub fn paired_t(from: &[f64], to: &[f64]) -> Result<PairedT, Error> {
    if from.len() != to.len() || from.len() < 2 {
        return Err(Error::Pairs {
            a: from.len(),
            b: to.len(),
        });
    }
    let differences: Vec<f64> = from.iter().zip(to).map(|(from, to)| to - from).collect();
    if let Some(pair) = differences.iter().position(|d| !d.is_finite()) {
        let value = if from[pair].is_finite() { to[pair] } else { from[pair] };
        return Err(Error::NotFinite { pair, value });
    }
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let deviation = deviation(&differences);
    let none = || Error::NoSpread {
        pairs: differences.len(),
        difference: mean,
    };
    let se = deviation / n.sqrt();
    // Rounding alone makes no spread.
    if deviation <= 1e-12 * from.iter().chain(to).fold(0.0, |m: f64, x| m.max(x.abs())) {
        return Err(none());
    }
    let student = StudentsT::new(0.0, 1.0, n - 1.0).map_err(|_| none())?;
    let (t, reach) = (mean / se, student.inverse_cdf(0.975) * se);
    Ok(PairedT {
        mean,
        deviation,
        t,
        df: differences.len() as u32 - 1,
        p: 2.0 * student.cdf(-t.abs()),
        low: mean - reach,
        high: mean + reach,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn against_the_closed_form_of_four_degrees() {
        let test = paired_t(&[1.0; 5], &[2.0, 3.0, 4.0, 5.0, 6.0]).expect("a test");
        assert_eq!((test.mean, test.deviation, test.df), (3.0, 2.5f64.sqrt(), 4));
        assert!((test.t - 18f64.sqrt()).abs() < 1e-12);
        // Student's distribution function for 4 degrees has a closed form.
        let u = 1.0 + test.t * test.t / 4.0;
        let below = 0.5 + 0.375 * test.t / u.sqrt() * (1.0 - test.t * test.t / u / 12.0);
        assert!((test.p - 2.0 * (1.0 - below)).abs() < 1e-10, "{}", test.p);
        // R: qt(0.975, 4) = 2.776445
        assert!((test.high - 3.0 - 2.776_445 * 0.5f64.sqrt()).abs() < 1e-5);
        let back = paired_t(&[2.0, 3.0, 4.0, 5.0, 6.0], &[1.0; 5]).expect("a test");
        assert_eq!((back.t, back.p), (-test.t, test.p));
    }

    #[test]
    fn nothing_to_test() {
        assert_eq!(paired_t(&[1.0], &[2.0]), Err(Error::Pairs { a: 1, b: 1 }));
        assert_eq!(paired_t(&[1.0, 2.0], &[2.0]), Err(Error::Pairs { a: 2, b: 1 }));
        let same = paired_t(&[0.1, 0.2, 0.3], &[0.2, 0.3, 0.4]);
        assert!(matches!(same, Err(Error::NoSpread { pairs: 3, .. })), "{same:?}");
        assert!(matches!(paired_t(&[0.0; 2], &[0.0; 2]), Err(Error::NoSpread { .. })));
        let nan = paired_t(&[0.1, 0.2], &[0.2, f64::NAN]);
        assert!(matches!(nan, Err(Error::NotFinite { pair: 1, .. })));
    }
}
