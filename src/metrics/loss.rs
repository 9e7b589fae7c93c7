//! How well predictions tell labels: logistic loss, in nats and as a share of what the base rate alone would give.

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

/// The probability of a logit.
#[must_use]
pub fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// The logit of a probability. Certainty is taken as 1e-7 short of it.
#[must_use]
pub fn logit(probability: f64) -> f64 {
    let p = probability.clamp(1e-7, 1.0 - 1e-7);
    (p / (1.0 - p)).ln()
}

/// Logistic loss of one row, exact for logits of any size.
pub(super) fn loss_of_logit(logit: f64, label: bool) -> f64 {
    let against = if label { -logit } else { logit };
    against.max(0.0) + (-against.abs()).exp().ln_1p()
}

/// Mean logistic loss of logits, in nats; `None` where there are none, one is NaN or lengths differ.
#[must_use]
pub fn log_loss_of_logits(logits: &[f64], labels: &[bool]) -> Option<f64> {
    if logits.is_empty() || logits.len() != labels.len() || logits.iter().any(|z| z.is_nan()) {
        return None;
    }
    let losses = logits.iter().zip(labels).map(|(z, y)| loss_of_logit(*z, *y));
    Some(losses.sum::<f64>() / logits.len() as f64)
}

/// Entropy of a label that is 1 at this rate, in nats.
#[must_use]
pub fn entropy(rate: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    term(rate) + term(1.0 - rate)
}

/// Normalised entropy (He et al. 2014): mean logistic loss over the loss of always saying the base rate, which is that
/// of the rows measured. `None` where there is one class alone.
#[must_use]
pub fn normalised_entropy(log_loss: f64, base_rate: f64) -> Option<f64> {
    let entropy = entropy(base_rate);
    (entropy > 0.0 && !log_loss.is_nan()).then(|| log_loss / entropy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses() {
        let loss = log_loss(&[0.9, 0.2], &[true, false]).expect("probabilities");
        assert!((loss + (0.9f64.ln() + 0.8f64.ln()) / 2.0).abs() < 1e-15);
        assert_eq!(log_loss(&[1.5], &[true]), None);
        assert!(log_loss(&[0.0], &[true]).expect("a probability").is_finite());
    }

    #[test]
    fn losses_of_logits() {
        let loss = log_loss_of_logits(&[9.0f64.ln(), -(4.0f64.ln())], &[true, false]).expect("logits");
        assert!((loss + (0.9f64.ln() + 0.8f64.ln()) / 2.0).abs() < 1e-15);
        // Neither overflows nor is cut off.
        assert_eq!(log_loss_of_logits(&[1000.0, -1000.0], &[false, true]), Some(1000.0));
        assert_eq!(log_loss_of_logits(&[1000.0, -1000.0], &[true, false]), Some(0.0));
        assert_eq!(log_loss_of_logits(&[f64::NAN], &[true]), None);
        assert_eq!(log_loss_of_logits(&[], &[]), None);
        assert!((sigmoid(logit(0.3)) - 0.3).abs() < 1e-15);
        assert!(logit(0.0).is_finite() && logit(1.0).is_finite());
    }

    #[test]
    fn entropies() {
        assert!((entropy(0.5) - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!((entropy(0.0), entropy(1.0)), (0.0, 0.0));
        // Saying the base rate is 1, whatever it is.
        let rate = 0.25;
        let loss = log_loss(&[rate; 4], &[true, false, false, false]).expect("probabilities");
        let ne = normalised_entropy(loss, rate).expect("two classes");
        assert!((ne - 1.0).abs() < 1e-15);
        assert_eq!(normalised_entropy(0.3, 1.0), None);
    }
}
