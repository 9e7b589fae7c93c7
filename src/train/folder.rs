//! The folder of a run: checkpoints, the model so far, and what the run has told.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint;
use super::journal::Journal;
use super::split::FileSummary;
use super::{CheckpointError, Error, Event, Trainer};
use crate::metrics::RunningAuc;
use crate::tensor::{HostTensor, Tensors};

/// The tensor of a checkpoint that holds the running AUC.
const AUC: &str = "auc";

/// The folder of a run under way.
pub(super) struct Folder {
    journal: Journal,
    config: String,
    checkpoint: PathBuf,
    pub(super) model: PathBuf,
}

impl Folder {
    /// Opens a run's folder, and has the trainer go on from the checkpoint there if it is to.
    pub(super) fn open(t: &mut Trainer, out: &Path, files: &[FileSummary], resume: bool) -> Result<Self, Error> {
        let config = config(t, files);
        let checkpoint = out.join("checkpoint.safetensors");
        if resume {
            restore(t, &checkpoint, &config)?;
        } else if checkpoint.exists() {
            return Err(CheckpointError::Exists { path: checkpoint }.into());
        }
        fs::create_dir_all(out).map_err(|source| Error::Io {
            path: out.to_path_buf(),
            source,
        })?;
        Ok(Self {
            journal: Journal::open(out, t.progress.step)?,
            model: out.join("model.safetensors"),
            config,
            checkpoint,
        })
    }

    pub(super) fn write(&mut self, event: &Event) -> Result<(), Error> {
        self.journal.write(event)
    }

    /// Writes a checkpoint.
    pub(super) fn save(&self, t: &Trainer) -> Result<(), Error> {
        let mut tensors = t.engine.state();
        tensors.insert(AUC.to_owned(), t.auc.to_tensor());
        checkpoint::write(&self.checkpoint, &self.config, &t.progress, &tensors)
    }

    /// Draws what has been told so far.
    pub(super) fn draw(&self) -> Result<(), Error> {
        self.journal.draw()
    }
}

/// A hash of all that a run is a function of.
fn config(t: &Trainer, files: &[FileSummary]) -> String {
    let spec = serde_json::to_string(&(&t.spec, files)).expect("a specification is JSON");
    let mut hash = blake3::Hasher::new();
    for text in [env!("CARGO_PKG_VERSION"), &t.task.step.graph.to_string(), &spec] {
        hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hash.finalize().to_hex()[..32].to_owned()
}

fn restore(t: &mut Trainer, path: &Path, config: &str) -> Result<(), Error> {
    let (progress, mut tensors) = checkpoint::read(path, config)?;
    let damaged = |why: &str| CheckpointError::Damaged {
        path: path.to_path_buf(),
        why: why.to_owned(),
    };
    let auc = tensors.swap_remove(AUC).and_then(|t| RunningAuc::from_tensor(&t));
    t.auc = auc.ok_or_else(|| damaged("the running AUC is missing"))?;
    let mut state = Tensors::new();
    for (_, name, ty) in t.task.step.graph.params() {
        let fits = |t: &HostTensor| t.dtype() == ty.dtype && t.shape == ty.shape.per_row();
        let Some(tensor) = tensors.swap_remove(name).filter(fits) else {
            return Err(damaged(&format!("parameter `{name}` is missing or not {ty}")).into());
        };
        state.insert(name.to_owned(), tensor);
    }
    t.progress = progress;
    t.engine.restore(state)
}
