//! The executor: what it holds, and a step.

use std::sync::Arc;

use super::layout::Held;
use super::outline::Slot;
use super::places::Place;
use super::plan::{Plan, Squares, counts};
use super::tables::{Lookups, SEGMENT};
use super::{Error, Work};
use crate::ir::Graph;
use crate::optim::NEXT;
use crate::run::{self, Batch, Device, Machine, Memory, Problem, Read, Write};
use crate::tensor::{DType, Data, HostTensor, Sizes, Tensors};

/// Runs training steps on a device and holds what they train there.
pub struct Stepper {
    graph: Graph,
    plan: Plan,
    machine: Machine,
    /// What is never trained.
    untrained: Tensors,
    /// All parameters, in the order in which they were given.
    names: Vec<String>,
    work: Work,
}

impl Stepper {
    /// Prepares a step for batches of at most so many rows, with parameters and optimiser state of these values.
    ///
    /// # Errors
    /// [`Error`]; a step that [`crate::cpu::Stepper`] takes may be refused.
    pub fn new(device: Arc<Device>, graph: &Graph, state: Tensors, rows: u32) -> Result<Self, Error> {
        check_state(graph, &state)?;
        let (plan, machine) = Plan::new(device, graph, &state, rows)?;
        let mut stepper = Self {
            graph: graph.clone(),
            plan,
            machine,
            untrained: Tensors::new(),
            names: state.keys().cloned().collect(),
            work: Work::default(),
        };
        for held in &stepper.plan.trained {
            if !held.read {
                stepper.load(stepper.plan.shared.kept, &held.place, &state[&held.name])?;
            }
            stepper.load_states(held, &state)?;
        }
        stepper.keep(state);
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
        for held in &self.plan.trained {
            let memory = held.memory(self.plan.shared.kept);
            self.load(memory, &held.place, &state[&held.name])?;
            self.load_states(held, &state)?;
        }
        for (name, place) in &self.plan.untrained {
            self.load(Memory::Weights, place, &state[name])?;
        }
        self.keep(state);
        Ok(())
    }

    /// Lets go of what the device holds.
    fn keep(&mut self, mut state: Tensors) {
        let trained = self.plan.trained.iter();
        let held = trained.flat_map(|held| std::iter::once(&held.name).chain(held.states.iter().map(|(name, _)| name)));
        for name in held {
            state.swap_remove(name);
        }
        self.untrained = state;
    }

    fn load_states(&self, held: &Held, state: &Tensors) -> Result<(), Error> {
        for ((name, place), memory) in held.states.iter().zip(&self.plan.shared.states) {
            self.load(*memory, place, &state[name])?;
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

    /// What the latest step took.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// Bytes of device memory that it holds.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.machine.bytes()
    }

    /// Parameters and optimiser state as they are now, fetched from the device.
    ///
    /// # Errors
    /// What the device has to say.
    pub fn state(&self) -> Result<Tensors, Error> {
        let mut list = Vec::new();
        for held in &self.plan.trained {
            list.push((&held.name, &held.place, held.memory(self.plan.shared.kept)));
            let states = held.states.iter().zip(&self.plan.shared.states);
            list.extend(states.map(|((name, place), memory)| (name, place, *memory)));
        }
        let read = |(_, place, memory): &(_, &Place, Memory)| Read {
            memory: *memory,
            at: place.flat,
            words: place.len(),
        };
        let reads: Vec<Read> = list.iter().map(read).collect();
        let mut known = self.untrained.clone();
        for ((name, place, _), words) in list.into_iter().zip(self.machine.read(&reads)?) {
            if let Some((_, _, ty)) = self.graph.params().find(|(_, n, _)| n == name) {
                let tensor = HostTensor::f32(&ty.shape.per_row(), place.stripped(&words));
                known.insert(name.clone(), tensor);
            }
        }
        let mut state = Tensors::new();
        for name in &self.names {
            state.extend(known.swap_remove_entry(name));
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
        self.announce(&lookups, rows);
        let mut reads = self.plan.reads();
        reads.extend(self.plan.of_rows.iter().map(|(_, at, width)| Read {
            memory: Memory::Values,
            at: *at,
            words: width * rows,
        }));
        let words = self.run(&batch, inputs, &lookups, &reads)?;
        if let Some(at) = words[0].iter().skip(1).position(|w| *w > 0) {
            return Err(run::Error::ComputedIndex {
                row: words[0][at + 1] as usize - 1,
                table: self.plan.status.get(at).cloned().unwrap_or_default(),
            }
            .into());
        }
        Ok(self.metrics(&words, sizes))
    }

    /// Sets the workgroups of kernels that follow a batch's lookups.
    fn announce(&mut self, lookups: &Lookups, rows: usize) {
        let counts = counts(lookups.segments.len() / SEGMENT, &lookups.spans);
        let kernels = std::iter::once(self.plan.segments).chain(self.plan.touched.iter().map(|(kernel, _)| *kernel));
        for (kernel, count) in kernels.zip(&counts) {
            self.machine.set_groups(kernel, *count as usize);
        }
        self.work = Work {
            dispatches: self.machine.dispatches(),
            workgroups: self.machine.workgroups(Sizes { rows, requests: rows }),
            bytes: self.plan.fixed.bytes(rows, lookups),
        };
    }

    /// Writes what belongs to this step, and runs it.
    fn run(
        &self,
        batch: &Batch<'_>,
        inputs: &Tensors,
        lookups: &Lookups,
        reads: &[Read],
    ) -> Result<Vec<Vec<u32>>, Error> {
        let shared = &self.plan.shared;
        let scalar = |name: &String| match &inputs[name].data {
            Data::F32(x) => x.first().map_or(0, |x| x.to_bits()),
            Data::I32(x) => x.first().map_or(0, |x| x.cast_unsigned()),
            Data::Bool(x) => u32::from(x.first() == Some(&true)),
        };
        let given: Vec<u32> = self.plan.given.iter().map(scalar).collect();
        let scalars: Vec<(usize, u32)> = self.plan.scalars.iter().map(|(name, at)| (*at, scalar(name))).collect();
        let counts = counts(lookups.segments.len() / SEGMENT, &lookups.spans);
        let squares = |of: &Squares| match of {
            Squares::Stretches(range) => *range,
            Squares::Table(i) => lookups.squares[*i],
        };
        let ranges: Vec<u32> = self.plan.norms.iter().flat_map(squares).collect();
        let write = |memory, words| Write { memory, at: 0, words };
        let mut writes = vec![
            write(shared.given, &given[..]),
            write(shared.segments, &lookups.segments[..]),
            write(shared.terms, &lookups.terms[..]),
            write(shared.counts, &counts[..]),
            write(shared.ranges, &ranges[..]),
        ];
        let touched = self.plan.touched.iter().zip(&lookups.spans);
        writes.extend(touched.map(|((_, memory), words)| write(*memory, &words[..])));
        writes.extend(scalars.iter().map(|(at, word)| Write {
            memory: Memory::Weights,
            at: *at,
            words: std::slice::from_ref(word),
        }));
        Ok(self.machine.run(batch, &writes, &self.plan.clear(), reads)?)
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
