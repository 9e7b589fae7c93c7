//! Reading the JSON header: every cap and every rule of the format, each with its own error.

use std::collections::BTreeMap;
use std::fmt;

use safetensors::Dtype;
use serde::de::value::{Error as PlainError, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{Error, MAX_EXTENT, MAX_JSON_DEPTH, MAX_NAME, MAX_RANK, MAX_TENSORS};

const METADATA: &str = "__metadata__";

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

/// Deepest nesting of brackets outside strings: what a parser would recurse into.
#[must_use]
pub fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
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

#[derive(Default)]
struct Raw {
    tensors: BTreeMap<String, Info>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Extents,
    data_offsets: (u64, u64),
}

fn raw(text: &str) -> Result<Raw, Error> {
    let mut walk = Walk::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = (&mut walk).deserialize(&mut json).and_then(|()| json.end());
    match (walk.fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Ok(())) => Ok(walk.raw),
        (None, Err(e)) => Err(match walk.at {
            Some(key) if e.is_data() && key == METADATA => Error::Metadata { why: e.to_string() },
            Some(tensor) if e.is_data() => Error::Entry {
                tensor,
                why: e.to_string(),
            },
            _ => Error::HeaderNotJson { why: e.to_string() },
        }),
    }
}

/// The walk over the header's keys: what has been read, where it stands, and the fault that ended it.
#[derive(Default)]
struct Walk {
    raw: Raw,
    at: Option<String>,
    fault: Option<Error>,
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut described = false;
        while let Some(key) = map.next_key::<String>()? {
            if let Some(fault) = self.refuses(&key, described) {
                self.fault = Some(fault);
                return Err(de::Error::custom("refused"));
            }
            self.at = Some(key.clone());
            if key == METADATA {
                described = true;
                map.next_value_seed(Texts(self))?;
            } else {
                let info = map.next_value()?;
                self.raw.tensors.insert(key, info);
            }
            self.at = None;
        }
        Ok(())
    }
}

impl Walk {
    fn refuses(&self, key: &str, described: bool) -> Option<Error> {
        if key == METADATA {
            return described.then(|| Error::DuplicateKey { key: key.to_owned() });
        }
        if key.len() > MAX_NAME {
            return Some(Error::NameTooLong {
                start: key.chars().take(32).collect(),
                seen: key.len(),
            });
        }
        if key.chars().any(char::is_control) {
            return Some(Error::ControlInName { tensor: key.to_owned() });
        }
        if self.raw.tensors.contains_key(key) {
            return Some(Error::DuplicateTensor { tensor: key.to_owned() });
        }
        (self.raw.tensors.len() == MAX_TENSORS).then_some(Error::TooManyTensors)
    }
}

/// The metadata object: texts by key, each key once.
struct Texts<'a>(&'a mut Walk);

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, text)) = map.next_entry::<String, String>()? {
            if self.0.raw.metadata.insert(key.clone(), text).is_some() {
                self.0.fault = Some(Error::DuplicateKey { key });
                return Err(de::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// Extents of a shape: the first [`MAX_RANK`] kept, all counted, so that a long list costs nothing.
struct Extents {
    shape: Vec<u64>,
    rank: usize,
}

impl<'de> Deserialize<'de> for Extents {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Extents;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of extents")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Extents, A::Error> {
                let mut shape = Vec::with_capacity(MAX_RANK);
                while shape.len() < MAX_RANK {
                    match list.next_element()? {
                        Some(n) => shape.push(n),
                        None => break,
                    }
                }
                let mut rank = shape.len();
                while rank >= MAX_RANK && list.next_element::<IgnoredAny>()?.is_some() {
                    rank += 1;
                }
                Ok(Extents { shape, rank })
            }
        }
        json.deserialize_seq(List)
    }
}
