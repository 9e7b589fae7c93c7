//! BLAKE3 of sections, framed so that no two different contents feed the same bytes.

use blake3::Hasher;
use indexmap::IndexMap;

use super::StoredTensor;

/// BLAKE3 of a text or bytes, in hexadecimal.
#[must_use]
pub fn digest(bytes: impl AsRef<[u8]>) -> String {
    blake3::hash(bytes.as_ref()).to_hex().to_string()
}

/// BLAKE3 of a graph's text and of its weights as stored, whatever their order: equal models, equal fingerprints.
#[must_use]
pub fn fingerprint(graph: &str, tensors: &IndexMap<String, StoredTensor>) -> String {
    let mut hasher = Hasher::new();
    framed(&mut hasher, graph.as_bytes());
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (name, tensor) in sorted {
        framed(&mut hasher, name.as_bytes());
        framed(&mut hasher, tensor_digest(tensor).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// BLAKE3 of a tensor's type, shape and elements.
pub(super) fn tensor_digest(tensor: &StoredTensor) -> String {
    let mut hasher = Hasher::new();
    framed(&mut hasher, tensor.storage.name().as_bytes());
    hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
    for extent in &tensor.shape {
        hasher.update(&(*extent as u64).to_le_bytes());
    }
    framed(&mut hasher, &tensor.bytes);
    hasher.finalize().to_hex().to_string()
}

fn framed(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
