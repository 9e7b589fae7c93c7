//! One step after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::blame::blame;
use super::feed::draw;
use super::needs::Needs;
use super::score::run;
use super::split::{Reader, Split};
use super::task::{LABEL, LOGIT, Task};
use super::{Engine, Error, Progress, Spec, Trainable, checkpoint, place};
use crate::cpu;
use crate::ir::Graph;
use crate::metrics::{self, RunningAuc};
use crate::optim::At;
use crate::session::DeviceChoice;
use crate::tensor::{HostTensor, Tensors};

/// The stream of random numbers that steps draw their seeds from.
const STEPS: [u32; 2] = [u32::MAX, u32::MAX];

/// A model in training.
pub struct Trainer {
    pub(super) task: Task,
    pub(super) spec: Spec,
    pub(super) engine: Box<dyn Engine>,
    /// Why this engine.
    why: String,
    pub(super) progress: Progress,
    pub(super) auc: RunningAuc,
    /// What the user should know, and has not been told yet.
    pub(super) notes: Vec<String>,
    /// Metadata of the trained file.
    carried: BTreeMap<String, String>,
}

/// What a step says.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Mean over the batch's rows, before the update.
    pub loss: f32,
    /// Parts of the loss, each a mean, before weighing; empty where there is but one.
    pub parts: BTreeMap<String, f32>,
    /// Norm of all gradients, before they are clipped.
    pub grad_norm: f32,
    /// The learning rate.
    pub lr: f64,
}

/// How well a model does on data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scores {
    pub(super) auc: f64,
    pub(super) log_loss: f64,
}

impl Trainer {
    /// A trainer at the model's first weights, on the CPU.
    ///
    /// # Errors
    /// [`Error`] when model, loss and optimiser do not make a step.
    pub fn new(model: Trainable, spec: &Spec) -> Result<Self, Error> {
        Self::on(model, spec, &DeviceChoice::Cpu)
    }

    /// A trainer at the model's first weights, with steps on a GPU or on the CPU; [`Trainer::report`] says where, and
    /// why there. A GPU holds memory for batches of `data.batch` rows, and refuses larger ones.
    ///
    /// [`DeviceChoice::Auto`] takes the best adapter unless it is software, which the CPU outruns, and the CPU where
    /// the device cannot run the step. Validations score on the CPU in any case.
    ///
    /// # Errors
    /// As [`Trainer::new`]; with [`DeviceChoice::Gpu`], whatever keeps that device from running the step.
    pub fn on(model: Trainable, spec: &Spec, device: &DeviceChoice) -> Result<Self, Error> {
        let notes = model.notes.clone();
        let task = Task::new(model, spec)?;
        let rows = u32::try_from(spec.data.batch).unwrap_or(u32::MAX);
        let (engine, why) = place::engine(device, &task.step.graph, task.first_state(), rows)?;
        Ok(Self::of(task, spec, (engine, why), notes))
    }

    /// As [`Trainer::new`], with steps run by an engine of the caller's, made of the step graph and the first values of
    /// all its parameters.
    ///
    /// # Errors
    /// As [`Trainer::new`], and what making the engine fails with.
    pub fn with_engine(
        model: Trainable,
        spec: &Spec,
        make: impl FnOnce(&Graph, Tensors) -> Result<Box<dyn Engine>, Error>,
    ) -> Result<Self, Error> {
        let notes = model.notes.clone();
        let task = Task::new(model, spec)?;
        let engine = make(&task.step.graph, task.first_state())?;
        Ok(Self::of(task, spec, (engine, "as asked".to_owned()), notes))
    }

    fn of(task: Task, spec: &Spec, (engine, why): (Box<dyn Engine>, String), notes: Vec<String>) -> Self {
        Self {
            task,
            spec: spec.clone(),
            engine,
            why,
            progress: Progress::default(),
            auc: RunningAuc::default(),
            notes,
            carried: BTreeMap::new(),
        }
    }

    /// Where steps run, and why there.
    #[must_use]
    pub fn report(&self) -> String {
        format!("{} ({})", self.engine.device(), self.why)
    }

    /// Has the trained file say something beside graph and weights, under a metadata key that bundles take over
    /// ([`crate::bundle::is_note`]); under other keys it is not read again.
    pub fn carry(&mut self, key: &str, text: String) {
        self.carried.insert(key.to_owned(), text);
    }

