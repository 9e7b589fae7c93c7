//! What every model reads: embeddings of features, histories made of the same tables, embeddings that a foundation model
//! left.

use super::parts::{Built, Parts};
use super::sections::{Dense, Field, History, Norm, Pooling};
use super::sides::{Known, known, padded, with_sides};
use super::spec::Spec;
use super::{Fault, Trunk, loopfm};
use crate::ir::Value;
use crate::nn;
use crate::tensor::DType;

use super::layers::Tower;

/// Features of the row.
pub(super) struct Features<'a> {
    /// Ids `[rows]` and embeddings `[rows, width]`.
    pub(super) fields: Vec<(&'a Field, Value, Value)>,
    /// Numbers, and these or their embeddings, `[rows, width]` both.
    pub(super) dense: Vec<(&'a Dense, Value, Value)>,
}

/// A raw behaviour sequence.
pub(super) struct Sequence<'a> {
    pub(super) history: &'a History,
    /// `hist` where none is given.
    pub(super) name: &'a str,
    pub(super) items: Vec<Item<'a>>,
    /// What is known of the past alone.
    pub(super) sides: Vec<Known<'a>>,
    /// The items of the row itself, side by side, for attention as wide as events: `[rows, K]`.
    pub(super) target: Value,
    /// Those of the past and their sides: `[rows, T, K]`.
    pub(super) events: Value,
    /// Where there is an event: `bool[rows, T]`.
    pub(super) mask: Value,
}

/// What events are made of.
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    /// The feature as a categorical one, with the row's ids.
    pub(super) field: Option<(&'a Field, Value)>,
    /// Ids `[rows, T]` or numbers `[rows, T, width]` of the past.
    pub(super) past: Value,
    /// The row's embedding `[rows, K]`.
    pub(super) target: Value,
    /// The past's `[rows, T, K]`.
    pub(super) events: Value,
}

impl Sequence<'_> {
    /// Where a layer of this history has its tensors: the first history's names go without a prefix.
    pub(super) fn prefix(&self, layer: &str) -> String {
        prefix(self.name, layer)
    }

    pub(super) fn length(&self) -> usize {
        self.history.length.0
    }
}

const DEFAULT: &str = "hist";

fn prefix(history: &str, layer: &str) -> String {
    if history == DEFAULT {
        layer.to_owned()
    } else {
        format!("{history}.{layer}")
    }
}

impl<'a> Features<'a> {
    pub(super) fn of(p: &mut Parts, spec: &'a Spec) -> Result<Self, Fault> {
        let (mut fields, mut dense) = (Vec::new(), Vec::new());
        for field in &spec.fields.0 {
            let ids = p.input(&field.name, DType::I32, &[], field.per_request)?;
            fields.push((field, ids, p.embedding(field, ids)?));
        }
        for d in &spec.dense.0 {
            let x = p.input(&d.name, DType::F32, &[d.width.0], d.per_request)?;
            dense.push((d, x, embedded(p, d, x)?));
        }
        Ok(Self { fields, dense })
    }

