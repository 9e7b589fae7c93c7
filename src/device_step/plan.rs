//! From a step to memory and kernels.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::Error;
use super::form::{Form, Trained};
use super::jobs::{Jobs, Place, Stretches};
use super::kernels::{GIVEN, NUMBERS, PARTIAL, SEGMENTS, STATES, TERMS, fixed, updating};
use super::rows::{Rows, output};
use super::tables::Tables;
use super::texts::{Numbers, Sources};
use crate::bundle::{Bundle, Layout, Manifest, Precision, Rung};
use crate::compile::{Options, compile};
use crate::fuse::Profile;
use crate::ir::{Graph, Op, Value};
use crate::optim::NEXT;
use crate::run::{Capacity, Device, Machine, Memory, Read, Write};
use crate::tensor::{DType, HostTensor, Sizes, Tensors};
use crate::wgsl::{Statements, validate};

/// Where a number is among those of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(pub(super) usize);

/// A tensor on the device.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) states: Vec<String>,
    pub(super) place: Place,
}

/// What a step is on a device.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of the row part, for batches.
    pub(super) manifest: Manifest,
    /// Tables with status words.
    pub(super) status: Vec<String>,
    pub(super) trained: Vec<Held>,
    /// Parameters that rows read and that never change.
    pub(super) untrained: Vec<(String, Place)>,
    /// Scalars of the step that numbers are computed from.
    pub(super) given: Vec<String>,
    /// Scalars of the step that rows read, with their words among weights.
    pub(super) scalars: Vec<(String, usize)>,
    pub(super) metrics: Vec<(String, Slot)>,
    /// Metrics of rows: first word among values, words for each row.
    pub(super) of_rows: Vec<(String, usize, usize)>,
    pub(super) tables: Tables,
    clear: Vec<(usize, usize)>,
    numbers: usize,
}

impl Plan {
    pub(super) fn state_memory(&self, i: usize) -> Memory {
        Memory::Own(STATES + i)
    }

    pub(super) fn given_memory(&self) -> Memory {
        Memory::Own(GIVEN)
    }

    pub(super) fn segments_memory(&self) -> Memory {
        Memory::Own(SEGMENTS)
    }

    pub(super) fn terms_memory(&self) -> Memory {
        Memory::Own(TERMS)
    }

    /// Number of the kernel whose workgroups are the lookups of a batch.
    pub(super) fn segments_kernel(&self) -> usize {
        1
    }

    /// What every step fetches: status words, then numbers.
    pub(super) fn reads(&self) -> Vec<Read> {
        let read = |memory, words| Read { memory, at: 0, words };
        vec![
            read(Memory::Status, self.status.len() + 1),
            read(Memory::Own(NUMBERS), self.numbers),
        ]
    }

    /// What is zero before a step.
    pub(super) fn clear(&self) -> Vec<Read> {
        let clear = |(at, words): &(usize, usize)| Read {
            memory: Memory::Own(PARTIAL),
            at: *at,
            words: *words,
        };
        self.clear.iter().map(clear).collect()
    }

