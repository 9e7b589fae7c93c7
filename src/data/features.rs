//! `features.toml`, checked: what each input is made of.

use std::path::{Path, PathBuf};

use super::Error;
use super::declare::{Declared, Format, Time};
use super::feature::{End, Hash, Keep, Oov, Part, Transform};

/// Longest declaration read.
const MAX_TOML: u64 = 1 << 20;

/// A log's features as declared, every word of them understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Where they were declared, for messages.
    pub(super) origin: String,
    /// Where side tables are.
    pub(super) folder: PathBuf,
    pub(super) declared: Declared,
    pub(super) inputs: Vec<Input>,
}

/// An input, or an input and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) of: Of,
}

/// What an input is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Of {
    /// i32 \[rows\].
    Id {
        column: String,
        first_of: Option<String>,
        missing: Option<String>,
        ids: Ids,
    },
    /// i32 \[rows, length\], and bool \[rows, length\] for the mask.
    Sequence {
        column: String,
        separator: Option<String>,
        length: usize,
        keep: Keep,
        newest: End,
        mask: Option<String>,
        ids: Ids,
    },
    /// f32 \[rows, 1\], and as much for the flag.
    Number {
        column: String,
        missing: Option<f64>,
        transform: Vec<Transform>,
        flag: Option<String>,
    },
    /// i32 \[rows\].
    Buckets {
        column: String,
        missing: Option<f64>,
        transform: Vec<Transform>,
        borders: Borders,
    },
    /// i32 \[rows\].
    Time(Part),
}

/// Where an id's row comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ids {
    /// The feature whose rows these are.
    pub(super) owner: String,
    pub(super) rows: Rows,
    pub(super) oov: Oov,
}

/// How ids become rows of a table. Row 0 is for what is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Those seen so often have a row each.
    Vocabulary { min_count: u64 },
    /// By hash.
    Hash(Hash),
    /// Id `i` has row `i + 1`.
    Dense(u32),
}

/// Where buckets end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Borders {
    Given(Vec<f64>),
    Quantiles(u32),
}

