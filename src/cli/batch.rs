//! Batches in files.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;

use super::report::Error;
use crate::bundle::{Storage, StoredTensor};
use crate::container::{Dtype, View, canonical_order, head, write_atomically};
use crate::import;
use crate::tensor::{HostTensor, Tensors};

/// The tensors whose names begin with `prefix`, without it.
pub(super) fn with_prefix(tensors: &Tensors, prefix: &str) -> Tensors {
    let named = |(name, t): (&String, &HostTensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
    tensors.iter().filter_map(named).collect()
}

/// Reads a batch: the tensors `in.*` where there are any, else all.
pub(super) fn read(path: &Path) -> Result<Tensors, Error> {
    let (tensors, _) = import::read_tensors(path)?;
    let inputs = with_prefix(&tensors, "in.");
    Ok(if inputs.is_empty() { tensors } else { inputs })
}

/// Writes tensors whole or not at all.
pub(super) fn write(path: &Path, tensors: &Tensors) -> Result<(), Error> {
    let stored: IndexMap<_, _> = tensors
        .iter()
        .map(|(n, t)| (n.clone(), StoredTensor::from_host(t)))
        .collect();
    write_stored(path, &stored)
}

/// As [`write()`], in the types that they are stored in.
pub(super) fn write_stored(path: &Path, tensors: &IndexMap<String, StoredTensor>) -> Result<(), Error> {
    let mut views = Vec::new();
    for (name, t) in tensors {
        let dtype = match t.storage {
            Storage::F16 => Dtype::F16,
            Storage::F32 => Dtype::F32,
            Storage::I32 => Dtype::I32,
            Storage::Bool => Dtype::BOOL,
        };
        let (shape, bytes) = (&t.shape[..], &t.bytes[..]);
        views.push(View {
            name,
            dtype,
            shape,
            bytes,
        });
    }
    canonical_order(&mut views);
    let head = head(&BTreeMap::new(), &views).map_err(|e| Error::Refused(format!("`{}`: {e}", path.display())))?;
    write_atomically(path, |file| {
        file.write_all(&head)?;
        views.iter().try_for_each(|v| file.write_all(v.bytes))
    })
    .map_err(|e| Error::io(path, e))
}
