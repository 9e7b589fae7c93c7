//! Logs as training data: raw rows through an encoder, and Parquet files of columns that are inputs already.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::columns::Shared;
use super::needs::{Needs, Role};
use super::spec::Spec;
use super::{DataError, Error, Split};
use crate::container::write_atomically;
use crate::data::{Days, Encoder, Features, LogFiles, read_columns};
use crate::tensor::{DType, Dim, HostTensor};

/// The encoder's file in the folder of a run.
const ENCODER: &str = "features.json";

/// What a run on raw logs is made of.
#[derive(Clone, Debug)]
pub struct RawData {
    /// What makes inputs of rows, fitted on the training days.
    pub encoder: Arc<Encoder>,
    /// Rows to train on.
    pub train: Split,
    /// Rows to validate on.
    pub valid: Option<Split>,
}

impl RawData {
    /// Opens the logs of a run whose specification names `features`, fits the features on the training days, or reads the
    /// encoder of a run that goes on, and puts the sizes of vocabularies into the specification's model. `None` for
    /// specifications without.
    ///
    /// # Errors
    /// [`Error::Log`] for what is wrong with declaration or logs, [`Error::Setting`] for days, and vocabularies that are
    /// too small.
    pub fn open(
        spec: &mut Spec,
        train: &[PathBuf],
        valid: &[PathBuf],
        out: &Path,
        resume: bool,
    ) -> Result<Option<Self>, Error> {
        let train_days = days("data.train-days", spec.data.train_days.as_ref())?;
        let valid_days = days("data.valid-days", spec.data.valid_days.as_ref())?;
        let Some(file) = &spec.data.features else {
            return match train_days.or(valid_days) {
                None => Ok(None),
                Some(days) => Err(Error::Setting {
                    name: "data.features",
                    seen: format!("missing, with days {days}"),
                    expected: "there: days are those of raw logs",
                }),
            };
        };
        let features = Features::read(Path::new(file)).map_err(Box::new)?;
        let label = label(&features, &spec.data.label)?;
        let logs = Arc::new(LogFiles::open(&features, train).map_err(Box::new)?);
        let saved = out.join(ENCODER);
        let encoder = match resume && saved.exists() {
            true => read(&saved)?.in_folder(features.folder().to_path_buf()),
            false => features.fit(&logs, train_days).map_err(Box::new)?,
        };
        let encoder = Arc::new(encoder);
        fill_vocabularies(&mut spec.model, &encoder)?;
        let split = |logs: Arc<LogFiles>, days| Split::log(encoder.clone(), logs, days, &label);
        let of_valid = match (valid.is_empty(), valid_days) {
            (true, None) => None,
            (true, days) => Some(split(logs.clone(), days)?),
            (false, days) => Some(split(
                Arc::new(LogFiles::open(&features, valid).map_err(Box::new)?),
                days,
            )?),
        };
        Ok(Some(Self {
            train: split(logs, train_days)?,
            valid: of_valid,
            encoder,
        }))
    }

    /// Writes the encoder into a run's folder, unless another run's is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, out: &Path) -> Result<(), Error> {
        if out.join("checkpoint.safetensors").exists() {
            return Ok(());
        }
        let path = out.join(ENCODER);
        let write = || {
            std::fs::create_dir_all(out)?;
            write_atomically(&path, |file| file.write_all(self.encoder.to_json().as_bytes()))
        };
        write().map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })
    }
}

fn days(name: &'static str, text: Option<&String>) -> Result<Option<Days>, Error> {
    let parsed = text.map(|text| text.parse());
    parsed.transpose().map_err(|_| Error::Setting {
        name,
        seen: format!("{:?}", text.map_or("", String::as_str)),
        expected: "a range of days such as 20220425..20220504",
    })
}

/// What labels are called: as the log calls them, or by the default.
fn label(features: &Features, declared: &str) -> Result<String, Error> {
    match features.label() {
        Some(label) if declared == "label" || declared == label => Ok(declared.to_owned()),
        label => Err(Error::Setting {
            name: "data.label",
            seen: format!("{declared:?}"),
            expected: match label {
                Some(_) => "the `label` of the features' log, or left out",
                None => "the `label` of the features' log, which has none",
            },
        }),
    }
}

