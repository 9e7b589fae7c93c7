//! From raw rows to the inputs of a model.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::batches::Batches;
use super::feature::Part;
use super::features::{Borders, Features, Ids, Input, Of, Rows};
use super::files::LogFiles;
use super::fitted::Fitted;
use super::id::Id;
use super::inputs::Made;
use super::lookup::Lookup;
use super::number::{Moments, of_cell};
use super::rows::RowBatch;
use super::time::Days;
use super::vocabulary::Vocabulary;
use super::{Encoded, Error, clock};
use crate::tensor::{HostTensor, Tensors};

/// Features fitted to a log: makes the inputs of a model of raw rows, the same for training and serving.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    pub(super) features: Features,
    pub(super) fitted: Fitted,
}

impl Encoder {
    pub(super) fn new(features: Features, fitted: Fitted) -> Result<Self, Error> {
        let encoder = Self { features, fitted };
        for (name, size) in encoder.vocabulary_sizes() {
            if size > i32::MAX as usize {
                let why = format!("feature `{name}` has {size} rows, at most 2^31 - 1 can be told apart");
                return Err(Error::Encoder { why });
            }
        }
        Ok(encoder)
    }

    /// What was declared.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Rows that it was fitted on.
    #[must_use]
    pub fn fitted_rows(&self) -> u64 {
        self.fitted.rows
    }

    /// The days that it was fitted on, where not all were.
    #[must_use]
    pub fn fitted_days(&self) -> Option<Days> {
        self.fitted.days.as_ref()?.parse().ok()
    }

    /// The same with side tables elsewhere.
    #[must_use]
    pub fn in_folder(mut self, folder: std::path::PathBuf) -> Self {
        self.features = self.features.in_folder(folder);
        self
    }

    /// Rows of the table of each input that is an id: what is known, and row 0.
    #[must_use]
    pub fn vocabulary_sizes(&self) -> IndexMap<String, usize> {
        let size = |input: &Input| match &input.of {
            Of::Id { ids, .. } | Of::Sequence { ids, .. } => Some(self.size(ids)),
            Of::Buckets { borders, .. } => Some(self.borders(&input.name, borders).len() + 2),
            Of::Time(Part::Hour) => Some(25),
            Of::Time(Part::Weekday) => Some(8),
            Of::Number { .. } => None,
        };
        let sizes = self
            .features
            .inputs
            .iter()
            .filter_map(|i| Some((i.name.clone(), size(i)?)));
        sizes.collect()
    }

    /// The row of an id in the table of a feature, 0 where it has none; `None` for features that are no ids.
    #[must_use]
    pub fn row(&self, feature: &str, id: Id) -> Option<i32> {
        self.ids(feature).map(|ids| self.lookup(ids).row(id).unwrap_or(0))
    }

    /// The id whose row of a feature's table this is, where a vocabulary says so.
    #[must_use]
    pub fn id(&self, feature: &str, row: i32) -> Option<&str> {
        self.fitted.vocabularies.get(&self.ids(feature)?.owner)?.id(row)
    }

    /// Encodes a batch of rows.
    ///
    /// # Errors
    /// The first cell that is refused; [`Error::Missing`] for a column.
    pub fn encode(&self, batch: &RowBatch) -> Result<Encoded, Error> {
        let log = &self.features.declared.log;
        let time = clock::times(batch, log)?;
        let ingest = clock::ingest(batch, log, &time)?;
        let made: Result<Vec<Made>, Error> = self
            .features
            .inputs
            .par_iter()
            .map(|input| self.input(input, batch, &time))
            .collect();
        let mut encoded = Encoded {
            inputs: Tensors::new(),
            key: keys(batch, &log.key)?,
            day: match log.day.is_some() || log.time.column.is_some() {
                true => Some(clock::days(batch, log, &time)?),
                false => None,
            },
            label: labels(batch, log.label.as_deref())?,
            row: batch.rows.clone(),
            unknown: IndexMap::new(),
            rejected: 0,
            time,
            ingest,
        };
        for (input, made) in self.features.inputs.iter().zip(made?) {
            encoded.inputs.insert(input.name.clone(), made.tensor);
            if let Some(unknown) = made.unknown {
                encoded.unknown.insert(input.name.clone(), unknown);
            }
            if let Some((name, beside)) = made.beside {
                self.add_beside(&mut encoded, batch, input, name, beside)?;
            }
        }
        Ok(encoded)
    }

    /// Encodes a whole log, or these days of it, in memory.
    ///
    /// # Errors
    /// What the log's rows are refused for; [`Error::Empty`] where there are none.
    pub fn encode_log(&self, log: &LogFiles, days: Option<Days>) -> Result<Encoded, Error> {
        self.encode_batches(log.batches(days), days)
    }

