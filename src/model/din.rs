//! Deep Interest Network.
//!
//! A target is compared with every event of a history. `history.of` lists what both are made of: a field (the history
//! then is ids and shares the field's table) or a dense input (the history then is vectors, such as the embeddings that a
//! foundation model has left). The scores of the events, or with `attention.softmax` their shares, weigh the events; the
//! tower reads all fields' embeddings, the pooled histories and the dense inputs, side by side in this order. Without a history
//! it is the plain tower that all of this is compared with.
//!
//! | input | type |
//! |---|---|
//! | `<field>` | `i32[rows]` |
//! | `<dense>` | `f32[rows, width]` |
//! | `hist_<field>`, `hist_<dense>` | `i32[rows, T]`, `f32[rows, T, width]` |
//! | `hist_mask` | `bool[rows, T]`, true where there is an event |
//!
//! What events weigh can be extracted as `attention.weights`, `[rows, T, 1]`.
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
//!
//! G. Zhou and others, "Deep Interest Network for Click-Through Rate Prediction", 2018.

use super::features::Features;
use super::parts::{Built, Parts};
use super::sections::{Activation, Attention};
use super::spec::Spec;
use super::{Fault, Trunk};
use crate::ir::Value;
use crate::nn;

pub(super) const READS: &[&str] = &["attention", "mlp", "activation", "dropout", "batch_norm"];

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let features = Features::of(p, spec)?;
    let attention = spec.attention(&["softmax"])?;
    let mut histories = Vec::new();
    for s in features.compared_sequences(p, spec)? {
        let prefix = s.prefix("attention");
        histories.push(attend(p, &prefix, s.target, s.events, s.mask, &attention)?);
    }
    features.deep(p, spec, &histories)
}

/// Events `[rows, T, K]` weighted by their scores against the target `[rows, K]`, and summed. What they weigh is the hidden
/// layer `<prefix>.weights`, `[rows, T, 1]`.
pub(super) fn attend(p: &mut Parts, prefix: &str, target: Value, events: Value, mask: Value, a: &Attention) -> Built {
    p.scoped(prefix, |p| {
        let pairs = nn::pairs(&mut p.graph, target, events)?;
        let scores = p.score(prefix, pairs, a, Activation::Relu)?;
        let softmax = a.softmax.unwrap_or(false);
        let weights = nn::attention_weights(&mut p.graph, scores, mask, softmax)?;
        p.point(&format!("{prefix}.weights"), weights);
        Ok(nn::pooled(&mut p.graph, scores, events, mask, softmax)?)
    })
}
