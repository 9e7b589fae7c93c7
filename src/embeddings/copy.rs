//! A log sorted for reading: the embeddings of a history side by side, in a file that is mapped and not read.
//!
//! A safetensors file: `side.<name> i32[N]`, each, and `codes u8[N, bytes]`; its metadata name the log. It can be made again at any
//! time, and is when the log has grown.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use memmap2::Mmap;
use serde_json::json;

use super::{Error, Header, Log};
use crate::container::{Header as Tensors, Reader, write_atomically};

/// Rows of a log in another order, mapped.
#[derive(Debug)]
pub struct Sorted {
    map: Mmap,
    header: Header,
    log: String,
    rows: usize,
    /// Where the codes begin in the file, and the side columns.
    codes: usize,
    side: Vec<(String, usize)>,
}

/// Bytes of embeddings held at a time while a copy is made; a larger log is gone through several times.
const HELD: usize = 1 << 30;

impl Sorted {
    /// Makes a copy at `path`: row `i` of it is event `order[i]` of the log. An event may come several times or never.
    ///
    /// # Errors
    /// A log that cannot be read, an order that names events it does not have, the disk.
    pub fn build(path: &Path, log: &Log, order: &[u32]) -> Result<Self, Error> {
        Self::build_within(path, log, order, HELD)
    }

    /// The same, with that many bytes of embeddings in memory at a time, and at least a row.
    ///
    /// # Errors
    /// As [`Sorted::build`].
    pub fn build_within(path: &Path, log: &Log, order: &[u32], held: usize) -> Result<Self, Error> {
        if let Some(event) = order.iter().find(|event| **event as usize >= log.rows()) {
            return Err(Error::Beyond {
                what: "the order".to_owned(),
                seen: *event as usize,
                rows: log.rows(),
            });
        }
        let columns = log.columns()?;
        let bytes = log.header().storage.row_bytes(log.header().width);
        let head = head(log, order.len(), bytes).map_err(|source| Error::Container {
            path: path.into(),
            source,
        })?;
        let mut by_event: Vec<u32> = (0..order.len() as u32).collect();
        by_event.sort_unstable_by_key(|at| order[*at as usize]);
        // An error of the log inside the writing of the copy keeps its name.
        let mut failed = None;
        let written = write_atomically(path, |file| {
            file.write_all(&head)?;
            for (_, side) in &columns.side {
                let column: Vec<u8> = order.iter().flat_map(|e| side[*e as usize].to_le_bytes()).collect();
                file.write_all(&column)?;
            }
            blocks(file, log, (order, &by_event), bytes, held).map_err(|e| match e {
                Error::Io { source, .. } => source,
                e => io::Error::other(failed.insert(e).to_string()),
            })
        });
        match (written, failed) {
            (Ok(()), _) => Self::open(path),
            (Err(_), Some(e)) => Err(e),
            (Err(source), None) => Err(Error::Write {
                path: path.into(),
                bytes: (head.len() + order.len() * bytes) as u64,
                source,
            }),
        }
    }

    /// Maps a copy. The file must not be changed while it is mapped; copies are replaced, never rewritten.
    ///
    /// # Errors
    /// The file is none, is cut off, or cannot be mapped.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let reader = Reader::open(path).map_err(|source| Error::Container {
            path: path.into(),
            source,
        })?;
        let damaged = || Error::damaged(path, "is no sorted copy of a log of embeddings");
        let metadata = |key| reader.header.metadata.get(key).ok_or_else(damaged);
        let header: Header = serde_json::from_str(metadata("loopfm.sorted")?).map_err(|_| damaged())?;
        let log = metadata("loopfm.sorted.log")?.clone();
        let (mut side, mut codes) = (Vec::new(), None);
        for t in &reader.header.tensors {
            let at = reader.head.len() + t.begin as usize;
            match t.name.strip_prefix("side.") {
                Some(name) => side.push((name.to_owned(), at)),
                None => codes = Some((at, t.extents())),
            }
        }
        let Some((codes, extents)) = codes else {
            return Err(damaged());
        };
        if extents.get(1) != Some(&header.storage.row_bytes(header.width)) {
            return Err(damaged());
        }
        let file = File::open(path).map_err(Error::io(path))?;
        #[allow(
            unsafe_code,
            reason = "mapping a file: it is ours, complete when it gets its name, and never rewritten"
        )]
        // SAFETY: as the reason says; a file replaced keeps its mapped pages.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        if map.len() < codes + extents[0] * extents[1] {
            return Err(damaged());
        }
        Ok(Self {
            map,
            header,
            log,
            rows: extents[0],
            codes,
            side,
        })
    }

    /// What the log says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the log has grown since.
    #[must_use]
    pub fn is_of(&self, log: &Log) -> bool {
        self.log == log.version()
    }

    /// A row's embedding as stored.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn codes(&self, row: usize) -> &[u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let bytes = self.header.storage.row_bytes(self.header.width);
        &self.map[self.codes + row * bytes..][..bytes]
    }

    /// A side column, little-endian, one number a row.
    #[must_use]
    pub fn side(&self, name: &str) -> Option<&[[u8; 4]]> {
        let (_, at) = self.side.iter().find(|(side, _)| side == name)?;
        Some(self.map[*at..][..4 * self.rows].as_chunks().0)
    }
}

/// Writes all rows, as many at a time as may be held.
fn blocks(
    file: &mut dyn Write,
    log: &Log,
    (order, by_event): (&[u32], &[u32]),
    bytes: usize,
    held: usize,
) -> Result<(), Error> {
    let most = (held / bytes.max(1)).max(1);
    let mut codes = Vec::new();
    for from in (0..order.len()).step_by(most) {
        let to = order.len().min(from + most);
        let mut block = vec![0; (to - from) * bytes];
        let mut first = 0;
        for segment in log.segments() {
            codes.clear();
            log.codes(segment, &mut codes)?;
            let end = first + segment.rows;
            let place = |event: usize| by_event.partition_point(|at| (order[*at as usize] as usize) < event);
            for at in by_event[place(first)..place(end)].iter().map(|at| *at as usize) {
                if (from..to).contains(&at) {
                    let event = order[at] as usize - first;
                    block[(at - from) * bytes..][..bytes].copy_from_slice(&codes[event * bytes..][..bytes]);
                }
            }
            first = end;
        }
        file.write_all(&block).map_err(Error::io(Path::new("copy")))?;
    }
    Ok(())
}

/// The file's head, whose tensors follow later.
fn head(log: &Log, rows: usize, bytes: usize) -> Result<Vec<u8>, crate::container::Error> {
    let text = |x: &Header| serde_json::to_string(x).expect("names and numbers are JSON");
    let metadata = json!({ "loopfm.sorted": text(log.header()), "loopfm.sorted.log": log.version() });
    let mut tensors = serde_json::Map::from_iter([("__metadata__".to_owned(), metadata)]);
    let mut end = 0;
    let mut tensor = |name: String, dtype: &str, shape: &[usize], length: usize| {
        let line = json!({ "dtype": dtype, "shape": shape, "data_offsets": [end, end + length] });
        end += length;
        tensors.insert(name, line);
    };
    for name in &log.header().side {
        tensor(format!("side.{name}"), "I32", &[rows], 4 * rows);
    }
    tensor("codes".to_owned(), "U8", &[rows, bytes], rows * bytes);
    let mut text = serde_json::Value::Object(tensors).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Tensors::parse(&text, end as u64)?;
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.append(&mut text);
    Ok(head)
}
