//! Random logs, and the definition of a history, spelled out.

use loopfm::history::{Events, Rule};

use crate::support::rng::Rng;

/// Columns of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) key: Vec<u64>,
    pub(crate) time: Vec<i64>,
    pub(crate) ingest: Option<Vec<i64>>,
    pub(crate) keep: Option<Vec<bool>>,
}

impl Log {
    /// Few users, one of them with half of the events; times that tie; rows twice; perhaps an ingest clock, which runs
    /// late, early, or orders of magnitude later; perhaps no negatives; in the order of time or in none.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let n = rng.below(80);
        let users = rng.between(1, 8);
        let span = rng.pick(&[3, 20, 1000]);
        let keys: Vec<u64> = (0..users).map(|_| rng.next()).collect();
        let mut rows: Vec<(u64, i64)> = Vec::new();
        for _ in 0..n {
            let key = if rng.one_in(2) { keys[0] } else { rng.pick(&keys) };
            let row = match rows.last() {
                Some(_) if rng.one_in(8) => rows[rng.below(rows.len())],
                _ => (key, rng.below(span) as i64),
            };
            rows.push(row);
        }
        if !rng.one_in(3) {
            rows.sort_by_key(|row| row.1);
        }
        let late = |rng: &mut Rng, time: i64| match rng.below(6) {
            0 => time - rng.below(3) as i64,
            1 => time + rng.below(span) as i64,
            _ => time + rng.below(2) as i64,
        };
        let ingest = rng.one_in(2).then(|| rows.iter().map(|r| late(rng, r.1)).collect());
        let keep = rng.one_in(3).then(|| rows.iter().map(|_| rng.one_in(2)).collect());
        Self {
            key: rows.iter().map(|r| r.0).collect(),
            time: rows.iter().map(|r| r.1).collect(),
            ingest,
            keep,
        }
    }

    pub(crate) fn events(&self) -> Events<'_> {
        Events {
            key: &self.key,
            time: &self.time,
            ingest: self.ingest.as_deref(),
            keep: self.keep.as_deref(),
        }
    }

    /// Adds an event.
    pub(crate) fn push(&mut self, key: u64, time: i64, ingest: i64) {
        self.key.push(key);
        self.time.push(time);
        if let Some(column) = &mut self.ingest {
            column.push(ingest);
        }
        if let Some(keep) = &mut self.keep {
            keep.push(true);
        }
    }

    /// The events at these places, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            key: rows.iter().map(|r| self.key[*r]).collect(),
            time: rows.iter().map(|r| self.time[*r]).collect(),
            ingest: self.ingest.as_ref().map(|x| rows.iter().map(|r| x[*r]).collect()),
            keep: self.keep.as_ref().map(|x| rows.iter().map(|r| x[*r]).collect()),
        }
    }

    pub(crate) fn ingest(&self, event: usize) -> Option<i64> {
        self.ingest.as_ref().map(|ingest| ingest[event])
    }

    /// The history of `(key, t)` by definition.
    pub(crate) fn history(&self, key: u64, t: i64, rule: &Rule) -> Vec<u32> {
        let available = |event: usize| {
            let computed = self.time[event] + rule.delay;
            self.ingest(event).map_or(computed, |ingest| ingest.max(computed))
        };
        let mut seen: Vec<usize> = (0..self.key.len())
            .filter(|&e| self.key[e] == key && available(e) < t)
            .filter(|&e| rule.retention.is_none_or(|r| self.time[e] >= t.saturating_sub(r)))
            .filter(|&e| self.keep.as_ref().is_none_or(|keep| keep[e]))
            .collect();
        seen.sort_by_key(|&e| (available(e), self.time[e], e));
        let oldest = seen.len().saturating_sub(rule.max_len);
        seen[oldest..].iter().map(|&e| e as u32).collect()
    }

    /// Every event as a query, and some that no event stands at.
    pub(crate) fn queries(&self, rng: &mut Rng) -> (Vec<u64>, Vec<i64>) {
        let (mut keys, mut times) = (self.key.clone(), self.time.clone());
        for _ in 0..20 {
            keys.push(if self.key.is_empty() || rng.one_in(4) {
                rng.next()
            } else {
                rng.pick(&self.key)
            });
            times.push(rng.between(0, 1200) as i64 - 100);
        }
        if let Some(key) = self.key.first() {
            keys.extend([*key; 2]);
            times.extend([i64::MIN, i64::MAX]);
        }
        (keys, times)
    }
}

/// A delay, a retention and a length.
pub(crate) fn rule(rng: &mut Rng) -> Rule {
    Rule {
        delay: rng.pick(&[0, 0, 1, 7, 300]),
        retention: rng.pick(&[None, Some(0), Some(5), Some(40), Some(600)]),
        max_len: rng.pick(&[0, 1, 2, 5, 50]),
    }
}
