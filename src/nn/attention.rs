//! Softmax, pooling and attention over positions of a sequence, masks included.

use super::{Built, beside, extent, last, linear, scale, with_axis};
use crate::ir::{Binary, Fold, Graph, Unary, Value};
use crate::tensor::{DType, Dim, Shape};

/// Softmax over an axis.
///
/// # Errors
/// See [`linear`].
pub fn softmax(g: &mut Graph, x: Value, axis: usize) -> Built {
    // Shifting changes nothing, so the shift passes no gradient back.
    let max = g.reduce(Fold::Max, x, &[axis])?;
    let max = g.detach(max)?;
    let shifted = g.binary(Binary::Sub, x, max)?;
    let e = g.unary(Unary::Exp, shifted)?;
    let sum = g.reduce(Fold::Sum, e, &[axis])?;
    g.binary(Binary::Div, e, sum)
}

/// Softmax over the entries of an axis where `mask` (which broadcasts) is true; zero elsewhere, and where it is true
/// nowhere.
///
/// # Errors
/// See [`linear`].
pub fn masked_softmax(g: &mut Graph, x: Value, mask: Value, axis: usize) -> Built {
    let (lowest, zero, one) = (g.constant_f32(f32::MIN)?, g.constant_f32(0.0)?, g.constant_f32(1.0)?);
    let kept = g.select(mask, x, lowest)?;
    let max = g.reduce(Fold::Max, kept, &[axis])?;
    let max = g.detach(max)?;
    let shifted = g.binary(Binary::Sub, kept, max)?;
    let e = g.unary(Unary::Exp, shifted)?;
    let e = g.select(mask, e, zero)?;
    let sum = g.reduce(Fold::Sum, e, &[axis])?;
    // The largest entry adds e^0: below 1 means that there is none, and all entries are 0 already.
    let sum = g.binary(Binary::Max, sum, one)?;
    g.binary(Binary::Div, e, sum)
}

/// Sum over the last axis but one of `x [.., T, D]` where `mask [.., T]` is true: `[.., D]`.
///
/// # Errors
/// See [`linear`].
pub fn masked_sum(g: &mut Graph, x: Value, mask: Value) -> Built {
    let zero = g.constant_f32(0.0)?;
    let column = with_axis(g, mask, last(g, mask) + 1)?;
    let kept = g.select(column, x, zero)?;
    fold_positions(g, kept)
}

/// Mean in the manner of [`masked_sum`]; zero where the mask is true nowhere.
///
/// # Errors
/// See [`linear`].
pub fn masked_mean(g: &mut Graph, x: Value, mask: Value) -> Built {
    let sum = masked_sum(g, x, mask)?;
    let number = g.cast(mask, DType::F32)?;
    let count = g.reduce(Fold::Sum, number, &[last(g, number)])?;
    let one = g.constant_f32(1.0)?;
    let count = g.binary(Binary::Max, count, one)?;
    g.binary(Binary::Div, sum, count)
}

/// Attention of Deep Interest Networks: keys `k [.., T, D]` weighted by a score of their [`pairs`] with `q [.., D]`, and
/// [`pooled`]; `score` maps `[.., T, 4D]` to `[.., T, 1]`.
///
/// # Errors
/// See [`linear`].
pub fn target_attention(
    g: &mut Graph,
    q: Value,
    k: Value,
    mask: Value,
    softmax: bool,
    score: impl FnOnce(&mut Graph, Value) -> Built,
) -> Built {
    let pairs = pairs(g, q, k)?;
    let scores = score(g, pairs)?;
    pooled(g, scores, k, mask, softmax)
}

/// `[q, k, q - k, q k]` side by side: `q [.., D]` and `k [.., T, D]` to `[.., T, 4D]`.
///
/// # Errors
/// See [`linear`].
pub fn pairs(g: &mut Graph, q: Value, k: Value) -> Built {
    let q = with_axis(g, q, last(g, q))?;
    pairs_by_position(g, q, k)
}

