//! What a header must fulfil: every cap and every rule of the format, each with its own error.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as PlainError, StrDeserializer};

use super::json::{Extents, Info, json_depth, raw};
use super::{Error, MAX_EXTENT, MAX_JSON_DEPTH, MAX_RANK};

/// A sound header: the tensors cover the data exactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Tensors in the order of their data.
    pub tensors: Vec<Entry>,
    /// Free texts by key.
    pub metadata: BTreeMap<String, String>,
}

/// A tensor's line in the header.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Element type in the file.
    pub dtype: Dtype,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// First byte of the data section.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Entry {
    /// The extents as host sizes; exact, for every extent has been checked against [`MAX_EXTENT`].
    #[must_use]
    pub fn extents(&self) -> Vec<usize> {
        self.shape.iter().map(|&n| n as usize).collect()
    }
}

impl Header {
    /// Checks the JSON `text` of a header that precedes `data` bytes.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(text: &[u8], data: u64) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|e| Error::HeaderNotUtf8 { at: e.valid_up_to() })?;
        if !text.starts_with('{') {
            return Err(Error::HeaderStart {
                first: text.chars().next(),
            });
        }
        let seen = json_depth(text);
        if seen > MAX_JSON_DEPTH {
            return Err(Error::TooDeep { seen });
        }
        let raw = raw(text)?;
        let mut tensors = Vec::with_capacity(raw.tensors.len());
        for (name, info) in raw.tensors {
            tensors.push(entry(name, info)?);
        }
        tensors.sort_by(|a, b| (a.begin, a.end, &a.name).cmp(&(b.begin, b.end, &b.name)));
        covers(&tensors, data)?;
        Ok(Self {
            tensors,
            metadata: raw.metadata,
        })
    }
}

fn entry(name: String, info: Info) -> Result<Entry, Error> {
    let Extents { shape, rank } = info.shape;
    let (begin, end) = info.data_offsets;
    if rank > MAX_RANK {
        return Err(Error::Rank {
            tensor: name,
            seen: rank,
        });
    }
    if let Some(axis) = shape.iter().position(|&n| n > MAX_EXTENT) {
        return Err(Error::Extent {
            tensor: name,
            axis,
            seen: shape[axis],
        });
    }
    let named: StrDeserializer<PlainError> = info.dtype.as_str().into_deserializer();
    let Ok(dtype) = Dtype::deserialize(named) else {
        return Err(Error::UnknownDtype {
            tensor: name,
            seen: info.dtype,
        });
    };
    // An empty tensor must not hide extents whose product nobody can count.
    let nonzero = shape
        .iter()
        .try_fold(dtype.bitsize() as u64, |bits, &n| bits.checked_mul(n.max(1)));
    let bits = nonzero.map(|bits| if shape.contains(&0) { 0 } else { bits });
    match bits {
        None => Err(Error::SizeOverflow {
            tensor: name,
            dtype,
            shape,
        }),
        Some(bits) if bits % 8 != 0 => Err(Error::PartialByte {
            tensor: name,
            dtype,
            shape,
        }),
        Some(_) if end < begin => Err(Error::Backwards {
            tensor: name,
            begin,
            end,
        }),
        Some(bits) if bits / 8 != end - begin => Err(Error::Size {
            tensor: name,
            dtype,
            shape,
            expected: bits / 8,
            seen: end - begin,
        }),
        Some(_) => Ok(Entry {
            name,
            dtype,
            shape,
            begin,
            end,
        }),
    }
}

/// Whether the tensors, sorted by their offsets, follow each other without a gap from the first byte to the last.
fn covers(tensors: &[Entry], data: u64) -> Result<(), Error> {
    let mut covered = 0;
    let mut last = "";
    for t in tensors {
        let tensor = t.name.clone();
        if t.begin < covered {
            return Err(Error::Overlap {
                tensor,
                begin: t.begin,
                other: last.to_owned(),
                end: covered,
            });
        }
        if t.begin > covered {
            return Err(Error::Hole {
                tensor,
                from: covered,
                to: t.begin,
            });
        }
        if t.end > data {
            return Err(Error::Truncated {
                tensor,
                end: t.end,
                data,
            });
        }
        covered = t.end;
        last = &t.name;
    }
    if covered < data {
        return Err(Error::Trailing { bytes: data - covered });
    }
    Ok(())
}
