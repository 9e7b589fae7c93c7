//! Writing and reading the file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use indexmap::IndexMap;

use super::hash::tensor_digest;
use super::{Error, FORMAT, Manifest, Storage, StoredTensor, check, digest, is_note};
use crate::container::{Reader, View, canonical_order, head, write_atomically};

const KEY_FORMAT: &str = "loopfm.format";
const KEY_MANIFEST: &str = "loopfm.manifest";
const KEY_GRAPH: &str = "loopfm.graph";
const KEY_WGSL: &str = "loopfm.wgsl.";
const KEY_HASHES: &str = "loopfm.hashes";
const KEY_ROOT: &str = "loopfm.root";

/// A compiled model.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// What the rest is for.
    pub manifest: Manifest,
    /// The simplified graph's text.
    pub graph: String,
    /// Kernels' texts by their [`digest`].
    pub wgsl: IndexMap<String, String>,
    /// Weights by name.
    pub weights: IndexMap<String, StoredTensor>,
    /// What the model's file says beside, by metadata key ([`is_note`]): hashed as all else, and ignored by whoever does
    /// not know it.
    pub notes: BTreeMap<String, String>,
}

impl Bundle {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error`] when the parts contradict each other: a mistake of whoever made them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let (mut bytes, tensors) = self.parts(self.tensor_digests())?;
        for t in tensors {
            bytes.extend_from_slice(t.bytes);
        }
        Ok(bytes)
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// As [`Bundle::to_bytes`], and failures to write.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let write = || {
            let (head, tensors) = self.parts(self.tensor_digests())?;
            write_atomically(path, |file| {
                file.write_all(&head)?;
                tensors.iter().try_for_each(|t| file.write_all(t.bytes))
            })?;
            Ok(())
        };
        write().map_err(|e| at(path, e))
    }

    /// Reads a file and verifies all of it.
    ///
    /// # Errors
    /// [`Error`] naming the file and the section that is not what was written.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Reader::open(path)
            .map_err(Error::from)
            .and_then(Self::from_reader)
            .map_err(|e| at(path, e))
    }

    /// As [`Bundle::read`], from memory.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_reader(Reader::new(bytes, bytes.len() as u64)?)
    }

    /// BLAKE3 over all sections: the identity of the file, for whoever wants to pin it.
    ///
    /// # Errors
    /// As [`Bundle::to_bytes`].
    pub fn root(&self) -> Result<String, Error> {
        let mut metadata = self.metadata(self.tensor_digests())?;
        Ok(metadata.remove(KEY_ROOT).unwrap_or_default())
    }

    fn tensor_digests(&self) -> BTreeMap<String, String> {
        let tensors = self.weights.iter();
        tensors.map(|(n, t)| (tensor_section(n), tensor_digest(t))).collect()
    }

    /// Everything before the tensors, whose digests are given, and the tensors in the file's order.
    fn parts(&self, digests: BTreeMap<String, String>) -> Result<(Vec<u8>, Vec<View<'_>>), Error> {
        let mut tensors: Vec<View> = self.weights.iter().map(|(name, t)| view(name, t)).collect();
        canonical_order(&mut tensors);
        Ok((head(&self.metadata(digests)?, &tensors)?, tensors))
    }

    fn metadata(&self, digests: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
        check::bundle(self)?;
        let manifest = serde_json::to_string(&self.manifest).map_err(|e| section(KEY_MANIFEST, &e))?;
        // Numbers that JSON cannot hold would come back as something else.
        if serde_json::from_str::<Manifest>(&manifest).ok().as_ref() != Some(&self.manifest) {
            return Err(section(KEY_MANIFEST, &"it does not survive being written as JSON"));
        }
        let mut texts: BTreeMap<String, String> = self
            .wgsl
            .iter()
            .map(|(digest, text)| (format!("{KEY_WGSL}{digest}"), text.clone()))
            .collect();
        texts.extend(self.notes.clone());
        texts.insert(KEY_MANIFEST.to_owned(), manifest);
        texts.insert(KEY_GRAPH.to_owned(), self.graph.clone());
        let of_texts = texts.iter().map(|(key, text)| (key.clone(), digest(text)));
        let hashes: BTreeMap<String, String> = of_texts.chain(digests).collect();
        let hashes = serde_json::to_string(&hashes).map_err(|e| section(KEY_HASHES, &e))?;
        let format = FORMAT.to_string();
        texts.insert(KEY_ROOT.to_owned(), root(&format, &hashes));
        texts.insert(KEY_HASHES.to_owned(), hashes);
        texts.insert(KEY_FORMAT.to_owned(), format);
        Ok(texts)
    }

    fn from_reader<R: Read>(mut reader: Reader<R>) -> Result<Self, Error> {
        let metadata = std::mem::take(&mut reader.header.metadata);
        let (texts, hashes) = verified(metadata)?;
        let mut manifest = None;
        let mut graph = None;
        let mut wgsl = IndexMap::new();
        let mut notes = BTreeMap::new();
        for (key, text) in texts {
            match key.as_str() {
                KEY_MANIFEST => manifest = Some(serde_json::from_str(&text).map_err(|e| section(KEY_MANIFEST, &e))?),
                KEY_GRAPH => graph = Some(text),
                note if is_note(note) => drop(notes.insert(key, text)),
                _ => {
                    let digest = key.strip_prefix(KEY_WGSL).unwrap_or(&key).to_owned();
                    wgsl.insert(digest, text);
                }
            }
        }
        let bundle = Self {
            manifest: manifest.ok_or_else(|| missing(KEY_MANIFEST))?,
            graph: graph.ok_or_else(|| missing(KEY_GRAPH))?,
            wgsl,
            weights: weights(&mut reader, &hashes)?,
            notes,
        };
        let (head, _) = bundle.parts(hashes)?;
        match head.iter().zip(&reader.head).position(|(a, b)| a != b) {
            None if head.len() == reader.head.len() => Ok(bundle),
            at => Err(Error::Header {
                at: at.unwrap_or(head.len().min(reader.head.len())),
            }),
        }
    }
}

/// Texts of the sections and hashes of the tensors, after every text and the root have been found to match.
type Verified = (BTreeMap<String, String>, BTreeMap<String, String>);

fn verified(mut metadata: BTreeMap<String, String>) -> Result<Verified, Error> {
    let keys = [KEY_FORMAT, KEY_MANIFEST, KEY_HASHES, KEY_ROOT];
    if !keys.iter().any(|key| metadata.contains_key(*key)) {
        return Err(Error::NotABundle);
    }
    let mut take = |key| metadata.remove(key).ok_or_else(|| missing(key));
    let (format, text, seen) = (take(KEY_FORMAT)?, take(KEY_HASHES)?, take(KEY_ROOT)?);
    if format != FORMAT.to_string() {
        return Err(Error::Format { seen: format });
    }
    compare(KEY_ROOT, root(&format, &text), Some(seen))?;
    let mut hashes: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|e| section(KEY_HASHES, &e))?;
    for (key, text) in &metadata {
        let known = key == KEY_MANIFEST || key == KEY_GRAPH || key.starts_with(KEY_WGSL) || is_note(key);
        if !known {
            return Err(Error::Unexpected { section: key.clone() });
        }
        compare(key, digest(text), hashes.remove(key))?;
    }
    Ok((metadata, hashes))
}

fn weights<R: Read>(
    reader: &mut Reader<R>,
    hashes: &BTreeMap<String, String>,
) -> Result<IndexMap<String, StoredTensor>, Error> {
    let mut weights = IndexMap::new();
    while let Some((entry, bytes)) = reader.next_tensor()? {
        let name = entry.name.clone();
        let Some(storage) = Storage::of(entry.dtype) else {
            return Err(Error::Dtype {
                tensor: name,
                seen: entry.dtype.to_string(),
            });
        };
        let shape = entry.extents();
        let tensor = StoredTensor { storage, shape, bytes };
        let section = tensor_section(&name);
        compare(&section, tensor_digest(&tensor), hashes.get(&section).cloned())?;
        weights.insert(name, tensor);
    }
    match hashes
        .keys()
        .find(|key| !key.strip_prefix("tensor.").is_some_and(|n| weights.contains_key(n)))
    {
        Some(key) => Err(missing(key)),
        None => Ok(weights),
    }
}

fn compare(section: &str, seen: String, expected: Option<String>) -> Result<(), Error> {
    match expected {
        None => Err(Error::Unexpected {
            section: section.to_owned(),
        }),
        Some(expected) if expected != seen => Err(Error::Hash {
            section: section.to_owned(),
            seen,
            expected,
        }),
        Some(_) => Ok(()),
    }
}

fn root(format: &str, hashes: &str) -> String {
    digest(format!("loopfm bundle {format}\n{hashes}"))
}

fn tensor_section(name: &str) -> String {
    format!("tensor.{name}")
}

fn view<'a>(name: &'a str, t: &'a StoredTensor) -> View<'a> {
    View {
        name,
        dtype: t.storage.dtype(),
        shape: &t.shape,
        bytes: &t.bytes,
    }
}

fn section(section: &'static str, why: &dyn std::fmt::Display) -> Error {
    Error::Section {
        section,
        why: why.to_string(),
    }
}

fn missing(section: &str) -> Error {
    Error::Missing {
        section: section.to_owned(),
    }
}

fn at(path: &Path, source: Error) -> Error {
    Error::At {
        path: path.to_path_buf(),
        source: Box::new(source),
    }
}
