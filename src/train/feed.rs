//! Batches in their order: a place in the data is three numbers, and what follows it is a function of them and the seed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::split::Reader;
use super::{Data, DataError, OneClass, Order};
use crate::random::philox;
use crate::tensor::Tensors;

/// Rows of a batch from which on labels that are all 1 are no chance.
const SUSPICIOUS: usize = 16;

/// A place between two batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Epochs done.
    pub epoch: u64,
    /// Files of this epoch that are done.
    pub file: usize,
    /// Rows of this file that are done.
    pub row: usize,
}

impl Cursor {
    /// Whether the next batch is an epoch's first.
    pub(super) fn starts_epoch(&self) -> bool {
        (self.file, self.row) == (0, 0)
    }
}

/// Batches from a cursor on.
pub(super) struct Feed<'a> {
    reader: &'a Reader<'a>,
    data: Data,
    seed: u64,
    pub(super) cursor: Cursor,
    current: Option<Current>,
}

/// The file that batches come from, and its rows in this epoch's order.
struct Current {
    epoch: u64,
    file: usize,
    columns: Arc<Columns>,
    order: Vec<usize>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(reader: &'a Reader<'a>, data: Data, seed: u64, cursor: Cursor) -> Self {
        Self {
            reader,
            data,
            seed,
            cursor,
            current: None,
        }
    }

    /// Whether the last epoch has ended.
    pub(super) fn is_done(&self) -> bool {
        self.cursor.epoch >= self.data.epochs
    }

    /// The next batch, or `None` after the last epoch.
    pub(super) fn next(&mut self) -> Result<Option<Tensors>, DataError> {
        if self.is_done() {
            return Ok(None);
        }
        let Cursor { epoch, file, row } = self.cursor;
        let current = match self.current.take() {
            Some(current) if (current.epoch, current.file) == (epoch, file) => current,
            _ => self.open(epoch, file)?,
        };
        let end = current.order.len().min(row + self.data.batch);
        let rows = &current.order[row.min(end)..end];
        self.refuse_one_class(&current.columns, rows)?;
        let batch = current.columns.take(rows)?;
        self.cursor = match (end == current.order.len(), file + 1 == self.reader.len()) {
            (false, _) => Cursor { epoch, file, row: end },
            (true, false) => Cursor {
                epoch,
                file: file + 1,
                row: 0,
            },
            (true, true) => Cursor {
                epoch: epoch + 1,
                file: 0,
                row: 0,
            },
        };
        self.current = Some(current);
        Ok(Some(batch))
    }

    /// Whether the first epoch has batches without a negative label.
    pub(super) fn check_classes(&self) -> Result<(), DataError> {
        for file in 0..self.reader.len() {
            let current = self.open(0, file)?;
            for rows in current.order.chunks(self.data.batch) {
                self.refuse_one_class(&current.columns, rows)?;
            }
        }
        Ok(())
    }

    /// The `file`-th file of an epoch.
    fn open(&self, epoch: u64, file: usize) -> Result<Current, DataError> {
        let files = self.order(self.reader.len(), [epoch as u32, u32::MAX]);
        let columns = self.reader.load(files[file])?;
        let order = self.order(columns.rows, [epoch as u32, files[file] as u32]);
        Ok(Current {
            epoch,
            file,
            columns,
            order,
        })
    }

    /// `0..n` as it stands, or shuffled (Fisher and Yates).
    fn order(&self, n: usize, stream: [u32; 2]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        if self.data.order == Order::Shuffled {
            for i in (1..n).rev() {
                let random = u128::from(draw(self.seed, stream, i as u64));
                order.swap(i, ((random * (i as u128 + 1)) >> 64) as usize);
            }
        }
        order
    }

    fn refuse_one_class(&self, columns: &Columns, rows: &[usize]) -> Result<(), DataError> {
        let labels = columns.labels();
        let one_class = rows.len() >= SUSPICIOUS && rows.iter().all(|r| labels[*r] == 1.0);
        if one_class && self.data.one_class == OneClass::Refuse {
            return Err(DataError::AllPositive {
                source_name: columns.name.clone(),
                row: rows[0],
                rows: rows.len(),
                column: self.reader.needs.label.clone(),
            });
        }
        Ok(())
    }
}

/// The `n`-th number of a run's stream: a function of the seed alone, so that no generator needs to be saved.
pub(super) fn draw(seed: u64, stream: [u32; 2], n: u64) -> u64 {
    let [a, b, ..] = philox(
        [n as u32, (n >> 32) as u32, stream[0], stream[1]],
        [seed as u32, (seed >> 32) as u32],
    );
    (u64::from(a) << 32) | u64::from(b)
}