    /// Trains on a batch: the model's inputs, `label f32[rows]` and, where the specification has them, `weight` and
    /// `teacher`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when loss or gradients are not finite, errors of the engine when the batch does not fit;
    /// weights are then as before.
    pub fn step(&mut self, batch: &Tensors) -> Result<Metrics, Error> {
        let rows = batch.get(LABEL).map_or(0, |label| label.data.len());
        let step = self.progress.step + 1;
        let lr = self.spec.schedule.at(step);
        let seed = draw(self.spec.seed, STEPS, step) as u32;
        let mut inputs = batch.clone();
        inputs.extend(self.task.step.scalars(At {
            step,
            rows,
            lr,
            seed: seed.cast_signed(),
        }));
        let out = self.engine.step(&inputs, rows)?;
        let scalar = |name: &str| first(&out, name);
        let (loss, grad_norm) = (scalar("loss"), scalar("grad_norm"));
        if !loss.is_finite() || !grad_norm.is_finite() {
            let blame = blame(&self.task.step.graph, &self.engine.state()?, &inputs, rows)?;
            return Err(Error::NonFinite { step, loss, blame });
        }
        if let (Some(logits), Some(labels)) = (floats(&out, LOGIT), floats(batch, LABEL)) {
            self.auc.add(logits, labels);
        }
        self.progress.step = step;
        self.progress.rows += rows as u64;
        let is_part = |name: &str| name.starts_with("loss.");
        let parts = out
            .keys()
            .filter(|name| is_part(name))
            .map(|name| (name.clone(), scalar(name)));
        Ok(Metrics {
            loss,
            parts: parts.collect(),
            grad_norm,
            lr,
        })
    }

    /// The weights of the model as they are now, in its graph's order.
    ///
    /// # Errors
    /// When they cannot be fetched from the device.
    pub fn weights(&self) -> Result<Tensors, Error> {
        Ok(self.task.weights_in(&self.engine.state()?))
    }

    /// Writes the model with its weights as they are: a file that `loopfm-compile` takes.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Io`], and as [`Trainer::weights`].
    pub fn save_model(&self, path: &Path) -> Result<(), Error> {
        let task = &self.task;
        let graph = (&*task.graph.to_string(), task.config.as_deref());
        checkpoint::write_model(path, &task.name, graph, &self.carried, &self.weights()?)
    }

    /// What the trained model computes.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.task.graph
    }

    /// Where training stands.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The logit of every row of `split`, in order, with the weights as they are. Labels are not looked at.
    ///
    /// # Errors
    /// [`Error::Data`] where the split is not what the model needs, [`Error::Predictions`].
    pub fn score(&self, split: &Split) -> Result<Vec<f32>, Error> {
        let needs = Needs::of_inputs(self.task.scoring.clone(), &self.task.weights);
        let logits = self.logits(&Reader::new(split, &Arc::new(needs)), |_| {})?;
        match logits.iter().all(|z| z.is_finite()) {
            true => Ok(logits),
            false => Err(Error::Predictions {
                step: self.progress.step,
            }),
        }
    }

    /// The logit of every row; `labels` sees those of each block.
    fn logits(&self, reader: &Reader<'_>, mut labels: impl FnMut(&[f32])) -> Result<Vec<f32>, Error> {
        let executor = cpu::Executor::new(&self.task.scoring, &self.weights()?)?;
        let mut logits = Vec::new();
        run(&executor, reader, |columns, rows, out| {
            labels(columns.labels().get(rows).unwrap_or(&[]));
            logits.extend_from_slice(floats(&out, LOGIT).unwrap_or(&[]));
            Ok::<(), Error>(())
        })?;
        Ok(logits)
    }

    /// How well the weights as they are do.
    pub(super) fn scores(&self, reader: &Reader<'_>) -> Result<Scores, Error> {
        let mut labels = Vec::new();
        let logits = self.logits(reader, |part| labels.extend(part.iter().map(|y| f64::from(*y))))?;
        let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
        let classes: Vec<bool> = labels.iter().map(|y| *y >= 0.5).collect();
        let step = self.progress.step;
        let auc = metrics::auc(&logits, &classes).ok_or(Error::Predictions { step })?;
        let loss = |(z, y): (&f64, &f64)| z.max(0.0) - z * y + (-z.abs()).exp().ln_1p();
        let log_loss = logits.iter().zip(&labels).map(loss).sum::<f64>() / logits.len() as f64;
        match log_loss.is_finite() {
            true => Ok(Scores { auc, log_loss }),
            false => Err(Error::Predictions { step }),
        }
    }
}

fn floats<'a>(tensors: &'a Tensors, name: &str) -> Option<&'a [f32]> {
    tensors.get(name).and_then(HostTensor::as_f32)
}

/// A scalar metric; NaN where there is none, which no run goes on from.
fn first(tensors: &Tensors, name: &str) -> f32 {
    floats(tensors, name)
        .and_then(|x| x.first())
        .copied()
        .unwrap_or(f32::NAN)
}