impl Features {
    /// Reads a TOML file. Side tables are relative to it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Declaration`] or [`Error::Feature`] for what is not understood, with the line or the name.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_path_buf(),
            source,
        };
        let origin = format!("`{}`", path.display());
        if std::fs::metadata(path).map_err(io)?.len() > MAX_TOML {
            let why = format!("longer than {MAX_TOML} bytes");
            return Err(Error::Declaration { origin, why });
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(Self::parse(&text, &origin)?.in_folder(folder))
    }

    /// Understands TOML; `origin` names it in messages.
    ///
    /// # Errors
    /// As [`Features::read`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        let declared = toml::from_str(text).map_err(|e| Error::Declaration {
            origin: origin.to_owned(),
            why: e.to_string(),
        })?;
        Self::new(declared, origin)
    }

    /// The same with side tables elsewhere.
    #[must_use]
    pub fn in_folder(mut self, folder: PathBuf) -> Self {
        self.folder = folder;
        self
    }

    pub(super) fn new(mut declared: Declared, origin: &str) -> Result<Self, Error> {
        declared.trim();
        let mut features = Self {
            origin: origin.to_owned(),
            folder: PathBuf::new(),
            inputs: Vec::new(),
            declared,
        };
        features.check_log().map_err(|why| Error::Declaration {
            origin: origin.to_owned(),
            why,
        })?;
        for (name, feature) in &features.declared.features {
            let failed = |why| Error::Feature {
                origin: origin.to_owned(),
                feature: name.clone(),
                why,
            };
            let of = features.understood(name, feature).map_err(failed)?;
            features.inputs.push(Input { name: name.clone(), of });
        }
        features.check_names()?;
        Ok(features)
    }

    /// Where side tables are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The column of labels.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.declared.log.label.as_deref()
    }

    /// Whether encoded rows have an input of this name; masks and flags are such.
    #[must_use]
    pub fn makes(&self, name: &str) -> bool {
        let beside = |of: &Of| match of {
            Of::Sequence { mask, .. } => mask.as_deref() == Some(name),
            Of::Number { flag, .. } => flag.as_deref() == Some(name),
            _ => false,
        };
        self.inputs.iter().any(|input| input.name == name || beside(&input.of))
    }

    /// Whether rows say when they could first be read.
    #[must_use]
    pub fn has_ingest(&self) -> bool {
        self.declared.log.ingest.is_some()
    }

    /// Inputs that are of the request and not of the candidate.
    pub fn per_request(&self) -> impl Iterator<Item = &str> {
        let of_request = self.declared.features.iter().filter(|(_, f)| f.per_request);
        of_request.map(|(name, _)| name.as_str())
    }

    fn check_log(&self) -> Result<(), String> {
        let log = &self.declared.log;
        for (time, what) in [(Some(&log.time), "time"), (log.ingest.as_ref(), "ingest")] {
            if let Some(time) = time {
                check_time(time).map_err(|why| format!("`{what}` {why}"))?;
            }
        }
        let formats = self.declared.joins.iter().filter_map(|j| j.format.as_ref());
        for format in formats.chain(&self.declared.log.format) {
            check_format(format)?;
        }
        if !(0.0..=1.0).contains(&log.rejects) {
            return Err(format!("`rejects` is {}, it must be a share within 0..=1", log.rejects));
        }
        if let Some(until) = &self.declared.log.until
            && until != "now"
            && super::time::date(until).is_none()
        {
            return Err(format!(
                "`until` is {until:?}, it must be a date such as 2022-05-09, or \"now\""
            ));
        }
        match self.declared.features.is_empty() {
            true => Err("there are no features".to_owned()),
            false => Ok(()),
        }
    }

    fn check_names(&self) -> Result<(), Error> {
        let mut seen: Vec<(&str, &Of)> = Vec::new();
        for input in &self.inputs {
            let beside = match &input.of {
                Of::Sequence { mask, .. } => mask.as_deref(),
                Of::Number { flag, .. } => flag.as_deref(),
                _ => None,
            };
            for (name, is_mask) in [(Some(input.name.as_str()), false), (beside, true)] {
                let Some(name) = name else { continue };
                let failed = |why: &str| Error::Feature {
                    origin: self.origin.clone(),
                    feature: input.name.clone(),
                    why: format!("input `{name}` {why}"),
                };
                if name.is_empty() || name == "request_of_row" {
                    return Err(failed("cannot be called so"));
                }
                match seen.iter().find(|(n, _)| *n == name) {
                    // Sequences of equal items may share their mask.
                    Some((_, of)) if is_mask && masks_alike(of, &input.of, name) => {}
                    Some(_) => return Err(failed("is declared twice")),
                    None => seen.push((name, &input.of)),
                }
            }
        }
        Ok(())
    }
}

/// Whether both are sequences of one length with this mask.
fn masks_alike(a: &Of, b: &Of, name: &str) -> bool {
    let of = |of: &Of| match of {
        Of::Sequence { mask, length, .. } if mask.as_deref() == Some(name) => Some(*length),
        _ => None,
    };
    of(a).is_some() && of(a) == of(b)
}

fn check_time(t: &Time) -> Result<(), String> {
    match (t.column.is_some(), t.length_of.is_some(), t.row) {
        (true, false, false) => match (t.unit, t.format) {
            (Some(_), Some(_)) => Err("has a `unit` and a `format`: it counts, or it is written out".to_owned()),
            _ => Ok(()),
        },
        (false, true, false) | (false, false, true) if t.unit.is_some() || t.format.is_some() => {
            Err("is a place in an order, which has neither `unit` nor `format`".to_owned())
        }
        (false, true, false) | (false, false, true) => Ok(()),
        _ => Err("must have one of `column`, `length_of` and `row = true`".to_owned()),
    }
}

fn check_format(format: &Format) -> Result<(), String> {
    let Format::Csv(csv) = format else { return Ok(()) };
    match csv.separator.as_bytes() {
        [b] if b.is_ascii() && !matches!(b, b'\n' | b'\r' | b'"') => {}
        _ => {
            return Err(format!(
                "csv: `separator` is {:?}, it must be one ASCII character",
                csv.separator
            ));
        }
    }
    match (csv.header, csv.names.is_empty()) {
        (true, false) => Err("csv: there is a header, `names` are for files without one".to_owned()),
        (false, true) => Err("csv: without a header, `names` must say what the columns are".to_owned()),
        _ => Ok(()),
    }
}
