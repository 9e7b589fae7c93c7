//! The columns that are read, and what each must hold.

use super::column::Kind;
use super::declare::Time;
use super::features::{Features, Of};

impl Features {
    /// Every column that is read, what it is read as, and whether it may be absent.
    pub(super) fn needs(&self) -> Vec<Need> {
        let log = &self.declared.log;
        let mut needs = vec![Need::new(&log.key, "the key", Use::Id)];
        needs.extend(time_need(&log.time, "event time"));
        needs.extend(log.ingest.as_ref().and_then(|t| time_need(t, "ingest time")));
        needs.extend(log.day.as_ref().map(|c| Need::new(c, "the day", Use::Day)));
        needs.extend(log.label.as_ref().map(|c| Need {
            optional: true,
            ..Need::new(c, "the label", Use::Number)
        }));
        for input in &self.inputs {
            let what = format!("feature `{}`", input.name);
            needs.extend(match &input.of {
                Of::Id { column, first_of, .. } => {
                    let used = if first_of.is_some() { Use::FirstOf } else { Use::Id };
                    Some(Need::new(column, &what, used))
                }
                Of::Sequence { column, separator, .. } => {
                    let separated = separator.is_some();
                    Some(Need::new(column, &what, Use::Sequence { separated }))
                }
                Of::Number { column, .. } | Of::Buckets { column, .. } => Some(Need::new(column, &what, Use::Number)),
                Of::Time(_) => None,
            });
        }
        needs
    }
}

/// A column that is read.
pub(super) struct Need {
    pub(super) column: String,
    /// What for, in messages.
    pub(super) what: String,
    pub(super) used: Use,
    /// Whether logs without it are fine: a service has no labels.
    pub(super) optional: bool,
}

impl Need {
    fn new(column: &str, what: &str, used: Use) -> Self {
        Self {
            column: column.trim().to_owned(),
            what: what.to_owned(),
            used,
            optional: false,
        }
    }
}

fn time_need(t: &Time, what: &str) -> Option<Need> {
    match (&t.column, &t.length_of) {
        (Some(column), _) => Some(Need::new(column, what, Use::Time(t.clone()))),
        (None, Some(column)) => {
            let separated = t.separator.is_some();
            Some(Need::new(column, what, Use::Sequence { separated }))
        }
        (None, None) => None,
    }
}

/// What a column is read as.
pub(super) enum Use {
    Id,
    FirstOf,
    Sequence { separated: bool },
    Number,
    Time(Time),
    Day,
}

impl Use {
    /// Whether a column of this kind can be read so; if not, what it must be.
    pub(super) fn accepts(&self, kind: &Kind) -> Result<(), String> {
        use super::declare::TimeFormat::Date;
        let is_id = |k: &Kind| matches!(k, Kind::Int | Kind::Text | Kind::Float | Kind::Bool);
        let (fits, expected) = match self {
            Self::Id => (is_id(kind), "integers or text"),
            Self::FirstOf => match kind {
                Kind::List(of) => (is_id(of), "text or lists of ids"),
                kind => (*kind == Kind::Text, "text or lists of ids"),
            },
            Self::Sequence { separated } => match kind {
                Kind::List(of) => (is_id(of), "lists of ids, or text with a `separator`"),
                Kind::Text => (*separated, "lists of ids; a sequence of text needs a `separator`"),
                _ => (false, "lists of ids, or text with a `separator`"),
            },
            Self::Number => (is_id(kind), "numbers"),
            Self::Day => (matches!(kind, Kind::Int | Kind::Text | Kind::Time(_)), "dates"),
            Self::Time(t) => match (kind, t.unit, t.format) {
                (Kind::Time(own), Some(unit), _) => (*own == unit, "in the unit that is declared"),
                (Kind::Time(_), None, None) => (true, ""),
                (Kind::Int | Kind::Float | Kind::Text, Some(_), _) | (Kind::Text, _, Some(_)) => (true, ""),
                (Kind::Int, None, Some(Date)) => (true, ""),
                (Kind::Int | Kind::Float, None, None) => (
                    false,
                    "declared with its `unit` (s, ms, us or ns), which is never guessed",
                ),
                (Kind::Text, None, None) => (false, "declared with a `unit` or a `format` (iso, date)"),
                _ => (false, "integers with a `unit`, texts with a `format`, or a time type"),
            },
        };
        if fits { Ok(()) } else { Err(expected.to_owned()) }
    }
}
