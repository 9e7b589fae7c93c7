//! Deep Interest Network.
//!
//! A target is compared with every position of a history. `history.of` lists what both are made of: a field (the history
//! then is ids and shares the field's table) or a dense input (the history then is vectors, such as the embeddings that a
//! foundation model has left). The tower reads all fields' embeddings, the pooled history and the dense inputs, side by
//! side in this order.
//!
//! | input | type |
//! |---|---|
//! | `<field>` | `i32[rows]` |
//! | `<dense>` | `f32[rows, width]` |
//! | `hist_<field>`, `hist_<dense>` | `i32[rows, T]`, `f32[rows, T, width]` |
//! | `hist_mask` | `bool[rows, T]`, true where there is an event |
//!
//! What is declared `per_request` has `requests` instead of `rows`.
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<field>.weight` | `[vocabulary, width]` |
//! | `attention.<i>.weight`, `attention.<i>.bias`, those of the activation | `[out, in]`, `[out]`; the first reads `4 K` |
//! | `attention.out.weight`, `attention.out.bias` | `[1, in]`, `[1]` |
//! | `mlp.<i>.weight`, `mlp.<i>.bias`, those of the activation | `[out, in]`, `[out]` |
//! | `out.weight`, `out.bias` | `[1, H]`, `[1]` |

use serde::Deserialize;

use super::parts::{Activation, Dense, Field, List, Parts, Width};
use super::{Fault, read};
use crate::ir::{Graph, Value};
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
    history: History,
    attention: Attention,
    mlp: List<Width>,
    #[serde(default)]
    activation: Activation,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    length: Width,
    of: List<String>,
    #[serde(default)]
    per_request: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attention {
    layers: List<Width>,
    #[serde(default)]
    activation: Activation,
    #[serde(default)]
    softmax: bool,
}

pub(super) fn build(config: &str) -> Result<Graph, Fault> {
    let c: Config = read(config)?;
    let mut p = Parts::new();
    let mut fields = Vec::new();
    for field in &c.fields.0 {
        let ids = p.input(&field.name, DType::I32, &[], field.per_request)?;
        fields.push((field, p.embedding(field, ids)?));
    }
    let mut dense = Vec::new();
    for d in &c.dense.0 {
        dense.push((d, p.input(&d.name, DType::F32, &[d.width.0], d.per_request)?));
    }
    let (mut targets, mut events) = (Vec::new(), Vec::new());
    for name in &c.history.of.0 {
        let (target, event) = event(&mut p, &c.history, name, &fields, &dense)?;
        targets.push(target);
        events.push(event);
    }
    if events.is_empty() {
        return Err(Fault::Config("`history.of` is empty".into()));
    }
    let mask = p.input("hist_mask", DType::Bool, &[c.history.length.0], c.history.per_request)?;
    let pooled = p.scoped("attention", |p| attention(p, &targets, &events, mask, &c.attention))?;
    let mut parts: Vec<Value> = fields.iter().map(|(_, x)| *x).collect();
    parts.push(pooled);
    parts.extend(dense.iter().map(|(_, x)| *x));
    let x = p.beside(&parts)?;
    let hidden = p.tower("mlp", x, &c.mlp.0, c.activation)?;
    p.finish(hidden)
}

/// What `name` is for the target and for every position of the history.
fn event(
    p: &mut Parts,
    history: &History,
    name: &str,
    fields: &[(&Field, Value)],
    dense: &[(&Dense, Value)],
) -> Result<(Value, Value), Fault> {
    let input = format!("hist_{name}");
    let (length, per_request) = (history.length.0, history.per_request);
    if let Some((field, target)) = fields.iter().find(|(f, _)| f.name == name) {
        let ids = p.input(&input, DType::I32, &[length], per_request)?;
        return Ok((*target, p.embedding(field, ids)?));
    }
    if let Some((d, target)) = dense.iter().find(|(d, _)| d.name == name) {
        let vectors = p.input(&input, DType::F32, &[length, d.width.0], per_request)?;
        return Ok((*target, vectors));
    }
    Err(Fault::Config(format!(
        "`history.of` names `{name}`, which is neither a field nor dense"
    )))
}

fn attention(p: &mut Parts, targets: &[Value], events: &[Value], mask: Value, c: &Attention) -> Result<Value, Fault> {
    let (q, k) = (p.beside(targets)?, p.beside(events)?);
    let pairs = nn::pairs(&mut p.graph, q, k)?;
    let x = p.tower("attention", pairs, &c.layers.0, c.activation)?;
    let scores = p.linear("attention.out", x, 1)?;
    Ok(nn::pooled(&mut p.graph, scores, k, mask, c.softmax)?)
}
