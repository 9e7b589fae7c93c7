//! Deep Interest Evolution Network.
//!
//! A recurrent layer turns events into interests, attention compares each with the target, and a second one, whose update
//! gate is multiplied by the attention (AUGRU), carries them to the end of the history: its last state is what the tower
//! reads. The first layer's update gate is multiplied by the mask, the second's attention is zero where there is no event, so
//! padding changes no state, wherever it lies.
//!
//! In both layers the gate z weighs the candidate, `h' = (1 - a z) h + a z n`, as in DIEN's paper; PyTorch's GRU has the
//! rows of z with the other sign. Tensors of the attention depend on `attention.score`: a tower (`mlp`), `target W interest`
//! (`bilinear`), or the product alone (`dot`). Without `attention.softmax` scores are not made to sum to 1.
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<field>.weight` | `[vocabulary, width]` |
//! | `gru.input.weight`, `gru.input.bias`, `gru.hidden.weight`, `gru.hidden.bias` | `[3K, K]`, `[3K]`; gates r, z, n |
//! | `augru.`, the same | |
//! | `attention.<i>.weight`, .., `attention.out.weight`, `attention.out.bias` | as those of [`din`](super::din), Dice by default |
//! | bilinear: `attention.weight` | `[K, K]` |
//! | `mlp.<i>.weight`, `mlp.<i>.bias`, `out.weight`, `out.bias` | `[out, in]`, `[out]`, `[1, H]`, `[1]` |
//!
//! G. Zhou and others, "Deep Interest Evolution Network for Click-Through Rate Prediction", 2019.

use super::features::{Features, Sequence};
use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::{Activation, Attention, Score};
use super::spec::Spec;
use super::{Fault, Trunk};
use crate::ir::{Binary, Value};
use crate::nn;
use crate::tensor::{DType, Dim, Shape};

pub(super) const READS: &[&str] = &["attention", "mlp", "activation", "dropout", "batch_norm"];

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let features = Features::of(p, spec)?;
    let attention = spec.attention(&["softmax", "score"])?;
    let mut histories = Vec::new();
    for s in features.some_sequences(p, spec)? {
        histories.push(evolved(p, &s, &attention)?);
    }
    features.deep(p, spec, &histories)
}

/// The state after the last event, `[rows, K]`.
fn evolved(p: &mut Parts, s: &Sequence, attention: &Attention) -> Built {
    let seen = p.graph.cast(s.mask, DType::F32)?;
    let states = recurrent(p, &s.prefix("gru"), s.events, seen)?;
    // Padding repeats the state before it; attention shall see nothing there.
    let column = Shape(vec![Dim::Rows(1), Dim::Fixed(s.length()), Dim::Fixed(1)]);
    let column = p.graph.reshape(s.mask, &column)?;
    let zero = p.graph.constant_f32(0.0)?;
    let interests = p.graph.select(column, states, zero)?;
    let weights = weights(p, s, interests, attention)?;
    let states = recurrent(p, &s.prefix("augru"), interests, weights)?;
    let last = p.graph.slice(states, 1, s.length() - 1, s.length())?;
    let width = p.width(last);
    Ok(p.graph.reshape(last, &Shape(vec![Dim::Rows(1), Dim::Fixed(width)]))?)
}

/// All states `[rows, T, K]` over `x [rows, T, K]` under an attention `[rows, T]`.
fn recurrent(p: &mut Parts, prefix: &str, x: Value, attention: Value) -> Built {
    let width = p.width(x);
    p.scoped(prefix, |p| {
        let mut layer = |name: &str| -> Result<(Value, Value), Fault> {
            let w = p.param(
                &format!("{prefix}.{name}.weight"),
                &[3 * width, width],
                Init::linear(width),
            )?;
            let b = p.param(&format!("{prefix}.{name}.bias"), &[3 * width], Init::linear(width))?;
            Ok((w, b))
        };
        let (input, hidden) = (layer("input")?, layer("hidden")?);
        Ok(nn::augru(&mut p.graph, x, input, hidden, attention)?)
    })
}

/// How much each interest counts for the target, `[rows, T]`; zero where there is no event.
fn weights(p: &mut Parts, s: &Sequence, interests: Value, a: &Attention) -> Built {
    let prefix = s.prefix("attention");
    p.scoped(&prefix, |p| {
        let width = p.width(interests);
        let scores = match a.score.unwrap_or_default() {
            Score::Mlp => {
                let pairs = nn::pairs(&mut p.graph, s.target, interests)?;
                p.score(&prefix, pairs, a, Activation::Dice)?
            }
            Score::Bilinear => {
                let w = p.param(&format!("{prefix}.weight"), &[width, width], Init::Identity)?;
                let mapped = p.graph.matmul(interests, w)?;
                along(p, mapped, s.target)?
            }
            Score::Dot => along(p, interests, s.target)?,
        };
        let scores = p
            .graph
            .reshape(scores, &Shape(vec![Dim::Rows(1), Dim::Fixed(s.length())]))?;
        if a.softmax.unwrap_or(true) {
            return Ok(nn::masked_softmax(&mut p.graph, scores, s.mask, 1)?);
        }
        let zero = p.graph.constant_f32(0.0)?;
        Ok(p.graph.select(s.mask, scores, zero)?)
    })
}

/// Products of `x [rows, T, K]` with `target [rows, K]`, `[rows, T, 1]`.
fn along(p: &mut Parts, x: Value, target: Value) -> Built {
    let width = p.width(target);
    let g = &mut p.graph;
    let target = g.reshape(target, &Shape(vec![Dim::Rows(1), Dim::Fixed(1), Dim::Fixed(width)]))?;
    let product = g.binary(Binary::Mul, x, target)?;
    Ok(g.reduce(crate::ir::Fold::Sum, product, &[2])?)
}
