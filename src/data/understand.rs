//! What a feature's declaration means, or why it means nothing.

use super::feature::{Feature, Missing, Transform};
use super::features::{Borders, Features, Ids, Of, Rows};

/// Longest sequence.
const MAX_LENGTH: u32 = 4096;
/// Most buckets.
const MAX_BUCKETS: u32 = 65_536;

impl Features {
    /// The input that a feature is.
    pub(super) fn understood(&self, name: &str, f: &Feature) -> Result<Of, String> {
        let (column, of) = match (&f.id, &f.number, &f.sequence, f.time) {
            (Some(column), None, None, None) => (Some(column), self.id(name, f, column)?),
            (None, Some(column), None, None) => (Some(column), number(f, column)?),
            (None, None, Some(column), None) => (Some(column), self.sequence(name, f, column)?),
            (None, None, None, Some(part)) => {
                refuse_options(f, "time", &[])?;
                (None, Of::Time(part))
            }
            _ => return Err("one of `id`, `number`, `sequence` and `time` must say what it is".to_owned()),
        };
        let log = &self.declared.log;
        if let Some(column) = column {
            let ingest = log.ingest.as_ref().and_then(|t| t.column.as_ref());
            if log.label.as_ref() == Some(column) {
                return Err(format!(
                    "`{column}` is the label: it is not known before the impression"
                ));
            }
            if log.outcomes.contains(column) || ingest == Some(column) {
                return Err(format!(
                    "`{column}` is an outcome: it is not known before the impression"
                ));
            }
        }
        Ok(of)
    }

    fn id(&self, name: &str, f: &Feature, column: &str) -> Result<Of, String> {
        refuse_options(f, "id", &["first_of", "missing"])?;
        if f.first_of.as_deref() == Some("") {
            return Err("`first_of` is empty, it must be what separates items".to_owned());
        }
        Ok(Of::Id {
            column: column.to_owned(),
            first_of: f.first_of.clone(),
            missing: match &f.missing {
                None => None,
                Some(Missing::Int(i)) => Some(i.to_string()),
                Some(Missing::Text(t)) => Some(t.clone()),
                Some(Missing::Float(x)) => return Err(format!("`missing` is {x}, it must be an id")),
            },
            ids: self.ids(name, f)?,
        })
    }

    fn sequence(&self, name: &str, f: &Feature, column: &str) -> Result<Of, String> {
        refuse_options(f, "sequence", &["separator", "length", "keep", "newest", "mask"])?;
        if f.separator.as_deref() == Some("") {
            return Err("`separator` is empty".to_owned());
        }
        let length = f.length.ok_or("`length` is missing: how many items are kept")?;
        if length == 0 || length > MAX_LENGTH {
            return Err(format!("`length` is {length}, it must be within 1..={MAX_LENGTH}"));
        }
        Ok(Of::Sequence {
            column: column.to_owned(),
            separator: f.separator.clone(),
            length: length as usize,
            keep: f.keep.unwrap_or_default(),
            newest: f.newest.unwrap_or_default(),
            mask: f.mask.clone(),
            ids: self.ids(name, f)?,
        })
    }

    fn ids(&self, name: &str, f: &Feature) -> Result<Ids, String> {
        let oov = f.oov.unwrap_or_default();
        let Some(owner) = &f.shares else {
            return Ok(Ids {
                owner: name.to_owned(),
                rows: rows(f)?,
                oov,
            });
        };
        if f.min_count.is_some() || f.hash.is_some() || f.dense.is_some() {
            return Err(format!(
                "`shares` takes the rows of `{owner}`, which alone says how they come about"
            ));
        }
        match self.declared.features.get(owner) {
            Some(other) if other.shares.is_some() => Err(format!("it shares with `{owner}`, which itself shares")),
            Some(other) if other.id.is_some() || other.sequence.is_some() => Ok(Ids {
                owner: owner.clone(),
                rows: rows(other)?,
                oov,
            }),
            Some(_) => Err(format!("it shares with `{owner}`, which is no id and no sequence")),
            None => Err(format!("it shares with `{owner}`, which is not declared")),
        }
    }
}

