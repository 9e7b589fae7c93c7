//! Intervals of anything that is computed from the figures of variants that were measured on the same resamples.

use serde::{Deserialize, Serialize};

use super::{Error, Figures, Measured, Metric};

/// A number and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// On all rows; the mean over seeds.
    pub value: f64,
    /// Where the share of resamples that was asked for begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// Standard error by resampling users: what other users would have changed.
    pub se_users: f64,
    /// Standard error over seeds: what training again would have changed; absent with one seed.
    pub se_seeds: Option<f64>,
}

impl Interval {
    /// Both standard errors together.
    #[must_use]
    pub fn se(&self) -> f64 {
        self.se_users.hypot(self.se_seeds.unwrap_or(0.0))
    }
}

/// The interval of a statistic of variants, each given by what was measured under each seed. The statistic takes the
/// figures of each variant, means over seeds, and is computed anew on every resample; the same users count for all of
/// them, so that what they share cancels.
///
/// ```
/// use loopfm::metrics::{Bootstrap, Sample, interval};
///
/// let sample = Sample::new(&[1, 1, 2, 2], &[0.0, 1.0, 1.0, 0.0], &Bootstrap::default())?;
/// let model = sample.measure("model", &[-1.0, 2.0, 0.5, 0.1])?;
/// let gap = interval(&[&[model]], |figures| Some(figures[0].gauc? - figures[0].auc?))?;
/// assert_eq!(gap.value, 0.0);
/// # Ok::<(), loopfm::metrics::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::NotPaired`], [`Error::Seeds`], [`Error::FewResamples`] where the statistic has no value on all rows or on half of the
/// resamples, [`Error::Empty`] where a variant was never measured.
pub fn interval(variants: &[&[Measured]], statistic: impl Fn(&[Figures]) -> Option<f64>) -> Result<Interval, Error> {
    let seeds = check(variants)?;
    let over_seeds = |of: &dyn Fn(&Measured) -> Figures| -> Vec<Figures> {
        let mean = |v: &&[Measured]| Figures::mean(&v.iter().map(of).collect::<Vec<_>>());
        variants.iter().map(mean).collect()
    };
    let resamples = variants[0][0].resamples.len();
    let mut values: Vec<f64> = (0..resamples)
        .filter_map(|r| statistic(&over_seeds(&|m| m.resamples[r])))
        .filter(|x| x.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    let used = values.len();
    let value = statistic(&over_seeds(&|m| m.figures)).filter(|x| x.is_finite());
    let Some(value) = value.filter(|_| used >= 2 && 2 * used >= resamples) else {
        return Err(Error::FewResamples { used, resamples });
    };
    let of_seed = |seed: usize| {
        let figures: Vec<Figures> = variants.iter().map(|v| v[seed.min(v.len() - 1)].figures).collect();
        statistic(&figures)
    };
    let by_seed: Option<Vec<f64>> = (0..seeds).map(of_seed).collect();
    let tail = (1.0 - variants[0][0].level) / 2.0;
    Ok(Interval {
        value,
        low: quantile(&values, tail),
        high: quantile(&values, 1.0 - tail),
        se_users: deviation(&values),
        se_seeds: by_seed
            .filter(|v| v.len() > 1)
            .map(|v| deviation(&v) / (v.len() as f64).sqrt()),
    })
}

/// How much better one variant is than another, with its interval: positive where `to` is better.
///
/// # Errors
///
/// Those of [`interval`].
pub fn difference(metric: Metric, from: &[Measured], to: &[Measured]) -> Result<Interval, Error> {
    let gain = |f: &[Figures]| Some(metric.gain(f[0].get(metric)?, f[1].get(metric)?));
    interval(&[from, to], gain)
}

/// Variants must have been measured on the same resamples, under the same number of seeds, or one. Returns that number.
fn check(variants: &[&[Measured]]) -> Result<usize, Error> {
    let first = variants.iter().find_map(|v| v.first()).ok_or(Error::Empty)?;
    let mut seeds = 1;
    for variant in variants {
        match (variant.len(), seeds) {
            (0, _) => return Err(Error::Empty),
            (1, _) => {}
            (n, 1) => seeds = n,
            (n, seeds) if n != seeds => return Err(Error::Seeds { a: seeds, b: n }),
            _ => {}
        }
        if let Some(other) = variant.iter().find(|m| !first.is_paired_with(m)) {
            let (a, b) = (first.name.clone(), other.name.clone());
            return Err(Error::NotPaired { a, b });
        }
    }
    Ok(seeds)
}

impl Measured {
    fn is_paired_with(&self, other: &Self) -> bool {
        self.on == other.on && self.level == other.level && self.resamples.len() == other.resamples.len()
    }
}

/// Of sorted numbers, at least one; between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * at.fract()
}

/// Standard deviation of at least two numbers.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_deviations() {
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!((quantile(&sorted, 0.0), quantile(&sorted, 1.0)), (1.0, 5.0));
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.625)), (3.0, 3.5));
        assert_eq!(deviation(&sorted), 2.5f64.sqrt());
    }
}
