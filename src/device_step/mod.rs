//! Training on a device: a step of a graph whose outputs replace its parameters, as a few dispatches on memory that stays.
//!
//! 1. What works row by row goes through the pipeline of inference as it is (`rows`): its outputs are the operands of
//!    sums over the batch.
//! 2. All sums are one dispatch, `shaders/sums.wgsl`; rows of gradients of tables are another, `shaders/segments.wgsl`,
//!    over lookups that the host has sorted. No atomics: the same batch gives the same bits.
//! 3. `shaders/combine.wgsl` adds up the parts of gradients, which lie one after the other like the weights do, and their
//!    squares.
//! 4. One workgroup computes what is a number: metrics, the norm, factors of the update (`scalars`).
//! 5. Updates are the same few scalar statements for every element of every tensor (`updates`): one dispatch for all
//!    tensors with the same statements.
//!
//! A step that has not this form is refused by name: then [`crate::cpu::Stepper`] runs it. So are, for now, tables
//! updated where they are touched alone, statistics over the batch that rows wait for, and random numbers.

mod form;
mod jobs;
mod kernels;
mod plan;
mod rows;
mod tables;
mod texts;

use std::sync::Arc;

use crate::compile::CompileError;
use crate::cpu;
use crate::ir::rows::NotRowLocal;
use crate::ir::{Graph, TypeError, Value};
use crate::optim::NEXT;
use crate::run::{self, Batch, Device, Machine, Memory, Problem, Read, Write};
use crate::tensor::{DType, HostTensor, Sizes, Tensors};
use crate::wgsl::Rejected;
use jobs::Place;
use plan::{Held, Plan, Slot};

