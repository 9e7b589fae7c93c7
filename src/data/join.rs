//! Side tables: rows found by one column of the log.

use std::sync::Arc;

use indexmap::IndexMap;

use super::Error;
use super::column::{Column, Kind};
use super::declare::Join;
use super::features::Features;
use super::needs::Need;
use super::rows::RowBatch;
use super::table::Table;
use super::vocabulary::IdMap;

/// Rows read at once.
const BATCH: usize = 65_536;

/// A side table. What is needed of it stays in memory.
#[derive(Debug)]
pub(super) struct SideTable {
    /// The log's column.
    pub(super) on: String,
    table: Table,
    key: String,
    declared: Vec<String>,
    /// Columns that are needed of it.
    given: Vec<String>,
    rows: IdMap,
    columns: IndexMap<String, Arc<Column>>,
}

impl SideTable {
    /// Opens the table. A table that is not there is not missed where the log's first file has every column that is
    /// needed.
    pub(super) fn open(join: &Join, features: &Features, first: &Table, needs: &[Need]) -> Result<Option<Self>, Error> {
        let path = features.folder.join(&join.file);
        let complete = || needs.iter().all(|n| n.optional || first.schema.contains_key(&n.column));
        if !path.exists() && complete() {
            return Ok(None);
        }
        let table = Table::open(&path, join.format.as_ref(), &features.declared.log.nulls)?;
        let key = join.key.as_ref().unwrap_or(&join.on).trim().to_owned();
        let missing = |column: &str, what: &str, table: &Table| Error::Missing {
            file: table.name.clone(),
            column: column.to_owned(),
            what: what.to_owned(),
            there: table.schema.keys().map(|c| format!("`{c}`")).collect(),
        };
        match table.schema.get(&key) {
            None => return Err(missing(&key, "by which rows are found", &table)),
            Some(Kind::Int | Kind::Text | Kind::Float) => {}
            Some(kind) => {
                return Err(Error::Kind {
                    file: table.name.clone(),
                    column: key,
                    seen: kind.to_string(),
                    expected: "what finds rows must be integers or text".to_owned(),
                });
            }
        }
        let declared: Vec<String> = join.columns.iter().map(|c| c.trim().to_owned()).collect();
        if let Some(column) = declared.iter().find(|c| !table.schema.contains_key(*c)) {
            return Err(missing(column, "one of `columns`", &table));
        }
        let on = join.on.trim().to_owned();
        match first.schema.get(&on) {
            None => Err(missing(&on, "by which rows of side tables are found", first)),
            Some(_) => Ok(Some(Self {
                on,
                table,
                key,
                declared,
                given: Vec::new(),
                rows: IdMap::default(),
                columns: IndexMap::new(),
            })),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.table.name
    }

    /// Whether `columns` names this one.
    pub(super) fn declares(&self, column: &str) -> bool {
        self.declared.iter().any(|c| c == column)
    }

    /// Whether it could give this column. What it is searched by belongs to the log.
    pub(super) fn has(&self, column: &str) -> bool {
        column != self.on && column != self.key && self.table.schema.contains_key(column)
    }

    /// Gives a column from now on.
    pub(super) fn give(&mut self, need: &Need) -> Result<(), Error> {
        if let Some(kind) = self.table.schema.get(&need.column) {
            need.used.accepts(kind).map_err(|expected| Error::Kind {
                file: self.table.name.clone(),
                column: need.column.clone(),
                seen: kind.to_string(),
                expected: format!("{} must be {expected}", need.what),
            })?;
        }
        if !self.given.contains(&need.column) {
            self.given.push(need.column.clone());
        }
        Ok(())
    }

    /// Reads what it is to give.
    pub(super) fn load(&mut self) -> Result<(), Error> {
        let mut wanted = self.given.clone();
        wanted.push(self.key.clone());
        let mut start: u64 = 0;
        let mut columns: IndexMap<String, Column> = IndexMap::new();
        for read in self.table.batches(&wanted, BATCH)? {
            let (rows, read) = read?;
            self.index(&read[&self.key], start)?;
            start += rows as u64;
            for column in &self.given {
                let more = read[column].clone();
                match columns.get_mut(column) {
                    Some(all) => all.append(more),
                    None => drop(columns.insert(column.clone(), more)),
                }
            }
        }
        self.columns = columns
            .into_iter()
            .map(|(name, column)| (name, Arc::new(column)))
            .collect();
        Ok(())
    }

    fn index(&mut self, keys: &Column, start: u64) -> Result<(), Error> {
        let mut spelt = String::new();
        for row in 0..keys.len() {
            let cell = keys.cell(row);
            let refused = |seen: String, expected: &str| Error::Cell {
                file: self.table.name.clone(),
                row: start + row as u64,
                column: self.key.clone(),
                seen,
                expected: expected.to_owned(),
            };
            let id = cell
                .id(&mut spelt)
                .map_err(|expected| refused(cell.to_string(), expected))?;
            // Rows without a key are no one's.
            let Some(id) = id else { continue };
            let at = i32::try_from(start + row as u64).map_err(|_| refused(id.to_string(), "within 2^31 rows"))?;
            if self.rows.insert(id, at).is_some() {
                return Err(refused(id.to_string(), "there once: rows are found by it"));
            }
        }
        Ok(())
    }

    /// Its columns for the rows of a batch; nothing where the batch names a row that is not there.
    pub(super) fn columns(&self, batch: &RowBatch) -> Result<Vec<(String, Column)>, Error> {
        let keys = &batch.columns[&self.on];
        let mut spelt = String::new();
        let mut rows = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let cell = keys.cell(row);
            let id = cell
                .id(&mut spelt)
                .map_err(|expected| batch.refused(row, &self.on, cell, expected))?;
            rows.push(id.and_then(|id| self.rows.get(id)).map(i32::cast_unsigned));
        }
        let rows = rows.into();
        let taken = self
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), Column::picked(column, &rows)));
        Ok(taken.collect())
    }
}
