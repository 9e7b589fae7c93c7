//! Parquet files: a footer that is looked at before the library is, and arrays as raw columns.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use indexmap::IndexMap;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::Error;
use super::column::{Column, Kind, Lists, Texts, Values};
use super::table::{Read as Batch, Schema};
use super::time::Unit;

/// Longest footer read: thousands of row groups of hundreds of columns.
const MAX_FOOTER: u64 = 64 << 20;

/// A Parquet file whose footer has been read.
#[derive(Clone, Debug)]
pub(super) struct Parquet {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
}

impl Parquet {
    pub(super) fn open(path: &Path) -> Result<(Self, Schema), Error> {
        let mut file = opened(path)?;
        check_footer(path, &mut file)?;
        // What Arrow wrote of its own types would give one column many forms; Parquet's types are enough.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(path, || {
            ArrowReaderMetadata::load(&file, options.clone()).map_err(|e| e.to_string())
        })?;
        let fields = metadata.schema().fields();
        let schema = fields
            .iter()
            .map(|f| (f.name().trim().to_owned(), kind(f.data_type())))
            .collect();
        let path = path.to_path_buf();
        Ok((Self { path, metadata }, schema))
    }

    pub(super) fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// The columns, so many rows at a time.
    pub(super) fn batches(&self, columns: &[String], rows: usize) -> Result<Batches, Error> {
        let file = opened(&self.path)?;
        let fields = self.metadata.schema().fields();
        let wanted = |name: &str| columns.iter().any(|c| c == name.trim());
        let roots: Vec<usize> = (0..fields.len()).filter(|i| wanted(fields[*i].name())).collect();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let reader = guarded(&self.path, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_projection(mask)
                .with_batch_size(rows)
                .build()
                .map_err(|e| e.to_string())
        })?;
        Ok(Batches {
            path: self.path.clone(),
            row: 0,
            reader: Some(reader),
        })
    }
}

/// Rows of a file, batch by batch.
pub(super) struct Batches {
    path: PathBuf,
    row: u64,
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // After a failure the reader is in no known state.
        let mut reader = self.reader.take()?;
        let (path, row) = (&self.path, self.row);
        let read = guarded(path, || match reader.next() {
            None => Ok(None),
            Some(Ok(batch)) => raw(&batch).map(Some),
            Some(Err(e)) => Err(format!("rows from {row} on: {e}")),
        });
        match read {
            Ok(None) => None,
            Ok(Some(batch)) => {
                self.row += batch.0 as u64;
                self.reader = Some(reader);
                Some(Ok(batch))
            }
            Err(e) => Some(Err(e)),
        }
    }
}

fn opened(path: &Path) -> Result<File, Error> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    match file.metadata().map_err(io)?.is_file() {
        true => Ok(file),
        false => Err(damaged(path, "not a regular file".to_owned())),
    }
}

/// What cuts a file short or makes a reader reserve memory without end is found before the reader runs.
fn check_footer(path: &Path, file: &mut File) -> Result<(), Error> {
    let mut read = || -> std::io::Result<(u64, [u8; 4], [u8; 8])> {
        let length = file.metadata()?.len();
        let (mut head, mut tail) = ([0; 4], [0; 8]);
        if length >= 12 {
            file.read_exact(&mut head)?;
            file.seek(SeekFrom::End(-8))?;
            file.read_exact(&mut tail)?;
            file.seek(SeekFrom::Start(0))?;
        }
        Ok((length, head, tail))
    };
    let (length, head, tail) = read().map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let [a, b, c, d, magic @ ..] = tail;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    let why = match () {
        () if length < 12 => format!("{length} bytes long, which is no Parquet file"),
        () if head != *b"PAR1" => "does not start with PAR1: no Parquet file, or an encrypted one".to_owned(),
        () if magic != *b"PAR1" => "does not end with PAR1: a Parquet file cut short".to_owned(),
        () if footer > MAX_FOOTER => format!("declares a footer of {footer} bytes, at most {MAX_FOOTER} are read"),
        () if footer > length - 12 => format!("declares a footer of {footer} bytes in a file of {length}"),
        () => return Ok(()),
    };
    Err(damaged(path, why))
}

/// The library is to return errors for damaged files; where it panics instead, that is the error.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, Error> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err("damaged in a way that the Parquet reader has no word for".to_owned()))
        .map_err(|why| damaged(path, why))
}

