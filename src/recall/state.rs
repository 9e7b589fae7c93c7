//! What a service keeps of a log of embeddings: of each user the events that later histories may hold, in a ring.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, LABEL};
use crate::embeddings::{Header, Log, Storage};
use crate::history::{Past, Ring, Rule};

/// What the events of a log or a state bring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Fingerprint of the foundation model; of a prequential log the last of its versions.
    pub fm: String,
    /// Whether earlier events may be of earlier versions.
    pub prequential: bool,
    /// Elements of an embedding.
    pub width: usize,
    /// How they are stored.
    pub storage: Storage,
    /// Names of the integers beside each.
    pub side: Vec<String>,
    /// Whether positives alone are kept.
    pub positives: bool,
}

impl Kept {
    /// Of a log.
    #[must_use]
    pub fn of(log: &Log, positives: bool) -> Self {
        let Header {
            width,
            storage,
            side,
            prequential,
            ..
        } = log.header().clone();
        let last = log.segments().last().filter(|_| prequential);
        Self {
            fm: last.map_or_else(|| log.fingerprint(), |segment| segment.fm.clone()),
            prequential,
            width,
            storage,
            side,
            positives,
        }
    }

    fn words(&self) -> String {
        let Self { fm, width, storage, .. } = self;
        let which = if self.positives { "positives of" } else { "events of" };
        let side = self.side.join(", ");
        format!("{which} FM {fm}, {width} x {} [{side}]", storage.name())
    }

    /// Bytes of an embedding.
    pub(super) fn bytes(&self) -> usize {
        self.storage.row_bytes(self.width)
    }
}

/// The past of all users, as much of it as later histories may hold. An event brings its embedding as stored, then the
/// integers beside it, four bytes each.
#[derive(Clone, Debug)]
pub struct State {
    ring: Ring,
    kept: Kept,
}

impl State {
    /// Of a log, nothing of it yet.
    ///
    /// # Errors
    /// [`Error::NoLabels`] for positives of a log that does not know which they are; a rule that is none.
    pub fn new(log: &Log, rule: Rule, positives: bool) -> Result<Self, Error> {
        let kept = Kept::of(log, positives);
        if positives && !kept.side.iter().any(|name| name == LABEL) {
            return Err(Error::NoLabels);
        }
        let ring = Ring::new(rule, kept.bytes() + 4 * kept.side.len())?;
        Ok(Self { ring, kept })
    }

    /// Reads a state.
    ///
    /// # Errors
    /// A file that is none, or damaged.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let (ring, of) = Ring::load(path)?;
        match serde_json::from_str::<Kept>(&of) {
            Ok(kept) if ring.stride() == kept.bytes() + 4 * kept.side.len() && kept.storage.check().is_ok() => {
                Ok(Self { ring, kept })
            }
            _ => Err(Error::NotAState { path: path.into() }),
        }
    }

    /// Writes it, whole or not at all; equal events make equal files.
    ///
    /// # Errors
    /// The disk.
    pub fn save(&mut self, path: &Path) -> Result<(), Error> {
        let of = serde_json::to_string(&self.kept).expect("names and numbers are JSON");
        Ok(self.ring.save(path, &of)?)
    }

    /// Which events histories may hold, and how many are here.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// What events bring.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Adds what a log has after the last event here, and says how many events that were.
    ///
    /// # Errors
    /// [`Error::OtherLog`]; a log that cannot be read.
    pub fn append(&mut self, log: &Log) -> Result<usize, Error> {
        let mut seen = Kept::of(log, self.kept.positives);
        // A later version's log holds what the earlier ones left.
        let newer = std::mem::replace(&mut seen.fm, self.kept.fm.clone());
        let known = newer == self.kept.fm || log.segments().iter().any(|segment| segment.fm == self.kept.fm);
        if seen != self.kept || !known {
            seen.fm = newer;
            return Err(Error::OtherLog {
                expected: self.kept.words(),
                seen: seen.words(),
            });
        }
        self.kept.fm = newer;
        let columns = log.columns()?;
        let done = self.ring.last_row();
        let (mut codes, mut pushed, mut first) = (Vec::new(), 0, 0);
        for segment in log.segments() {
            let rows = first..first + segment.rows;
            first = rows.end;
            if done >= Some(segment.row[1]) {
                continue;
            }
            codes.clear();
            log.codes(segment, &mut codes)?;
            for (event, codes) in rows.zip(codes.chunks_exact(self.kept.bytes())) {
                if done < Some(columns.row[event]) {
                    let ingest = columns.ingest.as_ref().map(|ingest| ingest[event]);
                    let side: Vec<i32> = columns.side.iter().map(|(_, side)| side[event]).collect();
                    let times = (columns.time[event], ingest);
                    pushed += usize::from(self.push(columns.key[event], times, columns.row[event], codes, &side)?);
                }
            }
        }
        Ok(pushed)
    }

    /// Adds an event, with its time and when it became known, and says whether it is one of those that are kept.
    ///
    /// # Errors
    /// Codes or integers that are not as many as each event brings.
    pub fn push(
        &mut self,
        key: u64,
        (time, ingest): (i64, Option<i64>),
        row: u64,
        codes: &[u8],
        side: &[i32],
    ) -> Result<bool, Error> {
        let label = self.kept.side.iter().position(|name| name == LABEL);
        let positive = label.and_then(|at| side.get(at)) == Some(&POSITIVE);
        if self.kept.positives && !positive {
            return Ok(false);
        }
        let mut payload = codes.to_vec();
        payload.extend(side.iter().flat_map(|x| x.to_le_bytes()));
        self.ring.push(key, time, ingest, row, &payload)?;
        Ok(true)
    }

    /// An event's embedding as stored.
    pub(super) fn codes<'a>(&self, event: &Past<'a>) -> &'a [u8] {
        &event.payload[..self.kept.bytes()]
    }

    /// An integer beside an event.
    pub(super) fn side(&self, event: &Past<'_>, at: usize) -> i32 {
        let bytes = &event.payload[self.kept.bytes()..].as_chunks::<4>().0[at];
        i32::from_le_bytes(*bytes)
    }
}

/// The side [`LABEL`] of an event that the label is about.
pub(super) const POSITIVE: i32 = 2;