    /// The histories of the specification.
    pub(super) fn sequences(&self, p: &mut Parts, spec: &'a Spec) -> Result<Vec<Sequence<'a>>, Fault> {
        spec.history.0.iter().map(|h| self.sequence(p, h)).collect()
    }

    /// The same, for an architecture that is nothing without one.
    pub(super) fn some_sequences(&self, p: &mut Parts, spec: &'a Spec) -> Result<Vec<Sequence<'a>>, Fault> {
        if spec.history.0.is_empty() {
            return Err(Fault::Config(format!("`{}` needs a `history`", spec.architecture)));
        }
        self.compared_sequences(p, spec)
    }

    /// The same, with targets as wide as events: what attention compares.
    pub(super) fn compared_sequences(&self, p: &mut Parts, spec: &'a Spec) -> Result<Vec<Sequence<'a>>, Fault> {
        let mut sequences = self.sequences(p, spec)?;
        for s in &mut sequences {
            s.target = padded(p, &prefix(s.name, "side"), s.target, &s.sides)?;
        }
        Ok(sequences)
    }

    fn sequence(&self, p: &mut Parts, history: &'a History) -> Result<Sequence<'a>, Fault> {
        let name = history.name.as_deref().unwrap_or(DEFAULT);
        if history.of.0.is_empty() {
            return Err(Fault::Config("`history.of` is empty".into()));
        }
        let mut items = Vec::new();
        for item in &history.of.0 {
            items.push(self.item(p, history, name, item)?);
        }
        let (length, per_request) = (history.length.0, history.per_request);
        let sides = known(p, name, &history.side, (length, per_request))?;
        let mask = p.input(&format!("{name}_mask"), DType::Bool, &[length], per_request)?;
        let target = p.beside(&items.iter().map(|i| i.target).collect::<Vec<_>>())?;
        let events = p.beside(&items.iter().map(|i| i.events).collect::<Vec<_>>())?;
        let events = with_sides(p, events, &sides)?;
        Ok(Sequence {
            history,
            name,
            items,
            sides,
            target,
            events,
            mask,
        })
    }

    fn item(&self, p: &mut Parts, history: &'a History, prefix: &str, name: &'a str) -> Result<Item<'a>, Fault> {
        let input = format!("{prefix}_{name}");
        let (length, per_request) = (history.length.0, history.per_request);
        if let Some((field, ids, target)) = self.fields.iter().find(|(f, ..)| f.name == name) {
            let past = p.input(&input, DType::I32, &[length], per_request)?;
            return Ok(Item {
                name,
                field: Some((field, *ids)),
                past,
                target: *target,
                events: p.embedding(field, past)?,
            });
        }
        if let Some((d, _, target)) = self.dense.iter().find(|(d, ..)| d.name == name) {
            let past = p.input(&input, DType::F32, &[length, d.width.0], per_request)?;
            return Ok(Item {
                name,
                field: None,
                past,
                target: *target,
                events: embedded(p, d, past)?,
            });
        }
        Err(Fault::Config(format!(
            "`history.of` names `{name}`, which is neither a field nor dense"
        )))
    }

    /// Embeddings of the features of these names, side by side.
    pub(super) fn named(&self, p: &mut Parts, section: &str, names: &[String]) -> Built {
        let mut found = Vec::new();
        for name in names {
            let field = self.fields.iter().find(|(f, ..)| f.name == *name).map(|(.., x)| *x);
            let dense = self.dense.iter().find(|(d, ..)| d.name == *name).map(|(.., x)| *x);
            found.push(field.or(dense).ok_or_else(|| {
                Fault::Config(format!(
                    "`{section}` names `{name}`, which is neither a field nor dense"
                ))
            })?);
        }
        p.beside(&found)
    }

    /// The input of a deep model: embeddings of fields, what is known of histories, numbers or their embeddings, and the
    /// encoding of what a foundation model left, side by side in this order.
    pub(super) fn beside(&self, p: &mut Parts, spec: &Spec, histories: &[Value]) -> Built {
        let mut parts: Vec<Value> = self.fields.iter().map(|(.., x)| *x).collect();
        parts.extend(histories);
        parts.extend(self.dense.iter().map(|(.., x)| *x));
        parts.extend(loopfm::encoded(p, spec, self)?);
        let x = p.beside(&parts)?;
        p.point("x0", x);
        Ok(x)
    }

    /// A tower over [`Features::beside`] and its logit.
    pub(super) fn deep(&self, p: &mut Parts, spec: &Spec, histories: &[Value]) -> Result<Trunk, Fault> {
        let x = self.beside(p, spec, histories)?;
        let hidden = mlp(p, spec, x)?;
        let logit = p.linear("out", hidden, 1)?;
        Ok(Trunk { hidden, logit })
    }
}

/// The tower `mlp` of the specification.
pub(super) fn mlp(p: &mut Parts, spec: &Spec, x: Value) -> Built {
    let tower = Tower {
        widths: &spec.mlp(),
        activation: spec.activation.unwrap_or_default(),
        dropout: spec.dropout.unwrap_or_default().0,
        norm: spec.batch_norm.unwrap_or(Norm::None),
    };
    p.tower("mlp", x, tower)
}

/// Events of `x [rows, T, K]` in one vector `[rows, K]`, without regard to the target.
pub(super) fn pooled(p: &mut Parts, x: Value, mask: Value, pooling: Pooling) -> Built {
    Ok(match pooling {
        Pooling::Mean => nn::masked_mean(&mut p.graph, x, mask)?,
        Pooling::Sum => nn::masked_sum(&mut p.graph, x, mask)?,
    })
}

/// Histories of a model without attention, one vector each.
pub(super) fn pooled_histories(p: &mut Parts, sequences: &[Sequence]) -> Result<Vec<Value>, Fault> {
    sequences
        .iter()
        .map(|s| pooled(p, s.events, s.mask, s.history.pooling))
        .collect()
}

fn embedded(p: &mut Parts, dense: &Dense, x: Value) -> Built {
    match dense.embedding {
        Some(width) => p.linear_unbiased(&format!("embedding.{}", dense.name), x, width.0),
        None => Ok(x),
    }
}