/// Why a device does not take a step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The step has not the form of the module's documentation.
    #[error("{value} `{op}`{}: {why}; a device does not run this step", if scope.is_empty() { String::new() } else { format!(" of `{scope}`") })]
    Form {
        /// The value.
        value: Value,
        /// Name of its operation.
        op: &'static str,
        /// Its module path.
        scope: String,
        /// What is wrong.
        why: String,
    },
    /// Rows are mixed by something else than sums.
    #[error(transparent)]
    NotRowLocal(#[from] NotRowLocal),
    /// No kernels for what works row by row.
    #[error("the rows of the step: {0}")]
    Compile(#[from] CompileError),
    /// Parameters or optimiser state that do not fit the graph.
    #[error("state: {0}")]
    State(String),
    /// The device, or a batch.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// Indices that could not be computed.
    #[error("indices of tables: {0}")]
    Index(#[from] cpu::Error),
    /// A part of the step is no graph: a fault of this module.
    #[error("a part of the step: {0}")]
    Graph(#[from] TypeError),
    /// naga refuses a kernel: a fault of this module.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl Error {
    fn refused(g: &Graph, value: Value, why: &str) -> Self {
        Self::Form {
            value,
            op: g.op(value).name(),
            scope: g.scope_of(value).to_owned(),
            why: why.to_owned(),
        }
    }
}

/// Runs training steps on a device and holds what they train there.
pub struct Stepper {
    graph: Graph,
    plan: Plan,
    machine: Machine,
    /// As it was at first: names and what is never trained.
    state: Tensors,
}

impl Stepper {
    /// Prepares a step for batches of at most so many rows, with parameters and optimiser state of these values.
    ///
    /// # Errors
    /// [`Error`]; a step that [`crate::cpu::Stepper`] takes may be refused.
    pub fn new(device: Arc<Device>, graph: &Graph, state: Tensors, rows: u32) -> Result<Self, Error> {
        check_state(graph, &state)?;
        let (plan, machine) = Plan::new(device, graph, &state, rows)?;
        let stepper = Self {
            graph: graph.clone(),
            plan,
            machine,
            state,
        };
        for t in &stepper.plan.trained {
            stepper.load_states(t, &stepper.state)?;
        }
        Ok(stepper)
    }

    /// Takes other values for all parameters and optimiser state.
    ///
    /// # Errors
    /// [`Error::State`] for what is missing, not wanted, or of another type: nothing has changed then; and what the
    /// device has to say.
    pub fn restore(&mut self, state: Tensors) -> Result<(), Error> {
        check_state(&self.graph, &state)?;
        self.plan.tables.restore(&state)?;
        for t in &self.plan.trained {
            self.load(Memory::Weights, &t.place, &state[&t.name])?;
            self.load_states(t, &state)?;
        }
        for (name, place) in &self.plan.untrained {
            self.load(Memory::Weights, place, &state[name])?;
        }
        self.state = state;
        Ok(())
    }

    fn load_states(&self, t: &Held, state: &Tensors) -> Result<(), Error> {
        for (i, name) in t.states.iter().enumerate() {
            self.load(self.plan.state_memory(i), &t.place, &state[name])?;
        }
        Ok(())
    }

    fn load(&self, memory: Memory, place: &Place, tensor: &HostTensor) -> Result<(), Error> {
        let words = place.padded(tensor);
        let at = place.flat;
        Ok(self.machine.write(&[Write {
            memory,
            at,
            words: &words,
        }])?)
    }

    /// What it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.machine.device()
    }

    /// Dispatches of a step.
    #[must_use]
    pub fn dispatches(&self) -> usize {
        self.machine.dispatches()
    }

    /// Parameters and optimiser state as they are now, fetched from the device.
    ///
    /// # Errors
    /// What the device has to say.
    pub fn state(&self) -> Result<Tensors, Error> {
        let mut state = self.state.clone();
        let mut list = Vec::new();
        for t in &self.plan.trained {
            let own = |memory| Read {
                memory,
                at: t.place.flat,
                words: t.place.len(),
            };
            list.push((&t.name, &t.place, own(Memory::Weights)));
            let states = t.states.iter().enumerate();
            list.extend(states.map(|(i, name)| (name, &t.place, own(self.plan.state_memory(i)))));
        }
        let reads: Vec<Read> = list.iter().map(|(_, _, read)| *read).collect();
        let all = self.machine.read(&reads)?;
        for ((name, place, _), words) in list.into_iter().zip(all) {
            if let Some(tensor) = state.get_mut(name.as_str()) {
                *tensor = HostTensor::f32(&tensor.shape.clone(), place.stripped(&words));
            }
        }
        Ok(state)
    }

    /// One step on a batch of so many rows: its metrics. After an error nothing has changed.
    ///
    /// # Errors
    /// [`Error::Run`] for batches that do not fit, for indices outside their table and for what the device has to say.
    pub fn step(&mut self, inputs: &Tensors, rows: usize) -> Result<Tensors, Error> {
        self.check_names(inputs)?;
        let of_rows = |name: &str| self.plan.manifest.inputs.iter().any(|port| port.name == name);
        let own: Tensors = inputs
            .iter()
            .filter(|(name, _)| of_rows(name))
            .map(|(n, t)| (n.clone(), t.clone()))
            .collect();
        let batch = Batch::check(&self.plan.manifest, &own)?;
        if batch.sizes.rows != rows {
            return Err(Error::State(format!(
                "a batch of {} rows where {rows} were announced",
                batch.sizes.rows
            )));
        }
        let sizes = Sizes { rows, requests: rows };
        let lookups = self.plan.tables.lookups(inputs, sizes)?;
        let scalar = |name: &String| inputs[name].as_f32().and_then(|x| x.first()).map_or(0, |x| x.to_bits());
        let given: Vec<u32> = self.plan.given.iter().map(scalar).collect();
        let scalars: Vec<(usize, u32)> = self.plan.scalars.iter().map(|(name, at)| (*at, scalar(name))).collect();
        let write = |memory, words| Write { memory, at: 0, words };
        let mut writes = vec![
            write(self.plan.given_memory(), &given[..]),
            write(self.plan.segments_memory(), &lookups.segments[..]),
            write(self.plan.terms_memory(), &lookups.terms[..]),
        ];
        writes.extend(scalars.iter().map(|(at, word)| Write {
            memory: Memory::Weights,
            at: *at,
            words: std::slice::from_ref(word),
        }));
        self.machine
            .set_groups(self.plan.segments_kernel(), lookups.segments.len() / 4);
        let mut reads = self.plan.reads();
        reads.extend(self.plan.of_rows.iter().map(|(_, at, width)| Read {
            memory: Memory::Values,
            at: *at,
            words: width * rows,
        }));
        let words = self.machine.run(&batch, &writes, &self.plan.clear(), &reads)?;
        if let Some(at) = words[0].iter().skip(1).position(|w| *w > 0) {
            return Err(run::Error::ComputedIndex {
                row: words[0][at + 1] as usize - 1,
                table: self.plan.status.get(at).cloned().unwrap_or_default(),
            }
            .into());
        }
        Ok(self.metrics(&words, sizes))
    }

    fn metrics(&self, words: &[Vec<u32>], sizes: Sizes) -> Tensors {
        let tensor = |name: &str, words: &[u32]| {
            let v = self.graph.outputs.iter().find(|(n, _)| n == name).map(|(_, v)| *v)?;
            let ty = self.graph.ty(v);
            let shape = ty.shape.at(sizes);
            Some(match ty.dtype {
                DType::F32 => HostTensor::f32(&shape, bytemuck::cast_slice(words).to_vec()),
                DType::I32 => HostTensor::i32(&shape, bytemuck::cast_slice(words).to_vec()),
                DType::Bool => HostTensor::bool(&shape, words.iter().map(|w| *w != 0).collect()),
            })
        };
        let value = |name: &str| match self.plan.metrics.iter().find(|(n, _)| n == name) {
            Some((_, Slot(at))) => tensor(name, words[1].get(*at..*at + 1)?),
            None => {
                let i = self.plan.of_rows.iter().position(|(n, ..)| n == name)?;
                tensor(name, words.get(2 + i)?)
            }
        };
        let names = self.graph.outputs.iter().filter(|(name, _)| !name.starts_with(NEXT));
        names
            .filter_map(|(name, _)| Some((name.clone(), value(name)?)))
            .collect()
    }

    /// All inputs of the step and no others; types of those that are not of rows.
    fn check_names(&self, inputs: &Tensors) -> Result<(), Error> {
        let known: Vec<String> = self.graph.inputs().map(|(_, name, _)| name.to_owned()).collect();
        let strangers = inputs.keys().filter(|name| !known.contains(name));
        let unknown = |name: &String| Problem::Unknown {
            name: name.clone(),
            inputs: known.clone(),
        };
        let mut problems: Vec<Problem> = strangers.map(unknown).collect();
        for (_, name, ty) in self.graph.inputs().filter(|(_, _, ty)| ty.shape.symbolic().is_none()) {
            let input = name.to_owned();
            match inputs.get(name) {
                None => problems.push(Problem::Missing { input }),
                Some(t) if t.dtype() != ty.dtype => problems.push(Problem::DType {
                    input,
                    seen: t.dtype().name(),
                    expected: ty.dtype.name(),
                }),
                Some(t) if t.shape != ty.shape.at(Sizes::ONE) => problems.push(Problem::Shape {
                    input,
                    seen: t.shape.clone(),
                    expected: ty.shape.to_string(),
                }),
                Some(_) => {}
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(run::Error::Batch(problems).into())
        }
    }
}

/// All parameters of the graph, of its types, and no others.
fn check_state(g: &Graph, state: &Tensors) -> Result<(), Error> {
    for (_, name, ty) in g.params() {
        let seen = state.get(name).map(|t| (t.dtype(), t.shape.clone()));
        if seen != Some((ty.dtype, ty.shape.at(Sizes::ONE))) {
            let seen = seen.map_or("missing".to_owned(), |(dtype, shape)| format!("{dtype}{shape:?}"));
            return Err(Error::State(format!("`{name}` is {seen}, the step needs {ty}")));
        }
    }
    match state.keys().find(|name| g.params().all(|(_, n, _)| n != name.as_str())) {
        Some(name) => Err(Error::State(format!("the step has no parameter `{name}`"))),
        None => Ok(()),
    }
}
