//! What is said of predictions: how far they are from others, and how well they rank and predict labels.

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

/// Mean logistic loss of probabilities; `None` where there are none or one is no probability. Certainty is taken as
/// 1e-7 short of it, so that one wrong row does not make the loss infinite.
#[must_use]
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> Option<f64> {
    if probabilities.is_empty() || !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let of_label = |(p, label): (&f64, &bool)| if *label { *p } else { 1.0 - p };
    let losses = probabilities
        .iter()
        .zip(labels)
        .map(|pair| -of_label(pair).max(1e-7).ln());
    Some(losses.sum::<f64>() / probabilities.len() as f64)
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

    #[test]
    fn losses() {
        let loss = log_loss(&[0.9, 0.2], &[true, false]).expect("probabilities");
        assert!((loss + (0.9f64.ln() + 0.8f64.ln()) / 2.0).abs() < 1e-15);
        assert_eq!(log_loss(&[1.5], &[true]), None);
        assert!(log_loss(&[0.0], &[true]).expect("a probability").is_finite());
    }
}
