//! Fitting: what an encoder needs to know of a log's training days, gathered in one pass.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::Error;
use super::encoder::Encoder;
use super::feature::Transform;
use super::features::{Borders, Features, Input, Of, Rows};
use super::files::LogFiles;
use super::fitted::Fitted;
use super::lookup::for_each_id;
use super::number::{Sample, Welford, before_standardise, of_cell, transformed};
use super::rows::RowBatch;
use super::time::Days;
use super::vocabulary::IdMap;

impl Features {
    /// Goes once through the rows of these days, or of all, and learns vocabularies, means, deviations and quantiles.
    /// Memory is that of the vocabularies.
    ///
    /// # Errors
    /// What the log's rows are refused for; [`Error::Empty`] where there are none.
    pub fn fit(&self, log: &LogFiles, days: Option<Days>) -> Result<Encoder, Error> {
        let mut fitters = self.fitters();
        let mut rows = 0;
        for batch in log.batches(days) {
            let batch = batch?;
            rows += batch.len() as u64;
            fitters.par_iter_mut().try_for_each(|f| f.take(&batch))?;
        }
        if rows == 0 {
            let what = days.map_or("the log".to_owned(), |d| format!("the days {d} of the log"));
            return Err(Error::Empty { what });
        }
        let mut fitted = Fitted {
            rows,
            days: days.map(|d| d.to_string()),
            ..Fitted::default()
        };
        for fitter in fitters {
            fitter.finish(&mut fitted);
        }
        Encoder::new(self.clone(), fitted)
    }

    /// One for each vocabulary, mean and set of quantiles.
    fn fitters(&self) -> Vec<Fitter<'_>> {
        let mut counted: IndexMap<&str, (u64, Vec<&Input>)> = IndexMap::new();
        let mut fitters = Vec::new();
        for input in &self.inputs {
            match &input.of {
                Of::Id { ids, .. } | Of::Sequence { ids, .. } => {
                    if let Rows::Vocabulary { min_count } = ids.rows {
                        let (_, inputs) = counted.entry(&ids.owner).or_insert((min_count, Vec::new()));
                        inputs.push(input);
                    }
                }
                Of::Number {
                    column,
                    missing,
                    transform,
                    ..
                } => {
                    if let Some(before) = before_standardise(transform) {
                        let source = Source::new(column, *missing, before);
                        fitters.push(Fitter::Moments(&input.name, source, Welford::default()));
                    }
                }
                Of::Buckets {
                    column,
                    missing,
                    transform,
                    borders: Borders::Quantiles(n),
                } => {
                    let source = Source::new(column, *missing, transform);
                    fitters.push(Fitter::Quantiles(&input.name, source, *n, Sample::default()));
                }
                Of::Buckets { .. } | Of::Time(_) => {}
            }
        }
        let vocabularies = counted.into_iter().map(|(owner, (min_count, inputs))| Fitter::Count {
            owner,
            min_count,
            inputs,
            counts: IdMap::default(),
        });
        fitters.extend(vocabularies);
        fitters
    }
}

/// Where numbers come from.
struct Source<'a> {
    column: &'a str,
    missing: Option<f64>,
    steps: &'a [Transform],
}

impl<'a> Source<'a> {
    fn new(column: &'a str, missing: Option<f64>, steps: &'a [Transform]) -> Self {
        Self { column, missing, steps }
    }

    fn for_each(&self, batch: &RowBatch, mut each: impl FnMut(f64)) -> Result<(), Error> {
        let column = batch.column(self.column)?;
        for row in 0..batch.len() {
            let cell = column.cell(row);
            let refused = |expected| batch.refused(row, self.column, cell, expected);
            if let Some(x) = of_cell(cell).map_err(refused)?.or(self.missing) {
                each(transformed(x, self.steps, None).map_err(refused)?);
            }
        }
        Ok(())
    }
}

enum Fitter<'a> {
    Count {
        owner: &'a str,
        min_count: u64,
        inputs: Vec<&'a Input>,
        counts: IdMap<u64>,
    },
    Moments(&'a str, Source<'a>, Welford),
    Quantiles(&'a str, Source<'a>, u32, Sample),
}

impl Fitter<'_> {
    fn take(&mut self, batch: &RowBatch) -> Result<(), Error> {
        match self {
            Self::Count { inputs, counts, .. } => inputs.iter().try_for_each(|input| {
                for_each_id(&input.of, batch, &mut |_, id| {
                    if let Some(id) = id {
                        counts.count(id);
                    }
                    Ok(())
                })
            }),
            Self::Moments(_, source, welford) => source.for_each(batch, |x| welford.push(x)),
            Self::Quantiles(_, source, _, sample) => source.for_each(batch, |x| sample.push(x)),
        }
    }

    fn finish(self, fitted: &mut Fitted) {
        match self {
            Self::Count {
                owner,
                min_count,
                counts,
                ..
            } => {
                let vocabulary = counts.vocabulary(min_count);
                fitted.vocabularies.insert(owner.to_owned(), vocabulary);
            }
            Self::Moments(name, _, welford) => {
                fitted.moments.insert(name.to_owned(), welford.moments());
            }
            Self::Quantiles(name, _, n, sample) => {
                fitted.borders.insert(name.to_owned(), sample.borders(n));
            }
        }
    }
}
