//! Deep Multi-Interest Network.
//!
//! Events attend to themselves and to earlier ones (`visible`), in several heads; each head becomes a sequence of its own,
//! which attention with the target reduces to one interest. The tower reads all interests. A `refiner`, a layer of
//! self-attention with a feed-forward part, may come before the heads.
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<field>.weight` | `[vocabulary, width]` |
//! | `refiner.qkv.weight`, `refiner.qkv.bias`, `refiner.project.weight`, `refiner.project.bias` | `[3K, K]`, `[3K]`, `[K, K]`, `[K]` |
//! | `refiner.norm.weight`, `refiner.norm.bias` | `[K]` |
//! | `refiner.feed.0.weight`, `refiner.feed.1.weight`, their biases | `[2K, K]`, `[K, 2K]` |
//! | `interests.qkv.weight` | `[3K, K]` |
//! | of each head: `interests.<h>.project.weight` | `[K, K / heads]` |
//! | `interests.<h>.norm`, `interests.<h>.feed` | as those of the refiner |
//! | `interests.<h>.position`, `interests.<h>.query.weight`, `interests.<h>.query.bias` | `[T, P]`, `[K, K + P]`, `[K]` |
//! | `interests.<h>.attention.<i>.weight`, .., `interests.<h>.attention.out.weight`, .. | as those of [`din`](super::din) |
//! | `mlp.<i>.weight`, `mlp.<i>.bias`, `out.weight`, `out.bias` | `[out, in]`, `[out]`, `[1, H]`, `[1]` |
//!
//! Z. Xiao and others, "Deep Multi-Interest Network for Click-through Rate Prediction", 2020.

use super::features::Features;
use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::{Activation, Attention};
use super::spec::Spec;
use super::{Fault, Trunk};
use crate::ir::{Binary, Value};
use crate::nn;
use crate::tensor::{Dim, Shape};

pub(super) const READS: &[&str] = &["attention", "interests", "mlp", "activation", "dropout", "batch_norm"];

/// Sizes of the heads.
pub(super) struct Heads<'a> {
    pub(super) heads: usize,
    pub(super) layer_norm: bool,
    /// Width of a position.
    pub(super) position: usize,
    pub(super) attention: &'a Attention,
    /// Of what a head adds to the events.
    pub(super) dropout: f32,
}

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let features = Features::of(p, spec)?;
    let attention = spec.attention(&["position"])?;
    let options = spec.interests.unwrap_or_default();
    let like = Heads {
        heads: options.heads.0,
        layer_norm: options.layer_norm,
        position: attention.position.map_or(4, |width| width.0),
        attention: &attention,
        dropout: spec.dropout.unwrap_or_default().0,
    };
    let mut histories = Vec::new();
    for s in features.some_sequences(p, spec)? {
        let mut events = s.events;
        if options.refiner {
            let prefix = s.prefix("refiner");
            events = p.scoped(&prefix, |p| refined(p, &prefix, events, s.mask, &like))?;
        }
        histories.extend(interests(p, &s.prefix("interests"), events, s.target, s.mask, &like)?);
    }
    features.deep(p, spec, &histories)
}

/// One vector `[rows, K]` for each head, from events `[rows, T, K]` and a target `[rows, K]`.
pub(super) fn interests(
    p: &mut Parts,
    prefix: &str,
    events: Value,
    target: Value,
    mask: Value,
    like: &Heads,
) -> Result<Vec<Value>, Fault> {
    let (length, width) = sizes(p, events);
    let qkv = p.linear_unbiased(&format!("{prefix}.qkv"), events, 3 * width)?;
    let mixed = p.scoped(prefix, |p| mixed(p, qkv, mask, like))?;
    let target = p.spread(target, length)?;
    let mut interests = Vec::new();
    for h in 0..like.heads {
        let prefix = format!("{prefix}.{h}");
        let interest = p.scoped(&prefix, |p| {
            let head = p.graph.slice(mixed, 1, h, h + 1)?;
            let head = p.graph.reshape(head, &row_shape(&[length, width / like.heads]))?;
            let head = p.linear_unbiased(&format!("{prefix}.project"), head, width)?;
            let x = fed(p, &prefix, events, head, like)?;
            attended(p, &prefix, x, target, mask, like)
        })?;
        interests.push(interest);
    }
    Ok(interests)
}

/// Attention of a target, at every position `[rows, T, K]`, to a head's sequence.
fn attended(p: &mut Parts, prefix: &str, x: Value, target: Value, mask: Value, like: &Heads) -> Built {
    let (length, width) = sizes(p, x);
    let query = match p.position(prefix, length, like.position)? {
        Some(position) => {
            let query = p.beside(&[target, position])?;
            p.linear(&format!("{prefix}.query"), query, width)?
        }
        None => target,
    };
    let pairs = nn::pairs_by_position(&mut p.graph, query, x)?;
    let scores = p.score(&format!("{prefix}.attention"), pairs, like.attention, Activation::Relu)?;
    Ok(nn::pooled(&mut p.graph, scores, x, mask, true)?)
}

/// Events after a layer of self-attention.
fn refined(p: &mut Parts, prefix: &str, events: Value, mask: Value, like: &Heads) -> Built {
    let (length, width) = sizes(p, events);
    let (weight, bias) = (format!("{prefix}.qkv.weight"), format!("{prefix}.qkv.bias"));
    let w = p.param(&weight, &[3 * width, width], Init::xavier_uniform(&[3 * width, width]))?;
    let b = p.param(&bias, &[3 * width], Init::Constant(0.0))?;
    let qkv = nn::linear(&mut p.graph, events, w, Some(b))?;
    let mixed = mixed(p, qkv, mask, like)?;
    let joined = p.graph.permute(mixed, &[0, 2, 1, 3])?;
    let joined = p.graph.reshape(joined, &row_shape(&[length, width]))?;
    let attended = p.linear(&format!("{prefix}.project"), joined, width)?;
    fed(p, prefix, events, attended, like)
}

/// `y + feed(y)` with `y = norm(x + dropout(addend))`.
fn fed(p: &mut Parts, prefix: &str, x: Value, addend: Value, like: &Heads) -> Built {
    let width = p.width(x);
    let addend = p.dropout(addend, like.dropout)?;
    let mut y = p.graph.binary(Binary::Add, x, addend)?;
    if like.layer_norm {
        y = p.layer_norm(&format!("{prefix}.norm"), y)?;
    }
    let wide = p.linear(&format!("{prefix}.feed.0"), y, 2 * width)?;
    let wide = nn::relu(&mut p.graph, wide)?;
    let fed = p.linear(&format!("{prefix}.feed.1"), wide, width)?;
    Ok(p.graph.binary(Binary::Add, y, fed)?)
}

/// What each event sees of itself and of earlier ones, `[rows, heads, T, K / heads]`, from `qkv [rows, T, 3K]`.
fn mixed(p: &mut Parts, qkv: Value, mask: Value, like: &Heads) -> Built {
    let (length, width) = sizes(p, qkv);
    let (width, heads) = (width / 3, like.heads);
    if width % heads != 0 {
        return Err(Fault::Config(format!("{heads} heads cannot share events {width} wide")));
    }
    let visible = visible(p, mask, length)?;
    let g = &mut p.graph;
    let mut part = |i: usize, perm: &[usize]| -> Built {
        let x = g.slice(qkv, 2, i * width, (i + 1) * width)?;
        let x = g.reshape(x, &row_shape(&[length, heads, width / heads]))?;
        Ok(g.permute(x, perm)?)
    };
    let query = part(0, &[0, 2, 1, 3])?;
    let key = part(1, &[0, 2, 3, 1])?;
    let value = part(2, &[0, 2, 1, 3])?;
    let scores = g.matmul(query, key)?;
    let scale = g.constant_f32(((width / heads) as f32).sqrt().recip())?;
    let scores = g.binary(Binary::Mul, scores, scale)?;
    let shares = nn::masked_softmax(g, scores, visible, 3)?;
    let shares = p.dropout(shares, like.attention.dropout.0)?;
    Ok(p.graph.matmul(shares, value)?)
}

/// Whether position i, the last axis but one, sees position j: itself, and events before it. `[rows, 1, T, T]`.
fn visible(p: &mut Parts, mask: Value, length: usize) -> Built {
    let j = p.numbers(length)?;
    let g = &mut p.graph;
    let i = g.reshape(j, &Shape::fixed(&[length, 1]))?;
    let (itself, before) = (g.binary(Binary::Eq, i, j)?, g.binary(Binary::Gt, i, j)?);
    let event = g.reshape(mask, &row_shape(&[1, 1, length]))?;
    let earlier = g.binary(Binary::And, event, before)?;
    Ok(g.binary(Binary::Or, earlier, itself)?)
}

/// `T` and `K` of `[rows, T, K]`.
fn sizes(p: &Parts, x: Value) -> (usize, usize) {
    (p.graph.shape(x).0.get(1).map_or(0, |d| d.factor()), p.width(x))
}

fn row_shape(rest: &[usize]) -> Shape {
    let rest = rest.iter().map(|n| Dim::Fixed(*n));
    Shape(std::iter::once(Dim::Rows(1)).chain(rest).collect())
}
