//! Writing the header in its one canonical form.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{Dtype, Error, Header, MAX_HEADER};

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Name.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Extents, outermost first.
    pub shape: &'a [usize],
    /// Elements, row-major, little-endian.
    pub bytes: &'a [u8],
}

/// Puts tensors into the order of a file: wide elements first, so that each is aligned to its own size, then by name.
pub fn canonical_order(tensors: &mut [View<'_>]) {
    tensors.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then(a.name.cmp(b.name)));
}

/// Everything before the data of a file that holds these tensors in this order: length, JSON, spaces up to a multiple
/// of 8.
///
/// # Errors
/// [`Error`] when a file so written could not be read again: a cap is exceeded or sizes disagree.
pub fn head(metadata: &BTreeMap<String, String>, tensors: &[View<'_>]) -> Result<Vec<u8>, Error> {
    let mut text =
        serde_json::to_vec(&Json { metadata, tensors }).map_err(|e| Error::HeaderNotJson { why: e.to_string() })?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let declared = text.len() as u64;
    if declared > MAX_HEADER {
        return Err(Error::HeaderTooLarge { declared });
    }
    Header::parse(&text, tensors.iter().map(|t| t.bytes.len() as u64).sum())?;
    let mut head = declared.to_le_bytes().to_vec();
    head.append(&mut text);
    Ok(head)
}

struct Json<'a> {
    metadata: &'a BTreeMap<String, String>,
    tensors: &'a [View<'a>],
}

#[derive(Serialize)]
struct Line<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: (usize, usize),
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let mut map = json.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry("__metadata__", self.metadata)?;
        }
        let mut begin = 0;
        for t in self.tensors {
            let end = begin + t.bytes.len();
            let line = Line {
                dtype: t.dtype,
                shape: t.shape,
                data_offsets: (begin, end),
            };
            map.serialize_entry(t.name, &line)?;
            begin = end;
        }
        map.end()
    }
}
