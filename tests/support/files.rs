//! Files made by hand: sound checkpoints, and ones that no writer would write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loopfm::bundle::StoredTensor;
use loopfm::container::{Dtype, View, canonical_order, head};
use loopfm::tensor::Tensors;

/// A container of this header text, whatever it says, and these bytes.
pub(crate) fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A sound safetensors file of these tensors: floats as F32, integers as I32, truth values as BOOL.
pub(crate) fn safetensors(metadata: &[(&str, &str)], tensors: &Tensors) -> Vec<u8> {
    let stored: Vec<_> = tensors.iter().map(|(n, t)| (n, StoredTensor::from_host(t))).collect();
    let mut views: Vec<View> = stored
        .iter()
        .map(|(name, t)| View {
            name,
            dtype: match t.storage.name() {
                "F32" => Dtype::F32,
                "I32" => Dtype::I32,
                _ => Dtype::BOOL,
            },
            shape: &t.shape,
            bytes: &t.bytes,
        })
        .collect();
    canonical_order(&mut views);
    let metadata: BTreeMap<_, _> = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let mut bytes = head(&metadata, &views).expect("the tensors are sound");
    views.iter().for_each(|v| bytes.extend(v.bytes));
    bytes
}

/// Writes a file into a folder.
pub(crate) fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    // Truncating a file makes some file systems wait for the disk.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, bytes).expect("a temporary folder can be written");
    path
}
