//! A program: what to do for one block of rows, every shape and offset known.

use std::cell::Cell;

use super::gather::{Gather, Outside, TakeAlong};
use super::lanes::Lane;
use super::matmul::MatMul;
use super::memory::Memory;
use super::pointwise::Pointwise;
use super::reduce::Reduce;
use super::scatter::{ScatterAdd, Uniform};
use super::view::{Buffer, View};

/// One step of a program.
#[derive(Debug)]
pub(super) enum Instr {
    Pointwise(Pointwise),
    Gather(Gather),
    TakeAlong(TakeAlong),
    MatMul(MatMul),
    Reduce(Reduce),
    ScatterAdd(ScatterAdd),
    Uniform(Uniform),
}

impl Instr {
    /// What is read and written.
    fn buffers(&self) -> Vec<Buffer> {
        match self {
            Self::Pointwise(i) => i.buffers().collect(),
            Self::Gather(i) => i.0.buffers().to_vec(),
            Self::TakeAlong(i) => i.buffers().to_vec(),
            Self::MatMul(i) => i.buffers().to_vec(),
            Self::Reduce(i) => i.buffers().to_vec(),
            Self::ScatterAdd(i) => i.sums.buffers().to_vec(),
            Self::Uniform(i) => i.buffers().to_vec(),
        }
    }
}

/// Instructions for a block and the layout of its working memory.
#[derive(Debug)]
pub(super) struct Program {
    instrs: Vec<Instr>,
    /// Start of each region.
    regions: Vec<usize>,
    /// Words of working memory.
    pub(super) arena: usize,
    /// What the stage hands on, in the order of its results.
    pub(super) results: Vec<View>,
}

/// Working memory of a thread, reused from block to block.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    arena: Vec<Cell<u32>>,
    registers: Vec<Lane>,
}

/// Regions start on cache lines.
const LINE: usize = 16;

impl Program {
    /// Lays regions of these lengths out so that those alive at the same time are apart.
    pub(super) fn new(instrs: Vec<Instr>, lengths: &[usize], results: Vec<View>) -> Self {
        let lives = lifetimes(&instrs, lengths.len(), &results);
        let mut regions = vec![0; lengths.len()];
        let mut arena = 0;
        // Long ones first: the short ones fit into what they leave.
        let mut order: Vec<usize> = (0..lengths.len()).filter(|r| lives[*r].is_some()).collect();
        order.sort_by_key(|r| std::cmp::Reverse(lengths[*r]));
        for (i, &r) in order.iter().enumerate() {
            let mut taken: Vec<(usize, usize)> = order[..i]
                .iter()
                .filter(|o| meet(lives[**o], lives[r]))
                .map(|o| (regions[*o], regions[*o] + lengths[*o]))
                .collect();
            taken.sort_unstable();
            let mut start = 0;
            for (from, to) in taken {
                if start + lengths[r] <= from {
                    break;
                }
                start = start.max(to.next_multiple_of(LINE));
            }
            regions[r] = start;
            arena = arena.max(start + lengths[r]);
        }
        Self {
            instrs,
            regions,
            arena,
            results,
        }
    }

    /// Runs on a block, which begins at row `start` of a batch of so many requests, and writes its results, each to its
    /// pieces.
    pub(super) fn run(
        &self,
        scratch: &mut Scratch,
        slots: &[&[u32]],
        bases: &[usize],
        (start, requests): (usize, usize),
        results: &mut [Vec<&mut [u32]>],
    ) -> Result<(), Outside> {
        scratch.fit(self);
        let memory = Memory {
            arena: &scratch.arena,
            regions: &self.regions,
            slots,
            bases,
            start,
            requests,
        };
        let regs = scratch.registers.as_mut_slice();
        for instr in &self.instrs {
            match instr {
                Instr::Pointwise(i) => i.run(&memory, regs),
                Instr::Gather(i) => i.run(&memory)?,
                Instr::TakeAlong(i) => i.run(&memory)?,
                Instr::MatMul(i) => i.run(&memory, regs),
                Instr::Reduce(i) => i.run(&memory, regs),
                Instr::ScatterAdd(i) => i.run(&memory)?,
                Instr::Uniform(i) => i.run(&memory),
            }
        }
        for (view, pieces) in self.results.iter().zip(results) {
            memory.copy_out(view, pieces);
        }
        Ok(())
    }
}

impl Scratch {
    fn fit(&mut self, program: &Program) {
        if self.arena.len() < program.arena {
            self.arena.resize(program.arena, Cell::new(0));
        }
        let wanted = program.instrs.iter().map(|i| match i {
            Instr::Pointwise(p) => p.registers(),
            _ => 2,
        });
        let wanted = wanted.max().unwrap_or(0);
        if self.registers.len() < wanted {
            self.registers.resize(wanted, [0; super::lanes::LANES]);
        }
    }
}

/// First and last instruction that touches each region; results live to the end.
fn lifetimes(instrs: &[Instr], regions: usize, results: &[View]) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; regions];
    let mut touch = |buffer: Buffer, i: usize| {
        if let Buffer::Region(r) = buffer {
            let (first, _) = lives[r].unwrap_or((i, i));
            lives[r] = Some((first, i));
        }
    };
    for (i, instr) in instrs.iter().enumerate() {
        instr.buffers().into_iter().for_each(|b| touch(b, i));
    }
    results.iter().for_each(|v| touch(v.buffer, instrs.len()));
    lives
}

fn meet(a: Option<(usize, usize)>, b: Option<(usize, usize)>) -> bool {
    match (a, b) {
        (Some((a0, a1)), Some((b0, b1))) => a0 <= b1 && b0 <= a1,
        _ => false,
    }
}
