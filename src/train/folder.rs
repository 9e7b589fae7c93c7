//! The folder of a run: checkpoints, the model so far, and what the run has told.

use std::fs;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Head};
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
    /// The one before it.
    former: PathBuf,
    /// Whether what now is the checkpoint is worth keeping when the next one is written.
    sound: bool,
    pub(super) model: PathBuf,
    /// What made the checkpoint that the run goes on from, where that is not what runs it now.
    pub(super) before: Option<String>,
}

impl Folder {
    /// Opens a run's folder, and has the trainer go on from the checkpoint there if it is to.
    pub(super) fn open(t: &mut Trainer, out: &Path, files: &[FileSummary], resume: bool) -> Result<Self, Error> {
        let config = config(t, files);
        let [checkpoint, former] = ["checkpoint.safetensors", "checkpoint.1.safetensors"].map(|name| out.join(name));
        let (mut sound, mut before) = (true, None);
        if resume {
            let device;
            (sound, device) = restore_either(t, &checkpoint, &former, &config)?;
            before = Some(device).filter(|device| *device != t.engine.device());
        } else if let Some(path) = [&checkpoint, &former].into_iter().find(|path| path.exists()) {
            return Err(CheckpointError::Exists { path: path.clone() }.into());
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
            former,
            sound,
            before,
        })
    }

    pub(super) fn write(&mut self, event: &Event) -> Result<(), Error> {
        self.journal.write(event)
    }

    /// Writes a checkpoint and keeps the one before it.
    pub(super) fn save(&mut self, t: &Trainer) -> Result<(), Error> {
        let mut tensors = t.engine.state()?;
        tensors.insert(AUC.to_owned(), t.auc.to_tensor());
        if self.sound && self.checkpoint.exists() {
            keep(&self.checkpoint, &self.former).map_err(|source| Error::Io {
                path: self.former.clone(),
                source,
            })?;
        }
        self.sound = true;
        let head = Head {
            config: self.config.clone(),
            device: t.engine.device(),
            progress: t.progress.clone(),
        };
        checkpoint::write(&self.checkpoint, &head, &tensors)
    }

    /// Draws what has been told so far.
    pub(super) fn draw(&self) -> Result<(), Error> {
        self.journal.draw()
    }
}

/// Has a file under another name too, so that there is no moment without it; where a file cannot have two, it is renamed.
fn keep(file: &Path, name: &Path) -> std::io::Result<()> {
    match fs::remove_file(name) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::hard_link(file, name).or_else(|_| fs::rename(file, name))
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

/// Goes on from the newer checkpoint, else from the one before it, and says so. Whether it was the newer one, and what made
/// it.
fn restore_either(t: &mut Trainer, newer: &Path, older: &Path, config: &str) -> Result<(bool, String), Error> {
    let error = match restore(t, newer, config) {
        Ok(device) => return Ok((true, device)),
        Err(error) => error,
    };
    let is_damage = match &error {
        Error::Checkpoint(e) => match e {
            CheckpointError::Read(_)
            | CheckpointError::NotOne { .. }
            | CheckpointError::Damaged { .. }
            | CheckpointError::Absent { .. } => true,
            CheckpointError::Format { .. } | CheckpointError::Other { .. } | CheckpointError::Exists { .. } => false,
        },
        _ => false,
    };
    let device = match is_damage.then(|| restore(t, older, config)) {
        Some(Ok(device)) => device,
        _ => return Err(error),
    };
    let (path, step) = (older.display(), t.progress.step);
    t.notes
        .push(format!("{error}; going on from `{path}`, after step {step}, instead"));
    Ok((false, device))
}

/// Takes up a checkpoint; what made it.
fn restore(t: &mut Trainer, path: &Path, config: &str) -> Result<String, Error> {
    let (head, mut tensors) = checkpoint::read(path, config)?;
    let damaged = |why: &str| CheckpointError::Damaged {
        path: path.to_path_buf(),
        why: why.to_owned(),
    };
    let auc = tensors.swap_remove(AUC).and_then(|t| RunningAuc::from_tensor(&t));
    let auc = auc.ok_or_else(|| damaged("the running AUC is missing"))?;
    let mut state = Tensors::new();
    for (_, name, ty) in t.task.step.graph.params() {
        let fits = |t: &HostTensor| t.dtype() == ty.dtype && t.shape == ty.shape.per_row();
        let Some(tensor) = tensors.swap_remove(name).filter(fits) else {
            return Err(damaged(&format!("parameter `{name}` is missing or not {ty}")).into());
        };
        state.insert(name.to_owned(), tensor);
    }
    t.engine.restore(state)?;
    t.auc = auc;
    t.progress = head.progress;
    Ok(head.device)
}
