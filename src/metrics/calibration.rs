//! Whether predictions are too high or too low.

use serde::{Deserialize, Serialize};

/// How rows are put into bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// Bins of equal width over 0 to 1, as in the usual expected calibration error.
    Width,
    /// Bins of equally many rows, which tell more where predictions gather near 0. Equal predictions share a bin.
    Rows,
}

/// Rows of similar predictions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub rows: usize,
    /// Their mean prediction.
    pub prediction: f64,
    /// Their mean label.
    pub label: f64,
}

/// Mean predictions beside mean labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Mean prediction over mean label: above 1 where predictions are too high. Absent without positives.
    pub ratio: Option<f64>,
    /// Mean prediction.
    pub prediction: f64,
    /// Mean label.
    pub label: f64,
    /// Expected calibration error: mean distance of prediction and label over bins, weighted by their rows.
    pub error: f64,
    /// The bins that have rows, by prediction.
    pub bins: Vec<Bin>,
}

impl Calibration {
    /// Of probabilities, in at most `bins` bins; `None` where there are no rows, no bins, lengths differ or a
    /// probability is none.
    #[must_use]
    pub fn of(probabilities: &[f64], labels: &[bool], binning: Binning, bins: usize) -> Option<Self> {
        let sound = probabilities.iter().all(|p| (0.0..=1.0).contains(p));
        if probabilities.is_empty() || bins == 0 || probabilities.len() != labels.len() || !sound {
            return None;
        }
        let mut rows: Vec<(f64, bool)> = probabilities.iter().copied().zip(labels.iter().copied()).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let bins: Vec<Bin> = match binning {
            Binning::Width => {
                let bin = |p: f64| ((p * bins as f64) as usize).min(bins - 1);
                rows.chunk_by(|a, b| bin(a.0) == bin(b.0)).map(Bin::of).collect()
            }
            Binning::Rows => of_equal_rows(&rows, bins),
        };
        let n = rows.len() as f64;
        let mean = |of: fn(&Bin) -> f64| bins.iter().map(|b| of(b) * b.rows as f64).sum::<f64>() / n;
        let (prediction, label) = (mean(|b| b.prediction), mean(|b| b.label));
        Some(Self {
            ratio: (label > 0.0).then(|| prediction / label),
            prediction,
            label,
            error: mean(|b| (b.prediction - b.label).abs()),
            bins,
        })
    }
}

impl Bin {
    fn of(rows: &[(f64, bool)]) -> Self {
        let n = rows.len() as f64;
        Self {
            rows: rows.len(),
            prediction: rows.iter().map(|(p, _)| p).sum::<f64>() / n,
            label: rows.iter().filter(|(_, y)| *y).count() as f64 / n,
        }
    }
}

/// Sorted rows in parts of about equal size; each ends after the last of equal predictions.
fn of_equal_rows(rows: &[(f64, bool)], bins: usize) -> Vec<Bin> {
    let (mut found, mut start) = (Vec::new(), 0);
    for bin in 1..=bins {
        // Through u128: rows times bins.
        let mut end = (rows.len() as u128 * bin as u128 / bins as u128) as usize;
        while end > start && end < rows.len() && rows[end].0 == rows[end - 1].0 {
            end += 1;
        }
        if end > start {
            found.push(Bin::of(&rows[start..end]));
            start = end;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [f64; 6] = [0.1, 0.15, 0.4, 0.45, 0.9, 1.0];
    const Y: [bool; 6] = [false, true, false, true, true, true];

    #[test]
    fn bins_of_equal_width() {
        let found = Calibration::of(&P, &Y, Binning::Width, 2).expect("probabilities");
        assert_eq!(found.bins.iter().map(|b| b.rows).collect::<Vec<_>>(), [4, 2]);
        assert!((found.bins[0].prediction - 0.275).abs() < 1e-15);
        assert_eq!((found.bins[0].label, found.bins[1].label), (0.5, 1.0));
        // (4 * |0.275 - 0.5| + 2 * |0.95 - 1|) / 6
        assert!((found.error - 1.0 / 6.0).abs() < 1e-15);
        assert!((found.ratio.expect("positives") - 3.0 / 4.0).abs() < 1e-15);
    }

    #[test]
    fn bins_of_equal_rows() {
        let found = Calibration::of(&P, &Y, Binning::Rows, 3).expect("probabilities");
        assert_eq!(found.bins.iter().map(|b| b.rows).collect::<Vec<_>>(), [2; 3]);
        let tied = Calibration::of(&[0.2, 0.2, 0.2, 0.2, 0.7], &Y[..5], Binning::Rows, 2).expect("probabilities");
        assert_eq!(tied.bins.iter().map(|b| b.rows).collect::<Vec<_>>(), [4, 1]);
    }

    #[test]
    fn nothing_to_say() {
        for (p, y) in [
            (&[][..], &[][..]),
            (&[1.1], &[true]),
            (&[f64::NAN], &[true]),
            (&[0.5], &[true, false]),
        ] {
            assert_eq!(Calibration::of(p, y, Binning::Width, 10), None);
        }
        assert_eq!(Calibration::of(&P, &Y, Binning::Rows, 0), None);
        let none = Calibration::of(&[0.5], &[false], Binning::Rows, 10).expect("a probability");
        assert_eq!(none.ratio, None);
    }
}
