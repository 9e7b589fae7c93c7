//! A whole run: data in, a folder out, or a model in memory.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::checkpoint::Best;
use super::feed::{Cursor, Feed};
use super::folder::Folder;
use super::split::{FileSummary, Reader};
use super::{Error, Event, Metrics, Progress, Split, StepLine, Trainer, Validation};
use crate::import::Model;
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

/// What a run without a folder has come to.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// The trained model: of the best validation, or the last one without validation data.
    pub model: Model,
    /// Steps that the trainer has done by now.
    pub steps: u64,
    /// Rows trained on in this run.
    pub rows: u64,
    /// The validation that the model is of; absent without validation data.
    pub best: Option<Best>,
    /// Of the last epoch's training rows, each scored before it was trained on.
    pub auc: Option<f64>,
}

impl Trainer {
    /// Trains until the epochs, the steps or the patience end.
    ///
    /// # Errors
    /// [`Error`]: whatever is wrong with the data or the checkpoint before the first step, what goes wrong in a step,
    /// and failures to write. The folder's checkpoint is sound in any case.
    pub fn fit(&mut self, fit: &Fit<'_>, observe: &mut Observer<'_>) -> Result<Outcome, Error> {
        let (train, valid) = self.readers(fit.train, fit.valid);
        let files = self.check(&train, valid.as_ref())?;
        let folder = Folder::open(self, fit.out, &files, fit.resume)?;
        let model = folder.model.clone();
        let mut ongoing = Ongoing::new(&train, valid.as_ref(), Keep::Folder(folder), observe);
        ongoing.start(self, &files)?;
        if !self.progress.finished {
            if !fit.resume {
                ongoing.save(self)?;
            }
            ongoing.go_on(self)?;
        }
        Ok(Outcome {
            model,
            steps: self.progress.step,
            rows: self.progress.rows,
            best: self.progress.best,
            auc: self.auc.value(),
        })
    }

    /// As [`Trainer::fit`], without a folder: nothing is read or written but the data, and there are no checkpoints. The
    /// trainer keeps its last weights, its optimiser's state and the count of its steps, and may be given other data to go
    /// on with; validations start anew.
    ///
    /// # Errors
    /// [`Error`]: whatever is wrong with the data before the first step, and what goes wrong in a step.
    pub fn learn(&mut self, train: &Split, valid: Option<&Split>, observe: &mut Observer<'_>) -> Result<Learnt, Error> {
        let (train, valid) = self.readers(train, valid);
        let files = self.check(&train, valid.as_ref())?;
        let step = self.progress.step;
        self.auc = RunningAuc::default();
        self.progress = Progress {
            step,
            validated: step,
            ..Progress::default()
        };
        let mut ongoing = Ongoing::new(&train, valid.as_ref(), Keep::Memory(None), observe);
        ongoing.start(self, &files)?;
        ongoing.go_on(self)?;
        let best = match ongoing.keep {
            Keep::Memory(best) => best,
            Keep::Folder(_) => None,
        };
        Ok(Learnt {
            model: Model {
                name: self.task.name.clone(),
                graph: self.task.graph.clone(),
                weights: best.map_or_else(|| self.weights(), Ok)?,
            },
            steps: self.progress.step,
            rows: self.progress.rows,
            best: self.progress.best,
            auc: self.auc.value(),
        })
    }

    fn readers<'a>(&self, train: &'a Split, valid: Option<&'a Split>) -> (Reader<'a>, Option<Reader<'a>>) {
        let valid = valid.map(|split| Reader::new(split, &self.task.validation));
        (Reader::new(train, &self.task.needs), valid)
    }

    /// Looks at all data before the first step.
    fn check(&self, train: &Reader<'_>, valid: Option<&Reader<'_>>) -> Result<Vec<FileSummary>, Error> {
        let files = train.check()?;
        self.feed(train, Cursor::default()).check_classes()?;
        if let Some(valid) = valid {
            valid.check()?;
        }
        Ok(files)
    }

    fn feed<'a>(&self, train: &'a Reader<'a>, from: Cursor) -> Feed<'a> {
        Feed::new(train, self.spec.data.clone(), self.spec.seed, from)
    }
}

