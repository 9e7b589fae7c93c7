//! The bundle: one safetensors file that holds weights, manifest, graph and kernels.
//!
//! Equal bundles are equal bytes, and every byte of a file is vouched for: sections by their own BLAKE3, these by the
//! root, the header by being written again. What [`Bundle::read`] returns is what [`Bundle::write`] was given.

mod check;
mod error;
mod file;
mod hash;
mod manifest;
mod names;
mod repack;
mod stored;
mod vouched;

/// Metadata key of what makes a model's inputs of raw rows.
pub const FEATURES: &str = "loopfm.features";

/// Note: the time of the last event that the model has learnt from, ms since 1970.
pub const NOTE_CUTOFF: &str = "loopfm.note.cutoff";
/// Note: the fingerprint of the foundation model whose embeddings the model reads.
pub const NOTE_FM: &str = "loopfm.note.fm";
/// Note: of which past events histories are made, as JSON.
pub const NOTE_HISTORY: &str = "loopfm.note.history";

/// Whether a metadata key of a model's file is one that its bundle takes over as it is: [`FEATURES`], and those that
/// start with `loopfm.note.`.
#[must_use]
pub fn is_note(key: &str) -> bool {
    key == FEATURES || key.starts_with("loopfm.note.")
}

pub use error::Error;
pub use file::Bundle;
pub use hash::{digest, fingerprint};
pub use manifest::{
    Binding, CAPACITY_STEP, FORMAT, Flops, IdCheck, Kernel, Layout, Linear, Manifest, Needs, Placement, Port,
    Precision, Rung, Slot, Space, TEXELS, Variant,
};
pub use repack::{repack, repacked_words};
pub use stored::{Storage, StoredTensor};
pub use vouched::Vouched;
