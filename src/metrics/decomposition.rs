//! What a gain by history embeddings is made of.

use serde::{Deserialize, Serialize};

use super::{Error, Figures, Interval, Measured, Metric, interval};

/// The gain of LoopFM in parts, estimated by four VMs that differ in their history alone: none (`base`), the raw history (`raw`),
/// the FM's embeddings of it (`loopfm`), and both. `temporal + cross - residual == loopfm`, to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decomposition {
    /// What the raw history tells, which needs no FM: `raw` over `base`.
    pub temporal: f64,
    /// What the embeddings tell beyond it: `both` over `raw`.
    pub cross: f64,
    /// What the embeddings have lost of it: `both` over `loopfm`.
    pub residual: f64,
    /// The gain of the embeddings alone: `loopfm` over `base`.
    pub loopfm: f64,
    /// The gain of both: `both` over `base`.
    pub both: f64,
}

impl Decomposition {
    /// From a metric's values of the four VMs.
    #[must_use]
    pub fn of(metric: Metric, base: f64, raw: f64, loopfm: f64, both: f64) -> Self {
        let temporal = metric.gain(base, raw);
        let cross = metric.gain(raw, both);
        let residual = metric.gain(loopfm, both);
        Self {
            temporal,
            cross,
            residual,
            // Not `gain(base, loopfm)`, which is the same but for rounding.
            loopfm: temporal + cross - residual,
            both: temporal + cross,
        }
    }
}

/// A [`Decomposition`] with intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in `Decomposition`")]
pub struct Decomposed {
    pub metric: Metric,
    pub temporal: Interval,
    pub cross: Interval,
    pub residual: Interval,
    pub loopfm: Interval,
    pub both: Interval,
}

/// Decomposes the gain of LoopFM from the measurements of four VMs, one a seed each.
///
/// # Errors
///
/// [`Error::WithinNoise`] where the gain of LoopFM, be it a loss, is below two standard errors (of users and of seeds): parts of
/// nothing are noise; those of [`interval`].
pub fn decompose(
    metric: Metric,
    base: &[Measured],
    raw: &[Measured],
    loopfm: &[Measured],
    both: &[Measured],
) -> Result<Decomposed, Error> {
    let all = [base, raw, loopfm, both];
    let parts = |f: &[Figures]| {
        let of = |i: usize| f[i].get(metric);
        Some(Decomposition::of(metric, of(0)?, of(1)?, of(2)?, of(3)?))
    };
    let part = |of: fn(Decomposition) -> f64| interval(&all, |f| parts(f).map(of));
    let gain = part(|d| d.loopfm)?;
    let (what, value, se) = ("the gain of LoopFM", gain.value, gain.se());
    // So put that NaN is refused too.
    if !(value != 0.0 && value.abs() >= 2.0 * se) {
        return Err(Error::WithinNoise {
            what,
            metric,
            value,
            se,
        });
    }
    Ok(Decomposed {
        metric,
        temporal: part(|d| d.temporal)?,
        cross: part(|d| d.cross)?,
        residual: part(|d| d.residual)?,
        loopfm: gain,
        both: part(|d| d.both)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's table 4 is such a design, without the sums; these are the ones that follow from it.
    #[test]
    fn the_papers_own_numbers() {
        let rows = [
            (
                Metric::Auc,
                [0.5932, 0.6302, 0.6319, 0.6362],
                [0.0370, 0.0060, 0.0043, 0.0387, 0.0430],
            ),
            (
                Metric::LogLoss,
                [0.1966, 0.1942, 0.1950, 0.1942],
                [0.0024, 0.0000, 0.0008, 0.0016, 0.0024],
            ),
            (
                Metric::Auc,
                [0.5843, 0.6186, 0.6233, 0.6305],
                [0.0343, 0.0119, 0.0072, 0.0390, 0.0462],
            ),
            (
                Metric::LogLoss,
                [0.1967, 0.1950, 0.1955, 0.1941],
                [0.0017, 0.0009, 0.0014, 0.0012, 0.0026],
            ),
        ];
        for (metric, [base, raw, loopfm, both], expected) in rows {
            let d = Decomposition::of(metric, base, raw, loopfm, both);
            for (seen, expected) in [d.temporal, d.cross, d.residual, d.loopfm, d.both].iter().zip(expected) {
                assert!((seen - expected).abs() < 1e-12, "{metric}: {d:?}");
            }
            assert_eq!(d.temporal + d.cross - d.residual, d.loopfm);
            assert!((d.loopfm - metric.gain(base, loopfm)).abs() < 1e-15);
        }
    }
}
