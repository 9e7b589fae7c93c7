//! The executor for machines without a GPU.
//!
//! Rows are independent of each other, so a batch is cut into blocks of rows whose values stay in the second cache, and
//! blocks run side by side on rayon's threads. For a block every shape is a number: a graph becomes a *program*, a list
//! of instructions on fixed offsets of one working memory (`lower`), made once for each size of block and kept. Matrix
//! products go to the `gemm` crate; chains of pointwise operations run through registers that stay in the first cache
//! (`pointwise`); lookups and chains write straight into the concatenation that reads them.
//!
//! What depends on weights alone is computed once, what depends on requests once for each request; rows then reach
//! their request's values by copy, or without one where a block belongs to a single request or follows requests in
//! order.

mod batch;
mod blocks;
mod error;
mod gather;
mod lanes;
mod lower;
mod math;
mod matmul;
mod memory;
mod plan;
mod pointwise;
mod program;
mod reduce;
mod view;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::blocks::{Block, block_size, cut, pieces};
use self::gather::Outside;
use self::lower::lower;
use self::memory::Memory;
use self::plan::{Crossing, Given, Plan, Source, Stage};
use self::program::{Program, Scratch};
use self::view::{Buffer, View};
use crate::ir::{Graph, Op, REQUEST_OF_ROW, Scalar, Value};
use crate::tensor::{Sizes, Tensors};
use rayon::prelude::*;

pub use error::{Error, Mismatch};

/// Runs a row-local graph on the CPU.
#[derive(Debug)]
pub struct Executor {
    plan: Plan,
    /// Values and slots that the batch stage and the request stage leave.
    batch_results: Vec<(Value, usize)>,
    request_results: Vec<(Value, usize)>,
    programs: Mutex<HashMap<(Stage, usize, Crossing), Arc<Program>>>,
    /// Working memories at rest.
    scratches: Mutex<Vec<Scratch>>,
    /// Most requests and most rows of a block.
    most: [usize; 2],
}

impl Executor {
    /// Prepares a graph and computes what depends on its weights alone.
    ///
    /// # Errors
    /// [`Error::NotRowLocal`], [`Error::Weights`], or [`Error::Index`] for a constant index outside its table.
    pub fn new(graph: &Graph, weights: &Tensors) -> Result<Self, Error> {
        batch::check_weights(graph, weights)?;
        let mut plan = Plan::new(graph)?;
        give_leaves(&mut plan, weights);
        fold_constants(&mut plan)?;
        let mut results = |stage: Stage| -> Vec<(Value, usize)> {
            let values = plan.handed_on(stage).into_iter();
            values.map(|v| (v, give_result(&mut plan, v))).collect()
        };
        let (batch_results, request_results) = (results(Stage::Batch), results(Stage::Requests));
        let most = [Stage::Requests, Stage::Rows].map(|stage| block_size(&plan, stage));
        Ok(Self {
            plan,
            batch_results,
            request_results,
            programs: Mutex::default(),
            scratches: Mutex::default(),
            most,
        })
    }

    /// Runs a batch. `request_of_row` may be left out where the sizes imply it.
    ///
    /// # Errors
    /// [`Error::Batch`] with all inputs that do not fit, [`Error::RequestOfRow`], [`Error::Index`].
    pub fn run(&self, batch: &Tensors, sizes: Sizes) -> Result<Tensors, Error> {
        let graph = &self.plan.graph;
        batch::check_batch(graph, batch, sizes)?;
        let mut run = Run {
            executor: self,
            sizes,
            slots: self.inputs(batch, sizes)?,
            outputs: graph
                .outputs
                .iter()
                .map(|(_, v)| vec![0; graph.shape(*v).numel(sizes)])
                .collect(),
            request_of_row: None,
        };
        run.find_requests()?;
        run.stage(Stage::Batch, &self.batch_results)?;
        run.stage(Stage::Requests, &self.request_results)?;
        run.stage(Stage::Rows, &[])?;
        run.constant_outputs();
        let named = graph.outputs.iter().zip(run.outputs);
        let tensor = |v: Value, words| batch::tensor(graph.ty(v).dtype, &graph.shape(v).at(sizes), words);
        Ok(named
            .map(|((name, v), words)| (name.clone(), tensor(*v, words)))
            .collect())
    }

