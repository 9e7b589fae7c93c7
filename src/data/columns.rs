//! Parquet files of columns that are inputs already.

use std::path::Path;

use super::Error;
use super::cell::Cell;
use super::column::Kind;
use super::rows::RowBatch;
use super::table::Table;
use crate::tensor::{DType, Data, HostTensor, Tensors};

/// Rows read at once.
const BATCH: usize = 65_536;

/// Columns of a Parquet file as tensors of these types: `[rows]` of one value each, `[rows, n]` of lists of n.
///
/// # Errors
/// [`Error`] for what is missing, damaged, null or not of the type asked for, and lists that differ in length.
pub fn read_columns(path: &Path, wanted: &[(&str, DType)]) -> Result<Tensors, Error> {
    let table = Table::open(path, Some(&super::declare::Format::Parquet), &[])?;
    for (name, dtype) in wanted {
        let kind = table.schema.get(*name).ok_or_else(|| Error::Missing {
            file: table.name.clone(),
            column: (*name).to_owned(),
            what: "an input".to_owned(),
            there: table.schema.keys().map(|c| format!("`{c}`")).collect(),
        })?;
        check(&table, name, kind, *dtype)?;
    }
    let names: Vec<String> = wanted.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut made: Vec<Made> = wanted.iter().map(|(_, dtype)| Made::new(*dtype)).collect();
    let mut start = 0;
    for read in table.batches(&names, BATCH)? {
        let (rows, columns) = read?;
        let batch = RowBatch {
            file: table.name.as_str().into(),
            file_start: 0,
            rows: (start..start + rows as u64).collect(),
            columns,
        };
        start += rows as u64;
        for ((name, _), made) in wanted.iter().zip(&mut made) {
            made.take(&batch, name)?;
        }
    }
    let tensors = wanted
        .iter()
        .zip(made)
        .map(|((name, _), made)| ((*name).to_owned(), made.tensor(start as usize)));
    Ok(tensors.collect())
}

fn check(table: &Table, name: &str, kind: &Kind, dtype: DType) -> Result<(), Error> {
    let of = if let Kind::List(of) = kind { of } else { kind };
    let (fits, expected) = match dtype {
        DType::I32 => (matches!(of, Kind::Int | Kind::Bool), "integers or lists of them"),
        DType::F32 => (
            matches!(of, Kind::Int | Kind::Float | Kind::Bool),
            "numbers or lists of them",
        ),
        DType::Bool => (
            matches!(of, Kind::Int | Kind::Bool),
            "truth values, 0 and 1, or lists of them",
        ),
    };
    match fits {
        true => Ok(()),
        false => Err(Error::Kind {
            file: table.name.clone(),
            column: name.to_owned(),
            seen: kind.to_string(),
            expected: format!("an input of {dtype} must be {expected}"),
        }),
    }
}

/// A tensor in the making.
struct Made {
    data: Data,
    /// Values of a row, where rows are lists.
    width: Option<usize>,
}

impl Made {
    fn new(dtype: DType) -> Self {
        let data = match dtype {
            DType::F32 => Data::F32(Vec::new()),
            DType::I32 => Data::I32(Vec::new()),
            DType::Bool => Data::Bool(Vec::new()),
        };
        Self { data, width: None }
    }

    fn take(&mut self, batch: &RowBatch, name: &str) -> Result<(), Error> {
        let column = batch.column(name)?;
        for row in 0..batch.len() {
            let cell = column.cell(row);
            let refused = |expected: &str| batch.refused(row, name, cell, expected);
            let Cell::List(items, from, to) = cell else {
                self.push(cell).map_err(refused)?;
                continue;
            };
            let width = *self.width.get_or_insert(to - from);
            if width != to - from {
                return Err(refused(&format!("a list of {width} as in the rows before")));
            }
            for item in from..to {
                let item = items.cell(item);
                self.push(item)
                    .map_err(|expected| batch.refused(row, name, item, expected))?;
            }
        }
        Ok(())
    }

    fn push(&mut self, cell: Cell) -> Result<(), &'static str> {
        match (&mut self.data, cell) {
            (Data::F32(v), Cell::Float(x)) => v.push(x as f32),
            (Data::F32(v), Cell::Int(i)) => v.push(i as f32),
            (Data::F32(v), Cell::Unsigned(u)) => v.push(u as f32),
            (Data::F32(v), Cell::Bool(b)) => v.push(f32::from(u8::from(b))),
            (Data::F32(_), _) => return Err("a number"),
            (Data::I32(v), Cell::Int(i)) => v.push(i32::try_from(i).map_err(|_| "an integer within i32")?),
            (Data::I32(v), Cell::Bool(b)) => v.push(i32::from(b)),
            (Data::I32(_), _) => return Err("an integer within i32"),
            (Data::Bool(v), Cell::Bool(b)) => v.push(b),
            (Data::Bool(v), Cell::Int(i @ 0..=1)) => v.push(i == 1),
            (Data::Bool(_), _) => return Err("a truth value"),
        }
        Ok(())
    }

    fn tensor(self, rows: usize) -> HostTensor {
        let shape = match self.width {
            Some(width) => vec![rows, width],
            None => vec![rows],
        };
        HostTensor { shape, data: self.data }
    }
}
