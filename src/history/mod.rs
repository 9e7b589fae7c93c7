//! Point-in-time histories: which past events may be known at an instant.
//!
//! A log is a list of events, each with a key (a user, an item), a time, and perhaps the time at which the log learnt of it.
//! An event is *available* from `max(time + delay, ingest)` on. The history of `(key, t)` holds the events of that key with
//!
//! - `available < t`: strictly, so that events of the same instant never see each other, nor an event itself;
//! - `time >= t - retention`, where a retention is set;
//! - and of these the `max_len` that became available last, oldest first. Events that become available in one instant
//!   stand in the order of their times, then of the log.
//!
//! Times are milliseconds since 1970; sums beyond 64 bits stop at its ends.
//!
//! - [`slices`] answers for a whole log at once: a history is [`Slice`], a start and a length into the events sorted by key and
//!   availability, eight bytes whatever it holds. This is for training sets.
//! - [`Ring`] answers while a log goes by, in memory bounded by keys times `max_len`. Its state is a file, saved each day and
//!   loaded where models serve; it gives what [`slices`] gives.
//! - [`audit`](fn@audit) looks at every event of every history and proves that none could not be known.

mod audit;
mod error;
mod keys;
mod ring;
mod slice;
mod state;

pub use audit::{Audit, audit};
pub use error::Error;
pub use ring::{Past, Ring};
pub use slice::{Histories, Slice, slices};

/// What a history may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rule {
    /// Milliseconds that pass until an event can be used, for its embedding has to be computed first.
    pub delay: i64,
    /// Milliseconds after which an event is forgotten, counted from its time.
    pub retention: Option<i64>,
    /// Most events of a history.
    pub max_len: usize,
}

impl Rule {
    /// The newest `max_len` events, at once and for ever.
    #[must_use]
    pub fn newest(max_len: usize) -> Self {
        Self {
            delay: 0,
            retention: None,
            max_len,
        }
    }

    /// When an event of `time` that the log learnt of at `ingest` can be used.
    #[must_use]
    pub fn available(&self, time: i64, ingest: Option<i64>) -> i64 {
        let computed = time.saturating_add(self.delay);
        ingest.map_or(computed, |ingest| ingest.max(computed))
    }

    /// The time of the oldest event that is not forgotten at `t`.
    #[must_use]
    pub fn oldest(&self, t: i64) -> i64 {
        self.retention.map_or(i64::MIN, |retention| t.saturating_sub(retention))
    }

    /// Negative spans would show what lies ahead.
    fn check(&self) -> Result<(), Error> {
        let setting = |name, seen| Error::Setting {
            name,
            seen,
            expected: "0 or more milliseconds",
        };
        if self.delay < 0 {
            return Err(setting("delay", self.delay));
        }
        match self.retention {
            Some(retention) if retention < 0 => Err(setting("retention", retention)),
            _ => Ok(()),
        }
    }
}

/// The events of a log: columns of equal length, in the order of the log, whatever that is.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    /// Whose event it is.
    pub key: &'a [u64],
    /// When it happened.
    pub time: &'a [i64],
    /// When the log learnt of it; without this clock, at once.
    pub ingest: Option<&'a [i64]>,
    /// Which events histories are made of, positives alone for instance; without it all.
    pub keep: Option<&'a [bool]>,
}

impl Events<'_> {
    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.key.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key.is_empty()
    }

    fn kept(&self, event: usize) -> bool {
        self.keep.is_none_or(|keep| keep[event])
    }

    fn available(&self, event: usize, rule: &Rule) -> i64 {
        rule.available(self.time[event], self.ingest.map(|ingest| ingest[event]))
    }

    fn check(&self) -> Result<(), Error> {
        same_length("time", self.time.len(), self.len())?;
        if let Some(ingest) = self.ingest {
            same_length("ingest", ingest.len(), self.len())?;
        }
        self.keep
            .map_or(Ok(()), |keep| same_length("keep", keep.len(), self.len()))
    }
}

fn same_length(column: &'static str, seen: usize, expected: usize) -> Result<(), Error> {
    if seen == expected {
        return Ok(());
    }
    Err(Error::Rows { column, seen, expected })
}
