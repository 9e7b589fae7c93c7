//! Deep & Cross Network v2.
//!
//! `x0` is all embeddings and numbers side by side, `D` wide; a history is a vector, the mean or sum of its events. A cross
//! layer is `x' = x0 * (W x + b) + x`, with `W = U V` when a rank is given. The deep tower runs beside the cross layers
//! (`parallel`) or after them (`stacked`); without `mlp` there is none.
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<field>.weight` | `[vocabulary, width]` |
//! | `cross.<i>.weight`, `cross.<i>.bias` | `[D, D]`, `[D]` |
//! | with a rank: `cross.<i>.v.weight`, `cross.<i>.u.weight`, `cross.<i>.bias` | `[rank, D]`, `[D, rank]`, `[D]` |
//! | `mlp.<i>.weight`, `mlp.<i>.bias`, those of the activation | `[out, in]`, `[out]` |
//! | with a projection: `projection.weight`, `projection.bias` | `[projection, in]`, `[projection]` |
//! | `out.weight`, `out.bias` | `[1, H]`, `[1]` |
//!
//! `hidden` is what `out` reads: towers side by side, or their projection (the embedding of a foundation model).
//!
//! R. Wang and others, "DCN V2: Improved Deep & Cross Network", 2021.

use super::features::{Features, mlp, pooled_histories};
use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::{Cross, Size, Structure, Width};
use super::spec::Spec;
use super::{Fault, Trunk};
use crate::ir::{Binary, Value};
use crate::nn;

pub(super) const READS: &[&str] = &[
    "cross",
    "structure",
    "projection",
    "mlp",
    "activation",
    "dropout",
    "batch_norm",
];

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let features = Features::of(p, spec)?;
    let sequences = features.sequences(p, spec)?;
    let histories = pooled_histories(p, &sequences)?;
    let x0 = features.beside(p, spec, &histories)?;
    let like = spec.cross.clone().unwrap_or(Cross {
        layers: Size(3),
        rank: None,
    });
    let mut crossed = x0;
    for i in 0..like.layers.0 {
        let prefix = format!("cross.{i}");
        crossed = p.scoped(&prefix, |p| cross(p, &prefix, x0, crossed, like.rank))?;
        p.point(&prefix, crossed);
    }
    let deep = spec.mlp.as_ref().is_some_and(|widths| !widths.0.is_empty());
    let hidden = match spec.structure.unwrap_or_default() {
        _ if !deep => crossed,
        Structure::Stacked => mlp(p, spec, crossed)?,
        Structure::Parallel => {
            let deep = mlp(p, spec, x0)?;
            p.beside(&[crossed, deep])?
        }
    };
    let hidden = match spec.projection {
        Some(width) => p.linear("projection", hidden, width.0)?,
        None => hidden,
    };
    let logit = p.linear("out", hidden, 1)?;
    Ok(Trunk { hidden, logit })
}

/// `x0 * (W x + b) + x`.
fn cross(p: &mut Parts, prefix: &str, x0: Value, x: Value, rank: Option<Width>) -> Built {
    let d = p.width(x0);
    let b = p.param(&format!("{prefix}.bias"), &[d], Init::linear(d))?;
    let mapped = match rank {
        None => {
            let w = p.param(&format!("{prefix}.weight"), &[d, d], Init::linear(d))?;
            nn::linear(&mut p.graph, x, w, Some(b))?
        }
        Some(rank) => {
            let v = p.param(&format!("{prefix}.v.weight"), &[rank.0, d], Init::linear(d))?;
            let u = p.param(&format!("{prefix}.u.weight"), &[d, rank.0], Init::linear(rank.0))?;
            let narrow = nn::linear(&mut p.graph, x, v, None)?;
            nn::linear(&mut p.graph, narrow, u, Some(b))?
        }
    };
    let product = p.graph.binary(Binary::Mul, x0, mapped)?;
    Ok(p.graph.binary(Binary::Add, product, x)?)
}
