//! One batch: its stages in order, each block by block.

use std::borrow::Cow;
use std::sync::PoisonError;

use rayon::prelude::*;

use super::batch::check_requests;
use super::blocks::{Block, cut, pieces};
use super::gather::Outside;
use super::memory::Memory;
use super::plan::{Given, Slot, Source, Stage};
use super::view::View;
use super::{Error, Executor};
use crate::ir::{REQUEST_OF_ROW, Value};
use crate::tensor::Sizes;

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
        self.stage(Stage::Batch, &self.executor.batch_results)?;
        self.stage(Stage::Requests, &self.executor.request_results)?;
        self.stage(Stage::Rows, &[])?;
        Ok(self.outputs)
    }

    /// Runs a stage block by block; its results go to slots and outputs.
    fn stage(&mut self, stage: Stage, results: &[(Value, usize)]) -> Result<(), Error> {
        let plan = &self.executor.plan;
        let outputs = plan.outputs(stage);
        let (total, most) = match stage {
            Stage::Constant | Stage::Batch => (1, 1),
            Stage::Requests => (self.sizes.requests, self.executor.most[0]),
            Stage::Rows => (self.sizes.rows, self.executor.most[1]),
        };
        let values: Vec<Value> = results.iter().map(|r| r.0).chain(outputs.iter().map(|o| o.1)).collect();
        if values.is_empty() || total == 0 {
            return Ok(());
        }
        let request_of_row = self.request_of_row.filter(|_| stage == Stage::Rows);
        let blocks = cut(total, most, request_of_row.map(|slot| &*self.slots[slot]));
        let mut buffers: Vec<Vec<u32>> = results
            .iter()
            .map(|(v, _)| vec![0; plan.graph.shape(*v).numel(self.sizes)])
            .collect();
        buffers.extend(outputs.iter().map(|(i, _)| std::mem::take(&mut self.outputs[*i])));
        let mut parts: Vec<Vec<Vec<&mut [u32]>>> = blocks.iter().map(|_| Vec::new()).collect();
        for (buffer, v) in buffers.iter_mut().zip(&values) {
            let cut = pieces(buffer, plan.graph.shape(*v), &blocks, total);
            parts.iter_mut().zip(cut).for_each(|(part, pieces)| part.push(pieces));
        }
        let slots: Vec<&[u32]> = self.slots.iter().map(|s| &**s).collect();
        let work: Vec<(&Block, Vec<Vec<&mut [u32]>>)> = blocks.iter().zip(parts).collect();
        let each =
            |(block, mut parts): (&Block, Vec<Vec<&mut [u32]>>)| self.block(stage, block, &slots, &values, &mut parts);
        let done: Vec<Result<(), Error>> = if work.len() == 1 {
            work.into_iter().map(each).collect()
        } else {
            work.into_par_iter().map(each).collect()
        };
        // The error of the first block, however threads raced.
        done.into_iter().collect::<Result<(), Error>>()?;
        let mut buffers = buffers.into_iter();
        for ((_, slot), words) in results.iter().zip(buffers.by_ref()) {
            self.slots[*slot] = Cow::Owned(words);
        }
        for ((i, _), words) in outputs.iter().zip(buffers) {
            self.outputs[*i] = words;
        }
        Ok(())
    }

    fn block(
        &self,
        stage: Stage,
        block: &Block,
        slots: &[&[u32]],
        values: &[Value],
        parts: &mut [Vec<&mut [u32]>],
    ) -> Result<(), Error> {
        let executor = self.executor;
        let program = executor.program(stage, block.len, block.crossing, values);
        let base = |slot: &Slot| match slot.per {
            Some(per) if per == stage => block.start * slot.unit,
            Some(Stage::Requests) => block.request * slot.unit,
            _ => 0,
        };
        let bases: Vec<usize> = executor.plan.slots.iter().map(base).collect();
        let scratches = || executor.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratches().pop().unwrap_or_default();
        let done = program.run(&mut scratch, slots, &bases, self.sizes.requests, parts);
        scratches().push(scratch);
        done.map_err(|outside| index_error(outside, block.start))
    }

    /// Outputs that are the same for every batch.
    fn constant_outputs(&mut self) {
        let plan = &self.executor.plan;
        let slots: Vec<&[u32]> = self.slots.iter().map(|s| &**s).collect();
        for (i, v) in plan.outputs(Stage::Constant) {
            if let Some(Given::Fixed(view)) = &plan.given[v.index()] {
                read(view, &slots, &mut self.outputs[i]);
            }
        }
    }
}

/// Copies a view of slots out.
fn read(view: &View, slots: &[&[u32]], out: &mut [u32]) {
    let memory = Memory {
        arena: &[],
        regions: &[],
        slots,
        bases: &vec![0; slots.len()],
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
