//! One batch: its stages in order, each block by block.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use super::batch::check_requests;
use super::blocks::{Block, cut, cut_evenly, pieces};
use super::constants;
use super::gather::Outside;
use super::memory::Memory;
use super::plan::{Given, Plan, Slot, Source, Stage, Unit, Wanted};
use super::sums::{Partial, Pieces, Sums};
use super::view::View;
use super::{Error, Executor};
use crate::ir::{REQUEST_OF_ROW, Value};
use crate::tensor::{Shape, Sizes};

/// One stage of a batch: what it computes.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stage: Stage,
    /// What it computes for others, and where that goes.
    pub(super) wanted: Vec<(Wanted, Target)>,
    /// Most rows of a block.
    pub(super) most: usize,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// To later stages.
    Slot(usize),
    /// To the caller, by number of the output.
    Output(usize),
}

impl Part {
    /// A stage, its values given slots.
    pub(super) fn new(plan: &mut Plan, stage: Stage) -> Self {
        let handed_on = plan.handed_on(stage).into_iter();
        let mut wanted: Vec<(Wanted, Target)> = handed_on
            .map(|value| {
                let slot = constants::give(plan, value, Source::Result);
                (Wanted { value, later: true }, Target::Slot(slot))
            })
            .collect();
        let outputs = plan.outputs(stage).into_iter();
        wanted.extend(outputs.map(|(i, value)| (Wanted { value, later: false }, Target::Output(i))));
        Self { stage, wanted, most: 0 }
    }

    pub(super) fn values(&self) -> Vec<Wanted> {
        self.wanted.iter().map(|(w, _)| *w).collect()
    }
}

/// One batch on its way through the stages.
pub(super) struct Run<'a> {
    executor: &'a Executor,
    sizes: Sizes,
    /// The words of every slot; those of results come as stages end.
    slots: Vec<Cow<'a, [u32]>>,
    /// The words of every output, as far as they are known.
    outputs: Vec<Vec<u32>>,
    /// The slot of `request_of_row`.
    request_of_row: Option<usize>,
}

impl<'a> Run<'a> {
    /// A batch whose inputs are in their slots.
    pub(super) fn new(executor: &'a Executor, slots: Vec<Cow<'a, [u32]>>, sizes: Sizes) -> Result<Self, Error> {
        let graph = &executor.plan.graph;
        let is_map = |s: &Slot| matches!(&s.source, Source::Input(name) if name == REQUEST_OF_ROW);
        let request_of_row = executor.plan.slots.iter().position(is_map);
        if let Some(slot) = request_of_row {
            check_requests(&slots[slot], sizes.requests)?;
        }
        let output = |(_, v): &(String, Value)| vec![0; graph.shape(*v).numel(sizes)];
        Ok(Self {
            executor,
            sizes,
            slots,
            outputs: graph.outputs.iter().map(output).collect(),
            request_of_row,
        })
    }

    /// Runs all stages; the words of every output.
    pub(super) fn outputs(mut self) -> Result<Vec<Vec<u32>>, Error> {
        self.constant_outputs();
        for part in &self.executor.parts {
            self.part(part)?;
        }
        Ok(self.outputs)
    }

    /// Runs a stage block by block; its results go to slots and outputs.
    fn part(&mut self, part: &Part) -> Result<(), Error> {
        let plan = &self.executor.plan;
        let values = part.values();
        if values.is_empty() {
            return Ok(());
        }
        let mut buffers: Vec<Vec<u32>> = values
            .iter()
            .map(|w| vec![0; plan.graph.shape(w.value).numel(self.sizes)])
            .collect();
        let total = match part.stage.unit {
            Unit::Executor | Unit::Batch => 1,
            Unit::Requests => self.sizes.requests,
            Unit::Rows => self.sizes.rows,
        };
        if total > 0 {
            self.blocks(part, total, &values, &mut buffers)?;
        }
        for ((_, target), words) in part.wanted.iter().zip(buffers) {
            match *target {
                Target::Slot(slot) => self.slots[slot] = Cow::Owned(words),
                Target::Output(i) => self.outputs[i] = words,
            }
        }
        Ok(())
    }