fn read(path: &Path) -> Result<Encoder, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(Encoder::from_json(&text).map_err(Box::new)?)
}

/// Fields without a `vocabulary` get their feature's; those with one must have room for it.
fn fill_vocabularies(model: &mut toml::Table, encoder: &Encoder) -> Result<(), Error> {
    let sizes = encoder.vocabulary_sizes();
    let Some(fields) = model.get_mut("fields").and_then(toml::Value::as_array_mut) else {
        return Ok(());
    };
    for field in fields.iter_mut().filter_map(toml::Value::as_table_mut) {
        let Some(name) = field.get("name").and_then(toml::Value::as_str).map(str::to_owned) else {
            continue;
        };
        let size = sizes.get(&name).copied();
        match (field.get("vocabulary").and_then(toml::Value::as_integer), size) {
            (None, None) if !field.contains_key("vocabulary") => return Err(Error::NoVocabulary { field: name }),
            (None, Some(size)) => {
                let rows = i64::try_from(size).unwrap_or(i64::MAX);
                field.insert("vocabulary".to_owned(), toml::Value::Integer(rows));
            }
            (Some(seen), Some(expected)) if (seen as u64) < expected as u64 => {
                return Err(Error::Vocabulary {
                    field: name,
                    seen: seen as u64,
                    expected,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Some days of a log, encoded file by file.
#[derive(Debug)]
pub(super) struct Log {
    encoder: Arc<Encoder>,
    files: Arc<LogFiles>,
    days: Option<Days>,
    label: String,
}

impl Log {
    pub(super) fn new(encoder: Arc<Encoder>, files: Arc<LogFiles>, days: Option<Days>, label: &str) -> Self {
        Self {
            encoder,
            files,
            days,
            label: label.to_owned(),
        }
    }

    pub(super) fn files_with_rows(&self) -> Result<Vec<usize>, DataError> {
        let mut files = Vec::new();
        for file in 0..self.files.len() {
            if self.files.count(file, self.days).map_err(Box::new)? > 0 {
                files.push(file);
            }
        }
        match (files.is_empty(), self.days) {
            (true, Some(days)) => Err(DataError::Empty {
                source_name: format!("the log, of the days {days},"),
            }),
            _ => Ok(files),
        }
    }

    pub(super) fn name(&self, file: usize) -> String {
        format!("`{}`", self.files.file_name(file))
    }

    pub(super) fn columns(&self, file: usize) -> Result<Shared, DataError> {
        let encoded = self
            .encoder
            .encode_file(&self.files, file, self.days)
            .map_err(Box::new)?;
        let rows = encoded.len();
        let mut columns: Shared = encoded
            .inputs
            .into_iter()
            .map(|(name, t)| (name, Arc::new(t)))
            .collect();
        if let Some(label) = encoded.label {
            columns.insert(self.label.clone(), Arc::new(HostTensor::f32(&[rows], label)));
        }
        Ok(columns)
    }
}

/// The columns of a Parquet file that are needed. One number a row is taken as `[rows, 1]` where that is needed.
pub(super) fn columns(path: &Path, needs: &Needs) -> Result<Shared, DataError> {
    let mut wanted: Vec<(&str, DType)> = Vec::new();
    for need in &needs.columns {
        let dtype = match need.role {
            Role::Input => need.ty.dtype,
            Role::Share | Role::Weight => DType::F32,
        };
        if !wanted.iter().any(|(name, _)| *name == need.column) {
            wanted.push((&need.column, dtype));
        }
    }
    let mut read = read_columns(path, &wanted).map_err(Box::new)?;
    for need in &needs.columns {
        if let (Some(t), [Dim::Rows(1), Dim::Fixed(1)]) = (read.get_mut(&need.column), need.ty.shape.0.as_slice())
            && t.shape.len() == 1
        {
            t.shape.push(1);
        }
    }
    Ok(read.into_iter().map(|(name, t)| (name, Arc::new(t))).collect())
}
