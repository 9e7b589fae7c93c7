//! Compression of embeddings: what storage and width cost, and baselines to compare a trained encoder with.
//!
//! - [`fit`] makes a [`Storage`] of a form for a sample of elements, by [`int8_scale`] and [`codebook`](fn@codebook).
//! - [`pack`](fn@pack) makes codes where a model runs, and [`unpacked`] takes them apart.
//! - [`Pca`] is the plain baseline of an autoencoder: linear, and without training.
//! - [`report`](fn@report) tells for every storage and prefix of an embedding how many bytes an impression takes and how much is lost.

mod codebook;
mod pack;
mod pca;
mod report;

pub use codebook::{SAMPLE, codebook, fit, int8_scale};
pub use pack::{guarded, pack, unpacked};
pub use pca::Pca;
pub use report::{Line, Rebuild, Report, report};

#[cfg(doc)]
use crate::embeddings::Storage;

/// What cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("{seen} elements are no rows of {width}")]
    Rows { seen: usize, width: usize },
    #[error("`{name}` is {seen}, it must be within 1..={most}")]
    Setting {
        name: &'static str,
        seen: usize,
        most: usize,
    },
    #[error("row {row}, element {element} is {seen:?}, which is no finite number")]
    NonFinite { row: usize, element: usize, seen: f32 },
    #[error(transparent)]
    Storage(#[from] crate::embeddings::Error),
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        1
    }
}

/// Whether these are rows of finite numbers, at least one.
fn check(values: &[f32], width: usize) -> Result<(), Error> {
    if width == 0 || values.is_empty() || !values.len().is_multiple_of(width) {
        return Err(Error::Rows {
            seen: values.len(),
            width,
        });
    }
    match values.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::NonFinite {
            row: at / width,
            element: at % width,
            seen: values[at],
        }),
        None => Ok(()),
    }
}
