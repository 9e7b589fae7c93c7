//! A ring as a file, so that each day goes on from the last.
//!
//! A safetensors file: `keys u64[K]` ascending, `counts u32[K]`, and of all their events, key after key, `available i64[N]`,
//! `time i64[N]`, `row u64[N]`, `payload u8[N, stride]`. Its metadata: `loopfm.ring`, the format; `loopfm.ring.rule`;
//! `loopfm.ring.now`; `loopfm.ring.last-row`; `loopfm.ring.of`, what the payloads are; `loopfm.ring.blake3`, of the other metadata and the tensors.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Error, Ring, Rule};
use crate::container::{Dtype, Reader, View, canonical_order, head, write_atomically};

const FORMAT: &str = "1";

impl Ring {
    /// Writes what later queries need, whole or not at all; equal events make equal files. `of` says what the payloads are,
    /// the fingerprint of the model that made them for instance.
    ///
    /// # Errors
    /// The disk.
    pub fn save(&mut self, path: &Path, of: &str) -> Result<(), Error> {
        self.forget();
        let mut keys: Vec<u64> = self.keys.keys().copied().collect();
        keys.sort_unstable();
        let (mut counts, mut payload) = (Vec::new(), Vec::new());
        let (mut available, mut time, mut row) = (Vec::new(), Vec::new(), Vec::new());
        for key in &keys {
            let events = &self.keys[key].events;
            counts.push(events.len() as u32);
            for e in events {
                available.push(e.available);
                time.push(e.time);
                row.push(e.row);
                payload.extend_from_slice(self.past(e).payload);
            }
        }
        let (k, n) = ([keys.len()], [row.len()]);
        let payloads = [row.len(), self.stride()];
        let view = |name, dtype, shape, bytes| View {
            name,
            dtype,
            shape,
            bytes,
        };
        let little = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let signed = |times: &[i64]| times.iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<u8>>();
        let bytes = [little(&keys), signed(&available), signed(&time), little(&row)];
        let counts: Vec<u8> = counts.iter().flat_map(|c: &u32| c.to_le_bytes()).collect();
        let mut views = [
            view("keys", Dtype::U64, &k[..], &bytes[0][..]),
            view("counts", Dtype::U32, &k, &counts),
            view("available", Dtype::I64, &n, &bytes[1]),
            view("time", Dtype::I64, &n, &bytes[2]),
            view("row", Dtype::U64, &n, &bytes[3]),
            view("payload", Dtype::U8, &payloads, &payload),
        ];
        canonical_order(&mut views);
        let mut metadata = BTreeMap::from([
            ("loopfm.ring".to_owned(), FORMAT.to_owned()),
            (
                "loopfm.ring.rule".to_owned(),
                serde_json::to_string(&self.rule).expect("numbers are JSON"),
            ),
            ("loopfm.ring.now".to_owned(), self.now.to_string()),
            (
                "loopfm.ring.last-row".to_owned(),
                serde_json::json!(self.last_row).to_string(),
            ),
            ("loopfm.ring.of".to_owned(), of.to_owned()),
        ]);
        let by_name: BTreeMap<&str, &[u8]> = views.iter().map(|v| (v.name, v.bytes)).collect();
        let sum = checksum(&metadata, by_name.into_iter());
        metadata.insert("loopfm.ring.blake3".to_owned(), sum);
        let head = head(&metadata, &views).map_err(|source| Error::Container {
            path: path.into(),
            source,
        })?;
        write_atomically(path, |file| {
            file.write_all(&head)?;
            views.iter().try_for_each(|v| file.write_all(v.bytes))
        })
        .map_err(|source| Error::Io {
            path: path.into(),
            source,
        })
    }

    /// Reads a state, and what its payloads are.
    ///
    /// # Errors
    /// No state, one of another format, a damaged one.
    pub fn load(path: &Path) -> Result<(Self, String), Error> {
        let container = |source| Error::Container {
            path: path.into(),
            source,
        };
        let damaged = |why: &str| Error::Damaged {
            path: path.into(),
            why: why.to_owned(),
        };
        let mut reader = Reader::open(path).map_err(container)?;
        let mut metadata = reader.header.metadata.clone();
        match metadata.get("loopfm.ring").map(String::as_str) {
            Some(FORMAT) => {}
            None => return Err(Error::NotAState { path: path.into() }),
            Some(seen) => {
                return Err(Error::Format {
                    path: path.into(),
                    seen: seen.to_owned(),
                    expected: FORMAT,
                });
            }
        }
        let sum = metadata.remove("loopfm.ring.blake3");
        let mut tensors = BTreeMap::new();
        while let Some((entry, bytes)) = reader.next_tensor().map_err(container)? {
            tensors.insert(entry.name.clone(), (entry.shape.clone(), bytes));
        }
        let by_name = tensors.iter().map(|(name, (_, bytes))| (name.as_str(), &bytes[..]));
        if sum != Some(checksum(&metadata, by_name)) {
            return Err(damaged("its checksum is that of other contents"));
        }
        let missing = || damaged("a tensor or an entry of its metadata is missing or of another kind");
        let mut tensor = |name: &str| tensors.remove(name).ok_or_else(missing);
        let words =
            |(_, bytes): (Vec<u64>, Vec<u8>)| bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let mut column = |name| tensor(name).map(words);
        let [keys, available, time, row]: [Vec<u64>; 4] =
            [column("keys")?, column("available")?, column("time")?, column("row")?];
        let counts = tensor("counts")?.1;
        let (shape, payload) = tensor("payload")?;
        let rule: Option<Rule> = metadata
            .get("loopfm.ring.rule")
            .and_then(|text| serde_json::from_str(text).ok());
        let last_row = metadata
            .get("loopfm.ring.last-row")
            .and_then(|text| serde_json::from_str(text).ok());
        let now: Option<i64> = metadata.get("loopfm.ring.now").and_then(|text| text.parse().ok());
        let (Some(rule), Some(now), Some(of), &[n, stride]) =
            (rule, now, metadata.remove("loopfm.ring.of"), &shape[..])
        else {
            return Err(missing());
        };
        let stride = usize::try_from(stride).map_err(|_| missing())?;
        let counts: Vec<usize> = counts
            .as_chunks()
            .0
            .iter()
            .map(|b| u32::from_le_bytes(*b) as usize)
            .collect();
        let total = counts.iter().sum::<usize>();
        if [available.len(), time.len(), row.len()] != [total; 3] || n != total as u64 || counts.len() != keys.len() {
            return Err(damaged("its tensors are of different lengths"));
        }
        let mut ring = Self::new(rule, stride)?;
        let mut at = 0;
        for (key, count) in keys.iter().zip(counts) {
            for e in at..at + count {
                let (available, time) = (available[e].cast_signed(), time[e].cast_signed());
                ring.insert(*key, available, time, row[e], &payload[e * stride..][..stride])?;
            }
            at += count;
        }
        ring.now = now;
        ring.last_row = last_row.ok_or_else(missing)?;
        Ok((ring, of))
    }
}

/// Of metadata and tensors, each by name, framed by their lengths.
fn checksum<'a>(metadata: &BTreeMap<String, String>, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut framed = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    metadata.iter().for_each(|(key, value)| {
        framed(key.as_bytes());
        framed(value.as_bytes());
    });
    tensors.for_each(|(name, bytes)| {
        framed(name.as_bytes());
        framed(bytes);
    });
    hasher.finalize().to_hex().to_string()
}
