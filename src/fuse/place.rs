//! Where roots live: slots of workgroup memory for what only one group reads, the value arena for the rest.

use std::collections::BTreeMap;

use super::{Group, Profile, walk};
use crate::ir::rows::{RowInfo, RowSpace};
use crate::ir::{Graph, Value};

/// Per-row sizes beyond what 32-bit indices of a kernel can reach.
#[derive(Debug, thiserror::Error)]
#[error("{value} in `{scope}` holds {elements} elements per row; a kernel addresses at most {limit}")]
pub struct MemoryError {
    /// The value.
    pub value: Value,
    /// Its module path.
    pub scope: String,
    /// Its elements per row.
    pub elements: usize,
    /// The most there may be.
    pub limit: usize,
}

/// The most elements that a value may hold per row.
const LIMIT: usize = 1 << 22;

/// Where a root is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Nowhere: the next step of its chain takes it from registers.
    Registers,
    /// Workgroup memory of its group: 16-byte words from `offset`, `stride` words per row of the tile.
    Slot {
        /// First word.
        offset: usize,
        /// Words per row.
        stride: usize,
    },
    /// Value arena: elements from `rows * row capacity + requests * request capacity`, `stride` elements per row.
    Arena {
        /// Offset per row of capacity.
        rows: usize,
        /// Offset per request of capacity.
        requests: usize,
        /// Elements per row.
        stride: usize,
        /// Whether rows lie without padding, as outputs do.
        dense: bool,
    },
}

/// Homes of all roots and what they add up to.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Home of each root.
    pub homes: BTreeMap<Value, Home>,
    /// 16-byte words of workgroup memory of each group.
    pub slot_words: Vec<usize>,
    /// Elements of the value arena per row of capacity.
    pub arena_rows: usize,
    /// Elements of the value arena per request of capacity.
    pub arena_requests: usize,
}

/// Extents of a stored value and its elements per row: the last axis that is not 1 is padded to a multiple of 4, so that
/// every line of it starts on a 16-byte word.
#[must_use]
pub fn row_stride(shape: &[usize]) -> (usize, usize) {
    let last = shape.iter().rposition(|&n| n != 1).unwrap_or(0);
    let n = shape.get(last).copied().unwrap_or(1);
    let lines: usize = shape[..last.min(shape.len())].iter().product();
    (lines, n.next_multiple_of(4))
}

pub(super) fn place(
    g: &Graph,
    rows: &[RowInfo],
    groups: &mut [Group],
    profile: &Profile,
) -> Result<Placement, MemoryError> {
    let mut placement = Placement::default();
    let owner: BTreeMap<Value, usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(i, x)| x.steps.iter().map(move |s| (s.root, i)))
        .collect();
    let mut last_use: BTreeMap<Value, (usize, usize)> = BTreeMap::new();
    for (gi, group) in groups.iter().enumerate() {
        for s in &group.steps {
            walk(g, s, &|v| owner.contains_key(&v), &mut |v, _| {
                if owner.contains_key(&v) {
                    last_use.insert(v, (gi, s.level));
                }
            });
        }
    }
    for (gi, group) in groups.iter().enumerate() {
        let mut slots = Slots::default();
        for s in &group.steps {
            let v = s.root;
            let shape = g.shape(v).per_row();
            let elements = shape.iter().product();
            if elements > LIMIT {
                return Err(MemoryError {
                    value: v,
                    scope: g.scope_of(v).to_owned(),
                    elements,
                    limit: LIMIT,
                });
            }
            if s.into.is_some() {
                placement.homes.insert(v, Home::Registers);
                continue;
            }
            let (lines, line) = row_stride(&shape);
            let end = last_use.get(&v).copied().unwrap_or((gi, s.level));
            let is_output = g.outputs.iter().any(|(_, o)| *o == v);
            let words = lines * line / 4;
            let budget = profile.workgroup_bytes / 16;
            let slot = (!is_output && end.0 == gi)
                .then(|| slots.take(s.level, end.1, words * group.tile, budget))
                .flatten();
            let home = match slot {
                Some(offset) => Home::Slot { offset, stride: words },
                None => arena(
                    &mut placement,
                    rows[v.index()].space,
                    elements,
                    lines * line,
                    is_output && line * lines != elements,
                ),
            };
            placement.homes.insert(v, home);
        }
        placement.slot_words.push(slots.most);
    }
    Ok(placement)
}

fn arena(p: &mut Placement, space: RowSpace, elements: usize, padded: usize, dense: bool) -> Home {
    let stride = if dense { elements } else { padded };
    let home = Home::Arena {
        rows: p.arena_rows,
        requests: p.arena_requests,
        stride,
        dense,
    };
    match space {
        RowSpace::Requests => p.arena_requests += stride,
        RowSpace::Rows | RowSpace::Const => p.arena_rows += stride,
    }
    home
}

/// Workgroup memory over the steps of one group: first fit by lifetime.
#[derive(Default)]
struct Slots {
    /// `(first word, words, last level that reads it)`.
    taken: Vec<(usize, usize, usize)>,
    most: usize,
}

impl Slots {
    fn take(&mut self, from: usize, until: usize, words: usize, budget: usize) -> Option<usize> {
        // A slot read in level `from` is still busy while that level writes.
        self.taken.retain(|(_, _, end)| *end >= from);
        self.taken.sort_unstable();
        let mut offset = 0;
        for (start, len, _) in &self.taken {
            if offset + words <= *start {
                break;
            }
            offset = offset.max(start + len);
        }
        if offset + words > budget {
            return None;
        }
        self.taken.push((offset, words, until));
        self.most = self.most.max(offset + words);
        Some(offset)
    }
}
