//! Where kernels find weights and inputs: layouts, weight buffers, the input arena.

use std::collections::BTreeMap;

use super::index::small;
use super::weights::Weight;
use crate::bundle::{Layout, Linear, Placement, Rung, Slot, Space};
use crate::fuse::{Profile, Scheme};
use crate::ir::rows::{RowInfo, RowSpace};
use crate::ir::{Graph, Op, Value};
use crate::tensor::{DType, Sizes};

/// An input's place in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) offset: Linear,
    pub(super) width: usize,
}

/// The memory that the kernels of a variant share.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(super) rung: Rung,
    /// Whether weights are read as textures.
    pub(super) images: bool,
    pub(super) weights: BTreeMap<Value, Weight>,
    pub(super) inputs: BTreeMap<Value, Input>,
    /// 16-byte words of each weight buffer.
    pub shards: Vec<u64>,
    /// Elements of the input arena.
    pub inputs_size: Linear,
    /// Tables with a status word, in its order.
    pub(super) tables: Vec<Value>,
}

/// Weights cannot be laid out within the limits.
#[derive(Debug, thiserror::Error)]
#[error(
    "weight `{name}` needs {needed} bytes in one buffer, the profile allows {allowed}; its layout cannot be split by rows"
)]
pub struct LayoutError {
    /// The weight.
    pub name: String,
    /// Bytes of the smallest piece.
    pub needed: u64,
    /// Bytes of a buffer.
    pub allowed: u64,
}

impl Memory {
    /// Lays out all live weights and inputs, those of matmuls as the profile has them. `halves` says which weights are stored
    /// in f16.
    ///
    /// # Errors
    /// [`LayoutError`] when a weight that cannot be split is larger than a buffer may be.
    pub fn plan(
        g: &Graph,
        rows: &[RowInfo],
        rung: Rung,
        profile: &Profile,
        halves: &dyn Fn(&str) -> bool,
        buffer_bytes: u64,
    ) -> Result<Self, LayoutError> {
        let mut memory = Self {
            rung,
            // Native halves are a buffer of them.
            images: profile.images && rung != Rung::Native,
            weights: BTreeMap::new(),
            inputs: BTreeMap::new(),
            shards: Vec::new(),
            inputs_size: Linear::default(),
            tables: Vec::new(),
        };
        let live = g.live();
        let (products, units) = matrices(g);
        for (v, name, ty) in g.params() {
            if live[v.index()] {
                let shape = ty.shape.at(Sizes::ONE);
                let half = ty.dtype == DType::F32 && halves(name) && rung != Rung::F32;
                let matrix = products.contains(&v) || units.contains(&v);
                let line = shape.last().copied().unwrap_or(1);
                let blocks = profile.blocks && line >= 16 && products.contains(&v);
                // In squares where there are enough of them for cooperative matrices.
                let squares = matches!(profile.scheme, Scheme::Matrices(_)) && rung == Rung::Native;
                let squares = squares && products.contains(&v) && shape.len() == 2 && shape.iter().all(|n| *n >= 64);
                let layout = match (half, matrix && line > 1) {
                    (true, true) if squares => Layout::SquaresHalves,
                    (true, true) if blocks => Layout::BlocksHalves,
                    (false, true) if blocks => Layout::BlocksWords,
                    (true, true) => Layout::RowsHalves,
                    (true, false) if line % 8 == 0 => Layout::RowsHalves,
                    (true, false) => Layout::Halves,
                    (false, true) => Layout::RowsWords,
                    (false, false) => Layout::Words,
                };
                let mut weight = Weight {
                    name: name.to_owned(),
                    layout,
                    shape,
                    places: Vec::new(),
                };
                if weight.words(weight.rows()) > buffer_bytes / 16 {
                    weight.layout = splittable(weight.layout);
                }
                memory.place(v, weight, buffer_bytes / 16)?;
            }
        }
        memory.tables = tables(g, &live);
        memory.place_inputs(g, rows);
        Ok(memory)
    }

    fn place(&mut self, v: Value, mut w: Weight, capacity: u64) -> Result<(), LayoutError> {
        let rows = w.rows();
        // Lines of these layouts start on words, so a table can be cut between rows.
        let splits = matches!(w.layout, Layout::RowsHalves | Layout::RowsWords) && w.shape.len() >= 2;
        let mut first = 0;
        loop {
            let used = match self.shards.last() {
                Some(used) => *used,
                None => {
                    self.shards.push(0);
                    0
                }
            };
            let whole = w.words(rows - first);
            if whole <= capacity - used {
                self.put(&mut w, first, rows - first, whole);
                break;
            }
            let fit = if splits { (capacity - used) / w.words(1) } else { 0 };
            if used > 0 && (whole <= capacity || fit == 0) {
                self.shards.push(0);
            } else if fit == 0 {
                let smallest = if splits { w.words(1) } else { whole };
                return Err(LayoutError {
                    name: w.name,
                    needed: smallest * 16,
                    allowed: capacity * 16,
                });
            } else {
                let words = fit * w.words(1);
                self.put(&mut w, first, fit, words);
                first += fit;
            }
        }
        self.weights.insert(v, w);
        Ok(())
    }

