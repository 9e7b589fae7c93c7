//! The manifest: what a log is, and which segments are committed.
//!
//! Text. Each line is 16 hexadecimal digits, a space and JSON: the first line a [`Header`], every further one a
//! [`Committed`] segment. The digits begin the BLAKE3 of the digits of the line before and of this line's JSON, so that a line
//! cannot be changed, left out or moved. A last line without an end was being written when its writer ended: it says
//! nothing, and the next writer takes it away.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Storage};

/// Its name in the folder.
pub(super) const FILE: &str = "manifest.jsonl";
const FORMAT: u64 = 1;

/// What a log holds and whose embeddings these are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Fingerprint of the foundation model.
    pub fm: String,
    /// Time in ms of the last event that it was trained on; later events alone are taken. `None` for a model without training.
    pub cutoff: Option<i64>,
    /// Elements of an embedding.
    pub width: usize,
    /// How these are stored.
    pub storage: Storage,
    /// Whether events have an ingest time.
    pub ingest: bool,
    /// Whether events have the model's score.
    pub score: bool,
    /// Names of integers that stand beside each event, known only after it: its label for instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side: Vec<String>,
    /// Whether segments may come from several models, each trained on what lies before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prequential: bool,
    /// The words with which somebody took embeddings of events that the model was trained on. They stay with the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak: Option<String>,
}

/// The header as it is written.
#[derive(Serialize, Deserialize)]
struct First {
    #[serde(rename = "loopfm.log")]
    format: u64,
    #[serde(flatten)]
    header: serde_json::Value,
}

/// A segment that is whole and part of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committed {
    /// Its number, from 0.
    pub segment: usize,
    /// How many events.
    pub rows: usize,
    /// Row number of the first and of the last one.
    pub row: [u64; 2],
    /// Earliest and latest time, ms.
    pub time: [i64; 2],
    /// Fingerprint of the model that made them, and the last time that it was trained on.
    pub fm: String,
    /// As in [`Header`].
    pub cutoff: Option<i64>,
    /// Length of the file.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: String,
}

impl Committed {
    /// Its file.
    pub(super) fn path(dir: &Path, segment: usize) -> PathBuf {
        dir.join(format!("segment-{segment:06}.parquet"))
    }
}

/// A manifest as far as it is whole.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) header: Header,
    pub(super) segments: Vec<Committed>,
    /// Bytes of whole lines.
    pub(super) length: u64,
    /// Digits of the last whole line.
    pub(super) last: String,
}

impl Manifest {
    /// Reads the manifest of a folder; `None` if there is none, or not yet a whole line.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&path)(e)),
        };
        let mut read: Option<Self> = None;
        for (n, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let wrong = |why: String| Error::Manifest {
                path: path.clone(),
                line: n + 1,
                why,
            };
            let last = read.as_ref().map_or("", |m| &m.last);
            let (digits, json) = parse(line, last).map_err(wrong)?;
            let length = line.len() as u64 + 1;
            match &mut read {
                None => {
                    let header = header(json).map_err(|e| match e {
                        Wrong::Format(seen) => Error::Format {
                            path: path.clone(),
                            seen,
                            expected: FORMAT,
                        },
                        Wrong::Json(why) => wrong(why),
                    })?;
                    read = Some(Self {
                        header,
                        segments: Vec::new(),
                        length,
                        last: digits,
                    });
                }
                Some(m) => {
                    let segment: Committed = serde_json::from_str(json).map_err(|e| wrong(e.to_string()))?;
                    if segment.segment != m.segments.len() {
                        return Err(wrong(format!(
                            "segment {}, expected {}",
                            segment.segment,
                            m.segments.len()
                        )));
                    }
                    m.segments.push(segment);
                    m.length += length;
                    m.last = digits;
                }
            }
        }
        Ok(read)
    }

    /// The first line of a new manifest, and the manifest.
    pub(super) fn new(header: &Header) -> (Self, String) {
        let first = First {
            format: FORMAT,
            header: serde_json::to_value(header).expect("names and numbers are JSON"),
        };
        let (line, digits) = line(&first, "");
        let manifest = Self {
            header: header.clone(),
            segments: Vec::new(),
            length: line.len() as u64,
            last: digits,
        };
        (manifest, line)
    }

    /// The line that commits a segment, and its digits.
    pub(super) fn line(&self, segment: &Committed) -> (String, String) {
        line(segment, &self.last)
    }
}

enum Wrong {
    Format(u64),
    Json(String),
}

/// A later format may mean other fields: it is looked at first.
fn header(json: &str) -> Result<Header, Wrong> {
    let wrong = |e: serde_json::Error| Wrong::Json(e.to_string());
    let first: First = serde_json::from_str(json).map_err(wrong)?;
    if first.format != FORMAT {
        return Err(Wrong::Format(first.format));
    }
    serde_json::from_value(first.header).map_err(wrong)
}

fn parse<'a>(line: &'a [u8], last: &str) -> Result<(String, &'a str), String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("not UTF-8: {e}"))?;
    let (digits, json) = text.split_once(' ').ok_or("no checksum")?;
    let expected = checksum(last, json);
    if digits != expected {
        return Err(format!("checksum {digits:?}, the line's is {expected:?}"));
    }
    Ok((expected, json))
}

fn line(of: &impl Serialize, last: &str) -> (String, String) {
    let json = serde_json::to_string(of).expect("names and numbers are JSON");
    let digits = checksum(last, &json);
    (format!("{digits} {json}\n"), digits)
}

fn checksum(last: &str, json: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(last.as_bytes()).update(json.as_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}
