//! Reading the header's JSON without trusting its size, its depth or its keys.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::{Error, MAX_NAME, MAX_RANK, MAX_TENSORS};

const METADATA: &str = "__metadata__";

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

/// The header's JSON, of the right form and within the caps on numbers and names; nothing else is known of it.
#[derive(Default)]
pub(super) struct Raw {
    pub(super) tensors: BTreeMap<String, Info>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// A tensor's entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Info {
    pub(super) dtype: String,
    pub(super) shape: Extents,
    pub(super) data_offsets: (u64, u64),
}

/// Reads the JSON: every name once, no key that the format lacks.
pub(super) fn raw(text: &str) -> Result<Raw, Error> {
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
pub(super) struct Extents {
    pub(super) shape: Vec<u64>,
    pub(super) rank: usize,
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
