//! What `features.toml` may say of a feature, as it is typed.

use serde::{Deserialize, Serialize};

/// A feature: one of `id`, `number`, `sequence` and `time`, with what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Feature {
    /// Column of ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// Column of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<String>,
    /// Column of lists of ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<String>,
    /// A part of the event's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Part>,

    /// How often an id must be seen to have a row of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_count: Option<u64>,
    /// No vocabulary: rows by hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<Hash>,
    /// No vocabulary: ids are 0 to this number, without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dense: Option<u32>,
    /// The feature whose vocabulary this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shares: Option<String>,
    /// What to do with ids that have no row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) oov: Option<Oov>,
    /// What stands for nothing: an id, or a number before its transforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<Missing>,
    /// The first item of a list between these separators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_of: Option<String>,

    /// What is done to a number, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) transform: Vec<Transform>,
    /// Borders of buckets: the number becomes an id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) buckets: Option<Vec<f64>>,
    /// As many buckets of as many rows each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantiles: Option<u32>,
    /// An input that is 1 where the number is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flag: Option<String>,

    /// Between the items of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) separator: Option<String>,
    /// Items kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<u32>,
    /// Which items those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keep: Option<Keep>,
    /// Where the newest item stands in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newest: Option<End>,
    /// The input that says which positions hold an item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mask: Option<String>,

    /// Of the request, not of the candidate.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) per_request: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn is_false(b: &bool) -> bool {
    !b
}

/// Rows by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hash {
    /// Rows.
    pub(super) modulus: u32,
    /// Another seed, other collisions.
    #[serde(default)]
    pub(super) seed: u64,
}

/// Out of vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Oov {
    /// Row 0.
    #[default]
    Row,
    /// An error.
    Error,
}

/// What stands for nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Missing {
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

/// A step from a column's number to an input's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transform {
    /// `ln(1 + x)`; what is not above -1 is refused.
    Log1p,
    /// Less the mean, over the standard deviation, both of the rows fitted on.
    Standardise,
    /// Times a number.
    Scale(f64),
    /// At least and at most.
    Clip(f64, f64),
}

/// Which items of a sequence are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Keep {
    /// The newest.
    #[default]
    Newest,
    /// The oldest.
    Oldest,
}

/// An end of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    /// Its start.
    First,
    /// Its end.
    #[default]
    Last,
}

/// A part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    /// Hour of the day.
    Hour,
    /// Day of the week, from Monday on.
    Weekday,
}
