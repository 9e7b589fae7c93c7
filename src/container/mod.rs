//! The safetensors container, read as if by an enemy and written in one canonical form.
//!
//! A file is eight bytes of header length (little-endian), a JSON header, and tensors back to back. Reading checks the
//! whole header against the file's length before a byte is allocated for a tensor: the tensors must cover the data
//! exactly, each once, so that no byte of a file can mean two things or nothing. Writing sorts everything and pads
//! with spaces, so that equal contents are equal bytes.

mod atomic;
mod error;
mod header;
mod json;
mod write;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub use atomic::write_atomically;
pub use error::{Error, io_exit_code};
pub use header::{Entry, Header};
pub use json::json_depth;
pub use safetensors::Dtype;
pub use write::{View, canonical_order, head};

/// Longest header read or written. The format allows 100 MB; real ones are far below this.
pub const MAX_HEADER: u64 = 16 << 20;
/// Most tensors in a file.
pub const MAX_TENSORS: usize = 65_536;
/// Most axes of a tensor.
pub const MAX_RANK: usize = 8;
/// Greatest extent of an axis.
pub const MAX_EXTENT: u64 = 1 << 31;
/// Longest tensor name in bytes.
pub const MAX_NAME: usize = 1024;
/// Deepest nesting of JSON.
pub const MAX_JSON_DEPTH: usize = 32;

/// A container whose header has been read and found sound. Tensors come in the order of their data.
#[derive(Debug)]
pub struct Reader<R> {
    /// What the header says.
    pub header: Header,
    /// Everything before the data, as it was read: length, JSON, padding.
    pub head: Vec<u8>,
    source: R,
    next: usize,
}

impl Reader<BufReader<File>> {
    /// Opens a file. Anything but a regular file is refused before it is opened: a pipe would block, a device never end.
    ///
    /// # Errors
    /// Whatever [`Reader::new`] finds, and failures to open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(Error::NotAFile);
        }
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Self::new(BufReader::new(file), length)
    }
}

impl<R: Read> Reader<R> {
    /// Reads and checks the header of a container of `length` bytes.
    ///
    /// # Errors
    /// [`Error`] naming what is wrong and where.
    pub fn new(mut source: R, length: u64) -> Result<Self, Error> {
        let Some(left) = length.checked_sub(8) else {
            return Err(Error::TooShort { seen: length });
        };
        let mut head = vec![0; 8];
        source.read_exact(&mut head)?;
        let declared = head.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
        if declared > left {
            return Err(Error::HeaderBeyondFile { declared, left });
        }
        if declared > MAX_HEADER {
            return Err(Error::HeaderTooLarge { declared });
        }
        let seen = source.by_ref().take(declared).read_to_end(&mut head)? as u64;
        if seen < declared {
            return Err(Error::HeaderBeyondFile { declared, left: seen });
        }
        let header = Header::parse(&head[8..], left - declared)?;
        Ok(Self {
            header,
            head,
            source,
            next: 0,
        })
    }

    /// The next tensor and its bytes, or `None` after the last one.
    ///
    /// # Errors
    /// [`Error`] when the file has become shorter, cannot be read, or its tensor does not fit memory.
    pub fn next_tensor(&mut self) -> Result<Option<(&Entry, Vec<u8>)>, Error> {
        let Some(entry) = self.header.tensors.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let length = entry.end - entry.begin;
        let no_memory = || Error::Memory {
            tensor: entry.name.clone(),
            bytes: length,
        };
        let capacity = usize::try_from(length).map_err(|_| no_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| no_memory())?;
        self.source.by_ref().take(length).read_to_end(&mut bytes)?;
        if bytes.len() < capacity {
            return Err(Error::Truncated {
                tensor: entry.name.clone(),
                end: entry.end,
                data: entry.begin + bytes.len() as u64,
            });
        }
        Ok(Some((entry, bytes)))
    }
}
