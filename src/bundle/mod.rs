//! The bundle: one safetensors file that holds weights, manifest, graph and kernels.
//!
//! Equal bundles are equal bytes, and every byte of a file is vouched for: sections by their own BLAKE3, these by the
//! root, the header by being written again. What [`Bundle::read`] returns is what [`Bundle::write`] was given.

mod check;
mod error;
mod file;
mod hash;
mod manifest;
mod repack;
mod stored;

pub use error::Error;
pub use file::Bundle;
pub use hash::{digest, fingerprint};
pub use manifest::{
    Binding, CAPACITY_STEP, FORMAT, Flops, IdCheck, Kernel, Layout, Linear, Manifest, Needs, Placement, Port,
    Precision, Rung, Slot, Space, Variant,
};
pub use repack::{repack, repacked_words};
pub use stored::{Storage, StoredTensor};