    /// The words of every slot that are known before a run; results come in as stages end.
    fn inputs<'a>(&'a self, batch: &'a Tensors, sizes: Sizes) -> Result<Vec<Cow<'a, [u32]>>, Error> {
        let words = |slot: &'a plan::Slot| match &slot.source {
            Source::Constant(words) => Ok(Cow::Borrowed(words.as_slice())),
            Source::Result => Ok(Cow::Borrowed(&[][..])),
            Source::Input(name) => match batch.get(name) {
                Some(tensor) => Ok(batch::words(tensor)),
                None => batch::implied_requests(sizes).map(Cow::Owned),
            },
        };
        self.plan.slots.iter().map(words).collect()
    }

    fn program(&self, stage: Stage, n: usize, crossing: Crossing, values: &[Value]) -> Arc<Program> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = programs.entry((stage, n, crossing));
        let lowered = || Arc::new(lower(&self.plan, stage, n, crossing, values));
        Arc::clone(program.or_insert_with(lowered))
    }
}

/// One batch on its way through the stages.
struct Run<'a> {
    executor: &'a Executor,
    sizes: Sizes,
    slots: Vec<Cow<'a, [u32]>>,
    outputs: Vec<Vec<u32>>,
    /// The slot of `request_of_row`.
    request_of_row: Option<usize>,
}

impl Run<'_> {
    fn find_requests(&mut self) -> Result<(), Error> {
        let slots = self.executor.plan.slots.iter();
        let mut named = slots.map(|s| matches!(&s.source, Source::Input(name) if name == REQUEST_OF_ROW));
        self.request_of_row = named.position(|is| is);
        match self.request_of_row {
            Some(slot) => batch::check_requests(&self.slots[slot], self.sizes.requests),
            None => Ok(()),
        }
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
        let base = |slot: &plan::Slot| match slot.per {
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

fn index_error(outside: Outside, start: usize) -> Error {
    Error::Index {
        index: outside.names.index,
        table: outside.names.table,
        row: start + outside.row,
        value: outside.value,
        extent: outside.extent,
    }
}

/// Gives every leaf that some output needs a slot.
fn give_leaves(plan: &mut Plan, weights: &Tensors) {
    let leaves: Vec<Value> = plan.nodes().filter(|(_, n)| n.op.is_leaf()).map(|(v, _)| v).collect();
    for v in leaves {
        let source = match plan.graph.op(v) {
            Op::Input(name) => Source::Input(name.clone()),
            Op::Param(name) => Source::Constant(weights.get(name).map(batch::words).unwrap_or_default().into_owned()),
            Op::Const(Scalar::F32(x)) => Source::Constant(vec![x.to_bits()]),
            Op::Const(Scalar::I32(x)) => Source::Constant(vec![x.cast_unsigned()]),
            Op::Const(Scalar::Bool(x)) => Source::Constant(vec![u32::from(*x)]),
            _ => Source::Constant((0..).take(plan.graph.shape(v).numel(Sizes::ONE)).collect()),
        };
        give(plan, v, source);
    }
}

fn give_result(plan: &mut Plan, v: Value) -> usize {
    give(plan, v, Source::Result)
}

fn give(plan: &mut Plan, v: Value, source: Source) -> usize {
    let slot = plan.add_slot(v, source);
    plan.given[v.index()] = Some(match plan.slots[slot].per {
        Some(_) => Given::PerUnit(slot),
        None => Given::Fixed(View::dense(Buffer::Slot(slot), &plan.graph.shape(v).per_row())),
    });
    slot
}

/// Runs the constant stage. What strides on weights can say stays where it is.
fn fold_constants(plan: &mut Plan) -> Result<(), Error> {
    let mut values = plan.handed_on(Stage::Constant);
    values.extend(plan.outputs(Stage::Constant).into_iter().map(|(_, v)| v));
    values.retain(|v| plan.given[v.index()].is_none());
    let program = lower(plan, Stage::Constant, 1, Crossing::Any, &values);
    let mut words: Vec<Vec<u32>> = values
        .iter()
        .map(|v| vec![0; plan.graph.shape(*v).numel(Sizes::ONE)])
        .collect();
    let slots: Vec<&[u32]> = plan
        .slots
        .iter()
        .map(|s| match &s.source {
            Source::Constant(words) => words.as_slice(),
            Source::Input(_) | Source::Result => &[],
        })
        .collect();
    let mut parts: Vec<Vec<&mut [u32]>> = words.iter_mut().map(|w| vec![w.as_mut_slice()]).collect();
    let run = program.run(&mut Scratch::default(), &slots, &vec![0; slots.len()], 0, &mut parts);
    run.map_err(|outside| index_error(outside, 0))?;
    for ((v, words), view) in values.into_iter().zip(words).zip(&program.results) {
        if let Buffer::Slot(_) = view.buffer {
            plan.given[v.index()] = Some(Given::Fixed(view.clone()));
        } else {
            give(plan, v, Source::Constant(words));
        }
    }
    Ok(())
}