    /// Computes the values of a stage: groups of blocks side by side, blocks of a group one after the other.
    fn blocks(&self, part: &Part, total: usize, values: &[Wanted], buffers: &mut [Vec<u32>]) -> Result<(), Error> {
        let plan = &self.executor.plan;
        let sums = Sums::new(plan, values);
        let request_of_row = self.request_of_row.filter(|_| part.stage.unit == Unit::Rows);
        let request_of_row = request_of_row.map(|slot| &*self.slots[slot]);
        let (blocks, per_group) = match part.stage.unit {
            Unit::Executor | Unit::Batch => (vec![Block::whole(self.sizes.rows)], 1),
            Unit::Requests | Unit::Rows if sums.is_empty() => (cut(total, part.most, request_of_row), 1),
            Unit::Requests | Unit::Rows => cut_evenly(total, part.most, request_of_row),
        };
        let mut pieces_of: Vec<Pieces<'_>> = blocks.iter().map(|_| Vec::new()).collect();
        let mut added: Vec<&mut Vec<u32>> = Vec::new();
        for (buffer, w) in buffers.iter_mut().zip(values) {
            let shape = plan.graph.shape(w.value);
            if sums.has(w.value) {
                added.push(buffer);
                pieces_of.iter_mut().for_each(|pieces| pieces.push(Vec::new()));
            } else if shape.symbolic().is_none() {
                pieces_of[0].push(vec![buffer]);
            } else {
                let before = if w.later { 1 } else { before_rows(shape) };
                let cut = pieces(buffer, before, &blocks, total);
                pieces_of.iter_mut().zip(cut).for_each(|(all, pieces)| all.push(pieces));
            }
        }
        let slots: Vec<&[u32]> = self.slots.iter().map(|s| &**s).collect();
        let mut work: Vec<(&Block, Pieces<'_>)> = blocks.iter().zip(pieces_of).collect();
        let group = |work: &mut [(&Block, Pieces<'_>)]| {
            let mut partial = Partial::default();
            for (block, pieces) in work {
                sums.collect(&mut partial, pieces, |pieces| {
                    self.block(part.stage, block, &slots, values, pieces)
                })?;
            }
            Ok(partial)
        };
        let groups = side_by_side(work.chunks_mut(per_group), group);
        // The error of the first block, however threads raced; sums in the order of rows, for the same reason.
        let groups = groups.into_iter().collect::<Result<Vec<Partial>, Error>>()?;
        sums.finish(groups, &mut added);
        Ok(())
    }

    fn block(
        &self,
        stage: Stage,
        block: &Block,
        slots: &[&[u32]],
        values: &[Wanted],
        pieces: &mut [Vec<&mut [u32]>],
    ) -> Result<(), Error> {
        let executor = self.executor;
        let program = executor.program(stage, block.len, block.crossing, values);
        let base = |slot: &Slot| match slot.per {
            per if per == stage.unit => block.start * slot.words,
            Unit::Requests => block.request * slot.words,
            Unit::Executor | Unit::Batch | Unit::Rows => 0,
        };
        let bases: Vec<usize> = executor.plan.slots.iter().map(base).collect();
        let at = (block.start, self.sizes.requests);
        let scratches = || executor.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratches().pop().unwrap_or_default();
        let done = program.run(&mut scratch, slots, &bases, at, pieces);
        scratches().push(scratch);
        done.map_err(|outside| index_error(outside, block.start))
    }

    /// Outputs that are the same for every batch.
    fn constant_outputs(&mut self) {
        let plan = &self.executor.plan;
        let slots: Vec<&[u32]> = self.slots.iter().map(|s| &**s).collect();
        for (i, v) in plan.outputs(Stage::CONSTANT) {
            if let Some(Given::Fixed(view)) = &plan.given[v.index()] {
                read(view, &slots, &mut self.outputs[i]);
            }
        }
    }
}

/// What a function makes of all items, in their order. The caller works itself, beside rayon's other threads: the first item
/// waits for no thread to wake up.
fn side_by_side<T: Send, R: Send>(items: impl ExactSizeIterator<Item = T> + Send, f: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = rayon::current_num_threads().min(items.len());
    if threads <= 1 {
        return items.map(f).collect();
    }
    let left = Mutex::new(items.enumerate());
    let done = Mutex::new(Vec::new());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let take = || {
        while let Some((i, item)) = next() {
            let made = f(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((i, made));
        }
    };
    rayon::in_place_scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| take()));
        take();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, made)| made).collect()
}

/// Copies a view of slots out.
fn read(view: &View, slots: &[&[u32]], out: &mut [u32]) {
    let memory = Memory {
        arena: &[],
        regions: &[],
        slots,
        bases: &vec![0; slots.len()],
        start: 0,
        requests: 0,
    };
    memory.copy_out(view, &mut [out]);
}

pub(super) fn index_error(outside: Outside, start: usize) -> Error {
    Error::Index {
        index: outside.names.index,
        table: outside.names.table,
        row: start + outside.row,
        value: outside.value,
        extent: outside.extent,
    }
}

/// Product of the extents before the symbolic one.
fn before_rows(shape: &Shape) -> usize {
    let axis = shape.symbolic().map_or(0, |(axis, _)| axis);
    shape.0[..axis].iter().map(|d| d.factor()).product()
}