/// [`pairs`] whose `q [.., T, D]` may differ from position to position.
///
/// # Errors
/// See [`linear`].
pub fn pairs_by_position(g: &mut Graph, q: Value, k: Value) -> Built {
    let q = g.broadcast(q, &g.shape(k).clone())?;
    let difference = g.binary(Binary::Sub, q, k)?;
    let product = g.binary(Binary::Mul, q, k)?;
    beside(g, &[q, k, difference, product])
}

/// Keys `[.., T, D]` weighted by `scores [.., T, 1]` and summed: `[.., D]`, by their [`attention_weights`].
///
/// # Errors
/// See [`linear`].
pub fn pooled(g: &mut Graph, scores: Value, k: Value, mask: Value, softmax: bool) -> Built {
    let weights = attention_weights(g, scores, mask, softmax)?;
    let weighted = g.binary(Binary::Mul, weights, k)?;
    fold_positions(g, weighted)
}

/// What each position weighs, `[.., T, 1]` as its score: where `mask [.., T]` is false nothing; elsewhere its score or, with
/// softmax, its share.
///
/// # Errors
/// See [`linear`].
pub fn attention_weights(g: &mut Graph, scores: Value, mask: Value, softmax: bool) -> Built {
    let mask = with_axis(g, mask, last(g, mask) + 1)?;
    if softmax {
        return masked_softmax(g, scores, mask, last(g, scores).saturating_sub(1));
    }
    let zero = g.constant_f32(0.0)?;
    g.select(mask, scores, zero)
}

/// Projections of a multi-head attention: `in` `[3E, E]` and `[3E]` for q, k, v in this order, `out` `[E, E]` and `[E]`.
#[derive(Clone, Copy, Debug)]
pub struct Projections {
    /// Weight of the three input projections.
    pub in_weight: Value,
    /// Their bias.
    pub in_bias: Value,
    /// Weight of the output projection.
    pub out_weight: Value,
    /// Its bias.
    pub out_bias: Value,
}

/// Scaled dot-product attention of `q [N, S, E]` over keys and values made from `k [N, T, E]`; `mask [N, T]` is true where
/// a key may be seen.
///
/// # Errors
/// See [`linear`].
pub fn multi_head_attention(
    g: &mut Graph,
    q: Value,
    k: Value,
    mask: Option<Value>,
    p: Projections,
    heads: usize,
) -> Built {
    let width = extent(g, q, 2);
    let project = |g: &mut Graph, x: Value, part: usize, perm: &[usize]| {
        let w = g.slice(p.in_weight, 0, part * width, (part + 1) * width)?;
        let b = g.slice(p.in_bias, 0, part * width, (part + 1) * width)?;
        let y = linear(g, x, w, Some(b))?;
        let mut dims = g.shape(y).0.clone();
        dims.splice(2.., [Dim::Fixed(heads), Dim::Fixed(width / heads.max(1))]);
        let y = g.reshape(y, &Shape(dims))?;
        g.permute(y, perm)
    };
    let query = project(g, q, 0, &[0, 2, 1, 3])?;
    let key = project(g, k, 1, &[0, 2, 3, 1])?;
    let value = project(g, k, 2, &[0, 2, 1, 3])?;
    let scores = g.matmul(query, key)?;
    let scores = scale(g, scores, ((width / heads.max(1)) as f32).sqrt().recip())?;
    let weights = match mask {
        None => softmax(g, scores, 3)?,
        Some(mask) => {
            let mask = with_axis(g, mask, 1)?;
            let mask = with_axis(g, mask, 1)?;
            masked_softmax(g, scores, mask, 3)?
        }
    };
    let mixed = g.matmul(weights, value)?;
    let mixed = g.permute(mixed, &[0, 2, 1, 3])?;
    let joined = g.reshape(mixed, &g.shape(q).clone())?;
    linear(g, joined, p.out_weight, Some(p.out_bias))
}

/// `[.., T, D]` to `[.., D]` by summing.
fn fold_positions(g: &mut Graph, x: Value) -> Built {
    let axis = last(g, x).saturating_sub(1);
    let sum = g.reduce(Fold::Sum, x, &[axis])?;
    let mut dims = g.shape(sum).0.clone();
    dims.remove(axis);
    g.reshape(sum, &Shape(dims))
}
