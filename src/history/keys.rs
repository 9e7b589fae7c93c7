//! Keys as small numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from keys, which are hashes or ids, to small numbers.
pub(super) type Map<V> = HashMap<u64, V, BuildHasherDefault<Mix>>;

/// A hash of one `u64`: the product's halves, folded. An order of magnitude cheaper than the default, which guards against
/// keys chosen to collide; the numbers given out depend on neither.
#[derive(Clone, Copy, Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(self.0 ^ key ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Events by key: where the events of each key stand once they are sorted.
pub(super) struct Groups {
    /// The place of a key among all keys, in ascending order.
    pub(super) rank: Map<u32>,
    /// Where each key's events begin, and where the last one's end.
    pub(super) starts: Vec<u32>,
    /// Of each event the place of its key; of one that is not kept, [`Groups::NONE`].
    pub(super) of: Vec<u32>,
}

impl Groups {
    /// No key.
    pub(super) const NONE: u32 = u32::MAX;

    /// Numbers the keys of those events that are kept; fewer than [`u32::MAX`] of them.
    pub(super) fn new(keys: &[u64], kept: impl Fn(usize) -> bool) -> Self {
        let (mut rank, mut found, mut counts) = (Map::default(), Vec::new(), Vec::new());
        let mut number = |(event, key): (usize, &u64)| {
            if !kept(event) {
                return Self::NONE;
            }
            let id = *rank.entry(*key).or_insert_with(|| {
                found.push(*key);
                counts.push(0);
                found.len() as u32 - 1
            });
            counts[id as usize] += 1;
            id
        };
        let mut of: Vec<u32> = keys.iter().enumerate().map(&mut number).collect();
        let mut ascending: Vec<u32> = (0..found.len() as u32).collect();
        ascending.sort_unstable_by_key(|id| found[*id as usize]);
        let mut place = vec![0; found.len()];
        let mut starts = vec![0];
        let mut end = 0;
        for (at, id) in ascending.iter().enumerate() {
            place[*id as usize] = at as u32;
            end += counts[*id as usize];
            starts.push(end);
        }
        rank.values_mut().for_each(|id| *id = place[*id as usize]);
        let kept = of.iter_mut().filter(|id| **id != Self::NONE);
        kept.for_each(|id| *id = place[*id as usize]);
        Self { rank, starts, of }
    }
}
