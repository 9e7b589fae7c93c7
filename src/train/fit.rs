//! A whole run: data in, a folder out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::checkpoint::{self, Best};
use super::feed::{Feed, FileSummary};
use super::journal::Journal;
use super::{CheckpointError, Cursor, Error, Event, Metrics, Split, StepLine, Trainer, Validation};
use crate::metrics::RunningAuc;
use crate::tensor::Tensors;

/// Sees what happens in a run.
pub type Observer<'a> = dyn FnMut(&Event) + 'a;

/// What a run needs besides its trainer.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    /// Data to train on.
    pub train: &'a Split,
    /// Data to choose the best weights by.
    pub valid: Option<&'a Split>,
    /// The run's folder, made where it is not there.
    pub out: &'a Path,
    /// Whether to go on from the folder's checkpoint.
    pub resume: bool,
}

/// What a run has come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The trained model.
    pub model: PathBuf,
    /// Steps done.
    pub steps: u64,
    /// Rows trained on.
    pub rows: u64,
    /// The validation that the model is of; absent without validation data.
    pub best: Option<Best>,
    /// Of this epoch's training rows, each scored before it was trained on.
    pub auc: Option<f64>,
}

/// The tensor of a checkpoint that holds the running AUC.
const AUC: &str = "auc";

impl Trainer {
    /// Trains until the epochs, the steps or the patience end.
    ///
    /// # Errors
    /// [`Error`]: whatever is wrong with the data or the checkpoint before the first step, what goes wrong in a step,
    /// and failures to write. The folder's checkpoint is sound in any case.
    pub fn fit(&mut self, fit: &Fit<'_>, observe: &mut Observer<'_>) -> Result<Outcome, Error> {
        let files = fit.train.check(&self.task.needs)?;
        self.feed(fit, Cursor::default()).check_classes()?;
        if let Some(valid) = fit.valid {
            valid.check(&self.task.validation)?;
        }
        let config = self.config(&files);
        let path = fit.out.join("checkpoint.safetensors");
        if fit.resume {
            self.restore(&path, &config)?;
        } else if path.exists() {
            return Err(CheckpointError::Exists { path }.into());
        }
        fs::create_dir_all(fit.out).map_err(|source| Error::Io {
            path: fit.out.to_path_buf(),
            source,
        })?;
        let mut ongoing = Ongoing {
            journal: Journal::open(fit.out, self.progress.step)?,
            model: fit.out.join("model.safetensors"),
            config,
            path,
            fit,
            observe,
            since: (Instant::now(), self.progress.rows),
        };
        ongoing.tell(&Event::Start {
            rows: files.iter().map(|f| f.rows as u64).sum::<u64>() * self.spec.data.epochs,
            done: self.progress.rows,
        })?;
        if !self.progress.finished {
            ongoing.save(self)?;
            ongoing.go_on(self)?;
        }
        Ok(Outcome {
            model: ongoing.model,
            steps: self.progress.step,
            rows: self.progress.rows,
            best: self.progress.best,
            auc: self.auc.value(),
        })
    }

    fn feed<'a>(&self, fit: &Fit<'a>, from: Cursor) -> Feed<'a> {
        let data = self.spec.data.clone();
        Feed::new(fit.train, self.task.needs.clone(), data, self.spec.seed, from)
    }

    /// A hash of all that a run is a function of.
    fn config(&self, files: &[FileSummary]) -> String {
        let spec = serde_json::to_string(&(&self.spec, files)).expect("a specification is JSON");
        let mut hash = blake3::Hasher::new();
        for text in [env!("CARGO_PKG_VERSION"), &self.task.step.graph.to_string(), &spec] {
            hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hash.finalize().to_hex()[..32].to_owned()
    }

    fn restore(&mut self, path: &Path, config: &str) -> Result<(), Error> {
        let (progress, mut tensors) = checkpoint::read(path, config)?;
        let damaged = |why: &str| CheckpointError::Damaged {
            path: path.to_path_buf(),
            why: why.to_owned(),
        };
        let auc = tensors.swap_remove(AUC).and_then(|t| RunningAuc::from_tensor(&t));
        self.auc = auc.ok_or_else(|| damaged("the running AUC is missing"))?;
        let mut state = Tensors::new();
        for (_, name, ty) in self.task.step.graph.params() {
            let fits = |t: &crate::tensor::HostTensor| t.dtype() == ty.dtype && t.shape == ty.shape.per_row();
            let Some(tensor) = tensors.swap_remove(name).filter(fits) else {
                return Err(damaged(&format!("parameter `{name}` is missing or not {ty}")).into());
            };
            state.insert(name.to_owned(), tensor);
        }
        self.progress = progress;
        self.engine.restore(state)
    }
}