    fn put(&mut self, w: &mut Weight, first: u64, rows: u64, words: u64) {
        let shard = self.shards.len() - 1;
        w.places.push((first, rows, small(shard), self.shards[shard]));
        self.shards[shard] += words;
    }

    fn place_inputs(&mut self, g: &Graph, rows: &[RowInfo]) {
        let mut inputs: Vec<(Value, usize)> = g.inputs().map(|(v, _, ty)| (v, ty.shape.numel(Sizes::ONE))).collect();
        // Whole words first, so that they stay aligned whatever follows.
        inputs.sort_by_key(|(_, w)| w % 4 != 0);
        for (v, width) in inputs {
            let width32 = small(width);
            self.inputs.insert(
                v,
                Input {
                    offset: self.inputs_size,
                    width,
                },
            );
            match rows[v.index()].space {
                RowSpace::Requests => self.inputs_size.requests += width32,
                RowSpace::Rows | RowSpace::Const => self.inputs_size.rows += width32,
            }
        }
    }

    /// The weights' places, for the manifest.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        let all = self.weights.values().flat_map(|w| {
            w.places.iter().map(|&(first_row, rows, shard, offset)| Placement {
                tensor: w.name.clone(),
                first_row,
                rows,
                layout: w.layout,
                shard,
                offset,
            })
        });
        all.collect()
    }

    /// The inputs' places, for the manifest.
    #[must_use]
    pub fn input_slots(&self, g: &Graph) -> Vec<Slot> {
        let slot = |(v, name, _): (Value, &str, &_)| Slot {
            name: name.to_owned(),
            offset: self.inputs[&v].offset,
            width: small(self.inputs[&v].width),
        };
        g.inputs().map(slot).collect()
    }

    /// Names of the tables behind status words 1, 2, ...
    #[must_use]
    pub fn table_names(&self, g: &Graph) -> Vec<String> {
        let name = |v: &Value| match g.op(*v) {
            Op::Param(name) | Op::Input(name) => name.clone(),
            _ => format!("{v} {}", g.scope_of(*v)),
        };
        self.tables.iter().map(name).collect()
    }

    /// Whether some weights lie in squares.
    #[must_use]
    pub fn has_squares(&self) -> bool {
        self.weights.values().any(|w| w.layout == Layout::SquaresHalves)
    }

    /// Lines of a weight that a whole pass over it reads, in bytes.
    pub(super) fn weight_bytes(&self, v: Value) -> u64 {
        self.weights
            .get(&v)
            .map_or(0, |w| (w.lines() * w.line() * 16 / w.per_word()) as u64)
    }
}

/// The layout that starts each line on a word: padding is the price of a table that can be cut between rows.
fn splittable(layout: Layout) -> Layout {
    match layout {
        Layout::Words | Layout::RowsWords | Layout::BlocksWords => Layout::RowsWords,
        Layout::Halves | Layout::RowsHalves | Layout::BlocksHalves | Layout::SquaresHalves => Layout::RowsHalves,
    }
}

/// Parameters that a matmul multiplies by, and those that a GRU does.
fn matrices(g: &Graph) -> (Vec<Value>, Vec<Value>) {
    let live = g.live();
    let (mut products, mut units) = (Vec::new(), Vec::new());
    for (v, n) in g.iter() {
        if live[v.index()] {
            match n.op {
                Op::MatMul => behind(g, n.args[1], &mut products),
                Op::Gru | Op::GruGrad => behind(g, n.args[2], &mut units),
                _ => {}
            }
        }
    }
    (products, units)
}

/// Matrices of an operand: itself or those it is a sum and product of.
fn behind(g: &Graph, v: Value, list: &mut Vec<Value>) {
    match g.op(v) {
        Op::Param(_) if g.shape(v).rank() >= 2 => list.push(v),
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Broadcast | Op::Reshape => {
            for a in g.args(v) {
                behind(g, *a, list);
            }
        }
        _ => {}
    }
}

/// Operands that are indexed by values known only when a batch arrives, each with a status word.
fn tables(g: &Graph, live: &[bool]) -> Vec<Value> {
    let mut list = Vec::new();
    for (v, n) in g.iter() {
        let indexed = matches!(n.op, Op::Gather(_) | Op::TakeAlong(_)) && !crate::ir::rows::is_crossing(g, n);
        if live[v.index()] && indexed && !list.contains(&n.args[0]) {
            list.push(n.args[0]);
        }
    }
    list
}

/// The bundle's name of a row space.
#[must_use]
pub fn space(s: RowSpace) -> Space {
    match s {
        RowSpace::Requests => Space::Requests,
        RowSpace::Rows | RowSpace::Const => Space::Rows,
    }
}
