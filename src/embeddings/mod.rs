//! The embedding log: what a foundation model made of past events, compressed, in a folder.
//!
//! A folder holds `manifest.jsonl`, segments as Parquet files that never change, and `lock`, by which at most one
//! [`Writer`] works on it. A segment belongs to the log once the manifest has a line with its BLAKE3: it is written to a
//! temporary file, flushed to the disk, renamed, the folder flushed, the line appended and flushed. Whatever ends a
//! writer, the next one finds what was appended so far, removes what was half done, and ends with the same bytes as one
//! that was never interrupted. [`Log`] reads without a lock.
//!
//! A log belongs to one model, whose fingerprint every segment bears; another one's embeddings are refused. So are those of
//! events that the model was trained on.
//!
//! For training, [`Sorted`] is a copy of a log in the order of histories, mapped, and [`Gatherer`] fills batches from it.

mod copy;
mod error;
mod form;
mod gather;
mod lock;
mod log;
mod manifest;
mod segment;
mod storage;
mod writer;

pub use copy::Sorted;
pub use error::Error;
pub use form::Form;
pub use gather::Gatherer;
pub use log::Log;
pub use manifest::{Committed, Header};
pub use segment::{Columns, Segment};
pub use storage::{Decoder, Storage};
pub use writer::Writer;
