//! A log in memory, in order of time.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Error;
use super::spec::{self, Spec};
use crate::data::{Days, Encoded, Encoder, Features, LogFiles};
use crate::tensor::{Data, HostTensor, Tensors};

/// Impressions in order of time, ties in the order of their log.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Columns `[rows, ..]` by name: what the features make of each impression.
    pub columns: Tensors,
    /// Whose impression it is, as a number that stands for the user key.
    pub key: Vec<u64>,
    /// When it happened, in ms since 1970.
    pub time: Vec<i64>,
    /// When it was known, where the log says so.
    pub ingest: Option<Vec<i64>>,
    /// What came of it: 0 or 1.
    pub label: Vec<f32>,
    /// Its calendar day, 20220425, or the number of its chunk.
    pub day: Vec<i32>,
}

impl Stream {
    /// Reads the log of an experiment: files in `data`, features fitted on the days that they may be.
    ///
    /// # Errors
    /// What the files are refused for, [`Error::NoLabel`], [`Error::NoDays`], [`Error::Days`].
    pub fn read(spec: &Spec, data: &Path) -> Result<(Self, Encoder), Error> {
        let features = Features::read(&spec.log.features)?.in_folder(data.to_path_buf());
        let files: Vec<PathBuf> = spec.log.files.iter().map(|f| data.join(f)).collect();
        let log = LogFiles::open(&features, &files)?;
        let fitted = spec.split.features.unwrap_or(spec.split.fm);
        // Of a log without dates no days can be told before it is read as a whole.
        let days = match spec.log.chunks {
            None => Some(Days {
                first: fitted.first,
                last: fitted.last,
            }),
            Some(_) => None,
        };
        let encoder = features.fit(&log, days)?;
        let stream = Self::of(encoder.encode_log(&log, None)?, spec.log.chunks)?;
        Ok((stream, encoder))
    }

    /// Sorts what was encoded by time.
    ///
    /// # Errors
    /// [`Error::NoLabel`], [`Error::NoDays`], [`Error::Days`].
    pub fn of(encoded: Encoded, chunked: Option<u32>) -> Result<Self, Error> {
        let rows = encoded.len();
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|r| encoded.time[*r]);
        let label = encoded.label.ok_or(Error::NoLabel)?;
        if let Some(row) = label.iter().position(|y| *y != 0.0 && *y != 1.0) {
            return Err(Error::Label { row, seen: label[row] });
        }
        let day = match (chunked, encoded.day) {
            (Some(n), _) => chunks(n, &picked(&encoded.time, &order)),
            (None, Some(day)) => picked(&day, &order),
            (None, None) => return Err(Error::NoDays),
        };
        if let Some(at) = day.windows(2).position(|d: &[i32]| d[0] > d[1]) {
            return Err(Error::Days {
                earlier: day[at + 1],
                later: day[at],
            });
        }
        let columns = encoded
            .inputs
            .iter()
            .map(|(name, column)| (name.clone(), column.rows(&order)));
        Ok(Self {
            columns: columns.collect(),
            key: picked(&encoded.key, &order),
            time: picked(&encoded.time, &order),
            ingest: encoded.ingest.map(|ingest| picked(&ingest, &order)),
            label: picked(&label, &order),
            day,
        })
    }

    /// Impressions.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.key.len()
    }

    /// The rows of some days, which are neighbours.
    #[must_use]
    pub fn days(&self, days: spec::Range) -> Range<usize> {
        let start = self.day.partition_point(|d| *d < days.first);
        start..self.day.partition_point(|d| *d <= days.last).max(start)
    }

    /// A hash of what tells this log from another one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(bytemuck::cast_slice(&self.key));
        hash.update(bytemuck::cast_slice(&self.time));
        hash.update(bytemuck::cast_slice(&self.label));
        for (name, column) in &self.columns {
            hash.update(name.as_bytes());
            match &column.data {
                Data::F32(x) => hash.update(bytemuck::cast_slice(x)),
                Data::I32(x) => hash.update(bytemuck::cast_slice(x)),
                Data::Bool(x) => hash.update(&x.iter().map(|b| u8::from(*b)).collect::<Vec<u8>>()),
            };
        }
        hash.finalize().to_hex()[..32].to_owned()
    }

    /// Some rows of all columns.
    pub(super) fn part(&self, rows: Range<usize>) -> Tensors {
        let all = self.rows();
        let part = |(name, column): (&String, &HostTensor)| (name.clone(), stretch(column, all, rows.clone()));
        self.columns.iter().map(part).collect()
    }
}

/// Stretches of about equal length, numbered from 1. No instant is in two of them: what happens at once is known at once.
fn chunks(n: u32, time: &[i64]) -> Vec<i32> {
    let mut first = 0;
    let of = |(row, t): (usize, &i64)| {
        if time[first] != *t {
            first = row;
        }
        (first as u64 * u64::from(n) / time.len() as u64) as i32 + 1
    };
    time.iter().enumerate().map(of).collect()
}

fn picked<T: Copy>(x: &[T], order: &[usize]) -> Vec<T> {
    order.iter().map(|r| x[*r]).collect()
}

/// A stretch of a column of `all` rows.
pub(super) fn stretch(column: &HostTensor, all: usize, rows: Range<usize>) -> HostTensor {
    let width = column.data.len() / all.max(1);
    let part = rows.start * width..rows.end * width;
    let mut shape = column.shape.clone();
    shape[0] = rows.len();
    let data = match &column.data {
        Data::F32(x) => Data::F32(x[part].to_vec()),
        Data::I32(x) => Data::I32(x[part].to_vec()),
        Data::Bool(x) => Data::Bool(x[part].to_vec()),
    };
    HostTensor { shape, data }
}