    /// Plans a step and loads it.
    pub(super) fn new(device: Arc<Device>, g: &Graph, state: &Tensors, rows: u32) -> Result<(Self, Machine), Error> {
        let form = Form::new(g)?;
        let numbers = Numbers::default();
        let slot = |(name, v): &(String, Value)| (name.clone(), Slot(numbers.slot(*v)));
        let metrics = form.metrics.iter().map(slot).collect();
        let updates = form
            .trained
            .iter()
            .map(|t| numbers.update(g, t))
            .collect::<Result<Vec<_>, Error>>()?;
        let sources = Sources::default();
        // Once to learn which sums numbers are computed from.
        numbers.text(g, &form, &sources, &|_| 0)?;
        let scalar_sums: Vec<Value> = sources.sums.borrow().iter().copied().collect();
        let terms = form.trained.iter().flat_map(|t| t.terms.iter().map(|term| term.sum));
        let all: IndexSet<Value> = terms.chain(scalar_sums.iter().copied()).collect();
        let all: Vec<Value> = all.into_iter().collect();
        let row_part = Rows::new(g, &form, &all)?;
        let bundle = bundle(&device, &row_part, state)?;
        let variant = &bundle.manifest.variants[0];
        if variant.shards.len() > 1 {
            return Err(Error::State(format!(
                "weights need {} buffers, a step has one",
                variant.shards.len()
            )));
        }
        let capacity = Capacity { rows, requests: rows }.rounded();
        let output_at = |i: usize| {
            let slot = variant.outputs.iter().find(|slot| slot.name == output(i));
            slot.map_or((0, 0), |s| {
                (s.offset.at(capacity.rows, capacity.requests) as usize, s.width as usize)
            })
        };
        let mut trained = Vec::new();
        for t in &form.trained {
            trained.push(held(g, t, &bundle)?);
        }
        let flat = trained.iter().map(|h| h.place.flat + h.place.len()).max().unwrap_or(0);
        let numbers_at = |v: Value| flat + scalar_sums.iter().position(|s| *s == v).unwrap_or(0);
        let text = numbers.text(g, &form, &sources, &numbers_at)?;

        let mut jobs = Jobs::new(g, &row_part, capacity.rows as usize, &output_at);
        let mut stretches = Stretches::default();
        for (t, h) in form.trained.iter().zip(&trained) {
            let sums = jobs.tensor(t, h)?;
            stretches.add(&h.place, sums);
        }
        for v in &scalar_sums {
            let place = Place::number(numbers_at(*v));
            let sums = jobs.number(*v, &place)?;
            stretches.add(&place, sums);
        }
        let indices = indices(g, &jobs.indices)?;
        let fixed_weights = untrained(g, &indices, state)?;
        let mut own = vec![
            ("scalars of a step", sources.given.borrow().len(), Vec::new()),
            ("sums", jobs.jobs.len(), jobs.jobs),
            ("tiles of sums", jobs.tasks.len(), jobs.tasks.clone()),
            ("parts of sums", jobs.partial, Vec::new()),
            ("rows of tables", 4 * jobs.lookups, Vec::new()),
            ("lookups", jobs.lookups + 1, Vec::new()),
            ("stretches", stretches.words.len(), stretches.words.clone()),
            ("gradients", flat + scalar_sums.len(), Vec::new()),
            ("squares", stretches.words.len() / 8, Vec::new()),
        ];
        let ranges: Vec<u32> = sources
            .norms
            .borrow()
            .iter()
            .flat_map(|i| stretches.ranges[*i])
            .collect();
        own.push(("ranges of squares", ranges.len(), ranges));
        own.push(("numbers", numbers.len(), Vec::new()));
        let states = form.trained.iter().map(|t| t.states.len()).max().unwrap_or(0);
        own.extend((0..states).map(|_| ("state", flat, Vec::new())));
        let mut tail = fixed(&jobs.tasks, stretches.words.len() / 8, text);
        let mut alike: IndexMap<(&Statements, usize), Vec<usize>> = IndexMap::new();
        for (i, (t, update)) in form.trained.iter().zip(&updates).enumerate() {
            alike.entry((update, t.states.len())).or_default().push(i);
        }
        for ((update, states), members) in alike {
            let mut mine = Stretches::default();
            members.iter().for_each(|i| mine.add(&trained[*i].place, (0, 0, 0)));
            let groups = mine.words.len() / 8;
            tail.push(updating(update, states, own.len(), groups));
            own.push(("stretches of an update", mine.words.len(), mine.words));
        }
        for kernel in &tail {
            validate(&kernel.name, &kernel.wgsl)?;
        }
        let sizes: Vec<(&str, usize)> = own.iter().map(|(label, words, _)| (*label, *words)).collect();
        let machine = Machine::open(device, &bundle, variant, rows, &sizes, tail)?;
        for (i, (_, _, words)) in own.iter().enumerate() {
            machine.write(&[Write {
                memory: Memory::Own(i),
                at: 0,
                words,
            }])?;
        }
        let word = |name: &String| {
            let place = variant.weights.iter().find(|p| p.tensor == *name)?;
            Some((name.clone(), place.offset as usize * 4))
        };
        let of_rows = row_part.metrics.iter().filter_map(|(name, out)| {
            let i = variant.outputs.iter().position(|slot| slot.name == *out)?;
            let (at, width) = output_at(i);
            Some((name.clone(), at, width))
        });
        let untrained = g.params().filter_map(|(v, name, ty)| {
            let place = variant.weights.iter().find(|p| p.tensor == name)?;
            let fixed = form.trained.iter().all(|t| t.param != v);
            fixed.then(|| (name.to_owned(), Place::new(&ty.shape.at(Sizes::ONE), place)))
        });
        let plan = Self {
            untrained: untrained.collect(),
            status: variant.status.clone(),
            given: sources.given.borrow().iter().cloned().collect(),
            scalars: row_part.scalars.iter().filter_map(word).collect(),
            metrics,
            of_rows: of_rows.collect(),
            tables: Tables::new(jobs.tables, indices, &fixed_weights)?,
            clear: jobs.clear,
            numbers: numbers.len(),
            trained,
            manifest: Manifest {
                variants: Vec::new(),
                ..bundle.manifest.clone()
            },
        };
        Ok((plan, machine))
    }
}

