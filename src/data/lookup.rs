//! From cells to ids, and from ids to rows of a table.

use super::cell::Cell;
use super::feature::Oov;
use super::features::{Ids, Input, Of};
use super::id::Id;
use super::rows::RowBatch;
use super::vocabulary::Vocabulary;
use super::{Error, sequence};

/// How rows are found.
pub(super) enum Lookup<'a> {
    Vocabulary(Option<&'a Vocabulary>),
    Hash(u32, u64),
    Dense(u32),
}

impl Lookup<'_> {
    /// An id's row.
    pub(super) fn row(&self, id: Id) -> Option<i32> {
        match *self {
            Self::Vocabulary(v) => v?.row(id),
            Self::Hash(modulus, seed) => Some((id.hash(seed) % u64::from(modulus)) as i32 + 1),
            Self::Dense(n) => match id {
                Id::Int(i) if (0..i64::from(n)).contains(&i) => Some(i as i32 + 1),
                _ => None,
            },
        }
    }
}

/// An id's row, or what the policy says of one that has none.
pub(super) fn found(
    lookup: &Lookup,
    ids: &Ids,
    input: &Input,
    batch: &RowBatch,
    row: usize,
    id: Option<Id>,
    unknown: &mut u64,
) -> Result<i32, Error> {
    match (id.and_then(|id| lookup.row(id)), ids.oov) {
        (Some(at), _) => Ok(at),
        (None, Oov::Row) => {
            *unknown += u64::from(id.is_some());
            Ok(0)
        }
        (None, Oov::Error) => Err(Error::Unknown {
            file: batch.file.to_string(),
            row: batch.row_in_file(row),
            feature: input.name.clone(),
            seen: id.map_or("null".to_owned(), |id| id.to_string()),
        }),
    }
}

/// What is done with a row and an id of it; without one where there is nothing.
type Each<'a> = dyn FnMut(usize, Option<Id>) -> Result<(), Error> + 'a;

/// Calls `each` with every row and its id, or each of its ids.
pub(super) fn for_each_id(of: &Of, batch: &RowBatch, each: &mut Each) -> Result<(), Error> {
    let mut spelt = String::new();
    match of {
        Of::Id {
            column,
            first_of,
            missing,
            ..
        } => {
            let cells = batch.column(column)?;
            for row in 0..batch.len() {
                let cell = cells.cell(row);
                let cell_of_id = first(cell, first_of.as_deref());
                let id = cell_of_id
                    .id(&mut spelt)
                    .map_err(|expected| batch.refused(row, column, cell, expected))?;
                each(row, id.or_else(|| missing.as_deref().map(Id::of)))?;
            }
        }
        Of::Sequence { column, separator, .. } => {
            let cells = batch.column(column)?;
            for row in 0..batch.len() {
                let cell = cells.cell(row);
                let mut failed = Ok(());
                let mut item = |id: Option<Id>| {
                    if failed.is_ok() {
                        failed = each(row, id);
                    }
                };
                sequence::for_each(cell, separator.as_deref(), &mut item)
                    .map_err(|expected| batch.refused(row, column, cell, expected))?;
                failed?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The first item of a list; anything else as it is.
fn first<'a>(cell: Cell<'a>, separator: Option<&str>) -> Cell<'a> {
    let Some(separator) = separator else { return cell };
    match cell {
        Cell::Text(t) => match t.split(separator).next().unwrap_or("") {
            "" => Cell::Null,
            t => Cell::Text(t),
        },
        Cell::List(_, from, to) if from == to => Cell::Null,
        Cell::List(of, from, _) => of.cell(from),
        cell => cell,
    }
}
