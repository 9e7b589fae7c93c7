//! Features of side tables are made once for each row of the table, not for each row of the log that names it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::column::{Column, Values};
use super::inputs::Made;
use super::rows::RowBatch;
use crate::tensor::HostTensor;

/// What is known by feature. It follows from tables and encoder alone: encoders with different memories are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo(Arc<Mutex<HashMap<String, Entry>>>);

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Entry {
    /// The table's column that it is made of.
    of: Arc<Column>,
    /// Rows that the log has asked for so far.
    asked: usize,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The log has asked for fewer rows than the table has.
    Few,
    /// Some row of the table is refused: rows of the log are looked at one by one, and say which is.
    Refused,
    Made(Arc<All>),
}

/// A feature of all rows of a table, and behind them of a row that it does not have.
#[derive(Debug)]
struct All {
    tensor: HostTensor,
    beside: Option<HostTensor>,
    unknown: Option<Vec<u32>>,
}

/// The rows of a table that a batch's column names.
pub(super) fn picked<'b>(batch: &'b RowBatch, column: &str) -> Option<(&'b Arc<Column>, &'b [Option<u32>])> {
    match &batch.columns.get(column)?.values {
        Values::Picked(of, rows) => Some((of, rows)),
        _ => None,
    }
}

impl Memo {
    /// The feature `name` of rows of a table. `make` makes it of a batch of its column alone; where there is none yet, it is asked
    /// for all rows once the log has asked for as many. `None` where rows are to be made one by one.
    pub(super) fn rows<'a, E>(
        &self,
        name: &str,
        (of, rows): (&Arc<Column>, &[Option<u32>]),
        beside: Option<&'a str>,
        make: impl FnOnce(Column) -> Result<Made<'a>, E>,
    ) -> Option<Made<'a>> {
        let state = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Entry {
                of: Arc::clone(of),
                asked: 0,
                state: State::Few,
            };
            let entry = known.entry(name.to_owned()).or_insert_with(new);
            if !Arc::ptr_eq(&entry.of, of) {
                // Another log's tables.
                *entry = new();
            }
            entry.asked += rows.len();
            if matches!(entry.state, State::Few) && entry.asked >= of.len() {
                let all: Arc<[Option<u32>]> = (0..of.len() as u32).map(Some).chain([None]).collect();
                entry.state = match make(Column::picked(of, &all)) {
                    Err(_) => State::Refused,
                    Ok(made) => State::Made(Arc::new(All {
                        tensor: made.tensor,
                        beside: made.beside.map(|(_, tensor)| tensor),
                        unknown: made.unknown,
                    })),
                };
            }
            entry.state.clone()
        };
        let State::Made(all) = state else { return None };
        let at: Vec<usize> = rows.iter().map(|r| r.map_or(of.len(), |r| r as usize)).collect();
        let unknown = |counts: &Vec<u32>| at.iter().map(|r| counts[*r]).collect();
        Some(Made {
            tensor: all.tensor.rows(&at),
            beside: beside
                .zip(all.beside.as_ref())
                .map(|(name, tensor)| (name, tensor.rows(&at))),
            unknown: all.unknown.as_ref().map(unknown),
        })
    }
}
