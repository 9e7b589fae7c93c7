//! Checkpoints: everything that a run goes on from, in one file that is whole or not there.
//!
//! A safetensors file. Its tensors are the parameters of the step graph, weights and optimiser state alike, and the
//! counts of the running AUC; its metadata says where the run stands ([`Progress`]), what made it, and whose it is (a hash
//! of the configuration: step graph, data and settings), and a hash of all of it tells a damaged file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CheckpointError, Cursor, Error};
use crate::bundle::{Storage, StoredTensor};
use crate::container::{Dtype, View, canonical_order, head, write_atomically};
use crate::import::{self, Checkpoint};
use crate::tensor::{Data, Tensors};

/// The format written and read.
const FORMAT: &str = "2";
const FORMAT_KEY: &str = "loopfm.checkpoint";
const CONFIG_KEY: &str = "loopfm.checkpoint.config";
const DEVICE_KEY: &str = "loopfm.checkpoint.device";
const PROGRESS_KEY: &str = "loopfm.checkpoint.progress";
const DIGEST_KEY: &str = "loopfm.checkpoint.digest";

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done. The generator of random numbers is a function of the seed and this.
    pub step: u64,
    /// Rows seen, each epoch anew.
    pub rows: u64,
    /// The next batch's place in the data.
    pub cursor: Cursor,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Validations since then.
    pub stale: u64,
    /// After which step the last validation was.
    pub validated: u64,
    /// Whether the run has come to its end.
    pub finished: bool,
}

/// A validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After which step.
    pub step: u64,
    /// Its AUC.
    pub auc: f64,
    /// Its mean logistic loss.
    pub log_loss: f64,
}

/// What a checkpoint says besides its tensors.
pub(super) struct Head {
    /// Hash of the configuration.
    pub(super) config: String,
    /// What ran the steps.
    pub(super) device: String,
    pub(super) progress: Progress,
}

/// Writes a checkpoint over the former one.
pub(super) fn write(path: &Path, head: &Head, tensors: &Tensors) -> Result<(), Error> {
    let progress = json(&head.progress);
    let metadata = BTreeMap::from([
        (FORMAT_KEY.to_owned(), FORMAT.to_owned()),
        (CONFIG_KEY.to_owned(), head.config.clone()),
        (DEVICE_KEY.to_owned(), head.device.clone()),
        (DIGEST_KEY.to_owned(), digest([&head.device, &progress], tensors)),
        (PROGRESS_KEY.to_owned(), progress),
    ]);
    write_tensors(path, &metadata, tensors)
}

/// Reads a checkpoint of the run with this configuration.
pub(super) fn read(path: &Path, config: &str) -> Result<(Head, Tensors), CheckpointError> {
    if !path.exists() {
        return Err(CheckpointError::Absent { path: path.into() });
    }
    let checkpoint = Checkpoint::open(path)?;
    let path = || PathBuf::from(path);
    let metadata = |key: &'static str| match checkpoint.metadata.get(key) {
        Some(text) => Ok(text.clone()),
        None => Err(CheckpointError::NotOne { path: path(), key }),
    };
    let format = metadata(FORMAT_KEY)?;
    if format != FORMAT {
        return Err(CheckpointError::Format {
            path: path(),
            seen: format,
            expected: FORMAT,
        });
    }
    let seen = metadata(CONFIG_KEY)?;
    if seen != config {
        return Err(CheckpointError::Other {
            path: path(),
            seen,
            expected: config.to_owned(),
        });
    }
    let (text, device, written) = (metadata(PROGRESS_KEY)?, metadata(DEVICE_KEY)?, metadata(DIGEST_KEY)?);
    let damaged = |why: String| CheckpointError::Damaged { path: path(), why };
    let progress = serde_json::from_str(&text).map_err(|e| damaged(format!("metadata `{PROGRESS_KEY}`: {e}")))?;
    let tensors = checkpoint.read()?;
    let head = Head {
        config: seen,
        progress,
        device,
    };
    match digest([&head.device, &text], &tensors) == written {
        true => Ok((head, tensors)),
        false => Err(damaged("its tensors are not those that were written".to_owned())),
    }
}

/// A hash of all that a checkpoint holds.
fn digest(texts: [&str; 2], tensors: &Tensors) -> String {
    let mut hash = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    texts.iter().for_each(|text| part(text.as_bytes()));
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort_unstable();
    for name in names {
        let tensor = &tensors[name];
        part(format!("{name} {}{:?}", tensor.dtype(), tensor.shape).as_bytes());
        match &tensor.data {
            Data::F32(x) => part(bytemuck::cast_slice(x)),
            Data::I32(x) => part(bytemuck::cast_slice(x)),
            Data::Bool(x) => part(&x.iter().map(|x| u8::from(*x)).collect::<Vec<u8>>()),
        }
    }
    hash.finalize().to_hex()[..32].to_owned()
}

/// Writes tensors, floats as F32, whole or not at all.
pub(super) fn write_tensors(path: &Path, metadata: &BTreeMap<String, String>, tensors: &Tensors) -> Result<(), Error> {
    let stored: Vec<_> = tensors.iter().map(|(n, t)| (n, StoredTensor::from_host(t))).collect();
    let mut views: Vec<View<'_>> = stored.iter().map(view).collect();
    canonical_order(&mut views);
    let head = head(metadata, &views).map_err(|source| Error::Write {
        path: path.to_path_buf(),
        source,
    })?;
    write_atomically(path, |file| {
        file.write_all(&head)?;
        views.iter().try_for_each(|v| file.write_all(v.bytes))
    })
    .map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })
}

/// Writes a model as a file that `loopfm-compile` takes, with notes ([`crate::bundle::is_note`]) that its bundle will bear.
///
/// # Errors
/// [`Error::Write`], [`Error::Io`].
pub fn save(path: &Path, model: &import::Model, notes: &BTreeMap<String, String>) -> Result<(), Error> {
    write_model(
        path,
        &model.name,
        (&model.graph.to_string(), None),
        notes,
        &model.weights,
    )
}

/// The graph's weights as a file that `loopfm-compile` takes; `config` is the architecture that the graph was built by,
/// `carried` what else the file says.
pub(super) fn write_model(
    path: &Path,
    name: &str,
    (graph, config): (&str, Option<&str>),
    carried: &BTreeMap<String, String>,
    weights: &Tensors,
) -> Result<(), Error> {
    let mut metadata = carried.clone();
    metadata.extend([
        (import::FORMAT.to_owned(), "1".to_owned()),
        (import::GRAPH.to_owned(), graph.to_owned()),
        (import::MODEL.to_owned(), name.to_owned()),
        (
            "loopfm.source".to_owned(),
            format!("loopfm {}, trained", env!("CARGO_PKG_VERSION")),
        ),
    ]);
    metadata.extend(config.map(|text| (import::CONFIG.to_owned(), text.to_owned())));
    write_tensors(path, &metadata, weights)
}

fn view<'a>((name, t): &'a (&String, StoredTensor)) -> View<'a> {
    View {
        name,
        dtype: dtype(t.storage),
        shape: &t.shape,
        bytes: &t.bytes,
    }
}

fn dtype(storage: Storage) -> Dtype {
    match storage {
        Storage::F16 => Dtype::F16,
        Storage::F32 => Dtype::F32,
        Storage::I32 => Dtype::I32,
        Storage::Bool => Dtype::BOOL,
    }
}

fn json<T: Serialize>(x: &T) -> String {
    serde_json::to_string(x).expect("numbers and names are JSON")
}
