//! Sums of elements by index, and random numbers by position: what only training needs.

use std::cell::Cell;

use super::gather::{Origin, Outside};
use super::memory::{Memory, Words};
use super::view::{Buffer, Loops, View, collapse};
use crate::random::uniform;

/// `y = 0; y[.., index[j], ..] += u[.., j, ..]`, in the order of `j`.
#[derive(Debug)]
pub(super) struct ScatterAdd {
    updates: (Buffer, usize),
    index: (Buffer, usize),
    to: (Buffer, usize),
    /// Words of the result, which is dense.
    words: usize,
    extent: usize,
    stride: usize,
    /// Loops before the axis, over updates and result.
    outer: Loops<2>,
    /// Loops over index and updates.
    picks: Loops<2>,
    /// Loops after the axis, over updates and result, and the run inside them.
    inner: Loops<2>,
    run: (usize, [usize; 2]),
    origin: Origin,
}

impl ScatterAdd {
    pub(super) fn new(u: &View, index: &View, y: &View, axis: usize, origin: Origin) -> Self {
        let after = axis + index.shape.len();
        let outer = collapse(&y.shape[..axis], &[&u.strides[..axis], &y.strides[..axis]]);
        let picks = collapse(&index.shape, &[&index.strides, &u.strides[axis..after]]);
        let inner = collapse(&y.shape[axis + 1..], &[&u.strides[after..], &y.strides[axis + 1..]]);
        let mut inner = Loops::new(&inner);
        let run = inner.split_run();
        Self {
            updates: (u.buffer, u.offset),
            index: (index.buffer, index.offset),
            to: (y.buffer, y.offset),
            words: y.numel(),
            extent: y.shape[axis],
            stride: y.strides[axis],
            outer: Loops::new(&outer),
            picks: Loops::new(&picks),
            inner,
            run,
            origin,
        }
    }

    pub(super) fn buffers(&self) -> [Buffer; 3] {
        [self.updates.0, self.index.0, self.to.0]
    }

    pub(super) fn run(&self, memory: &Memory<'_>) -> Result<(), Outside> {
        let updates = memory.read(self.updates.0);
        let index = memory.read(self.index.0);
        let out = memory.write(self.to.0);
        out[self.to.1..][..self.words].iter().for_each(|y| y.set(0));
        for i in 0..self.picks.count() {
            let [at, from] = self.picks.at(i);
            let row = self
                .origin
                .row(i, index.get(self.index.1 + at).cast_signed(), self.extent)?;
            let (from, to) = (self.updates.1 + from, self.to.1 + row * self.stride);
            for o in 0..self.outer.count() {
                let [outer_from, outer_to] = self.outer.at(o);
                self.add(updates, from + outer_from, out, to + outer_to);
            }
        }
        Ok(())
    }

    fn add(&self, updates: Words<'_>, from: usize, out: &[Cell<u32>], to: usize) {
        let (n, [stride, step]) = self.run;
        for i in 0..self.inner.count() {
            let [f, t] = self.inner.at(i);
            for j in 0..n {
                let (u, y) = (updates.get(from + f + j * stride), &out[to + t + j * step]);
                y.set((f32::from_bits(y.get()) + f32::from_bits(u)).to_bits());
            }
        }
    }
}

/// Random numbers of a stream, for the rows of a block.
#[derive(Debug)]
pub(super) struct Uniform {
    seed: (Buffer, usize),
    to: Buffer,
    stream: u32,
    words: usize,
    /// Words of one row; 0 where there are no rows.
    per_row: usize,
}

impl Uniform {
    /// `y` is dense, its rows first.
    pub(super) fn new(seed: &View, y: &View, stream: u32, per_row: usize) -> Self {
        Self {
            seed: (seed.buffer, seed.offset),
            to: y.buffer,
            stream,
            words: y.numel(),
            per_row,
        }
    }

    pub(super) fn buffers(&self) -> [Buffer; 2] {
        [self.seed.0, self.to]
    }

    pub(super) fn run(&self, memory: &Memory<'_>) {
        let seed = memory.read(self.seed.0).get(self.seed.1).cast_signed();
        let first = (memory.start * self.per_row) as u64;
        for (i, y) in (first..).zip(&memory.write(self.to)[..self.words]) {
            y.set(uniform(seed, self.stream, i).to_bits());
        }
    }
}
