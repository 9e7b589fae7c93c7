//! What a run is: a TOML file, or the same structs filled by hand.
//!
//! ```toml
//! name = "videos-din"
//! seed = 0
//!
//! [model]                     # sizes of an architecture, or: file = "model.safetensors"
//! architecture = "din"
//! # ..
//!
//! [data]
//! label = "long_view"         # column of labels, 0..=1
//! batch = 1024
//! epochs = 2
//! order = "shuffled"          # "file": one pass in the order of the file
//!
//! [schedule]
//! lr = 1e-3
//! warmup = 100
//!
//! [optimiser]
//! clip = 10.0
//! groups = [
//!     {params = ["tables"], rule = "adam", lazy = true, l2 = 1e-6},
//!     {params = ["*"], rule = "adam", weight-decay = 0.01},
//! ]
//!
//! [loss]                      # leave out what is not wanted
//! distillation = {teacher = "fm_prob", alpha = 5.0, weight = 10.0}
//!
//! [run]
//! validate = 500              # steps between validations
//! patience = 3                # validations without a better AUC before the run stops
//! ```

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::model;
use crate::optim::{Optimiser, Schedule};

/// Longest specification read.
const MAX_SPEC: u64 = 1 << 20;

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// What the trained model is called; without it as its file says, or like its architecture.
    pub name: Option<String>,
    /// Where everything random starts: initial weights, order of rows, dropout.
    pub seed: u64,
    /// The model.
    pub model: toml::Table,
    /// The data's columns, batches and order.
    pub data: Data,
    /// The learning rate.
    pub schedule: Schedule,
    /// Rules by group of parameters.
    pub optimiser: Optimiser,
    /// What is made small.
    pub loss: Loss,
    /// When to validate, save and stop.
    pub run: Run,
}

/// Columns, batches and their order. Every input of the model is a column of its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Data {
    /// Column of labels, f32, i32 or bool, from 0 to 1.
    pub label: String,
    /// Column that weighs each row's loss, if there is one.
    pub weight: Option<String>,
    /// `features.toml`, where the data is logs of raw rows; relative to this file. Labels are then those of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Days of the logs to train on, and to fit the features on, such as `20220425..20220504`; all where none are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_days: Option<String>,
    /// Days to validate on: of the logs for validation, or of those for training where there are no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_days: Option<String>,
    /// Rows of a batch. Batches end with their file, so the last one of a file may be smaller.
    pub batch: usize,
    /// How often all data is gone through.
    pub epochs: u64,
    /// In what order.
    pub order: Order,
    /// What to do with batches whose labels are all 1.
    pub one_class: OneClass,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            label: "label".to_owned(),
            weight: None,
            features: None,
            train_days: None,
            valid_days: None,
            batch: 1024,
            epochs: 1,
            order: Order::File,
            one_class: OneClass::Refuse,
        }
    }
}

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Files as they were named, rows as they stand.
    #[default]
    File,
    /// Files, and rows within each file, in an order of each epoch's own, which follows from the seed.
    Shuffled,
}

/// Whether batches without a negative label are trained on. They are the mark of a label column that is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OneClass {
    /// An error, for batches of 16 rows or more: smaller ones may be so by chance.
    #[default]
    Refuse,
    /// They are trained on.
    Allow,
}

/// The loss beside the logistic loss of the labels, whose weight is 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Loss {
    /// A teacher's probabilities, learnt by a head of their own.
    pub distillation: Option<Distillation>,
    /// Weight of the autoencoder's loss.
    pub autoencoder: Option<f64>,
}

/// ExFM's distillation. The gradient's scale into the backbone belongs to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distillation {
    /// Column of the teacher's probabilities.
    pub teacher: String,
    /// Factor of these; what exceeds 1 counts as 1.
    pub alpha: f64,
    /// Weight of the loss.
    pub weight: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self {
            teacher: "teacher".to_owned(),
            alpha: 1.0,
            weight: 1.0,
        }
    }
}

/// When to validate, save and stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Run {
    /// Steps after which the run ends, whatever data is left.
    pub steps: Option<u64>,
    /// Steps between validations; without a number, one after each epoch.
    pub validate: Option<u64>,
    /// Validations in a row without a better AUC after which the run ends.
    pub patience: Option<u64>,
    /// Steps between checkpoints; there is one after each epoch and at the end, too.
    pub checkpoint: u64,
    /// Steps between lines of metrics.
    pub log: u64,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            steps: None,
            validate: None,
            patience: None,
            checkpoint: 1000,
            log: 10,
        }
    }
}

impl Spec {
    /// Reads a TOML file. A model's `file` is relative to it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Spec`] with the line at fault, [`Error::Setting`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut spec: Self = read_toml(path)?;
        if let Some(file) = spec.model.get_mut("file")
            && let Some(name) = file.as_str()
        {
            let beside = path.parent().unwrap_or(Path::new("")).join(name);
            *file = toml::Value::String(beside.to_string_lossy().into_owned());
        }
        if let Some(features) = &mut spec.data.features {
            let beside = path.parent().unwrap_or(Path::new("")).join(&features);
            *features = beside.to_string_lossy().into_owned();
        }
        spec.check()?;
        Ok(spec)
    }

    /// The file that the model's graph and first weights come from, if it is not an architecture.
    #[must_use]
    pub fn model_file(&self) -> Option<PathBuf> {
        self.model.get("file")?.as_str().map(PathBuf::from)
    }

    /// The sizes of the model's architecture.
    ///
    /// # Errors
    /// [`Error::Architecture`] saying what they should have been.
    pub fn architecture(&self) -> Result<model::Spec, Error> {
        let fault = |e: toml::de::Error| model::Fault::Config(e.to_string());
        Ok(self.model.clone().try_into().map_err(fault)?)
    }

    /// Whether every number means something.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Step`] for the optimiser's.
    pub fn check(&self) -> Result<(), Error> {
        let at_least_one = |name: &'static str, n: u64| match n {
            0 => Err(Error::Setting {
                name,
                seen: "0".to_owned(),
                expected: "at least 1",
            }),
            _ => Ok(()),
        };
        at_least_one("data.batch", self.data.batch as u64)?;
        at_least_one("data.epochs", self.data.epochs)?;
        at_least_one("run.steps", self.run.steps.unwrap_or(1))?;
        at_least_one("run.validate", self.run.validate.unwrap_or(1))?;
        at_least_one("run.patience", self.run.patience.unwrap_or(1))?;
        at_least_one("run.checkpoint", self.run.checkpoint)?;
        at_least_one("run.log", self.run.log)?;
        let mut weights = vec![("loss.autoencoder", self.loss.autoencoder.unwrap_or(0.0))];
        if let Some(d) = &self.loss.distillation {
            weights.extend([
                ("loss.distillation.alpha", d.alpha),
                ("loss.distillation.weight", d.weight),
            ]);
        }
        for (name, x) in weights {
            if !(x.is_finite() && x >= 0.0) {
                return Err(Error::Setting {
                    name,
                    seen: x.to_string(),
                    expected: "a finite number from 0 on",
                });
            }
        }
        self.optimiser.check()?;
        Ok(self.schedule.check()?)
    }
}

/// Reads a declaration.
///
/// # Errors
/// [`Error::Io`], [`Error::Spec`] with the line at fault.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let refused = |why: String| Error::Spec {
        path: path.to_path_buf(),
        why,
    };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_SPEC {
        return Err(refused(format!("longer than {MAX_SPEC} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    toml::from_str(&text).map_err(|e| refused(e.to_string()))
}