/// Where a run keeps what it has come to.
enum Keep {
    Folder(Folder),
    /// The best weights so far.
    Memory(Option<Tensors>),
}

/// A run under way.
struct Ongoing<'a> {
    train: &'a Reader<'a>,
    valid: Option<&'a Reader<'a>>,
    keep: Keep,
    observe: &'a mut Observer<'a>,
    /// When the last line of metrics was written, and after how many rows.
    since: (Instant, u64),
}
impl<'a> Ongoing<'a> {
    fn new(train: &'a Reader<'a>, valid: Option<&'a Reader<'a>>, keep: Keep, observe: &'a mut Observer<'a>) -> Self {
        Self {
            train,
            valid,
            keep,
            observe,
            since: (Instant::now(), 0),
        }
    }

    fn start(&mut self, t: &mut Trainer, files: &[FileSummary]) -> Result<(), Error> {
        let done = t.progress.rows;
        self.since = (Instant::now(), done);
        let rows = files.iter().map(|f| f.rows as u64).sum::<u64>() * t.spec.data.epochs;
        let before = match &self.keep {
            Keep::Folder(folder) => folder.before.clone(),
            Keep::Memory(_) => None,
        };
        self.tell(&Event::Start {
            rows,
            done,
            device: t.report(),
            before,
        })?;
        let notes = std::mem::take(&mut t.notes).into_iter();
        notes
            .map(|text| Event::Note { text })
            .try_for_each(|note| self.tell(&note))
    }

    fn go_on(&mut self, t: &mut Trainer) -> Result<(), Error> {
        let mut feed = t.feed(self.train, t.progress.cursor);
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
            // The end has one of its own.
            let is_last = is_over(t) || feed.is_done();
            if !is_last && (step.is_multiple_of(run.checkpoint) || epoch_done) {
                self.save(t)?;
            }
        }
        if let Some(metrics) = last {
            self.tell_step(t, &metrics)?;
        }
        if t.progress.validated != t.progress.step {
            self.validate(t)?;
        }
        if self.valid.is_none() {
            self.keep_weights(t)?;
        }
        t.progress.finished = true;
        self.save(t)
    }

    /// Scores the validation data, if there is any, and keeps the weights if they are the best so far.
    fn validate(&mut self, t: &mut Trainer) -> Result<(), Error> {
        let Some(valid) = self.valid else {
            return Ok(());
        };
        let scores = t.scores(valid)?;
        let step = t.progress.step;
        let best = t.progress.best.is_none_or(|best| scores.auc > best.auc);
        if best {
            self.keep_weights(t)?;
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

    /// Keeps the weights as the model that this run comes to.
    fn keep_weights(&mut self, t: &Trainer) -> Result<(), Error> {
        match &mut self.keep {
            Keep::Folder(folder) => t.save_model(&folder.model)?,
            Keep::Memory(best) => *best = Some(t.weights()?),
        }
        Ok(())
    }

    /// Writes a checkpoint, where there is a folder.
    fn save(&mut self, t: &Trainer) -> Result<(), Error> {
        let Keep::Folder(folder) = &mut self.keep else {
            return Ok(());
        };
        folder.save(t)?;
        self.tell(&Event::Checkpoint { step: t.progress.step })?;
        match &self.keep {
            Keep::Folder(folder) => folder.draw(),
            Keep::Memory(_) => Ok(()),
        }
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
        match &mut self.keep {
            Keep::Folder(folder) => folder.write(event),
            Keep::Memory(_) => Ok(()),
        }
    }
}

/// Whether the steps or the patience have ended.
fn is_over(t: &Trainer) -> bool {
    let run = &t.spec.run;
    run.steps.is_some_and(|n| t.progress.step >= n) || run.patience.is_some_and(|n| t.progress.stale >= n)
}
