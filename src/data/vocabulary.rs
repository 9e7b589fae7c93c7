//! Ids and the rows that they have in a table.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::Id;
use crate::random::Mix;

/// A number for each id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct IdMap<V = i32> {
    ints: HashMap<i64, V, BuildHasherDefault<Mix>>,
    texts: HashMap<Box<str>, V>,
}

impl<V: Copy> IdMap<V> {
    pub(super) fn get(&self, id: Id) -> Option<V> {
        match id {
            Id::Int(i) => self.ints.get(&i).copied(),
            Id::Text(t) => self.texts.get(t).copied(),
        }
    }

    /// Sets an id's number; the one it had.
    pub(super) fn insert(&mut self, id: Id, v: V) -> Option<V> {
        match id {
            Id::Int(i) => self.ints.insert(i, v),
            Id::Text(t) => self.texts.insert(t.into(), v),
        }
    }
}

impl IdMap<u64> {
    /// Counts an id once more.
    pub(super) fn count(&mut self, id: Id) {
        match id {
            Id::Int(i) => *self.ints.entry(i).or_default() += 1,
            // Most texts have been seen before: no copy is made of those.
            Id::Text(t) => match self.texts.get_mut(t) {
                Some(n) => *n += 1,
                None => drop(self.texts.insert(t.into(), 1)),
            },
        }
    }

    /// Ids seen so often, in their order.
    pub(super) fn vocabulary(&self, min_count: u64) -> Vocabulary {
        let ints = self
            .ints
            .iter()
            .filter(|(_, n)| **n >= min_count)
            .map(|(i, _)| i.to_string());
        let texts = self
            .texts
            .iter()
            .filter(|(_, n)| **n >= min_count)
            .map(|(t, _)| t.to_string());
        let mut ids: Vec<String> = ints.chain(texts).collect();
        ids.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        Vocabulary::new(ids)
    }
}

/// Ids in their order: short before long, equal lengths by bytes, so that numbers from 0 stand in theirs. The first has
/// row 1; row 0 is for what is unknown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vocabulary {
    ids: Vec<String>,
    rows: IdMap,
}

impl Vocabulary {
    fn new(ids: Vec<String>) -> Self {
        let mut rows = IdMap::default();
        for (place, id) in ids.iter().enumerate() {
            rows.insert(Id::of(id), i32::try_from(place + 1).unwrap_or(i32::MAX));
        }
        Self { ids, rows }
    }

    /// Ids.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// An id's row, 0 for one that is unknown.
    pub(super) fn row(&self, id: Id) -> Option<i32> {
        self.rows.get(id)
    }

    /// The id whose row this is.
    pub(super) fn id(&self, row: i32) -> Option<&str> {
        let place = usize::try_from(row).ok()?.checked_sub(1)?;
        self.ids.get(place).map(String::as_str)
    }
}

/// An id in JSON: an integer as its distance to the integer before it, which is short, or a text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Entry<'a> {
    Step(i64),
    Text(std::borrow::Cow<'a, str>),
}

impl Serialize for Vocabulary {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut last = 0_i64;
        s.collect_seq(self.ids.iter().map(|id| match Id::of(id) {
            Id::Int(i) => {
                let step = i.wrapping_sub(last);
                last = i;
                Entry::Step(step)
            }
            Id::Text(t) => Entry::Text(t.into()),
        }))
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut last = 0_i64;
        let entries = Vec::<Entry>::deserialize(d)?;
        if entries.len() >= i32::MAX as usize {
            return Err(D::Error::custom("a vocabulary of 2^31 ids or more"));
        }
        let ids = entries.into_iter().map(|entry| match entry {
            Entry::Step(step) => {
                last = last.wrapping_add(step);
                last.to_string()
            }
            Entry::Text(t) => t.into_owned(),
        });
        let ids: Vec<String> = ids.collect();
        match ids.is_sorted_by(|a, b| (a.len(), a) < (b.len(), b)) {
            true => Ok(Self::new(ids)),
            false => Err(D::Error::custom("a vocabulary that is not in order")),
        }
    }
}
