//! What a run tells: lines of JSON, a picture of them, and events for whoever watches.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, curve};
use crate::container::write_atomically;

/// Something that has happened in a run; a line of `metrics.jsonl` each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run begins or goes on.
    Start {
        /// Rows that it will train on, if neither steps nor patience end it before.
        rows: u64,
        /// Rows done before.
        done: u64,
        /// Where steps run, and why there.
        device: String,
        /// What made the checkpoint that the run goes on from, where that is another device: weights and optimiser
        /// state are the same, rounding from now on is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// Steps are done: every [`Run::log`](super::Run::log)-th one, and the last one.
    Step(StepLine),
    /// The validation data was gone through.
    Validation(Validation),
    /// Something that the user should know.
    Note {
        /// A sentence.
        text: String,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps done by then.
        step: u64,
    },
}

/// Where training stands after a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Rows trained on so far.
    pub rows: u64,
    /// Of this step's batch, before its update.
    pub loss: f64,
    /// Of all rows since the run or its epoch began, each scored before it was trained on; absent while there is one
    /// class alone.
    pub auc: Option<f64>,
    /// The learning rate of this step.
    pub lr: f64,
    /// Norm of all gradients, before they are clipped.
    pub grad_norm: f64,
    /// Since the line before.
    pub rows_per_second: f64,
    /// Parts of the loss, where it has several.
    #[serde(flatten)]
    pub parts: BTreeMap<String, f64>,
}

/// A validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// After which step.
    pub step: u64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Mean logistic loss.
    pub log_loss: f64,
    /// Whether no validation before was as good.
    pub best: bool,
}

impl Event {
    fn step(&self) -> u64 {
        match self {
            Self::Step(line) => line.step,
            Self::Validation(line) => line.step,
            Self::Checkpoint { step } => *step,
            Self::Start { .. } | Self::Note { .. } => 0,
        }
    }
}

/// `metrics.jsonl` and `curve.svg` of a run's folder.
pub(super) struct Journal {
    lines: PathBuf,
    picture: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of a run that has done `step` steps; lines of later ones, which a run that was killed has
    /// left, are taken out.
    pub(super) fn open(folder: &Path, step: u64) -> Result<Self, Error> {
        let lines = folder.join("metrics.jsonl");
        let kept: String = read(&lines)?
            .iter()
            .filter(|event| event.step() <= step)
            .filter_map(|event| Some(serde_json::to_string(event).ok()? + "\n"))
            .collect();
        let io = |source| io(&lines, source);
        write_atomically(&lines, |file| file.write_all(kept.as_bytes())).map_err(io)?;
        let file = OpenOptions::new().append(true).open(&lines).map_err(io)?;
        Ok(Self {
            picture: folder.join("curve.svg"),
            lines,
            file,
        })
    }

    pub(super) fn write(&mut self, event: &Event) -> Result<(), Error> {
        let line = serde_json::to_string(event).map_err(|e| io(&self.lines, e.into()))? + "\n";
        self.file.write_all(line.as_bytes()).map_err(|e| io(&self.lines, e))
    }

    /// Draws what the lines say so far.
    pub(super) fn draw(&self) -> Result<(), Error> {
        let svg = curve::svg(&read(&self.lines)?);
        write_atomically(&self.picture, |file| file.write_all(svg.as_bytes())).map_err(|e| io(&self.picture, e))
    }
}

/// The events of a journal; a last line that a killed run has left unfinished is none.
fn read(path: &Path) -> Result<Vec<Event>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(io(path, e)),
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source,
    }
}
