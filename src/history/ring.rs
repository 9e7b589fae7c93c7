//! Histories in one pass over time, in memory that does not grow with the log.

use std::collections::VecDeque;

use super::keys::Map;
use super::{Error, Rule};

/// What is needed of a log so far to answer any later query: of each key the events that a history may still hold.
///
/// Events are pushed roughly in the order of time, whenever they become available; queries may come in between and get what
/// [`slices`](super::slices) makes of the whole log, so that a model serves what it was trained on. An event brings a row
/// number, and bytes of a fixed number: its embedding as stored, for a service that has no log.
#[derive(Clone, Debug)]
pub struct Ring {
    pub(super) rule: Rule,
    pub(super) stride: usize,
    /// No query is earlier.
    pub(super) now: i64,
    /// The greatest row number so far.
    pub(super) last_row: Option<u64>,
    pub(super) keys: Map<Keyed>,
    /// Payloads by slot, and slots that are free.
    slots: Vec<u8>,
    free: Vec<u32>,
}

/// Events of one key by availability, then time, then the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyed {
    pub(super) events: VecDeque<Entry>,
    /// At how many events it pays to look for those that are not needed any more.
    full: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) available: i64,
    pub(super) time: i64,
    pub(super) row: u64,
    slot: u32,
}

/// An event of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// Its number in the log.
    pub row: u64,
    /// When it happened, ms.
    pub time: i64,
    /// The bytes that came with it.
    pub payload: &'a [u8],
}

impl Ring {
    /// No events yet; each will bring `stride` bytes.
    ///
    /// # Errors
    /// Negative spans of the rule.
    pub fn new(rule: Rule, stride: usize) -> Result<Self, Error> {
        rule.check()?;
        Ok(Self {
            rule,
            stride,
            now: i64::MIN,
            last_row: None,
            keys: Map::default(),
            slots: Vec::new(),
            free: Vec::new(),
        })
    }

    /// What histories may hold.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Bytes of each event.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The latest time of an event: queries are not earlier.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The greatest row number pushed so far: the next day's events come after it.
    #[must_use]
    pub fn last_row(&self) -> Option<u64> {
        self.last_row
    }

    /// Events kept, of how many keys.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (
            self.keys.values().map(|keyed| keyed.events.len()).sum(),
            self.keys.len(),
        )
    }

    /// Adds an event. Late ones may be earlier than those before; of events alike in both clocks the first is the older.
    ///
    /// # Errors
    /// A payload of another length; more events than can be numbered.
    pub fn push(&mut self, key: u64, time: i64, ingest: Option<i64>, row: u64, payload: &[u8]) -> Result<(), Error> {
        let available = self.rule.available(time, ingest);
        self.insert(key, available, time, row, payload)?;
        self.now = self.now.max(time);
        self.last_row = self.last_row.max(Some(row));
        Ok(())
    }

    pub(super) fn insert(
        &mut self,
        key: u64,
        available: i64,
        time: i64,
        row: u64,
        payload: &[u8],
    ) -> Result<(), Error> {
        if payload.len() != self.stride {
            return Err(Error::Payload {
                seen: payload.len(),
                expected: self.stride,
            });
        }
        let keyed = self.keys.entry(key).or_default();
        if keyed.events.len() >= keyed.full.max(8) {
            keyed.forget(self.now, &self.rule, &mut self.free);
            keyed.full = 2 * keyed.events.len();
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize * self.stride..][..self.stride].copy_from_slice(payload);
                slot
            }
            None if self.stride == 0 => 0,
            None => {
                let slot = self.slots.len() / self.stride;
                self.slots.extend_from_slice(payload);
                u32::try_from(slot).map_err(|_| Error::TooMany { seen: slot })?
            }
        };
        let entry = Entry {
            available,
            time,
            row,
            slot,
        };
        let later = |e: &&Entry| (e.available, e.time) > (available, time);
        let at = keyed.events.len() - keyed.events.iter().rev().take_while(later).count();
        keyed.events.insert(at, entry);
        Ok(())
    }

    /// The history of `(key, t)`, oldest first.
    ///
    /// # Errors
    /// `t` is before an event already pushed: what it needs may be forgotten.
    pub fn history(&self, key: u64, t: i64) -> Result<impl Iterator<Item = Past<'_>>, Error> {
        static NONE: VecDeque<Entry> = VecDeque::new();
        if t < self.now {
            return Err(Error::Past { t, now: self.now });
        }
        let events = self.keys.get(&key).map_or(&NONE, |keyed| &keyed.events);
        let end = events.len() - events.iter().rev().take_while(|e| e.available >= t).count();
        let (oldest, most) = (self.rule.oldest(t), self.rule.max_len);
        let remembered = move |e: &&Entry| e.time >= oldest;
        let start = match self.rule.retention {
            None => end.saturating_sub(most),
            // The oldest of the newest that are remembered.
            Some(_) => {
                let newest = (0..end).rev().zip(events.range(..end).rev());
                let mut kept = newest.filter(|(_, e)| remembered(e)).take(most);
                kept.by_ref().last().map_or(end, |(at, _)| at)
            }
        };
        Ok(events.range(start..end).filter(remembered).map(|e| self.past(e)))
    }

    pub(super) fn past(&self, e: &Entry) -> Past<'_> {
        Past {
            row: e.row,
            time: e.time,
            payload: &self.slots[e.slot as usize * self.stride..][..self.stride],
        }
    }

    /// Forgets what no later query needs; what is left depends on the events alone, not on when this was called.
    pub fn forget(&mut self) {
        for keyed in self.keys.values_mut() {
            keyed.forget(self.now, &self.rule, &mut self.free);
            keyed.full = 2 * keyed.events.len();
        }
        self.keys.retain(|_, keyed| !keyed.events.is_empty());
    }
}

impl Keyed {
    /// Keeps the events that a history at `now` or later may hold: those not yet available, and those behind which fewer than
    /// `max_len` stand that will be remembered as long.
    fn forget(&mut self, now: i64, rule: &Rule, free: &mut Vec<u32>) {
        let oldest = rule.oldest(now);
        // Times of the events behind, ascending: those not earlier will be remembered as long.
        let mut behind: Vec<i64> = Vec::new();
        let mut needed = |e: &Entry| {
            if e.available >= now {
                return e.time >= oldest;
            }
            // Without retention all are remembered as long.
            let time = if rule.retention.is_some() { e.time } else { 0 };
            let at = behind.partition_point(|t| *t < time);
            let needed = e.time >= oldest && behind.len() - at < rule.max_len;
            if needed {
                behind.insert(at, time);
            }
            needed
        };
        let mut kept: Vec<Entry> = Vec::with_capacity(self.events.len());
        for e in self.events.drain(..).rev() {
            if needed(&e) {
                kept.push(e);
            } else {
                free.push(e.slot);
            }
        }
        self.events.extend(kept.into_iter().rev());
    }
}
