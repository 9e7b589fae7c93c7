//! Training on the CPU: one step of a graph whose outputs replace its parameters.

use std::borrow::Cow;
use std::collections::HashMap;

use super::touched::{Touched, Updates};
use super::{Error, Executor, batch};
use crate::ir::{Graph, Value};
use crate::pieces::{Over, Piece, Source, Target, split};
use crate::tensor::{Sizes, Tensors};

/// Runs training steps and holds what they train.
///
/// Outputs `next.NAME` of the graph are the new values of parameters `NAME`; all others are metrics. Sums over rows are
/// added in an order that depends on the size of the batch alone, so that a step gives the same bits whatever the
/// number of threads. Tables that are updated row by row (see [`crate::pieces`]) cost what the batch touches of them.
#[derive(Debug)]
pub struct Stepper {
    graph: Graph,
    pieces: Vec<(Piece, Executor)>,
    state: Tensors,
}

/// The table that a piece updates, as its user knows it.
fn updated(piece: &Piece) -> String {
    let name = piece.outputs.iter().find_map(|target| match target {
        Target::NextRows(name) => Some(format!("parameter `{name}`")),
        Target::Metric(_) | Target::Value(_) | Target::Next(_) => None,
    });
    name.unwrap_or("a trained table".to_owned())
}

/// New values that wait until all of a step is known.
enum Next {
    Whole(Vec<u32>),
    Rows(usize, Vec<u32>),
}

/// A step on its way through its pieces.
#[derive(Default)]
struct Step {
    values: HashMap<Value, Vec<u32>>,
    metrics: HashMap<String, Vec<u32>>,
    next: Vec<(String, Next)>,
    touched: Vec<Touched>,
}

impl Stepper {
    /// Prepares a step for parameters and optimiser state of these values.
    ///
    /// # Errors
    /// [`Error::Step`] or [`Error::NotRowLocal`] for a graph that is no step, [`Error::Weights`] for state that is
    /// missing, not wanted, or of another type.
    pub fn new(graph: &Graph, state: Tensors) -> Result<Self, Error> {
        batch::check_weights(graph, &state)?;
        let prepare = |piece: Piece| {
            let executor = Executor::new(&piece.graph, &Tensors::new())?;
            Ok((piece, executor))
        };
        Ok(Self {
            graph: graph.clone(),
            pieces: split(graph)?.into_iter().map(prepare).collect::<Result<_, Error>>()?,
            state,
        })
    }

    /// Parameters and optimiser state as they are now.
    #[must_use]
    pub fn state(&self) -> &Tensors {
        &self.state
    }

    /// Takes other values for all parameters and optimiser state.
    ///
    /// # Errors
    /// [`Error::Weights`] with all that are missing, not wanted, or of another type; nothing has changed then.
    pub fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        batch::check_weights(&self.graph, &state)?;
        self.state = state;
        Ok(())
    }

    /// Gives up the executor for what it trained.
    #[must_use]
    pub fn into_state(self) -> Tensors {
        self.state
    }

    /// One step on a batch of so many rows: its metrics. After an error nothing has changed.
    ///
    /// # Errors
    /// [`Error::Batch`] with all inputs that do not fit, [`Error::Index`] for an index outside its table.
    pub fn step(&mut self, inputs: &Tensors, rows: usize) -> Result<Tensors, Error> {
        let sizes = Sizes { rows, requests: rows };
        batch::check_batch(&self.graph, inputs, sizes)?;
        let mut step = Step::default();
        for (piece, executor) in &self.pieces {
            self.run(&mut step, piece, executor, inputs, sizes)?;
        }
        let named = |(name, v): &(String, Value)| {
            let words = step.metrics.remove(name)?;
            let ty = self.graph.ty(*v);
            Some((name.clone(), batch::tensor(ty.dtype, &ty.shape.at(sizes), words)))
        };
        let metrics = self.graph.outputs.iter().filter_map(named).collect();
        for (name, next) in step.next {
            let Some(tensor) = self.state.get_mut(&name) else {
                continue;
            };
            match next {
                Next::Whole(words) => *tensor = batch::tensor(tensor.dtype(), &tensor.shape, words),
                Next::Rows(touched, words) => step.touched[touched].put(&words, tensor),
            }
        }
        Ok(metrics)
    }

    fn run(
        &self,
        step: &mut Step,
        piece: &Piece,
        executor: &Executor,
        inputs: &Tensors,
        sizes: Sizes,
    ) -> Result<(), Error> {
        let outside = |source: &Source| self.words(step, source, inputs);
        let mut own: HashMap<&str, Vec<u32>> = HashMap::new();
        let sizes = match &piece.over {
            Over::Batch => sizes,
            Over::Table { extent, sites } => {
                let words: Vec<[Cow<'_, [u32]>; 2]> =
                    sites.iter().map(|s| [outside(&s.updates), outside(&s.index)]).collect();
                let updates: Vec<Updates<'_>> = words.iter().map(|[words, index]| Updates { words, index }).collect();
                let touched = Touched::new(&updated(piece), *extent, &updates, sizes.rows)?;
                for (name, source) in &piece.inputs {
                    let words = match source {
                        Source::Site(i) => touched.sums(&updates[*i]),
                        Source::Rows(param) => touched.gather(&batch::words(&self.state[param]), *extent),
                        Source::Batch(_) | Source::State(_) | Source::Value(_) => continue,
                    };
                    own.insert(name, words);
                }
                let rows = touched.len();
                step.touched.push(touched);
                Sizes { rows, requests: rows }
            }
        };
        let sources: HashMap<&str, &Source> = piece.inputs.iter().map(|(name, s)| (&**name, s)).collect();
        let outputs = executor.run_words(sizes, |name| match own.get(name) {
            Some(words) => Cow::Borrowed(words),
            None => self.words(step, sources[name], inputs),
        })?;
        for (target, words) in piece.outputs.iter().zip(outputs) {
            match target {
                Target::Metric(name) => _ = step.metrics.insert(name.clone(), words),
                Target::Value(v) => _ = step.values.insert(*v, words),
                Target::Next(name) => step.next.push((name.clone(), Next::Whole(words))),
                Target::NextRows(name) => step
                    .next
                    .push((name.clone(), Next::Rows(step.touched.len() - 1, words))),
            }
        }
        Ok(())
    }

    /// What is known before a piece runs.
    fn words<'a>(&'a self, step: &'a Step, source: &Source, inputs: &'a Tensors) -> Cow<'a, [u32]> {
        match source {
            Source::Batch(name) => batch::words(&inputs[name]),
            Source::State(name) => batch::words(&self.state[name]),
            Source::Value(v) => Cow::Borrowed(&step.values[v]),
            Source::Rows(_) | Source::Site(_) => unreachable!("they are the piece's own"),
        }
    }
}
