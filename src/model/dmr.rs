//! Deep Match to Rank.
//!
//! Attention whose query knows where an event stands: `relu(W [target, position_t] + b)` is compared with event t, and the
//! tower reads the events weighted by their shares. Two numbers may go with it: the sum of the scores (`item_to_item`), and
//! the product of a user vector with the target in tables of its own (`user_to_item`), where the user vector is the same
//! attention with positions alone, through a layer `project`. The attention of the user vector sees the last position even
//! where it is padding, as a vector of zeros.
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<field>.weight` | `[vocabulary, width]` |
//! | `attention.position`; `attention.query.weight`, `attention.query.bias` | `[T, P]`; `[K, K + P]`, `[K]` |
//! | `attention.<i>.weight`, .., `attention.out.weight`, `attention.out.bias` | as those of [`din`](super::din) |
//! | `relevance.position`; `relevance.query.weight`, `relevance.query.bias` | `[T, P]`; `[K, P]`, `[K]` |
//! | `relevance.<i>.weight`, .., `relevance.out.weight`, `relevance.out.bias` | as those of [`din`](super::din) |
//! | `relevance.project.weight`, `relevance.project.bias` | `[K, K]`, `[K]` |
//! | `relevance.embedding.<field>.weight` | `[vocabulary, width]` |
//! | `mlp.<i>.weight`, `mlp.<i>.bias`, `out.weight`, `out.bias` | `[out, in]`, `[out]`, `[1, H]`, `[1]` |
//!
//! Z. Lyu and others, "Deep Match to Rank Model for Personalized Click-Through Rate Prediction", 2020.

use super::features::{Features, Sequence};
use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::{Activation, Attention};
use super::sides::padded;
use super::spec::Spec;
use super::{Fault, Trunk};
use crate::ir::{Binary, Fold, Value};
use crate::nn;
use crate::tensor::{Dim, Shape};

pub(super) const READS: &[&str] = &["attention", "relevance", "mlp", "activation", "dropout", "batch_norm"];

/// Width of a position where none is given.
const POSITION: usize = 64;

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let features = Features::of(p, spec)?;
    let attention = spec.attention(&["position"])?;
    let relevance = spec.relevance.unwrap_or_default();
    let mut histories = Vec::new();
    for s in features.some_sequences(p, spec)? {
        let (pooled, item_to_item) = item_net(p, &s, &attention)?;
        histories.push(pooled);
        if relevance.item_to_item {
            histories.push(item_to_item);
        }
        if relevance.user_to_item {
            histories.push(user_net(p, &s, &attention)?);
        }
    }
    features.deep(p, spec, &histories)
}

/// Events weighted by their shares, `[rows, K]`, and the sum of their scores, `[rows, 1]`.
fn item_net(p: &mut Parts, s: &Sequence, a: &Attention) -> Result<(Value, Value), Fault> {
    let prefix = s.prefix("attention");
    p.scoped(&prefix, |p| {
        let target = p.spread(s.target, s.length())?;
        let query = match positions(p, &prefix, s, a)? {
            Some(position) => p.beside(&[target, position])?,
            None => target,
        };
        let scores = scores(p, &prefix, s.events, query, a)?;
        let pooled = nn::pooled(&mut p.graph, scores, s.events, s.mask, true)?;
        Ok((pooled, nn::masked_sum(&mut p.graph, scores, s.mask)?))
    })
}

/// The product of a user vector with the target, `[rows, 1]`.
fn user_net(p: &mut Parts, s: &Sequence, a: &Attention) -> Built {
    let prefix = s.prefix("relevance");
    p.scoped(&prefix, |p| {
        let position = positions(p, &prefix, s, a)?
            .ok_or_else(|| Fault::Config("`relevance.user_to_item` needs `attention.position`".into()))?;
        let column = Shape(vec![Dim::Rows(1), Dim::Fixed(s.length()), Dim::Fixed(1)]);
        let column = p.graph.reshape(s.mask, &column)?;
        let zero = p.graph.constant_f32(0.0)?;
        let events = p.graph.select(column, s.events, zero)?;
        let scores = scores(p, &prefix, events, position, a)?;
        let visible = or_last(p, s.mask, s.length())?;
        let user = nn::pooled(&mut p.graph, scores, events, visible, true)?;
        let user = p.linear(&format!("{prefix}.project"), user, p.width(user))?;
        let user = nn::relu(&mut p.graph, user)?;
        let target = targets(p, &prefix, s)?;
        let product = p.graph.binary(Binary::Mul, user, target)?;
        Ok(p.graph.reduce(Fold::Sum, product, &[1])?)
    })
}

/// Scores `[rows, T, 1]` of events against `relu(W query + b)`.
fn scores(p: &mut Parts, prefix: &str, events: Value, query: Value, a: &Attention) -> Built {
    let query = p.linear(&format!("{prefix}.query"), query, p.width(events))?;
    let query = nn::relu(&mut p.graph, query)?;
    let pairs = nn::pairs_by_position(&mut p.graph, query, events)?;
    p.score(prefix, pairs, a, Activation::Relu)
}

/// Embeddings of the positions, `[rows, T, P]`.
fn positions(p: &mut Parts, prefix: &str, s: &Sequence, a: &Attention) -> Result<Option<Value>, Fault> {
    p.position(prefix, s.length(), a.position.map_or(POSITION, |width| width.0))
}

/// The row's items in tables of their own, `[rows, K]`; numbers as they are.
fn targets(p: &mut Parts, prefix: &str, s: &Sequence) -> Built {
    let mut parts = Vec::new();
    for item in &s.items {
        parts.push(match item.field {
            Some((field, ids)) => {
                let table = format!("{prefix}.embedding.{}", field.name);
                p.lookup(&table, [field.vocabulary.0, field.width.0], Init::Normal(1.0), ids)?
            }
            None => item.target,
        });
    }
    let target = p.beside(&parts)?;
    padded(p, &format!("{prefix}.side"), target, &s.sides)
}

/// The mask, true at the last position.
fn or_last(p: &mut Parts, mask: Value, length: usize) -> Built {
    let place = p.numbers(length)?;
    let g = &mut p.graph;
    let last = g.slice(place, 0, length - 1, length)?;
    let is_last = g.binary(Binary::Eq, place, last)?;
    Ok(g.binary(Binary::Or, mask, is_last)?)
}
