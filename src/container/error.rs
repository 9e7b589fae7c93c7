//! What can be wrong with a container.

use std::io;

use super::{Dtype, MAX_EXTENT, MAX_HEADER, MAX_JSON_DEPTH, MAX_NAME, MAX_RANK, MAX_TENSORS};

/// A file that is not a sound safetensors container. Whoever opened it adds the file's name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not a regular file")]
    NotAFile,
    #[error("{seen} bytes long, a safetensors file starts with 8 bytes that give the header's length")]
    TooShort { seen: u64 },
    #[error("declares a header of {declared} bytes, {left} follow its length")]
    HeaderBeyondFile { declared: u64, left: u64 },
    #[error("declares a header of {declared} bytes, at most {MAX_HEADER} are read")]
    HeaderTooLarge { declared: u64 },
    #[error("header is not UTF-8 from its byte {at} on")]
    HeaderNotUtf8 { at: usize },
    #[error("header starts with {first:?}, not with `{{`")]
    HeaderStart { first: Option<char> },
    #[error("header nests {seen} deep, at most {MAX_JSON_DEPTH} is read")]
    TooDeep { seen: usize },
    #[error("header is not JSON: {why}")]
    HeaderNotJson { why: String },
    #[error("header metadata: {why}")]
    Metadata { why: String },
    #[error("metadata key `{key}` appears twice")]
    DuplicateKey { key: String },
    #[error("more than {MAX_TENSORS} tensors")]
    TooManyTensors,
    #[error("tensor `{tensor}` appears twice")]
    DuplicateTensor { tensor: String },
    #[error("tensor name `{start}..` is {seen} bytes long, at most {MAX_NAME} are read")]
    NameTooLong { start: String, seen: usize },
    #[error("tensor name {tensor:?} has a control character")]
    ControlInName { tensor: String },
    #[error("header entry of tensor `{tensor}`: {why}")]
    Entry { tensor: String, why: String },
    #[error("tensor `{tensor}` has unknown element type `{seen}`")]
    UnknownDtype { tensor: String, seen: String },
    #[error("tensor `{tensor}` has {seen} axes, at most {MAX_RANK} are read")]
    Rank { tensor: String, seen: usize },
    #[error("tensor `{tensor}`: extent {seen} of axis {axis} is above {MAX_EXTENT}")]
    Extent { tensor: String, axis: usize, seen: u64 },
    #[error("tensor `{tensor}`: {dtype} {shape:?} has more bytes than can be counted")]
    SizeOverflow {
        tensor: String,
        dtype: Dtype,
        shape: Vec<u64>,
    },
    #[error("tensor `{tensor}`: {dtype} {shape:?} does not end at a byte's boundary")]
    PartialByte {
        tensor: String,
        dtype: Dtype,
        shape: Vec<u64>,
    },
    #[error("tensor `{tensor}` ends at byte {end} of the data, before it begins at {begin}")]
    Backwards { tensor: String, begin: u64, end: u64 },
    #[error("tensor `{tensor}`: {dtype} {shape:?} is {expected} bytes, its offsets span {seen}")]
    Size {
        tensor: String,
        dtype: Dtype,
        shape: Vec<u64>,
        expected: u64,
        seen: u64,
    },
    #[error("tensor `{tensor}` begins at byte {begin} of the data, inside tensor `{other}`, which ends at {end}")]
    Overlap {
        tensor: String,
        begin: u64,
        other: String,
        end: u64,
    },
    #[error("bytes {from}..{to} of the data, before tensor `{tensor}`, belong to no tensor")]
    Hole { tensor: String, from: u64, to: u64 },
    #[error("tensor `{tensor}` ends at byte {end} of the data, the file holds {data}")]
    Truncated { tensor: String, end: u64, data: u64 },
    #[error("{bytes} bytes after the last tensor belong to no tensor")]
    Trailing { bytes: u64 },
    #[error("tensor `{tensor}` of {bytes} bytes does not fit memory")]
    Memory { tensor: String, bytes: u64 },
}

impl Error {
    /// Exit status of a command that fails with this: 4 for want of resources, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(e) => io_exit_code(e),
            Self::Memory { .. } => 4,
            _ => 1,
        }
    }
}

/// Exit status for an I/O failure: 1 where the path is at fault, 4 where the machine is.
#[must_use]
pub fn io_exit_code(e: &io::Error) -> u8 {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    match e.kind() {
        NotFound | PermissionDenied | IsADirectory | NotADirectory | InvalidInput => 1,
        _ => 4,
    }
}
