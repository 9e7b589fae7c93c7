//! A file with rows, however it is stored.

use std::path::Path;

use indexmap::IndexMap;

use super::Error;
use super::column::{Column, Kind};
use super::declare::{Csv, Format};
use super::delimited::{self, Delimited};
use super::parquet::{self, Parquet};

/// What a file's columns hold.
pub(super) type Schema = IndexMap<String, Kind>;

/// A batch as read: rows, columns.
pub(super) type Read = (usize, IndexMap<String, Column>);

/// An opened file.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// For messages.
    pub(super) name: String,
    pub(super) schema: Schema,
    stored: Stored,
}

#[derive(Clone, Debug)]
enum Stored {
    Parquet(Box<Parquet>),
    Delimited(Delimited),
}

impl Table {
    /// Opens a file and reads what it says of itself. Without a `format` its name says how it is stored.
    pub(super) fn open(path: &Path, format: Option<&Format>, nulls: &[String]) -> Result<Self, Error> {
        let name = path.display().to_string();
        let by_name = match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => Some(Format::Csv(Csv::default())),
            Some("tsv") => Some(Format::Csv(Csv {
                separator: "\t".to_owned(),
                ..Csv::default()
            })),
            _ => Some(Format::Parquet),
        };
        let (stored, schema) = match format.or(by_name.as_ref()) {
            Some(Format::Csv(csv)) => {
                let (file, schema) = Delimited::open(path, csv, nulls)?;
                (Stored::Delimited(file), schema)
            }
            _ => {
                let (file, schema) = Parquet::open(path)?;
                (Stored::Parquet(Box::new(file)), schema)
            }
        };
        Ok(Self { name, schema, stored })
    }

    /// Rows, where the file says how many.
    pub(super) fn rows(&self) -> Option<u64> {
        match &self.stored {
            Stored::Parquet(file) => Some(file.rows()),
            Stored::Delimited(_) => None,
        }
    }

    /// These columns, `rows` rows at a time.
    pub(super) fn batches(&self, columns: &[String], rows: usize) -> Result<Batches, Error> {
        Ok(match &self.stored {
            Stored::Parquet(file) => Batches::Parquet(file.batches(columns, rows)?),
            Stored::Delimited(file) => Batches::Delimited(Box::new(file.batches(columns, rows)?)),
        })
    }
}

/// Rows of a file, batch by batch. Nothing follows an error.
pub(super) enum Batches {
    Parquet(parquet::Batches),
    Delimited(Box<delimited::Batches>),
}

impl Iterator for Batches {
    type Item = Result<Read, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Parquet(batches) => batches.next(),
            Self::Delimited(batches) => batches.next(),
        }
    }
}
