//! Raw rows.

use std::sync::Arc;

use indexmap::IndexMap;

use super::Error;
use super::cell::Cell;
use super::column::Column;

/// Rows of a log, column by column, as they were read or given.
#[derive(Clone, Debug)]
pub struct RowBatch {
    /// Where they are from, for messages.
    pub(super) file: Arc<str>,
    /// The running number of the file's first row in the log.
    pub(super) file_start: u64,
    /// Running numbers of the rows in the log.
    pub(super) rows: Vec<u64>,
    pub(super) columns: IndexMap<String, Column>,
}

impl RowBatch {
    /// Rows made by hand: what a service has instead of files. `source` names them in messages.
    ///
    /// # Panics
    /// If columns differ in length: a mistake of the caller.
    #[must_use]
    pub fn new(source: &str, columns: impl IntoIterator<Item = (String, Column)>) -> Self {
        let columns: IndexMap<_, _> = columns.into_iter().collect();
        let rows = columns.first().map_or(0, |(_, c)| c.len());
        assert!(columns.values().all(|c| c.len() == rows), "columns of one length");
        Self {
            file: source.into(),
            file_start: 0,
            rows: (0..rows as u64).collect(),
            columns,
        }
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns there are.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column))
    }

    /// The rows that come after one of the log, or all of them.
    #[must_use]
    pub fn after(self, row: Option<u64>) -> Self {
        let Some(row) = row else { return self };
        match self.rows.partition_point(|r| *r <= row) {
            0 => self,
            first => self.take(&(first..self.len()).collect::<Vec<_>>()),
        }
    }

    /// The number that a row has in its file.
    pub(super) fn row_in_file(&self, row: usize) -> u64 {
        self.rows[row] - self.file_start
    }

    /// Some of the rows.
    pub(super) fn take(&self, rows: &[usize]) -> Self {
        let picked: Vec<_> = rows.iter().copied().map(Some).collect();
        Self {
            file: self.file.clone(),
            file_start: self.file_start,
            rows: rows.iter().map(|r| self.rows[*r]).collect(),
            columns: self.columns.iter().map(|(n, c)| (n.clone(), c.take(&picked))).collect(),
        }
    }

    /// A column that must be there.
    pub(super) fn column(&self, name: &str) -> Result<&Column, Error> {
        self.columns.get(name).ok_or_else(|| Error::Missing {
            file: self.file.to_string(),
            column: name.to_owned(),
            what: "which the encoder reads".to_owned(),
            there: self.columns.keys().map(|c| format!("`{c}`")).collect(),
        })
    }

    /// What is wrong with a cell.
    pub(super) fn refused(&self, row: usize, column: &str, seen: Cell, expected: &str) -> Error {
        self.refused_text(row, column, seen.to_string(), expected)
    }

    pub(super) fn refused_text(&self, row: usize, column: &str, seen: String, expected: &str) -> Error {
        Error::Cell {
            file: self.file.to_string(),
            row: self.row_in_file(row),
            column: column.to_owned(),
            seen,
            expected: expected.to_owned(),
        }
    }
}
