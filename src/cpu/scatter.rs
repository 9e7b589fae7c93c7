//! Sums of elements by index, and random numbers by position: what only training needs.

use super::gather::{Indexed, Outside};
use super::memory::Memory;
use super::view::{Buffer, View};
use crate::random::uniform;

/// `y = 0; y[.., index[j], ..] += u[.., j, ..]`, in the order of `j`: the table of the lookup is the result, which is dense.
#[derive(Debug)]
pub(super) struct ScatterAdd {
    pub(super) sums: Indexed,
    /// First word and number of words of the result.
    pub(super) result: (usize, usize),
}

impl ScatterAdd {
    pub(super) fn run(&self, memory: &Memory<'_>) -> Result<(), Outside> {
        let [to, _, updates] = self.sums.buffers();
        let (updates, out) = (memory.read(updates), memory.write(to));
        let (first, words) = self.result;
        out[first..][..words].iter().for_each(|y| y.set(0));
        let (n, [step, stride]) = self.sums.run;
        self.sums.each(memory, |to, from| {
            for j in 0..n {
                let (u, y) = (updates.get(from + j * stride), &out[to + j * step]);
                y.set((f32::from_bits(y.get()) + f32::from_bits(u)).to_bits());
            }
        })
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