fn damaged(path: &Path, why: String) -> Error {
    Error::Damaged {
        file: path.display().to_string(),
        why,
    }
}

fn kind(ty: &DataType) -> Kind {
    match ty {
        DataType::Boolean => Kind::Bool,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Kind::Float,
        DataType::Utf8 | DataType::Binary => Kind::Text,
        DataType::Date32 => Kind::Time(Unit::Day),
        DataType::Timestamp(unit, _) => Kind::Time(of_arrow(*unit)),
        DataType::List(item) => Kind::List(Box::new(kind(item.data_type()))),
        ty if ty.is_integer() => Kind::Int,
        other => Kind::Other(other.to_string()),
    }
}

fn of_arrow(unit: TimeUnit) -> Unit {
    match unit {
        TimeUnit::Second => Unit::S,
        TimeUnit::Millisecond => Unit::Ms,
        TimeUnit::Microsecond => Unit::Us,
        TimeUnit::Nanosecond => Unit::Ns,
    }
}

fn raw(batch: &RecordBatch) -> Result<Batch, String> {
    let schema = batch.schema();
    let mut columns = IndexMap::new();
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let column = column(array.as_ref()).map_err(|why| format!("column `{}`: {why}", field.name()))?;
        columns.insert(field.name().trim().to_owned(), column);
    }
    Ok((batch.num_rows(), columns))
}

fn column(array: &dyn Array) -> Result<Column, String> {
    fn ints<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array) -> Vec<i64> {
        array.as_primitive::<T>().values().iter().map(|v| (*v).into()).collect()
    }
    fn floats<T: ArrowPrimitiveType<Native: Into<f64>>>(array: &dyn Array) -> Vec<f64> {
        array.as_primitive::<T>().values().iter().map(|v| (*v).into()).collect()
    }
    let values = match array.data_type() {
        DataType::Int8 => Values::Int(ints::<Int8Type>(array)),
        DataType::Int16 => Values::Int(ints::<Int16Type>(array)),
        DataType::Int32 => Values::Int(ints::<Int32Type>(array)),
        DataType::Int64 => Values::Int(ints::<Int64Type>(array)),
        DataType::UInt8 => Values::Int(ints::<UInt8Type>(array)),
        DataType::UInt16 => Values::Int(ints::<UInt16Type>(array)),
        DataType::UInt32 => Values::Int(ints::<UInt32Type>(array)),
        DataType::UInt64 => Values::Unsigned(array.as_primitive::<UInt64Type>().values().to_vec()),
        DataType::Float16 => Values::Float(floats::<Float16Type>(array)),
        DataType::Float32 => Values::Float(floats::<Float32Type>(array)),
        DataType::Float64 => Values::Float(floats::<Float64Type>(array)),
        DataType::Boolean => Values::Bool(array.as_boolean().values().iter().collect()),
        DataType::Date32 => Values::Time(Unit::Day, ints::<Date32Type>(array)),
        DataType::Timestamp(unit, _) => Values::Time(
            of_arrow(*unit),
            match unit {
                TimeUnit::Second => ints::<TimestampSecondType>(array),
                TimeUnit::Millisecond => ints::<TimestampMillisecondType>(array),
                TimeUnit::Microsecond => ints::<TimestampMicrosecondType>(array),
                TimeUnit::Nanosecond => ints::<TimestampNanosecondType>(array),
            },
        ),
        DataType::Utf8 => {
            let mut texts = Texts::default();
            array
                .as_string::<i32>()
                .iter()
                .for_each(|t| texts.push(t.unwrap_or("")));
            Values::Text(texts)
        }
        DataType::Binary => {
            let mut texts = Texts::default();
            for (row, bytes) in array.as_binary::<i32>().iter().enumerate() {
                let text = std::str::from_utf8(bytes.unwrap_or_default());
                texts.push(text.map_err(|_| format!("bytes that are no UTF-8, {row} rows into the batch"))?);
            }
            Values::Text(texts)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = match list.value_offsets() {
                [first, .., last] => (*first as usize, *last as usize),
                _ => (0, 0),
            };
            let items = Box::new(column(list.values().slice(first, last - first).as_ref())?);
            let ends = list
                .value_offsets()
                .iter()
                .skip(1)
                .map(|end| *end as usize - first)
                .collect();
            Values::List(Lists { ends, items })
        }
        other => return Err(format!("{other} is not read")),
    };
    let valid = array.nulls().map(|n| n.iter().collect());
    Ok(Column { values, valid })
}
