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
//! order. Training adds sums over rows (`sums`): what waits for one is a later stage. A [`Stepper`] runs such steps and
//! holds what they train.

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
mod names;
mod panels;
mod plan;
mod pointwise;
mod program;
mod recurrence;
mod reduce;
mod run;
mod scatter;
mod stepper;
mod sums;
mod touched;
mod view;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use self::blocks::block_size;
use self::lower::lower;
use self::plan::{Crossing, Plan, Source, Stage, Wanted};
use self::program::{Program, Scratch};
use self::run::{Part, Run};
use crate::ir::{Graph, REQUEST_OF_ROW, Value};
use crate::tensor::{Sizes, Tensors};

pub use error::{Error, Mismatch};
pub use stepper::Stepper;

/// Runs a graph on the CPU whose rows meet in sums alone.
#[derive(Debug)]
pub struct Executor {
    plan: Plan,
    /// The stages of a batch, in order.
    parts: Vec<Part>,
    programs: Mutex<HashMap<(Stage, usize, Crossing), Arc<Program>>>,
    /// Working memories at rest.
    scratches: Mutex<Vec<Scratch>>,
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
        let mut parts: Vec<Part> = plan
            .batch_stages()
            .into_iter()
            .map(|stage| Part::new(&mut plan, stage))
            .collect();
        for part in &mut parts {
            part.most = block_size(&plan, part.stage, &part.values());
        }
        Ok(Self {
            plan,
            parts,
            programs: Mutex::default(),
            scratches: Mutex::default(),
        })
    }

    /// Runs a batch. `request_of_row` may be left out where the sizes imply it.
    ///
    /// # Errors
    /// [`Error::Batch`] with all inputs that do not fit, [`Error::RequestOfRow`], [`Error::Index`].
    pub fn run(&self, batch: &Tensors, sizes: Sizes) -> Result<Tensors, Error> {
        let graph = &self.plan.graph;
        batch::check_batch(graph, batch, sizes)?;
        let implied =
            match batch.contains_key(REQUEST_OF_ROW) || graph.inputs().all(|(_, name, _)| name != REQUEST_OF_ROW) {
                true => Vec::new(),
                false => batch::implied_requests(sizes)?,
            };
        let outputs = self.run_words(sizes, |name| match batch.get(name) {
            Some(tensor) => batch::words(tensor),
            None => Cow::Borrowed(&implied),
        })?;
        let named = graph.outputs.iter().zip(outputs);
        let tensor = |v: Value, words| batch::tensor(graph.ty(v).dtype, &graph.shape(v).at(sizes), words);
        Ok(named
            .map(|((name, v), words)| (name.clone(), tensor(*v, words)))
            .collect())
    }

    /// Runs on the words of every input, which fit the graph. The words of every output.
    fn run_words<'a>(&'a self, sizes: Sizes, input: impl Fn(&str) -> Cow<'a, [u32]>) -> Result<Vec<Vec<u32>>, Error> {
        let words = |slot: &'a plan::Slot| match &slot.source {
            Source::Constant(words) => Cow::Borrowed(words.as_slice()),
            Source::Result => Cow::Borrowed(&[][..]),
            Source::Input(name) => input(name),
        };
        let slots = self.plan.slots.iter().map(words).collect();
        Run::new(self, slots, sizes)?.outputs()
    }

    fn program(&self, stage: Stage, n: usize, crossing: Crossing, wanted: &[Wanted]) -> Arc<Program> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let program = programs.entry((stage, n, crossing));
        let lowered = || Arc::new(lower(&self.plan, stage, n, crossing, wanted));
        Arc::clone(program.or_insert_with(lowered))
    }
}