/// A run under way.
struct Ongoing<'a> {
    fit: &'a Fit<'a>,
    observe: &'a mut Observer<'a>,
    journal: Journal,
    config: String,
    path: PathBuf,
    model: PathBuf,
    /// When the last line of metrics was written, and after how many rows.
    since: (Instant, u64),
}

impl Ongoing<'_> {
    fn go_on(&mut self, t: &mut Trainer) -> Result<(), Error> {
        let mut feed = t.feed(self.fit, t.progress.cursor);
        let run = t.spec.run;
        let mut last = None;
        while !is_over(t)
            && let Some(batch) = feed.next()?
        {
            if t.progress.cursor.starts_epoch() {
                t.auc = RunningAuc::default();
            }
            let metrics = t.step(&batch)?;
            t.progress.cursor = feed.cursor;
            let epoch_done = feed.cursor.starts_epoch();
            let step = t.progress.step;
            if step.is_multiple_of(run.log) || epoch_done {
                self.tell_step(t, &metrics)?;
                last = None;
            } else {
                last = Some(metrics);
            }
            if run.validate.map_or(epoch_done, |n| step.is_multiple_of(n)) {
                self.validate(t)?;
            }
            if step.is_multiple_of(run.checkpoint) || epoch_done {
                self.save(t)?;
            }
        }
        if let Some(metrics) = last {
            self.tell_step(t, &metrics)?;
        }
        if t.progress.validated != t.progress.step {
            self.validate(t)?;
        }
        if self.fit.valid.is_none() {
            t.save_model(&self.model)?;
        }
        t.progress.finished = true;
        self.save(t)
    }

    /// Scores the validation data, if there is any, and keeps the weights if they are the best so far.
    fn validate(&mut self, t: &mut Trainer) -> Result<(), Error> {
        let Some(valid) = self.fit.valid else {
            return Ok(());
        };
        let scores = t.scores(valid)?;
        let step = t.progress.step;
        let best = t.progress.best.is_none_or(|best| scores.auc > best.auc);
        if best {
            t.save_model(&self.model)?;
            t.progress.best = Some(Best {
                step,
                auc: scores.auc,
                log_loss: scores.log_loss,
            });
        }
        t.progress.validated = step;
        t.progress.stale = if best { 0 } else { t.progress.stale + 1 };
        self.tell(&Event::Validation(Validation {
            step,
            auc: scores.auc,
            log_loss: scores.log_loss,
            best,
        }))
    }

    fn save(&mut self, t: &Trainer) -> Result<(), Error> {
        let mut tensors = t.engine.state();
        tensors.insert(AUC.to_owned(), t.auc.to_tensor());
        checkpoint::write(&self.path, &self.config, &t.progress, &tensors)?;
        self.tell(&Event::Checkpoint { step: t.progress.step })?;
        self.journal.draw()
    }

    fn tell_step(&mut self, t: &Trainer, metrics: &Metrics) -> Result<(), Error> {
        let (then, rows) = self.since;
        let seconds = then.elapsed().as_secs_f64().max(1e-9);
        self.since = (Instant::now(), t.progress.rows);
        let parts = metrics.parts.iter();
        self.tell(&Event::Step(StepLine {
            step: t.progress.step,
            epoch: t.progress.cursor.epoch,
            rows: t.progress.rows,
            loss: f64::from(metrics.loss),
            auc: t.auc.value(),
            lr: metrics.lr,
            grad_norm: f64::from(metrics.grad_norm),
            rows_per_second: (t.progress.rows - rows) as f64 / seconds,
            parts: parts.map(|(name, x)| (name.clone(), f64::from(*x))).collect(),
        }))
    }

    fn tell(&mut self, event: &Event) -> Result<(), Error> {
        (self.observe)(event);
        self.journal.write(event)
    }
}

/// Whether the steps or the patience have ended.
fn is_over(t: &Trainer) -> bool {
    let run = &t.spec.run;
    run.steps.is_some_and(|n| t.progress.step >= n) || run.patience.is_some_and(|n| t.progress.stale >= n)
}