    /// As [`Encoder::encode_log`], of one file; its rows are numbered from 0.
    ///
    /// # Errors
    /// As [`Encoder::encode_log`].
    pub fn encode_file(&self, log: &LogFiles, file: usize, days: Option<Days>) -> Result<Encoded, Error> {
        self.encode_batches(log.batches_of(file, days), days)
    }

    fn encode_batches(&self, mut batches: Batches, days: Option<Days>) -> Result<Encoded, Error> {
        let mut all: Option<Encoded> = None;
        for batch in batches.by_ref() {
            let encoded = self.encode(&batch?)?;
            match &mut all {
                None => all = Some(encoded),
                Some(all) => all.append(encoded),
            }
        }
        if let Some(all) = &mut all {
            all.rejected = batches.rejected();
        }
        all.ok_or_else(|| Error::Empty {
            what: days.map_or("the log".to_owned(), |d| format!("the days {d} of the log")),
        })
    }

    /// A mask or a flag. A mask that sequences share is the same for all of them.
    fn add_beside(
        &self,
        encoded: &mut Encoded,
        batch: &RowBatch,
        input: &Input,
        name: &str,
        tensor: HostTensor,
    ) -> Result<(), Error> {
        let Some(before) = encoded.inputs.get(name) else {
            encoded.inputs.insert(name.to_owned(), tensor);
            return Ok(());
        };
        let Of::Sequence { column, length, .. } = &input.of else {
            return Ok(());
        };
        let lengths = |t: &HostTensor| -> Vec<usize> {
            let crate::tensor::Data::Bool(mask) = &t.data else {
                return Vec::new();
            };
            mask.chunks(*length).map(|m| m.iter().filter(|b| **b).count()).collect()
        };
        let (before, now) = (lengths(before), lengths(&tensor));
        match (0..now.len()).find(|row| before[*row] != now[*row]) {
            None => Ok(()),
            Some(row) => {
                let seen = format!("{} items", now[row]);
                let expected = format!(
                    "{} items long, as the sequence that shares mask `{name}` is",
                    before[row]
                );
                Err(batch.refused_text(row, column, seen, &expected))
            }
        }
    }

    fn ids(&self, feature: &str) -> Option<&Ids> {
        match &self.features.inputs.iter().find(|i| i.name == feature)?.of {
            Of::Id { ids, .. } | Of::Sequence { ids, .. } => Some(ids),
            _ => None,
        }
    }

    pub(super) fn lookup(&self, ids: &Ids) -> Lookup<'_> {
        match ids.rows {
            Rows::Vocabulary { .. } => Lookup::Vocabulary(self.fitted.vocabularies.get(&ids.owner)),
            Rows::Hash(hash) => Lookup::Hash(hash.modulus, hash.seed),
            Rows::Dense(n) => Lookup::Dense(n),
        }
    }

    fn size(&self, ids: &Ids) -> usize {
        1 + match self.lookup(ids) {
            Lookup::Vocabulary(v) => v.map_or(0, Vocabulary::len),
            Lookup::Hash(n, _) | Lookup::Dense(n) => n as usize,
        }
    }

    pub(super) fn moments(&self, name: &str) -> Option<Moments> {
        self.fitted.moments.get(name).copied()
    }

    pub(super) fn borders<'a>(&'a self, name: &str, borders: &'a Borders) -> &'a [f64] {
        match borders {
            Borders::Given(b) => b,
            Borders::Quantiles(_) => self.fitted.borders.get(name).map_or(&[], Vec::as_slice),
        }
    }
}

fn keys(batch: &RowBatch, column: &str) -> Result<Vec<u64>, Error> {
    let cells = batch.column(column)?;
    let mut spelt = String::new();
    let key = |row: usize| {
        let cell = cells.cell(row);
        let refused = |expected| batch.refused(row, column, cell, expected);
        let id = cell.id(&mut spelt).map_err(refused)?;
        id.map(|id| id.key())
            .ok_or_else(|| refused("a key: histories belong to one"))
    };
    (0..batch.len()).map(key).collect()
}

fn labels(batch: &RowBatch, column: Option<&str>) -> Result<Option<Vec<f32>>, Error> {
    let Some((name, cells)) = column.and_then(|c| Some((c, batch.columns.get(c)?))) else {
        return Ok(None);
    };
    let label = |row: usize| {
        let cell = cells.cell(row);
        match of_cell(cell) {
            Ok(Some(x)) if (0.0..=1.0).contains(&x) => Ok(x as f32),
            _ => Err(batch.refused(row, name, cell, "a label within 0..=1")),
        }
    };
    (0..batch.len()).map(label).collect::<Result<_, _>>().map(Some)
}
