//! A batch larger than the memory kept for it, in parts that fit.
//!
//! A part is a run of rows with the requests they belong to, which it numbers anew.

use std::ops::Range;

use crate::bundle::Space;
use crate::tensor::Sizes;

use super::Capacity;

/// Deals rows out to chunks in order. Requests without rows come last, and only if `all_requests`.
pub(super) fn deal(
    sizes: Sizes,
    request_of_row: impl Fn(usize) -> usize,
    capacity: Capacity,
    all_requests: bool,
) -> Vec<Chunk> {
    let mut split = Split::new(sizes.requests.max(1), capacity);
    for row in 0..sizes.rows {
        split.push(row, request_of_row(row));
    }
    split.finish(sizes.rows);
    if all_requests {
        split.rest(sizes.rows);
    }
    split.chunks
}

/// Rows and requests that are run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Rows of the batch.
    pub rows: Range<usize>,
    /// Requests of the batch that these rows belong to.
    pub requests: Requests,
    /// Place among `requests` for each row, where that is not what the batch says.
    pub mapped: Option<Vec<i32>>,
}

impl Chunk {
    /// Rows and requests of the chunk.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            rows: self.rows.len(),
            requests: self.requests.len(),
        }
    }

    /// Consecutive parts of what a space counts: first place in the chunk, places in the batch.
    #[must_use]
    pub fn runs(&self, space: Space) -> Vec<(usize, Range<usize>)> {
        match (space, &self.requests) {
            (Space::Rows, _) => vec![(0, self.rows.clone())],
            (Space::Requests, Requests::Range(range)) => vec![(0, range.clone())],
            (Space::Requests, Requests::List(list)) => list.iter().enumerate().map(|(i, &r)| (i, r..r + 1)).collect(),
        }
    }
}

/// Some requests of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requests {
    /// Consecutive ones.
    Range(Range<usize>),
    /// Any.
    List(Vec<usize>),
}

impl Requests {
    fn of(list: Vec<usize>) -> Self {
        let first = list.first().copied().unwrap_or(0);
        if list.iter().enumerate().all(|(i, &r)| r == first + i) {
            Self::Range(first..first + list.len())
        } else {
            Self::List(list)
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::List(list) => list.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows being dealt out to chunks.
struct Split {
    chunks: Vec<Chunk>,
    start: usize,
    requests: Vec<usize>,
    mapped: Vec<i32>,
    /// For each request one more than the chunk that it was last seen in, and its place there.
    seen: Vec<(usize, i32)>,
    most_rows: usize,
    most_requests: usize,
}

impl Split {
    fn new(requests: usize, capacity: Capacity) -> Self {
        Self {
            chunks: Vec::new(),
            start: 0,
            requests: Vec::new(),
            mapped: Vec::new(),
            seen: vec![(0, 0); requests],
            most_rows: capacity.rows as usize,
            most_requests: capacity.requests as usize,
        }
    }

    fn push(&mut self, row: usize, request: usize) {
        let fresh = self.seen[request].0 != self.chunks.len() + 1;
        if row - self.start == self.most_rows || (fresh && self.requests.len() == self.most_requests) {
            self.finish(row);
        }
        let chunk = self.chunks.len() + 1;
        if self.seen[request].0 != chunk {
            // No batch has more requests than an i32 counts.
            self.seen[request] = (chunk, i32::try_from(self.requests.len()).unwrap_or(i32::MAX));
            self.requests.push(request);
        }
        self.mapped.push(self.seen[request].1);
    }

    fn finish(&mut self, end: usize) {
        if self.start < end {
            self.chunks.push(Chunk {
                rows: self.start..end,
                requests: Requests::of(std::mem::take(&mut self.requests)),
                mapped: Some(std::mem::take(&mut self.mapped)),
            });
            self.start = end;
        }
    }

    /// Chunks of the requests that no row asked for.
    fn rest(&mut self, end: usize) {
        let unseen: Vec<usize> = (0..self.seen.len()).filter(|&r| self.seen[r].0 == 0).collect();
        self.chunks.extend(unseen.chunks(self.most_requests).map(|part| Chunk {
            rows: end..end,
            requests: Requests::of(part.to_vec()),
            mapped: Some(Vec::new()),
        }));
    }
}
