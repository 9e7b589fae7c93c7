//! Reading a log, batch by batch.

use std::sync::Arc;

use indexmap::IndexMap;

use super::files::LogFiles;
use super::join::SideTable;
use super::rows::RowBatch;
use super::time::Days;
use super::{Error, clock, table};

/// Rows of a batch of a log, its last one apart.
pub const BATCH: usize = 8192;

/// Rows of a log, batch by batch. Nothing follows an error.
pub struct Batches<'a> {
    pub(super) log: &'a LogFiles,
    pub(super) columns: Vec<String>,
    pub(super) joins: &'a [SideTable],
    pub(super) days: Option<Days>,
    pub(super) next_file: usize,
    pub(super) end: usize,
    pub(super) current: Option<Current>,
    pub(super) row: u64,
    /// Rows left out so far, where they are looked for.
    pub(super) rejected: Option<Rejected>,
}

/// Rows that happened after they were ingested.
#[derive(Default)]
pub(super) struct Rejected {
    rows: u64,
    of: u64,
    first: Option<Error>,
}

pub(super) struct Current {
    name: Arc<str>,
    start: u64,
    batches: table::Batches,
}

impl Batches<'_> {
    /// The next batch, whatever its days.
    fn read(&mut self) -> Option<Result<RowBatch, Error>> {
        loop {
            let Some(current) = &mut self.current else {
                let file = self.log.files[..self.end].get(self.next_file)?;
                self.next_file += 1;
                match file.batches(&self.columns, BATCH) {
                    Err(e) => return Some(Err(e)),
                    Ok(batches) => {
                        self.current = Some(Current {
                            name: file.name.as_str().into(),
                            start: self.row,
                            batches,
                        });
                    }
                }
                continue;
            };
            let (rows, columns) = match current.batches.next() {
                None => {
                    self.current = None;
                    continue;
                }
                Some(Err(e)) => return Some(Err(e)),
                Some(Ok(read)) => read,
            };
            let start = self.row;
            self.row += rows as u64;
            let batch = RowBatch {
                file: current.name.clone(),
                file_start: current.start,
                rows: (start..self.row).collect(),
                columns,
            };
            return Some(self.joined(batch));
        }
    }

    fn joined(&self, mut batch: RowBatch) -> Result<RowBatch, Error> {
        let mut joined = IndexMap::new();
        for join in self.joins {
            joined.extend(join.columns(&batch)?);
        }
        batch.columns.extend(joined);
        Ok(batch)
    }

    /// Rows that were left out so far: ingested before they happened, and few enough to be a fault of clocks.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.as_ref().map_or(0, |r| r.rows)
    }

    /// The rows without those that were ingested before they happened.
    fn sound(&mut self, batch: RowBatch) -> Result<RowBatch, Error> {
        let Some(rejected) = &mut self.rejected else {
            return Ok(batch);
        };
        let before = batch.len();
        let (batch, why) = clock::quarantined(batch, &self.log.features.declared.log)?;
        rejected.of += before as u64;
        rejected.rows += (before - batch.len()) as u64;
        rejected.first = rejected.first.take().or(why);
        Ok(batch)
    }

    /// After the last row: more were left out than may be.
    fn too_many(&mut self) -> Option<Error> {
        let share = self.log.features.declared.log.rejects;
        let rejected = self.rejected.take()?;
        let (rows, of) = (rejected.rows, rejected.of);
        self.rejected = Some(Rejected { rows, of, first: None });
        let first = Box::new(rejected.first?);
        (rows as f64 > share * of as f64).then_some(Error::Rejects { rows, of, share, first })
    }

    /// The rows of the days wanted.
    fn selected(&self, batch: RowBatch, days: Days) -> Result<RowBatch, Error> {
        let log = &self.log.features.declared.log;
        let of_rows = clock::days(&batch, log, &clock::times(&batch, log)?)?;
        let rows: Vec<usize> = (0..batch.len()).filter(|r| days.contains(of_rows[*r])).collect();
        Ok(if rows.len() == batch.len() {
            batch
        } else {
            batch.take(&rows)
        })
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<RowBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(read) = self.read() else {
                return self.too_many().map(Err);
            };
            let mut read = read.and_then(|batch| self.sound(batch));
            if let Some(days) = self.days {
                read = read.and_then(|batch| self.selected(batch, days));
            }
            match &read {
                Ok(batch) if batch.is_empty() => continue,
                Ok(_) => {}
                Err(_) => (self.next_file, self.current) = (self.end, None),
            }
            return Some(read);
        }
    }
}
