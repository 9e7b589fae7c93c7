//! What a run keeps of finished work: one file each, whole or not there, under a hash of all that it is a function of.

use std::collections::BTreeMap;
use std::path::Path;

use super::Error;
use super::student::{Course, Learnt};
use super::teacher::Taught;
use crate::container::{self, Dtype, View, write_atomically};
use crate::import;
use crate::tensor::{HostTensor, Tensors};

const HASH: &str = "loopfm.hash";
const COURSE: &str = "loopfm.course";
const CUTOFFS: &str = "loopfm.cutoffs";
const FMS: &str = "loopfm.fms";

/// Writes tensors and words about them.
fn write(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    tensors: &[(&str, Dtype, Vec<usize>, &[u8])],
) -> Result<(), Error> {
    let mut views: Vec<View<'_>> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| View {
            name,
            dtype: *dtype,
            shape,
            bytes,
        })
        .collect();
    container::canonical_order(&mut views);
    let head = container::head(metadata, &views).map_err(|source| Error::Write {
        path: path.to_path_buf(),
        source,
    })?;
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    write_atomically(path, |file| {
        file.write_all(&head)?;
        views.iter().try_for_each(|view| file.write_all(view.bytes))
    })
    .map_err(io)
}

/// The tensors of a file, if it is there and of this hash. What is damaged is made anew.
fn read(path: &Path, hash: &str) -> Option<(Tensors, BTreeMap<String, String>)> {
    let (tensors, metadata) = import::read_tensors(path).ok()?;
    (metadata.get(HASH).is_some_and(|h| h == hash)).then_some((tensors, metadata))
}

fn floats(tensors: &Tensors, name: &str) -> Option<Vec<f32>> {
    tensors.get(name).and_then(HostTensor::as_f32).map(<[f32]>::to_vec)
}

impl Taught {
    pub(super) fn write(&self, path: &Path, hash: &str) -> Result<(), Error> {
        let wrong = |e: serde_json::Error| Error::Declared { why: e.to_string() };
        let cutoffs = serde_json::to_string(&self.cutoffs).map_err(wrong)?;
        let fms = serde_json::to_string(&self.fms).map_err(wrong)?;
        let metadata = [(HASH, hash.to_owned()), (CUTOFFS, cutoffs), (FMS, fms)];
        let metadata = metadata.map(|(key, text)| (key.to_owned(), text)).into();
        let rows = self.version.len();
        let item_width = self.items.len() / rows.max(1);
        let mut tensors = vec![
            (
                "embeddings",
                Dtype::F32,
                vec![rows, self.width],
                bytemuck::cast_slice(&self.embeddings),
            ),
            ("score", Dtype::F32, vec![rows], bytemuck::cast_slice(&self.score)),
            ("version", Dtype::I32, vec![rows], bytemuck::cast_slice(&self.version)),
        ];
        if item_width > 0 {
            tensors.push((
                "items",
                Dtype::F32,
                vec![rows, item_width],
                bytemuck::cast_slice(&self.items),
            ));
        }
        write(path, &metadata, &tensors)
    }

    pub(super) fn read(path: &Path, hash: &str) -> Option<Self> {
        let (tensors, metadata) = read(path, hash)?;
        Some(Self {
            width: *tensors.get("embeddings")?.shape.get(1)?,
            embeddings: floats(&tensors, "embeddings")?,
            score: floats(&tensors, "score")?,
            version: tensors.get("version")?.as_i32()?.to_vec(),
            cutoffs: serde_json::from_str(metadata.get(CUTOFFS)?).ok()?,
            items: floats(&tensors, "items").unwrap_or_default(),
            fms: serde_json::from_str(metadata.get(FMS)?).ok()?,
        })
    }
}

impl Learnt {
    pub(super) fn write(&self, path: &Path, hash: &str) -> Result<(), Error> {
        let course = serde_json::to_string(&self.course).map_err(|e| Error::Declared { why: e.to_string() })?;
        let metadata = BTreeMap::from([(HASH.to_owned(), hash.to_owned()), (COURSE.to_owned(), course)]);
        let logits = (
            "logits",
            Dtype::F32,
            vec![self.logits.len()],
            bytemuck::cast_slice(&self.logits),
        );
        write(path, &metadata, &[logits])
    }

    pub(super) fn read(path: &Path, hash: &str) -> Option<Self> {
        let (tensors, metadata) = read(path, hash)?;
        let course: Course = serde_json::from_str(metadata.get(COURSE)?).ok()?;
        Some(Self {
            logits: floats(&tensors, "logits")?,
            course,
        })
    }
}