/// The row part, compiled: f32, not simplified, since weights change.
fn bundle(device: &Device, rows: &Rows, state: &Tensors) -> Result<Bundle, Error> {
    let report = device.report();
    let fits = |p: &&'static Profile| {
        !p.software
            && p.workgroup_bytes as u64 <= u64::from(report.workgroup_bytes)
            && p.threads as u64 <= u64::from(report.invocations)
    };
    let options = Options {
        profiles: vec![Profile::ALL.iter().find(fits).unwrap_or(&Profile::PORTABLE)],
        rungs: vec![Rung::F32],
        simplify: false,
        buffer_bytes: report.binding_bytes.min(report.buffer_bytes),
        ..Options::new(Precision::F32)
    };
    let mut weights = Tensors::new();
    for (_, name, ty) in rows.graph.params() {
        let shape = ty.shape.at(Sizes::ONE);
        let zero = match ty.dtype {
            DType::I32 => HostTensor::i32(&shape, vec![0; shape.iter().product()]),
            DType::F32 | DType::Bool => HostTensor::f32(&shape, vec![0.0; shape.iter().product()]),
        };
        weights.insert(name.to_owned(), state.get(name).cloned().unwrap_or(zero));
    }
    Ok(compile("step", &rows.graph, &weights, &options)?)
}

fn held(g: &Graph, t: &Trained, bundle: &Bundle) -> Result<Held, Error> {
    let name = |v: Value| match g.op(v) {
        Op::Param(name) => name.clone(),
        _ => String::new(),
    };
    let own = name(t.param);
    let place = bundle.manifest.variants[0].weights.iter().find(|p| p.tensor == own);
    let place = place.ok_or_else(|| Error::refused(g, t.param, "no row reads it"))?;
    if !matches!(place.layout, Layout::Words | Layout::RowsWords) {
        return Err(Error::refused(g, t.param, "kernels read it in blocks"));
    }
    Ok(Held {
        place: Place::new(&g.shape(t.param).at(Sizes::ONE), place),
        states: t.states.iter().map(|v| name(*v)).collect(),
        name: own,
    })
}

/// The graph of some indices, outputs by number.
fn indices(g: &Graph, list: &IndexSet<Value>) -> Result<Graph, Error> {
    let mut graph = Graph::new();
    let mut known: IndexMap<Value, Value> = IndexMap::new();
    let mut wanted = vec![false; g.len()];
    list.iter().for_each(|v| wanted[v.index()] = true);
    for (v, n) in g.iter().rev() {
        if wanted[v.index()] {
            n.args.iter().for_each(|a| wanted[a.index()] = true);
        }
    }
    for (v, n) in g.iter().filter(|(v, _)| wanted[v.index()]) {
        let args: Vec<Value> = n.args.iter().map(|a| known[a]).collect();
        known.insert(v, graph.declare(n.op.clone(), &args, n.ty.clone())?);
    }
    graph.outputs = list.iter().enumerate().map(|(i, v)| (output(i), known[v])).collect();
    Ok(graph)
}

/// The parameters of an index graph, none of which may change.
fn untrained(g: &Graph, indices: &Graph, state: &Tensors) -> Result<Tensors, Error> {
    let mut weights = Tensors::new();
    for (_, name, _) in indices.params() {
        if let Some((_, v)) = g.outputs.iter().find(|(n, _)| n.strip_prefix(NEXT) == Some(name)) {
            return Err(Error::refused(g, *v, "indices depend on it"));
        }
        weights.extend(state.get(name).map(|t| (name.to_owned(), t.clone())));
    }
    Ok(weights)
}
