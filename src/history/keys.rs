//! Keys as small numbers.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::random::Mix;

/// A map from keys, which are hashes or ids, to small numbers.
pub(super) type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// The keys of events, in ascending order.
pub(super) struct Groups {
    /// The place of a key among all keys.
    rank: Map<u32>,
    /// Of each event the place of its key; of one that is not kept, [`NONE`].
    of: Vec<u32>,
}

/// No key.
const NONE: u32 = u32::MAX;

impl Groups {
    /// Numbers the keys of those events that are kept; fewer than [`u32::MAX`] of them.
    pub(super) fn new(keys: &[u64], kept: impl Fn(usize) -> bool) -> Self {
        let (mut rank, mut found) = (Map::default(), Vec::new());
        let number = |(event, key): (usize, &u64)| {
            if !kept(event) {
                return NONE;
            }
            *rank.entry(*key).or_insert_with(|| {
                found.push(*key);
                found.len() as u32 - 1
            })
        };
        let mut of: Vec<u32> = keys.iter().enumerate().map(number).collect();
        let mut ascending: Vec<u32> = (0..found.len() as u32).collect();
        ascending.sort_unstable_by_key(|id| found[*id as usize]);
        let mut place = vec![0; found.len()];
        for (at, id) in ascending.iter().enumerate() {
            place[*id as usize] = at as u32;
        }
        rank.values_mut().for_each(|id| *id = place[*id as usize]);
        of.iter_mut()
            .filter(|id| **id != NONE)
            .for_each(|id| *id = place[*id as usize]);
        Self { rank, of }
    }

    /// The kept events by key, in the order of the log; once.
    pub(super) fn events(&mut self) -> Members {
        let of = std::mem::take(&mut self.of);
        Members::new(&of, self.rank.len())
    }

    /// The numbers of others by these keys; those of other keys are left out.
    pub(super) fn members(&self, keys: &[u64]) -> Members {
        let of: Vec<u32> = keys
            .iter()
            .map(|key| self.rank.get(key).copied().unwrap_or(NONE))
            .collect();
        Members::new(&of, self.rank.len())
    }
}

/// Numbers by group.
pub(super) struct Members {
    numbers: Vec<u32>,
    /// Where each group's begin, and where the last one's end.
    starts: Vec<u32>,
}

impl Members {
    fn new(of: &[u32], groups: usize) -> Self {
        let grouped = || of.iter().enumerate().filter(|(_, group)| **group != NONE);
        let mut starts = vec![0; groups + 1];
        grouped().for_each(|(_, group)| starts[*group as usize + 1] += 1);
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        let (mut numbers, mut next) = (vec![0; end as usize], starts.clone());
        for (number, group) in grouped() {
            let at = &mut next[*group as usize];
            numbers[*at as usize] = number as u32;
            *at += 1;
        }
        Self { numbers, starts }
    }

    /// The numbers of a group, ascending.
    pub(super) fn of(&self, group: usize) -> &[u32] {
        &self.numbers[self.starts[group] as usize..self.starts[group + 1] as usize]
    }

    /// All numbers, and where each group's begin and the last one's end.
    pub(super) fn into_parts(self) -> (Vec<u32>, Vec<u32>) {
        (self.numbers, self.starts)
    }
}
