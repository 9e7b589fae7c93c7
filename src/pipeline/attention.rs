//! Which past events a vertical model attends to, by their age.

use toml::Value;

use super::Error;
use crate::import::Model;
use crate::model::Mode;
use crate::report::Attention;
use crate::tensor::HostTensor;
use crate::train::{self, Split};

/// The hidden layer that says what the events of [`crate::model`]'s encoder `din` weigh.
const WEIGHTS: &str = "loopfm.attention.weights";

/// What the events of test rows weigh, by their age; `None` of models that have no such weights. `ages` are those of a row's
/// events in ms, oldest event first, all that the model might have read.
pub(super) fn by_age(
    name: &str,
    spec: &train::Spec,
    model: &Model,
    test: &Split,
    ages: impl Fn(usize) -> Vec<i64>,
) -> Result<Option<Attention>, Error> {
    let Some(like) = spec.model.get("loopfm").and_then(Value::as_table) else {
        return Ok(None);
    };
    if like.get("encoder").and_then(Value::as_str) != Some("din") {
        return Ok(None);
    }
    let shares = like.get("softmax").and_then(Value::as_bool) == Some(true);
    let mut spec = spec.clone();
    spec.model.insert("extract".to_owned(), vec![WEIGHTS].into());
    let seen = Model {
        name: model.name.clone(),
        graph: spec.architecture()?.build(Mode::Eval)?.graph,
        weights: model.weights.clone(),
    };
    let out = train::score(&seen, &[WEIGHTS], test)?;
    let Some(weights) = out.get(WEIGHTS) else {
        return Ok(None);
    };
    let (length, weights) = (weights.shape[1], HostTensor::as_f32(weights).unwrap_or(&[]));
    let mut attention = Attention::new(name, shares);
    for (row, weights) in weights.chunks_exact(length.max(1)).enumerate() {
        let ages = ages(row);
        let newest = &ages[ages.len().saturating_sub(length)..];
        let events: Vec<(i64, f32)> = newest.iter().copied().zip(weights.iter().copied()).collect();
        attention.add(&events);
    }
    Ok(Some(attention))
}
