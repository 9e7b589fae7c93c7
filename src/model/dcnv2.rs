//! Deep & Cross Network v2.
//!
//! `x0` is all embeddings and numbers side by side, `D` wide. A cross layer is `x' = x0 * (W x + b) + x`, with
//! `W = U V` when a rank is given. The deep tower runs beside the cross layers (`parallel`) or after them (`stacked`).
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

use serde::Deserialize;

use super::parts::{Activation, Dense, Field, List, Parts, Width};
use super::{Fault, read};
use crate::ir::{Binary, Graph, Value};
use crate::nn;
use crate::tensor::DType;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "architecture")]
    _architecture: String,
    fields: List<Field>,
    #[serde(default)]
    dense: List<Dense>,
    cross: Cross,
    #[serde(default)]
    mlp: List<Width>,
    #[serde(default)]
    activation: Activation,
    #[serde(default)]
    structure: Structure,
    projection: Option<Width>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cross {
    layers: Width,
    rank: Option<Width>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Structure {
    #[default]
    Parallel,
    Stacked,
}

pub(super) fn build(config: &str) -> Result<Graph, Fault> {
    let c: Config = read(config)?;
    if c.cross.layers.0 > 1024 {
        return Err(Fault::Config(format!(
            "{} cross layers, at most 1024 are read",
            c.cross.layers.0
        )));
    }
    let mut p = Parts::new();
    let mut parts = Vec::new();
    for field in &c.fields.0 {
        let ids = p.input(&field.name, DType::I32, &[], field.per_request)?;
        parts.push(p.embedding(field, ids)?);
    }
    for dense in &c.dense.0 {
        parts.push(p.input(&dense.name, DType::F32, &[dense.width.0], dense.per_request)?);
    }
    let x0 = p.beside(&parts)?;
    let mut crossed = x0;
    for i in 0..c.cross.layers.0 {
        let prefix = format!("cross.{i}");
        crossed = p.scoped(&prefix, |p| cross(p, &prefix, x0, crossed, c.cross.rank))?;
    }
    let hidden = match c.structure {
        Structure::Stacked => p.tower("mlp", crossed, &c.mlp.0, c.activation)?,
        Structure::Parallel if c.mlp.0.is_empty() => crossed,
        Structure::Parallel => {
            let deep = p.tower("mlp", x0, &c.mlp.0, c.activation)?;
            p.beside(&[crossed, deep])?
        }
    };
    let hidden = match c.projection {
        Some(width) => p.linear("projection", hidden, width.0)?,
        None => hidden,
    };
    p.finish(hidden)
}

/// `x0 * (W x + b) + x`.
fn cross(p: &mut Parts, prefix: &str, x0: Value, x: Value, rank: Option<Width>) -> Result<Value, Fault> {
    let d = p.width(x0);
    let b = p.param(&format!("{prefix}.bias"), &[d])?;
    let mapped = match rank {
        None => {
            let w = p.param(&format!("{prefix}.weight"), &[d, d])?;
            nn::linear(&mut p.graph, x, w, Some(b))?
        }
        Some(rank) => {
            let v = p.param(&format!("{prefix}.v.weight"), &[rank.0, d])?;
            let u = p.param(&format!("{prefix}.u.weight"), &[d, rank.0])?;
            let narrow = nn::linear(&mut p.graph, x, v, None)?;
            nn::linear(&mut p.graph, narrow, u, Some(b))?
        }
    };
    let product = p.graph.binary(Binary::Mul, x0, mapped)?;
    Ok(p.graph.binary(Binary::Add, product, x)?)
}
