//! What an encoder has learnt, and its text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Error;
use super::declare::Declared;
use super::encoder::Encoder;
use super::features::{Borders, Features, Of, Rows};
use super::number::{self, Moments};
use super::vocabulary::Vocabulary;

/// Names the text form; the number grows when older builds would misread it.
const FORMAT: &str = "loopfm.features/1";

/// What was learnt of the training days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fitted {
    pub(super) rows: u64,
    pub(super) days: Option<String>,
    // Sorted by name: one encoder has one text.
    pub(super) vocabularies: BTreeMap<String, Vocabulary>,
    pub(super) moments: BTreeMap<String, Moments>,
    pub(super) borders: BTreeMap<String, Vec<f64>>,
}

/// The text form.
#[derive(Serialize, Deserialize)]
struct Text<D, F> {
    format: String,
    declared: D,
    fitted: F,
}

impl Encoder {
    /// The encoder as one line of JSON: the same bytes for the same encoder.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = Text {
            format: FORMAT.to_owned(),
            declared: &self.features.declared,
            fitted: &self.fitted,
        };
        // Maps have texts for keys and numbers are finite: nothing of it has no JSON.
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// Reads what [`Encoder::to_json`] wrote, and trusts nothing in it.
    ///
    /// # Errors
    /// [`Error::Format`] for another version's, [`Error::Encoder`] and what declarations are refused for.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Named {
            format: String,
        }
        let fault = |e: serde_json::Error| Error::Encoder { why: e.to_string() };
        let Named { format: seen } = serde_json::from_str(text).map_err(fault)?;
        if seen != FORMAT {
            return Err(Error::Format { seen, expected: FORMAT });
        }
        let text: Text<Declared, Fitted> = serde_json::from_str(text).map_err(fault)?;
        let features = Features::new(text.declared, "encoder")?;
        let encoder = Self::new(features, text.fitted)?;
        encoder.check()?;
        Ok(encoder)
    }

    /// Whether everything that the declaration asks for was learnt.
    fn check(&self) -> Result<(), Error> {
        for input in &self.features.inputs {
            let there = match &input.of {
                Of::Id { ids, .. } | Of::Sequence { ids, .. } => {
                    !matches!(ids.rows, Rows::Vocabulary { .. }) || self.fitted.vocabularies.contains_key(&ids.owner)
                }
                Of::Buckets { borders, .. } => {
                    let borders = self.borders(&input.name, borders);
                    let sound = borders.iter().all(|b| b.is_finite()) && borders.is_sorted_by(|a, b| a < b);
                    sound
                        && (!matches!(
                            input.of,
                            Of::Buckets {
                                borders: Borders::Quantiles(_),
                                ..
                            }
                        ) || self.fitted.borders.contains_key(&input.name))
                }
                Of::Number { transform, .. } => {
                    let moments = self.fitted.moments.get(&input.name);
                    let sound = moments.is_none_or(|m| m.mean.is_finite() && m.deviation.is_finite());
                    sound && (number::before_standardise(transform).is_none() || moments.is_some())
                }
                Of::Time(_) => true,
            };
            if !there {
                let why = format!("what was learnt of feature `{}` is missing or unsound", input.name);
                return Err(Error::Encoder { why });
            }
        }
        Ok(())
    }
}
