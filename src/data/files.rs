//! A log: files that are checked against each other before a row is read, then read batch by batch.

use std::path::{Path, PathBuf};

use super::batches::{Batches, Rejected};
use super::column::Kind;
use super::features::Features;
use super::join::SideTable;
use super::needs::Need;
use super::table::Table;
use super::time::Days;
use super::{Error, glob};

/// The files of a log, in order, with its side tables. All footers and headers have been read and agree.
#[derive(Debug)]
pub struct LogFiles {
    pub(super) files: Vec<Table>,
    /// Columns that come from the log itself.
    columns: Vec<String>,
    joins: Vec<SideTable>,
    pub(super) features: Features,
}

impl LogFiles {
    /// Opens files: each a path, a folder of `.parquet`, `.csv` and `.tsv` files, or a pattern with `*` and `?`. Files of
    /// a folder or a pattern come in the order of their names.
    ///
    /// # Errors
    /// For what is missing, damaged, of another kind than declared, or of another kind than in the first file.
    pub fn open<P: AsRef<Path>>(features: &Features, paths: &[P]) -> Result<Self, Error> {
        let log = &features.declared.log;
        let mut files = Vec::new();
        for path in expanded(paths)? {
            files.push(Table::open(&path, log.format.as_ref(), &log.nulls)?);
        }
        let Some(first) = files.first() else {
            return Err(Error::Empty {
                what: "a log of no files".to_owned(),
            });
        };
        let needs = features.needs();
        let mut joins = Vec::new();
        for join in &features.declared.joins {
            joins.extend(SideTable::open(join, features, first, &needs)?);
        }
        let columns = sources(&needs, first, &mut joins)?;
        for file in &files {
            check(file, first, &columns, &needs)?;
        }
        for join in &mut joins {
            join.load()?;
        }
        Ok(Self {
            files,
            columns,
            joins,
            features: features.clone(),
        })
    }

    /// Rows of all files, where the files say so without being read.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(Table::rows).sum()
    }

    /// Files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The path of a file, as messages have it.
    #[must_use]
    pub fn file_name(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |f| &f.name)
    }

    /// How many rows of these days a file has. It is read through where it does not say so itself.
    ///
    /// # Errors
    /// What the rows' times and days are refused for.
    pub fn count(&self, file: usize, days: Option<Days>) -> Result<u64, Error> {
        if let (None, Some(rows)) = (days, self.files.get(file).and_then(Table::rows)) {
            return Ok(rows);
        }
        let mut batches = self.batches_of(file, days);
        let log = &self.features.declared.log;
        let times = [&log.time.column, &log.time.length_of, &log.day];
        batches.columns = times.into_iter().flatten().cloned().collect();
        if batches.columns.is_empty() {
            batches.columns.push(log.key.clone());
        }
        (batches.joins, batches.rejected) = (&[], None);
        batches.try_fold(0, |n, batch| Ok(n + batch?.len() as u64))
    }

    /// As [`LogFiles::batches`], of one file; its rows are numbered from 0.
    #[must_use]
    pub fn batches_of(&self, file: usize, days: Option<Days>) -> Batches<'_> {
        Batches {
            next_file: file,
            end: self.files.len().min(file + 1),
            ..self.batches(days)
        }
    }

    /// Whether there are labels.
    #[must_use]
    pub fn has_label(&self) -> bool {
        let label = self.features.declared.log.label.as_ref();
        label.is_some_and(|l| self.columns.iter().any(|c| c == l.trim()))
    }

    /// What the log was opened with.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Rows in the order of the files, one batch at a time: of these days, or all.
    #[must_use]
    pub fn batches(&self, days: Option<Days>) -> Batches<'_> {
        Batches {
            log: self,
            columns: self.columns.clone(),
            joins: &self.joins,
            days,
            next_file: 0,
            end: self.files.len(),
            current: None,
            row: 0,
            rejected: Some(Rejected::default()),
        }
    }
}

/// Paths that patterns and folders stand for.
fn expanded<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<PathBuf>, Error> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(glob::expand(path.as_ref())?);
    }
    Ok(all)
}

/// Which columns the log gives; side tables learn which are theirs.
fn sources(needs: &[Need], first: &Table, joins: &mut [SideTable]) -> Result<Vec<String>, Error> {
    let mut columns: Vec<String> = joins.iter().map(|j| j.on.clone()).collect();
    for need in needs {
        let column = &need.column;
        let named = joins.iter().position(|j| j.declares(column));
        let having: Vec<usize> = (0..joins.len()).filter(|j| joins[*j].has(column)).collect();
        let in_log = first.schema.contains_key(column);
        let ambiguous = |first: &str, second: &str| Error::Ambiguous {
            column: column.clone(),
            first: first.to_owned(),
            second: second.to_owned(),
        };
        match (named, in_log, having.as_slice()) {
            (Some(join), ..) => joins[join].give(need)?,
            (None, true, []) => columns.push(column.clone()),
            (None, false, [join]) => joins[*join].give(need)?,
            (None, true, [join, ..]) => return Err(ambiguous(&first.name, joins[*join].name())),
            (None, false, [a, b, ..]) => return Err(ambiguous(joins[*a].name(), joins[*b].name())),
            (None, false, []) if need.optional => {}
            (None, false, []) => {
                return Err(Error::Missing {
                    file: first.name.clone(),
                    column: column.clone(),
                    what: need.what.clone(),
                    there: first.schema.keys().map(|c| format!("`{c}`")).collect(),
                });
            }
        }
    }
    columns.sort();
    columns.dedup();
    Ok(columns)
}

/// A file has the columns that the first one has, of the same kind, which is one that can be read.
fn check(file: &Table, first: &Table, columns: &[String], needs: &[Need]) -> Result<(), Error> {
    for column in columns {
        let used = needs.iter().filter(|n| n.column == *column);
        let what = used
            .clone()
            .next()
            .map_or("which finds rows of side tables", |n| &n.what);
        let Some(kind) = file.schema.get(column) else {
            return Err(Error::Missing {
                file: file.name.clone(),
                column: column.clone(),
                what: what.to_owned(),
                there: file.schema.keys().map(|c| format!("`{c}`")).collect(),
            });
        };
        for need in used {
            need.used.accepts(kind).map_err(|expected| Error::Kind {
                file: file.name.clone(),
                column: column.clone(),
                seen: kind.to_string(),
                expected: format!("{} must be {expected}", need.what),
            })?;
        }
        let of_first: &Kind = &first.schema[column];
        if kind != of_first {
            return Err(Error::Kind {
                file: file.name.clone(),
                column: column.clone(),
                seen: kind.to_string(),
                expected: format!("in `{}` it is {of_first}", first.name),
            });
        }
    }
    Ok(())
}
