//! A segment as a Parquet file.
//!
//! | column | type |
//! |---|---|
//! | `key` | u64 |
//! | `time`, and `ingest` where the log has it | ms since 1970, UTC |
//! | `row` | u64 |
//! | `score`, where the log has it | f32 |
//! | `side.<name>`, each | i32 |
//! | `embedding` | bytes of a fixed number: [`Storage`](super::Storage) |
//!
//! The file's metadata say what the bytes are: `loopfm.dtype`, `loopfm.dim`, `loopfm.fm`, `loopfm.cutoff`, and
//! `loopfm.storage`, which holds scale or centres.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, TimestampMillisecondType, UInt64Type};
use arrow_array::{
    ArrayRef, FixedSizeBinaryArray, Float32Array, Int32Array, RecordBatch, TimestampMillisecondArray, UInt64Array,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::{Committed, Error, Header};

/// The embedding column.
const EMBEDDING: &str = "embedding";

/// Events of one segment: columns of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Whose event it is, as histories know it.
    pub key: &'a [u64],
    /// When it happened, ms.
    pub time: &'a [i64],
    /// When the log learnt of it, ms; present if the header says so.
    pub ingest: Option<&'a [i64]>,
    /// Its number in the log that it comes from; ascending, within the segment and from one to the next.
    pub row: &'a [u64],
    /// The model's score; present if the header says so.
    pub score: Option<&'a [f32]>,
    /// As [`Header::side`] names them.
    pub side: &'a [Vec<i32>],
    /// Rows as [`Storage::encode`](super::Storage::encode) makes them.
    pub codes: &'a [u8],
}

impl Segment<'_> {
    pub(super) fn check(&self, header: &Header) -> Result<(), Error> {
        let n = self.key.len();
        let rows = |column: &str, seen: Option<usize>, expected: Option<usize>| match seen == expected {
            true => Ok(()),
            false => Err(Error::Rows {
                column: column.to_owned(),
                seen: seen.unwrap_or(0),
                expected: expected.unwrap_or(0),
                unit: "rows",
            }),
        };
        rows("time", Some(self.time.len()), Some(n))?;
        rows("row", Some(self.row.len()), Some(n))?;
        rows("ingest", self.ingest.map(<[_]>::len), header.ingest.then_some(n))?;
        rows("score", self.score.map(<[_]>::len), header.score.then_some(n))?;
        let columns = |seen, expected| Error::Rows {
            column: "side".to_owned(),
            seen,
            expected,
            unit: "columns",
        };
        if self.side.len() != header.side.len() {
            return Err(columns(self.side.len(), header.side.len()));
        }
        for (name, side) in header.side.iter().zip(self.side) {
            rows(name, Some(side.len()), Some(n))?;
        }
        let expected = n * header.storage.row_bytes(header.width);
        if self.codes.len() != expected {
            return Err(Error::Rows {
                column: EMBEDDING.to_owned(),
                seen: self.codes.len(),
                expected,
                unit: "bytes",
            });
        }
        match self.row.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(Error::Order {
                row: pair[1],
                before: pair[0],
            }),
            None => Ok(()),
        }
    }

    /// The file's bytes.
    pub(super) fn parquet(&self, header: &Header, fm: &str, cutoff: Option<i64>) -> parquet::errors::Result<Vec<u8>> {
        let times = |t: &[i64]| Arc::new(TimestampMillisecondArray::from(t.to_vec()).with_timezone("UTC")) as ArrayRef;
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("key".into(), Arc::new(UInt64Array::from(self.key.to_vec()))),
            ("time".into(), times(self.time)),
        ];
        columns.extend(self.ingest.map(|ingest| ("ingest".into(), times(ingest))));
        columns.push(("row".into(), Arc::new(UInt64Array::from(self.row.to_vec()))));
        let score = |score: &[f32]| Arc::new(Float32Array::from(score.to_vec())) as ArrayRef;
        columns.extend(self.score.map(|s| ("score".into(), score(s))));
        for (name, side) in header.side.iter().zip(self.side) {
            columns.push((format!("side.{name}"), Arc::new(Int32Array::from(side.clone()))));
        }
        let width = header.storage.row_bytes(header.width);
        let codes = FixedSizeBinaryArray::try_new(width as i32, self.codes.to_vec().into(), None)?;
        columns.push((EMBEDDING.into(), Arc::new(codes)));
        let batch = RecordBatch::try_from_iter(columns)?;
        let properties = properties(header, fm, cutoff);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.into_inner()
    }
}

