//! Encoded rows.

use indexmap::IndexMap;

use crate::tensor::{Data, HostTensor, Tensors};

/// Rows as a model takes them, and what histories need to know of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Inputs by name: ids i32 \[rows\], numbers f32 \[rows, 1\], sequences i32 \[rows, length\] and their masks bool.
    pub inputs: Tensors,
    /// Whose rows they are: 64 bits of the user key ([`super::Id::key`]).
    pub key: Vec<u64>,
    /// Event time, milliseconds since 1970; finer ones are rounded to the past.
    pub time: Vec<i64>,
    /// When rows could first be read, milliseconds since 1970, where the log says.
    pub ingest: Option<Vec<i64>>,
    /// Dates such as 20220425; without, where the log has an order and no times.
    pub day: Option<Vec<i32>>,
    /// Labels, where the log has them.
    pub label: Option<Vec<f32>>,
    /// Running numbers of the rows in the log.
    pub row: Vec<u64>,
    /// How many ids of each input had no row and took row 0.
    pub unknown: IndexMap<String, u64>,
    /// Rows of the log that are not here: they happened after they were ingested.
    pub rejected: u64,
}

impl Encoded {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// Keeps these rows alone.
    ///
    /// # Panics
    /// If there is no such row: a mistake of the caller.
    pub fn keep(&mut self, rows: &[usize]) {
        fn picked<T: Copy>(column: &mut Vec<T>, rows: &[usize]) {
            *column = rows.iter().map(|r| column[*r]).collect();
        }
        self.inputs.values_mut().for_each(|tensor| *tensor = tensor.rows(rows));
        picked(&mut self.key, rows);
        picked(&mut self.time, rows);
        picked(&mut self.row, rows);
        self.ingest.iter_mut().for_each(|column| picked(column, rows));
        self.day.iter_mut().for_each(|column| picked(column, rows));
        self.label.iter_mut().for_each(|column| picked(column, rows));
    }

    /// Puts rows of the same encoder behind these.
    pub(super) fn append(&mut self, other: Self) {
        for (name, tensor) in other.inputs {
            match self.inputs.get_mut(&name) {
                Some(all) => append(all, tensor),
                None => drop(self.inputs.insert(name, tensor)),
            }
        }
        self.key.extend(other.key);
        self.time.extend(other.time);
        self.row.extend(other.row);
        extend(&mut self.ingest, other.ingest);
        extend(&mut self.day, other.day);
        extend(&mut self.label, other.label);
        for (name, n) in other.unknown {
            *self.unknown.entry(name).or_default() += n;
        }
    }
}

fn extend<T>(all: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    if let (Some(all), Some(more)) = (all, more) {
        all.extend(more);
    }
}

fn append(all: &mut HostTensor, more: HostTensor) {
    all.shape[0] += more.shape[0];
    match (&mut all.data, more.data) {
        (Data::F32(a), Data::F32(b)) => a.extend(b),
        (Data::I32(a), Data::I32(b)) => a.extend(b),
        (Data::Bool(a), Data::Bool(b)) => a.extend(b),
        // One encoder makes one type of each input.
        _ => {}
    }
}
