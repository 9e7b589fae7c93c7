//! Chains of pointwise operations: a tile of elements at a time through a file of registers that stays in the first
//! cache, so that what lies between the ends of a chain never reaches memory.

use super::lanes::{Func, LANES, Lane, Step, apply};
use super::memory::{Memory, store};
use super::view::{Buffer, View, collapse};

/// A value of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Var(usize);

/// Pointwise operations on values of one shape, as they are written down: each defines the next [`Var`].
#[derive(Debug, Default)]
pub(super) struct Tape {
    operands: Vec<View>,
    code: Vec<(Func, Vec<Var>)>,
}

impl Tape {
    pub(super) fn load(&mut self, view: View) -> Var {
        self.operands.push(view);
        self.apply(Func::Load(self.operands.len() - 1), &[])
    }

    pub(super) fn constant(&mut self, x: f32) -> Var {
        self.apply(Func::Constant(x.to_bits()), &[])
    }

    pub(super) fn apply(&mut self, func: Func, args: &[Var]) -> Var {
        self.code.push((func, args.to_vec()));
        Var(self.code.len() - 1)
    }

    /// The loops that write the last value to `dst`.
    pub(super) fn finish(self, dst: &View) -> Pointwise {
        let mut strides: Vec<&[usize]> = vec![&dst.strides];
        strides.extend(self.operands.iter().map(|v| v.strides.as_slice()));
        let mut axes = collapse(&dst.shape, &strides);
        let lane = axes.pop();
        let row = axes.pop_if(|_| lane.as_ref().is_some_and(|l| l.extent < LANES));
        let extent = |axis: &Option<super::view::Axis>| axis.as_ref().map_or(1, |a| a.extent);
        let (rows, lanes) = (extent(&row), extent(&lane));
        let walk = |i: usize, view: &View| {
            let stride = |axis: &Option<super::view::Axis>| axis.as_ref().map(|a| a.strides[i]);
            let lane = stride(&lane).unwrap_or(1);
            Walk {
                buffer: view.buffer,
                offset: view.offset,
                outer: axes.iter().map(|a| a.strides[i]).collect(),
                row: stride(&row).unwrap_or(lane * lanes),
                lane,
            }
        };
        let operands: Vec<Walk> = self.operands.iter().enumerate().map(|(i, v)| walk(i + 1, v)).collect();
        let mut pointwise = Pointwise {
            outer: axes.iter().map(|a| a.extent).collect(),
            rows,
            lanes,
            tile: (LANES / lanes.max(1)).clamp(1, rows.max(1)),
            dst: walk(0, dst),
            operands,
            once: Vec::new(),
            code: Vec::new(),
            result: 0,
            registers: 0,
        };
        pointwise.allocate(&self.code);
        pointwise
    }
}

/// How a view is walked: by outer index, row of a tile, lane of a row.
#[derive(Debug)]
struct Walk {
    buffer: Buffer,
    offset: usize,
    outer: Vec<usize>,
    row: usize,
    lane: usize,
}

/// A finished [`Tape`].
#[derive(Debug)]
pub(super) struct Pointwise {
    outer: Vec<usize>,
    rows: usize,
    lanes: usize,
    /// Rows of a tile.
    tile: usize,
    dst: Walk,
    operands: Vec<Walk>,
    /// Loads of what is the same in every tile.
    once: Vec<Step>,
    code: Vec<Step>,
    result: usize,
    registers: usize,
}

impl Pointwise {
    /// Gives each value a register; one is free again after its last reader, except those loaded once.
    fn allocate(&mut self, code: &[(Func, Vec<Var>)]) {
        let mut last_use = vec![code.len(); code.len()];
        for (i, (_, args)) in code.iter().enumerate() {
            args.iter().for_each(|a| last_use[a.0] = i);
        }
        let mut register = vec![0; code.len()];
        let mut free: Vec<usize> = Vec::new();
        for (i, (func, args)) in code.iter().enumerate() {
            let once = matches!(func, Func::Load(o) if self.is_same_in_every_tile(&self.operands[*o]));
            // A register loaded once keeps its number to itself.
            register[i] = free.pop_if(|_| !once).unwrap_or_else(|| {
                self.registers += 1;
                self.registers - 1
            });
            let mut from = [0; 3];
            for (from, a) in from.iter_mut().zip(args) {
                *from = register[a.0];
            }
            let step = Step {
                func: *func,
                to: register[i],
                from,
            };
            if once {
                self.once.push(step);
                last_use[i] = usize::MAX;
            } else {
                self.code.push(step);
            }
            let mut done: Vec<usize> = args.iter().map(|a| a.0).filter(|a| last_use[*a] == i).collect();
            done.sort_unstable();
            done.dedup();
            free.extend(done.into_iter().map(|a| register[a]));
        }
        self.result = register[code.len() - 1];
    }

    fn is_same_in_every_tile(&self, walk: &Walk) -> bool {
        let one_row = walk.row == 0 || self.tile == self.rows;
        let one_lane = walk.lane == 0 || self.lanes <= LANES;
        walk.outer.iter().all(|s| *s == 0) && one_row && one_lane
    }

    pub(super) fn registers(&self) -> usize {
        self.registers
    }

    /// What is read and, last, what is written.
    pub(super) fn buffers(&self) -> impl Iterator<Item = Buffer> {
        self.operands.iter().chain([&self.dst]).map(|w| w.buffer)
    }

    pub(super) fn run(&self, memory: &Memory<'_>, regs: &mut [Lane]) {
        let out = memory.write(self.dst.buffer);
        let width = self.lanes.min(LANES);
        for step in &self.once {
            self.step(step, memory, regs, (0, 0, 0), self.tile, width);
        }
        for outer in 0..self.outer.iter().product() {
            for row in (0..self.rows).step_by(self.tile) {
                let rows = self.tile.min(self.rows - row);
                for lane in (0..self.lanes).step_by(LANES) {
                    let width = width.min(self.lanes - lane);
                    for step in &self.code {
                        self.step(step, memory, regs, (outer, row, lane), rows, width);
                    }
                    let at = self.dst.at(&self.outer, (outer, row, lane));
                    let result = &regs[self.result];
                    if self.dst.row == width * self.dst.lane {
                        store(&result[..rows * width], out, at, self.dst.lane);
                    } else {
                        for (r, words) in result[..rows * width].chunks_exact(width).enumerate() {
                            store(words, out, at + r * self.dst.row, self.dst.lane);
                        }
                    }
                }
            }
        }
    }

    fn step(
        &self,
        step: &Step,
        memory: &Memory<'_>,
        regs: &mut [Lane],
        at: (usize, usize, usize),
        rows: usize,
        width: usize,
    ) {
        let Func::Load(operand) = step.func else {
            apply(step, regs, rows * width);
            return;
        };
        let walk = &self.operands[operand];
        let at = walk.at(&self.outer, at);
        let words = memory.read(walk.buffer);
        let out = &mut regs[step.to][..rows * width];
        if walk.row == width * walk.lane {
            words.load(at, walk.lane, out);
        } else {
            for (r, out) in out.chunks_exact_mut(width).enumerate() {
                words.load(at + r * walk.row, walk.lane, out);
            }
        }
    }
}

impl Walk {
    fn at(&self, outer: &[usize], (mut i, row, lane): (usize, usize, usize)) -> usize {
        let mut at = self.offset + row * self.row + lane * self.lane;
        for (extent, stride) in outer.iter().zip(&self.outer).rev() {
            at += i % extent * stride;
            i /= extent;
        }
        at
    }
}
