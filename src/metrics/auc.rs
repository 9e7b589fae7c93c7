//! How well predictions rank.

use crate::tensor::HostTensor;

/// Area under the ROC curve: the chance that a positive ranks above a negative, ties counted half. `None` where there
/// are no two classes or a score is NaN.
#[must_use]
pub fn auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    if scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut pairs_won, mut negatives, mut positives) = (0.0, 0.0, 0.0);
    // By value, so that 0 and -0 tie.
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let up = tied.iter().filter(|(_, label)| *label).count() as f64;
        let down = tied.len() as f64 - up;
        pairs_won += up * (negatives + down / 2.0);
        positives += up;
        negatives += down;
    }
    (positives > 0.0 && negatives > 0.0).then(|| pairs_won / (positives * negatives))
}

/// Bins of a [`RunningAuc`].
const BINS: usize = 4096;

/// An AUC that goes on while predictions come: of probabilities rounded to bins, ties counted half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAuc {
    /// Negatives in each bin, then positives in each.
    counts: Vec<u32>,
}

impl Default for RunningAuc {
    fn default() -> Self {
        Self {
            counts: vec![0; 2 * BINS],
        }
    }
}

impl RunningAuc {
    /// Adds predictions by their logits; labels from 0.5 on are positive.
    pub fn add(&mut self, logits: &[f32], labels: &[f32]) {
        for (z, y) in logits.iter().zip(labels) {
            let p = 1.0 / (1.0 + (-z).exp());
            let bin = ((p * BINS as f32) as usize).min(BINS - 1);
            let count = &mut self.counts[if *y >= 0.5 { BINS + bin } else { bin }];
            *count = count.saturating_add(1);
        }
    }

    /// The AUC so far; `None` while there is one class alone.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let (down, up) = self.counts.split_at(BINS);
        let (mut pairs_won, mut negatives, mut positives) = (0.0, 0.0, 0.0);
        for (down, up) in down.iter().zip(up) {
            let (down, up) = (f64::from(*down), f64::from(*up));
            pairs_won += up * (negatives + down / 2.0);
            positives += up;
            negatives += down;
        }
        (positives > 0.0 && negatives > 0.0).then(|| pairs_won / (positives * negatives))
    }

    /// The counts, to be kept in a file.
    #[must_use]
    pub fn to_tensor(&self) -> HostTensor {
        HostTensor::i32(&[2, BINS], self.counts.iter().map(|n| n.cast_signed()).collect())
    }

    /// From the counts of a file; `None` where these are none.
    #[must_use]
    pub fn from_tensor(tensor: &HostTensor) -> Option<Self> {
        let counts: Vec<u32> = tensor.as_i32()?.iter().map(|n| n.cast_unsigned()).collect();
        (tensor.shape == [2, BINS]).then_some(Self { counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas() {
        let labels = [false, false, true, true];
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &labels), Some(0.75));
        assert_eq!(auc(&[0.5; 4], &labels), Some(0.5));
        assert_eq!(auc(&[0.0, -0.0, 0.0, 1.0], &labels), Some(0.75));
        assert_eq!(auc(&[0.1, 0.2], &[true, true]), None);
        assert_eq!(auc(&[f64::NAN, 0.2], &[true, false]), None);
    }

    #[test]
    fn areas_that_grow() {
        let (logits, labels) = ([-2.0, -0.4, -0.5, 1.4], [0.0, 0.0, 1.0, 1.0]);
        let mut auc = RunningAuc::default();
        assert_eq!(auc.value(), None);
        auc.add(&logits[..1], &labels[..1]);
        auc.add(&logits[1..], &labels[1..]);
        assert_eq!(auc.value(), Some(0.75));
        assert_eq!(RunningAuc::from_tensor(&auc.to_tensor()), Some(auc));
    }
}
