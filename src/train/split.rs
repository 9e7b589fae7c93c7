//! Data as it is given: files, columns in memory, and inputs that are made only when a batch wants them.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::DataError;
use super::columns::{Columns, Shared};
#[cfg(feature = "data")]
use super::logs::{self, Log};
use super::needs::Needs;
#[cfg(feature = "data")]
use crate::data::{Days, Encoder, LogFiles};
use crate::import;
use crate::tensor::{DType, Tensors};

/// Training or validation data: safetensors or Parquet files of columns, logs of raw rows, or tensors in memory. It is never changed, so that any
/// number of trainers may read it at once; each keeps one file at a time.
#[derive(Clone, Debug)]
pub struct Split {
    sources: Vec<Source>,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    #[cfg(feature = "data")]
    Log(Arc<Log>, usize),
    Memory(Shared, Option<Arc<dyn Gather>>),
}

/// Makes inputs from the numbers of rows, batch by batch: histories whose embeddings would not fit memory all at once.
///
/// What it makes is checked as columns are, when it is made: shape, finite numbers, ids within their tables.
pub trait Gather: Send + Sync + fmt::Debug {
    /// What it makes.
    fn inputs(&self) -> Vec<Gathered>;

    /// Adds what it makes of these rows, in their order, each input `[rows.len(), ..]`. A row may come more than once.
    fn gather(&self, rows: &[usize], into: &mut Tensors);
}

/// An input that a [`Gather`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Its extents after the rows.
    pub extents: Vec<usize>,
}

impl Split {
    /// Files, each with all columns, in the order of time.
    #[must_use]
    pub fn files(paths: &[PathBuf]) -> Self {
        Self {
            sources: paths.iter().map(|p| Source::File(p.clone())).collect(),
        }
    }

    /// One file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::files(&[path.to_path_buf()])
    }

    /// These days of a log, or all of it: a file at a time is encoded and kept. Labels become column `label`.
    ///
    /// # Errors
    /// [`DataError::Log`]; [`DataError::Empty`] where the log has no rows of these days.
    #[cfg(feature = "data")]
    pub fn log(
        encoder: Arc<Encoder>,
        files: Arc<LogFiles>,
        days: Option<Days>,
        label: &str,
    ) -> Result<Self, DataError> {
        let log = Arc::new(Log::new(encoder, files, days, label));
        let mut sources = Vec::new();
        for file in log.files_with_rows()? {
            sources.push(Source::Log(log.clone(), file));
        }
        Ok(Self { sources })
    }

    /// Columns in memory: `[rows, ..]` each. A model takes those that it needs.
    #[must_use]
    pub fn columns(columns: Tensors) -> Self {
        let shared = columns.into_iter().map(|(name, column)| (name, Arc::new(column)));
        Self {
            sources: vec![Source::Memory(shared.collect(), None)],
        }
    }

    /// Columns in memory, and inputs that are made of the numbers of their rows.
    #[must_use]
    pub fn gathered(columns: Tensors, gather: Arc<dyn Gather>) -> Self {
        Self::columns(columns).with(gather)
    }

    /// The same columns in memory, which are shared and not copied, with inputs that `gather` makes. Files stay as they
    /// are.
    #[must_use]
    pub fn with(&self, gather: Arc<dyn Gather>) -> Self {
        let with = |source: &Source| match source {
            Source::Memory(columns, _) => Source::Memory(columns.clone(), Some(gather.clone())),
            Source::File(path) => Source::File(path.clone()),
            #[cfg(feature = "data")]
            Source::Log(log, file) => Source::Log(log.clone(), *file),
        };
        Self {
            sources: self.sources.iter().map(with).collect(),
        }
    }
}

/// A split as one model reads it.
pub(super) struct Reader<'a> {
    split: &'a Split,
    pub(super) needs: Arc<Needs>,
    loaded: RefCell<Option<(usize, Arc<Columns>)>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(split: &'a Split, needs: &Arc<Needs>) -> Self {
        Self {
            split,
            needs: needs.clone(),
            loaded: RefCell::new(None),
        }
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.split.sources.len()
    }

    /// A file's columns, read and checked.
    pub(super) fn load(&self, file: usize) -> Result<Arc<Columns>, DataError> {
        // The former file's memory is free before the next one is read.
        if let Some((at, columns)) = self.loaded.take()
            && at == file
        {
            self.loaded.replace(Some((at, columns.clone())));
            return Ok(columns);
        }
        let columns = Arc::new(match &self.split.sources[file] {
            #[cfg(feature = "data")]
            Source::File(path) if path.extension().is_some_and(|e| e == "parquet") => {
                let name = format!("`{}`", path.display());
                Columns::new(&name, logs::columns(path, &self.needs)?, None, &self.needs)?
            }
            #[cfg(feature = "data")]
            Source::Log(log, file) => Columns::new(&log.name(*file), log.columns(*file)?, None, &self.needs)?,
            Source::File(path) => {
                let (read, _) = import::read_tensors(path)?;
                let read = read.into_iter().map(|(name, column)| (name, Arc::new(column)));
                Columns::new(&format!("`{}`", path.display()), read.collect(), None, &self.needs)?
            }
            Source::Memory(columns, gather) => {
                Columns::new("the columns given", columns.clone(), gather.as_ref(), &self.needs)?
            }
        });
        self.loaded.replace(Some((file, columns.clone())));
        Ok(columns)
    }

    /// Reads and checks everything.
    pub(super) fn check(&self) -> Result<Vec<FileSummary>, DataError> {
        let mut files = Vec::new();
        let (mut least, mut most, mut name) = (f32::INFINITY, f32::NEG_INFINITY, String::new());
        for file in 0..self.len() {
            let columns = self.load(file)?;
            for label in columns.labels() {
                (least, most) = (least.min(*label), most.max(*label));
            }
            files.push(FileSummary::of(&columns));
            name.clone_from(&columns.name);
        }
        match files.is_empty() {
            true => Err(DataError::Empty {
                source_name: "a split of no files".to_owned(),
            }),
            false if least == most => Err(DataError::OneClass {
                source_name: name,
                column: self.needs.label.clone(),
                label: least,
            }),
            false => Ok(files),
        }
    }
}

/// What tells a file from another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FileSummary {
    pub(super) rows: usize,
    /// Of its labels: enough to tell another file, not to prove it the same.
    labels: String,
}

impl FileSummary {
    fn of(columns: &Columns) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(columns.labels());
        Self {
            rows: columns.rows,
            labels: blake3::hash(bytes).to_hex()[..32].to_owned(),
        }
    }
}