fn rows(f: &Feature) -> Result<Rows, String> {
    match (f.min_count, f.hash, f.dense) {
        (min_count, None, None) => Ok(Rows::Vocabulary {
            min_count: min_count.unwrap_or(1),
        }),
        (None, Some(hash), None) if (1..i32::MAX as u32).contains(&hash.modulus) => Ok(Rows::Hash(hash)),
        (None, Some(hash), None) => Err(format!(
            "`modulus` is {}, it must be within 1..2147483647",
            hash.modulus
        )),
        (None, None, Some(n)) if (1..i32::MAX as u32).contains(&n) => Ok(Rows::Dense(n)),
        (None, None, Some(n)) => Err(format!("`dense` is {n}, it must be within 1..2147483647")),
        _ => Err("only one of `min_count`, `hash` and `dense` can say where its rows come from".to_owned()),
    }
}

fn number(f: &Feature, column: &str) -> Result<Of, String> {
    refuse_options(f, "number", &["missing", "transform", "buckets", "quantiles", "flag"])?;
    let (column, transform) = (column.to_owned(), f.transform.clone());
    let standardised = transform.iter().filter(|t| **t == Transform::Standardise).count();
    for t in &transform {
        match t {
            Transform::Scale(x) if !x.is_finite() => return Err(format!("`scale` is {x}, it must be finite")),
            Transform::Clip(a, b) if !(a.is_finite() && b.is_finite() && a <= b) => {
                return Err(format!("`clip` is [{a}, {b}], it must be two numbers in their order"));
            }
            _ => {}
        }
    }
    if standardised > 1 {
        return Err("`standardise` is there twice".to_owned());
    }
    let missing = match &f.missing {
        None => None,
        Some(Missing::Int(i)) => Some(*i as f64),
        Some(Missing::Float(x)) if x.is_finite() => Some(*x),
        Some(other) => return Err(format!("`missing` is {other:?}, it must be a number")),
    };
    let borders = match (&f.buckets, f.quantiles) {
        (None, None) => {
            return Ok(Of::Number {
                column,
                missing,
                transform,
                flag: f.flag.clone(),
            });
        }
        (Some(b), None) if b.is_empty() || b.len() > MAX_BUCKETS as usize || !b.is_sorted_by(|a, b| a < b) => {
            return Err(format!(
                "`buckets` must be 1 to {MAX_BUCKETS} numbers, each above the one before"
            ));
        }
        (Some(b), None) if b.iter().all(|x| x.is_finite()) => Borders::Given(b.clone()),
        (Some(_), None) => return Err("`buckets` must be finite".to_owned()),
        (None, Some(n)) if (2..=MAX_BUCKETS).contains(&n) => Borders::Quantiles(n),
        (None, Some(n)) => return Err(format!("`quantiles` is {n}, it must be within 2..={MAX_BUCKETS}")),
        (Some(_), Some(_)) => return Err("only one of `buckets` and `quantiles` can say where buckets end".to_owned()),
    };
    if f.flag.is_some() || standardised > 0 {
        return Err("a number in buckets is an id: `flag` and `standardise` mean nothing to it".to_owned());
    }
    Ok(Of::Buckets {
        column,
        missing,
        transform,
        borders,
    })
}

/// Refuses options that mean nothing to a feature of this sort.
fn refuse_options(f: &Feature, sort: &str, options: &[&str]) -> Result<(), String> {
    let of_ids = sort == "id" || sort == "sequence";
    let given = [
        ("min_count", f.min_count.is_some(), of_ids),
        ("hash", f.hash.is_some(), of_ids),
        ("dense", f.dense.is_some(), of_ids),
        ("shares", f.shares.is_some(), of_ids),
        ("oov", f.oov.is_some(), of_ids),
        ("missing", f.missing.is_some(), false),
        ("first_of", f.first_of.is_some(), false),
        ("transform", !f.transform.is_empty(), false),
        ("buckets", f.buckets.is_some(), false),
        ("quantiles", f.quantiles.is_some(), false),
        ("flag", f.flag.is_some(), false),
        ("separator", f.separator.is_some(), false),
        ("length", f.length.is_some(), false),
        ("keep", f.keep.is_some(), false),
        ("newest", f.newest.is_some(), false),
        ("mask", f.mask.is_some(), false),
    ];
    let stray = given
        .iter()
        .find(|(name, given, fits)| *given && !fits && !options.contains(name));
    stray.map_or(Ok(()), |(name, ..)| Err(format!("`{name}` means nothing to `{sort}`")))
}
