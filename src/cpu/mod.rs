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
mod constants;
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
mod recurrence;
mod reduce;
mod run;
mod view;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::blocks::block_size;
use self::lower::lower;
use self::plan::{Crossing, Plan, Source, Stage};
use self::program::{Program, Scratch};
use self::run::Run;
use crate::ir::{Graph, Value};
use crate::tensor::{Sizes, Tensors};

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
        constants::give_leaves(&mut plan, weights);
        constants::fold(&mut plan)?;
        let mut results = |stage: Stage| -> Vec<(Value, usize)> {
            let values = plan.handed_on(stage).into_iter();
            values
                .map(|v| (v, constants::give(&mut plan, v, Source::Result)))
                .collect()
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
        let outputs = Run::new(self, self.inputs(batch, sizes)?, sizes)?.outputs()?;
        let named = graph.outputs.iter().zip(outputs);
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
