//! CSV and its kin: records of fields between separators.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use indexmap::IndexMap;

use super::Error;
use super::column::{Column, Kind, Texts, Values};
use super::declare::Csv;
use super::table::{Read, Schema};

/// A file whose header has been read.
#[derive(Clone, Debug)]
pub(super) struct Delimited {
    path: PathBuf,
    csv: Csv,
    names: Vec<String>,
    nulls: Vec<String>,
}

impl Delimited {
    pub(super) fn open(path: &Path, csv: &Csv, nulls: &[String]) -> Result<(Self, Schema), Error> {
        let mut file = Self {
            path: path.to_path_buf(),
            csv: csv.clone(),
            names: csv.names.iter().map(|n| n.trim().to_owned()).collect(),
            nulls: nulls.to_vec(),
        };
        let mut first = ByteRecord::new();
        let mut reader = file.reader()?;
        let there = reader.read_byte_record(&mut first).map_err(|e| file.fault(&e, 0))?;
        if csv.header {
            if !there {
                return Err(file.refused(0, 1, "the header is missing: the file is empty".to_owned()));
            }
            file.names.clear();
            for field in &first {
                let name = std::str::from_utf8(field);
                let name = name.map_err(|_| file.refused(0, 1, "the header is not UTF-8".to_owned()))?;
                // A public data set has a header that ends in a blank.
                file.names.push(name.trim().to_owned());
            }
        } else if there && first.len() != file.names.len() {
            let why = format!("{} fields, `names` has {}", first.len(), file.names.len());
            return Err(file.refused(0, 1, why));
        }
        if let Some(i) = (1..file.names.len()).find(|i| file.names[..*i].contains(&file.names[*i])) {
            return Err(file.refused(0, 1, format!("column `{}` is there twice", file.names[i])));
        }
        let schema = file.names.iter().map(|n| (n.clone(), Kind::Text)).collect();
        Ok((file, schema))
    }

    pub(super) fn batches(&self, columns: &[String], rows: usize) -> Result<Batches, Error> {
        let wanted: Vec<usize> = (0..self.names.len())
            .filter(|i| columns.contains(&self.names[*i]))
            .collect();
        let mut batches = Batches {
            reader: Some(self.reader()?),
            file: self.clone(),
            wanted,
            rows,
            row: 0,
            record: ByteRecord::new(),
        };
        if self.csv.header {
            batches.skip_header()?;
        }
        Ok(batches)
    }

    /// Records as they stand: the header is the first of them.
    fn reader(&self) -> Result<Reader<BufReader<File>>, Error> {
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        let file = File::open(&self.path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(self.refused(0, 1, "not a regular file".to_owned()));
        }
        Ok(ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.csv.separator.as_bytes().first().copied().unwrap_or(b','))
            .quoting(self.csv.quote)
            .from_reader(BufReader::with_capacity(1 << 16, file)))
    }

    fn refused(&self, row: u64, line: u64, why: String) -> Error {
        Error::Record {
            file: self.path.display().to_string(),
            row,
            line,
            why,
        }
    }

    fn fault(&self, e: &csv::Error, row: u64) -> Error {
        let line = e.position().map_or(0, csv::Position::line);
        match e.kind() {
            ErrorKind::Io(source) => Error::Io {
                path: self.path.clone(),
                source: std::io::Error::new(source.kind(), source.to_string()),
            },
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                self.refused(row, line, format!("{len} fields, the first record has {expected_len}"))
            }
            _ => self.refused(row, line, e.to_string()),
        }
    }
}

/// Records of a file, batch by batch.
pub(super) struct Batches {
    file: Delimited,
    reader: Option<Reader<BufReader<File>>>,
    /// Places of the columns that are wanted.
    wanted: Vec<usize>,
    rows: usize,
    row: u64,
    record: ByteRecord,
}

impl Batches {
    fn skip_header(&mut self) -> Result<(), Error> {
        if let Some(reader) = &mut self.reader {
            reader
                .read_byte_record(&mut self.record)
                .map_err(|e| self.file.fault(&e, 0))?;
        }
        Ok(())
    }

    fn read(&mut self, reader: &mut Reader<BufReader<File>>) -> Result<Read, Error> {
        let mut columns = vec![(Texts::default(), Vec::new()); self.wanted.len()];
        let mut rows = 0;
        while rows < self.rows {
            let read = reader.read_byte_record(&mut self.record);
            if !read.map_err(|e| self.file.fault(&e, self.row))? {
                break;
            }
            for (at, (texts, valid)) in self.wanted.iter().zip(&mut columns) {
                let field = self.record.get(*at).unwrap_or_default();
                let Ok(text) = std::str::from_utf8(field) else {
                    let line = self.record.position().map_or(0, csv::Position::line);
                    let why = format!("`{}` is not UTF-8", self.file.names[*at]);
                    return Err(self.file.refused(self.row, line, why));
                };
                texts.push(text);
                valid.push(!self.file.nulls.iter().any(|n| n == text));
            }
            rows += 1;
            self.row += 1;
        }
        let named = self.wanted.iter().map(|at| self.file.names[*at].clone());
        let columns = columns.into_iter().map(|(texts, valid)| Column {
            values: Values::Text(texts),
            valid: valid.contains(&false).then_some(valid),
        });
        Ok((rows, named.zip(columns).collect::<IndexMap<_, _>>()))
    }
}

impl Iterator for Batches {
    type Item = Result<Read, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        match self.read(&mut reader) {
            Ok((0, _)) => None,
            Ok(read) => {
                self.reader = Some(reader);
                Some(Ok(read))
            }
            Err(e) => Some(Err(e)),
        }
    }
}
