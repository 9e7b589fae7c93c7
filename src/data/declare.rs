//! What `features.toml` may say, as it is typed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::feature::{Feature, is_false};
use super::time::{Offset, Unit};

/// The file: a log, side tables, features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declared {
    /// The log.
    pub(super) log: Log,
    /// Side tables.
    #[serde(default, rename = "join", skip_serializing_if = "Vec::is_empty")]
    pub(super) joins: Vec<Join>,
    /// Inputs of a model by name.
    pub(super) features: BTreeMap<String, Feature>,
}

impl Declared {
    /// A public data set has a column whose name ends in a blank: names are without such, here and where files are read.
    pub(super) fn trim(&mut self) {
        let log = &mut self.log;
        let times = std::iter::once(&mut log.time).chain(&mut log.ingest);
        let columns = times.flat_map(|t| t.column.iter_mut().chain(&mut t.length_of));
        let of_log = columns
            .chain([&mut log.key])
            .chain(&mut log.day)
            .chain(&mut log.label)
            .chain(&mut log.outcomes);
        let of_joins = self
            .joins
            .iter_mut()
            .flat_map(|j| [&mut j.on].into_iter().chain(&mut j.key).chain(&mut j.columns));
        let features = self.features.values_mut();
        let of_features = features.flat_map(|f| f.id.iter_mut().chain(&mut f.number).chain(&mut f.sequence));
        for name in of_log.chain(of_joins).chain(of_features) {
            let trimmed = name.trim();
            if trimmed.len() != name.len() {
                *name = trimmed.to_owned();
            }
        }
    }
}

/// What the files hold beside features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// How files are stored; without it, as their names end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<Format>,
    /// Column of users, or of whatever histories belong to.
    pub(super) key: String,
    /// Event time.
    pub(super) time: Time,
    /// When the row could first be read, if the log says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ingest: Option<Time>,
    /// Column of dates (20220425 or 2022-04-25), for logs whose days are not those of `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) day: Option<String>,
    /// Where days begin.
    #[serde(default)]
    pub(super) utc_offset: Offset,
    /// Column of labels, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// Columns that are known only after the impression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) outcomes: Vec<String>,
    /// Texts of CSV files that stand for nothing.
    #[serde(default = "empty_text")]
    pub(super) nulls: Vec<String>,
    /// The share of rows that may have happened after they were ingested: they are left out and counted. More of them are
    /// refused.
    #[serde(default = "one_in_a_thousand")]
    pub(super) rejects: f64,
    /// A time that no event may reach: a date, or `now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
}

fn one_in_a_thousand() -> f64 {
    1e-3
}

fn empty_text() -> Vec<String> {
    vec![String::new()]
}

/// How a table is stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Parquet.
    Parquet,
    /// Fields between separators.
    Csv(Csv),
}

/// Fields between separators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Csv {
    /// Between fields: one character of ASCII.
    pub(super) separator: String,
    /// Whether the first record names the columns.
    pub(super) header: bool,
    /// The columns' names, where there is no header.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<String>,
    /// Whether a field may stand in `"`.
    pub(super) quote: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            separator: ",".to_owned(),
            header: true,
            names: Vec::new(),
            quote: true,
        }
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        /// The long form.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            csv: Csv,
        }
        struct NameOrTable;
        impl<'de> de::Visitor<'de> for NameOrTable {
            type Value = Format;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"parquet\", \"csv\" or { csv = { .. } }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Format, E> {
                match name {
                    "parquet" => Ok(Format::Parquet),
                    "csv" => Ok(Format::Csv(Csv::default())),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Format, A::Error> {
                Table::deserialize(de::value::MapAccessDeserializer::new(map)).map(|t| Format::Csv(t.csv))
            }
        }
        d.deserialize_any(NameOrTable)
    }
}

/// A column of times, or what stands for one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Time {
    /// The column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    /// What its numbers count; Parquet's own time types may go without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
    /// How its texts are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<TimeFormat>,
    /// Instead of a column: how many items this sequence has, for logs that keep nothing but each user's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) length_of: Option<String>,
    /// Between the items of `length_of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) separator: Option<String>,
    /// Instead of a column: the running number of the row, for logs that are in order of time and say no more.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) row: bool,
    /// `false`: times before 1990 or after 2099 are meant so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plausible: Option<bool>,
}

/// How texts of times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TimeFormat {
    /// `2022-04-25T10:00:00.5+08:00`; blank for `T`, and no offset, are fine.
    Iso,
    /// `20220425` or `2022-04-25`, as text or as an integer: the start of that day.
    Date,
}

/// A table whose row is found by one column of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    /// The file, relative to `features.toml`.
    pub(super) file: String,
    /// The column, in the log and in the table.
    pub(super) on: String,
    /// How it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<Format>,
    /// The columns that come from here even where the log or another table has them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<String>,
    /// What the column is called in the table, where it has another name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}
