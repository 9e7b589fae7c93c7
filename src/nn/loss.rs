//! Losses: one number a row, then one a batch.
//!
//! A loss of rows keeps the shape of its predictions, so rows can be weighted before they are folded. [`mean_over_rows`]
//! folds them; [`total`] adds losses by weight. What is distilled or compressed stands behind `detach`, so that the
//! backbone learns from it exactly as much as was asked for.

use super::{Built, extent, last, mean, scale};
use crate::ir::{Binary, Fold, Graph, TypeError, Unary, Value};
use crate::tensor::Shape;

/// Logistic loss of logits, row by row: `max(z, 0) - z y + ln(1 + e^-|z|)`, finite at any finite logit. Labels from 0 to
/// 1, as many as logits; between both it is the loss of a soft label.
///
/// `max(z, 0)` is written `z / 2 + |z| / 2`: so the gradient is `sigmoid(z) - y` at 0, too, where fresh models stand.
///
/// # Errors
/// As every function here, [`TypeError`] when types do not fit.
pub fn bce_with_logits(g: &mut Graph, logit: Value, label: Value) -> Built {
    let label = g.reshape(label, &g.shape(logit).clone())?;
    let half = g.constant_f32(0.5)?;
    let slope = g.binary(Binary::Sub, half, label)?;
    let agreed = g.binary(Binary::Mul, logit, slope)?;
    let size = g.unary(Unary::Abs, logit)?;
    let halved = g.binary(Binary::Mul, size, half)?;
    let linear = g.binary(Binary::Add, halved, agreed)?;
    let negative = g.unary(Unary::Neg, size)?;
    let e = g.unary(Unary::Exp, negative)?;
    let rest = g.unary(Unary::Log1p, e)?;
    g.binary(Binary::Add, linear, rest)
}

/// Distillation of a teacher's probabilities into logits of their own, row by row: the logistic loss at the label
/// `min(1, alpha p)`.
///
/// ExFM's auxiliary head: `logit` is a linear layer on `scale_gradient(x, beta)`, `x` being the backbone's last hidden
/// layer; the serving head on `x` itself learns from the true labels alone. `alpha` (label scale) lifts the teacher's
/// small probabilities, the loss' weight in [`total`] and `beta` say how much of it the head and the backbone learn.
///
/// # Errors
/// See [`bce_with_logits`].
pub fn distillation(g: &mut Graph, logit: Value, teacher: Value, alpha: f32) -> Built {
    let lifted = scale(g, teacher, alpha)?;
    let one = g.constant_f32(1.0)?;
    let label = g.binary(Binary::Min, lifted, one)?;
    bce_with_logits(g, logit, label)
}

/// `x`, exactly, whose gradient is multiplied by `beta`: `d + beta (x - d)` with `d = detach(x)`.
///
/// # Errors
/// See [`bce_with_logits`].
pub fn scale_gradient(g: &mut Graph, x: Value, beta: f32) -> Built {
    let fixed = g.detach(x)?;
    let nothing = g.binary(Binary::Sub, x, fixed)?;
    let scaled = scale(g, nothing, beta)?;
    g.binary(Binary::Add, fixed, scaled)
}

/// Mean of squared differences over the last axis: `[.., D]` to `[.., 1]`.
///
/// # Errors
/// See [`bce_with_logits`].
pub fn mse(g: &mut Graph, x: Value, target: Value) -> Built {
    let apart = g.binary(Binary::Sub, x, target)?;
    let square = g.binary(Binary::Mul, apart, apart)?;
    mean(g, square)
}

/// Autoencoder of hidden layers, trained beside the model that they belong to: the code `z [.., d]` and the loss
/// `[.., 1]`, the [`mse`] of what `decode` makes of `z` and what `encode` was given, both detached from `x`, so no
/// gradient of it reaches the model.
///
/// With `prefixes` (Matryoshka) the losses of `decode(k, z[.., ..k])` are added for each prefix `k`, so that every
/// prefix of a code is a code; without any, `decode` gets the whole code.
///
/// # Errors
/// See [`bce_with_logits`].
pub fn autoencoder(
    g: &mut Graph,
    x: Value,
    encode: impl FnOnce(&mut Graph, Value) -> Built,
    mut decode: impl FnMut(&mut Graph, usize, Value) -> Built,
    prefixes: &[usize],
) -> Result<(Value, Value), TypeError> {
    let x = g.detach(x)?;
    let z = encode(g, x)?;
    let axis = last(g, z);
    let width = extent(g, z, axis);
    let whole = [width];
    let prefixes = if prefixes.is_empty() { &whole } else { prefixes };
    let mut losses = Vec::new();
    for k in prefixes {
        let prefix = g.slice(z, axis, 0, *k)?;
        let back = decode(g, *k, prefix)?;
        losses.push((1.0, mse(g, back, x)?));
    }
    Ok((z, total(g, &losses)?))
}

/// Mean of a loss `[rows]` or `[rows, 1, ..]` over the batch, as a scalar: its sum times `inv_rows`, the input `f32[]`
/// that holds `1 / rows`; with `weight [rows]`, the sum of weighted losses.
///
/// # Errors
/// See [`bce_with_logits`].
pub fn mean_over_rows(g: &mut Graph, loss: Value, weight: Option<Value>, inv_rows: Value) -> Built {
    let mut loss = match g.shape(loss).symbolic() {
        Some((_, dim)) => g.reshape(loss, &Shape(vec![dim]))?,
        None => loss,
    };
    if let Some(weight) = weight {
        loss = g.binary(Binary::Mul, loss, weight)?;
    }
    let sum = g.reduce(Fold::Sum, loss, &[0])?;
    let sum = g.reshape(sum, &Shape(Vec::new()))?;
    g.binary(Binary::Mul, sum, inv_rows)
}

/// Losses of one shape added by weight. A weight of 1 costs nothing.
///
/// # Errors
/// See [`bce_with_logits`].
pub fn total(g: &mut Graph, losses: &[(f32, Value)]) -> Built {
    let mut sum = None;
    for (weight, loss) in losses {
        let loss = if *weight == 1.0 {
            *loss
        } else {
            scale(g, *loss, *weight)?
        };
        sum = Some(match sum {
            None => loss,
            Some(sum) => g.binary(Binary::Add, sum, loss)?,
        });
    }
    match sum {
        Some(sum) => Ok(sum),
        None => g.constant_f32(0.0),
    }
}
