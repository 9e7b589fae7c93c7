//! Reading a log.

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::segment::{self, Wanted};
use super::{Columns, Committed, Error, Header};

/// A log as it stood when it was opened. Readers take no lock: what a writer appends meanwhile is not seen.
#[derive(Clone, Debug)]
pub struct Log {
    dir: PathBuf,
    header: Header,
    segments: Vec<Committed>,
    version: String,
}

impl Log {
    /// Opens a log.
    ///
    /// # Errors
    /// There is none, its manifest is damaged or of another format.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let manifest = Manifest::read(dir)?.ok_or_else(|| Error::NotOne { dir: dir.into() })?;
        manifest.header.storage.check()?;
        Ok(Self {
            dir: dir.to_path_buf(),
            header: manifest.header,
            segments: manifest.segments,
            version: manifest.last,
        })
    }

    /// What it holds.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Committed] {
        &self.segments
    }

    /// How many events it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.segments.iter().map(|segment| segment.rows).sum()
    }

    /// Changes with every segment.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a model trained on these embeddings names them by: the foundation model's fingerprint; where segments come from
    /// several, the BLAKE3 of theirs in order.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut fms: Vec<&str> = self.segments.iter().map(|segment| segment.fm.as_str()).collect();
        fms.dedup();
        match fms[..] {
            [] => self.header.fm.clone(),
            [one] => one.to_owned(),
            _ => blake3::hash(fms.join(" ").as_bytes()).to_hex().to_string(),
        }
    }

    /// All columns but the embeddings.
    ///
    /// # Errors
    /// A segment is missing or not what was committed.
    pub fn columns(&self) -> Result<Columns, Error> {
        let mut columns = Columns::new(&self.header);
        for committed in &self.segments {
            segment::read(&self.dir, &self.header, committed, Wanted::Columns(&mut columns))?;
        }
        Ok(columns)
    }

    /// Appends a segment's embeddings as stored.
    ///
    /// # Errors
    /// The segment is missing or not what was committed.
    pub fn codes(&self, committed: &Committed, codes: &mut Vec<u8>) -> Result<(), Error> {
        segment::read(&self.dir, &self.header, committed, Wanted::Codes(codes))
    }

    /// Everything: columns, and the embeddings as stored, row after row.
    ///
    /// # Errors
    /// A segment is missing or not what was committed.
    pub fn read(&self) -> Result<(Columns, Vec<u8>), Error> {
        let mut codes = Vec::new();
        for committed in &self.segments {
            self.codes(committed, &mut codes)?;
        }
        Ok((self.columns()?, codes))
    }
}