/// Codes are dense already: they are neither compressed nor counted, which costs far more than it saves.
fn properties(header: &Header, fm: &str, cutoff: Option<i64>) -> WriterProperties {
    let storage = serde_json::to_string(&header.storage).expect("numbers are JSON");
    let metadata = [
        ("loopfm.dtype", header.storage.name().to_owned()),
        ("loopfm.dim", header.width.to_string()),
        ("loopfm.fm", fm.to_owned()),
        ("loopfm.cutoff", cutoff.map_or("none".to_owned(), |t| t.to_string())),
        ("loopfm.storage", storage),
    ];
    let embedding = || ColumnPath::from(EMBEDDING);
    WriterProperties::builder()
        .set_created_by(format!("loopfm {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(metadata.map(|(k, v)| KeyValue::new(k.to_owned(), v)).to_vec()))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_column_compression(embedding(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(embedding(), false)
        .set_column_statistics_enabled(embedding(), EnabledStatistics::None)
        .build()
}

/// Columns of a log's events, all but the embeddings, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Whose event it is.
    pub key: Vec<u64>,
    /// When it happened, ms.
    pub time: Vec<i64>,
    /// When the log learnt of it, ms.
    pub ingest: Option<Vec<i64>>,
    /// Its number in the log that it comes from, ascending.
    pub row: Vec<u64>,
    /// The model's score.
    pub score: Option<Vec<f32>>,
    /// By name.
    pub side: Vec<(String, Vec<i32>)>,
}

impl Columns {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            ingest: header.ingest.then(Vec::new),
            score: header.score.then(Vec::new),
            side: header.side.iter().map(|name| (name.clone(), Vec::new())).collect(),
            ..Self::default()
        }
    }

    fn extend(&mut self, batch: &RecordBatch) -> Option<()> {
        let times = |name| {
            Some(
                batch
                    .column_by_name(name)?
                    .as_primitive_opt::<TimestampMillisecondType>()?
                    .values(),
            )
        };
        let counts = |name| Some(batch.column_by_name(name)?.as_primitive_opt::<UInt64Type>()?.values());
        self.key.extend_from_slice(counts("key")?);
        self.time.extend_from_slice(times("time")?);
        self.row.extend_from_slice(counts("row")?);
        if let Some(ingest) = &mut self.ingest {
            ingest.extend_from_slice(times("ingest")?);
        }
        if let Some(score) = &mut self.score {
            score.extend_from_slice(
                batch
                    .column_by_name("score")?
                    .as_primitive_opt::<Float32Type>()?
                    .values(),
            );
        }
        for (name, side) in &mut self.side {
            let column = batch.column_by_name(&format!("side.{name}"))?;
            side.extend_from_slice(column.as_primitive_opt::<Int32Type>()?.values());
        }
        Some(())
    }
}

/// What of a segment is wanted.
pub(super) enum Wanted<'a> {
    Columns(&'a mut Columns),
    Codes(&'a mut Vec<u8>),
}

/// Reads a committed segment, whose bytes are those that were committed.
pub(super) fn read(dir: &Path, header: &Header, committed: &Committed, wanted: Wanted<'_>) -> Result<(), Error> {
    let path = Committed::path(dir, committed.segment);
    let file = whole(&path, committed)?;
    let damaged = |why: &dyn ToString| Error::damaged(&path, why.to_string());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| damaged(&e))?;
    let leaves = builder.parquet_schema().columns().iter().enumerate();
    let codes = matches!(wanted, Wanted::Codes(_));
    let wants = leaves
        .filter(|(_, leaf)| (leaf.name() == EMBEDDING) == codes)
        .map(|(i, _)| i);
    let mask = ProjectionMask::leaves(builder.parquet_schema(), wants);
    builder = builder.with_projection(mask).with_batch_size(1 << 16);
    let form = || damaged(&"its columns are not those that the manifest names");
    let mut rows = 0;
    let mut wanted = wanted;
    for batch in builder.build().map_err(|e| damaged(&e))? {
        let batch = batch.map_err(|e| damaged(&e))?;
        rows += batch.num_rows();
        match &mut wanted {
            Wanted::Columns(columns) => columns.extend(&batch).ok_or_else(form)?,
            Wanted::Codes(codes) => {
                let column = batch
                    .column_by_name(EMBEDDING)
                    .and_then(|c| c.as_fixed_size_binary_opt());
                let column = column.ok_or_else(form)?;
                if column.value_length() as usize != header.storage.row_bytes(header.width) {
                    return Err(form());
                }
                column
                    .iter()
                    .for_each(|row| codes.extend_from_slice(row.unwrap_or_default()));
            }
        }
    }
    match rows == committed.rows {
        true => Ok(()),
        false => Err(damaged(&format!("{rows} rows, the manifest says {}", committed.rows))),
    }
}

/// Opens a segment's file and sees to it that every byte is what was committed; no reader of Parquet meets other bytes.
fn whole(path: &Path, committed: &Committed) -> Result<File, Error> {
    let mut file = File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::damaged(path, "is missing, the manifest has it committed"),
        _ => Error::io(path)(e),
    })?;
    let seen = file.metadata().map_err(Error::io(path))?.len();
    if seen != committed.bytes {
        return Err(Error::damaged(
            path,
            format!("{seen} bytes, the manifest says {}", committed.bytes),
        ));
    }
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut file, &mut hasher).map_err(Error::io(path))?;
    let seen = hasher.finalize().to_hex();
    if seen.as_str() != committed.blake3 {
        let why = format!("BLAKE3 {seen}, the manifest says {}", committed.blake3);
        return Err(Error::damaged(path, why));
    }
    Ok(file)
}
