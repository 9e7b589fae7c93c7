//! A checkpoint: one file, or the shards that an index names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::convert::{self, NonFinite};
use super::{CONFIG, Error, MODEL, index};
use crate::container::{self, Entry, Reader};
use crate::tensor::Tensors;

/// Longest JSON file read.
const MAX_JSON: u64 = container::MAX_HEADER;

/// A checkpoint whose headers are read and sound; its tensors still lie in its files.
#[derive(Debug)]
pub struct Checkpoint {
    /// The path that the user named.
    pub path: PathBuf,
    /// Free texts by key, of all shards together.
    pub metadata: BTreeMap<String, String>,
    /// Tensors that a graph may leave unused.
    pub spare: BTreeSet<String>,
    files: Vec<Shard>,
}

/// A file of a checkpoint.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) reader: Reader<BufReader<File>>,
}

impl Shard {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_path_buf();
        match Reader::open(&path) {
            Ok(reader) => Ok(Self { path, reader }),
            Err(source) => Err(Error::Container { path, source }),
        }
    }
}

impl Checkpoint {
    /// Opens a safetensors file, an `*.index.json`, or a folder that holds `model.safetensors.index.json` or
    /// `model.safetensors`.
    ///
    /// # Errors
    /// [`Error`] when a header is unsound or index and shards disagree.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_folder = fs::metadata(path).map_err(|source| io_error(path, source))?.is_dir();
        let mut named = path.to_path_buf();
        if is_folder {
            let candidates = ["model.safetensors.index.json", "model.safetensors"];
            let found = candidates.map(|c| path.join(c)).into_iter().find(|c| c.is_file());
            named = found.ok_or_else(|| Error::EmptyFolder {
                path: path.to_path_buf(),
            })?;
        }
        let mut files = if named.extension().is_some_and(|e| e == "json") {
            index::open(&named)?
        } else {
            vec![Shard::open(&named)?]
        };
        Ok(Self {
            metadata: index::joined_metadata(&mut files)?,
            path: path.to_path_buf(),
            spare: BTreeSet::new(),
            files,
        })
    }

    /// What the headers say of every tensor.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().flat_map(|f| &f.reader.header.tensors)
    }

    /// The model's name: metadata `loopfm.model`, else the name of the file or folder.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = || self.path.file_stem().map(|s| s.to_string_lossy().into_owned());
        self.metadata.get(MODEL).cloned().or_else(stem).unwrap_or_default()
    }

    /// The architecture's sizes and where they stand: metadata `loopfm.config`, else the file `config.json` beside.
    ///
    /// # Errors
    /// [`Error`] when the file exists and cannot be read.
    pub fn config(&self) -> Result<Option<(PathBuf, String)>, Error> {
        if let Some(text) = self.metadata.get(CONFIG) {
            return Ok(Some((self.path.clone(), text.clone())));
        }
        let folder = self.files.first().and_then(|f| f.path.parent());
        let path = folder.unwrap_or(Path::new("")).join("config.json");
        if path.exists() {
            let text = read_text(&path)?;
            Ok(Some((path, text)))
        } else {
            Ok(None)
        }
    }

    /// Reads every tensor.
    ///
    /// # Errors
    /// [`Error`] naming the tensor that cannot be read or converted.
    pub fn read(self) -> Result<Tensors, Error> {
        let mut tensors = Tensors::new();
        for Shard { path, mut reader } in self.files {
            let failed = |source| Error::Container {
                path: path.clone(),
                source,
            };
            while let Some((entry, bytes)) = reader.next_tensor().map_err(failed)? {
                tensors.insert(entry.name.clone(), convert::tensor(&path, entry, &bytes)?);
            }
        }
        Ok(tensors)
    }

    /// Reads every tensor of a model: none may hold an infinity or NaN.
    ///
    /// # Errors
    /// As [`Checkpoint::read`]; [`Error::NonFinite`] with every tensor that holds one.
    pub fn read_weights(self) -> Result<Tensors, Error> {
        let path = self.path.clone();
        let weights = self.read()?;
        let tensors: Vec<_> = weights.iter().filter_map(|(n, t)| NonFinite::find(n, t)).collect();
        if tensors.is_empty() {
            Ok(weights)
        } else {
            Err(Error::NonFinite { path, tensors })
        }
    }
}

/// The text of a JSON file of bounded length.
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |source| io_error(path, source);
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::Container {
            path: path.to_path_buf(),
            source: container::Error::NotAFile,
        });
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_JSON + 1).read_to_string(&mut text).map_err(failed)?;
    let refused = |why: String| Error::Json {
        path: path.to_path_buf(),
        why,
    };
    let depth = container::json_depth(&text);
    if text.len() as u64 > MAX_JSON {
        Err(refused(format!("longer than {MAX_JSON} bytes")))
    } else if depth > container::MAX_JSON_DEPTH {
        Err(refused(format!(
            "nests {depth} deep, at most {} is read",
            container::MAX_JSON_DEPTH
        )))
    } else {
        Ok(text)
    }
}

pub(super) fn io_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source,
    }
}
