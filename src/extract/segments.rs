//! Rows on their way to a segment.

use crate::data::Encoded;
use crate::embeddings::{Error, Header, Segment, Writer};

/// A batch that has been through the model.
pub(super) struct Embedded {
    pub(super) encoded: Encoded,
    pub(super) codes: Vec<u8>,
    pub(super) score: Vec<f32>,
}

/// Columns of rows in the order of the log.
#[derive(Default)]
pub(super) struct Rows {
    key: Vec<u64>,
    time: Vec<i64>,
    ingest: Vec<i64>,
    row: Vec<u64>,
    score: Vec<f32>,
    codes: Vec<u8>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.key.len()
    }

    pub(super) fn add(&mut self, batch: Embedded) {
        self.key.extend(batch.encoded.key);
        self.time.extend(batch.encoded.time);
        self.ingest.extend(batch.encoded.ingest.into_iter().flatten());
        self.row.extend(batch.encoded.row);
        self.score.extend(batch.score);
        self.codes.extend(batch.codes);
    }

    /// Takes the first rows, `bytes` of codes each.
    pub(super) fn take(&mut self, rows: usize, bytes: usize) -> Self {
        fn first<T>(column: &mut Vec<T>, n: usize) -> Vec<T> {
            let rest = column.split_off(n.min(column.len()));
            std::mem::replace(column, rest)
        }
        Self {
            key: first(&mut self.key, rows),
            time: first(&mut self.time, rows),
            ingest: first(&mut self.ingest, rows),
            row: first(&mut self.row, rows),
            score: first(&mut self.score, rows),
            codes: first(&mut self.codes, rows * bytes),
        }
    }

    pub(super) fn write(&self, header: &Header, writer: &mut Writer) -> Result<(), Error> {
        writer.append(&Segment {
            key: &self.key,
            time: &self.time,
            ingest: header.ingest.then_some(&self.ingest[..]),
            row: &self.row,
            score: Some(&self.score),
            side: &[],
            codes: &self.codes,
        })
    }
}
