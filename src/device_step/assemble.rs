//! Buffers and kernels of a plan.

use indexmap::{IndexMap, IndexSet};

use super::Error;
use super::jobs::Jobs;
use super::kernels::{Buffers, Shared};
use super::layout::Layout;
use super::made::Made;
use super::outline::Outline;
use super::places::{Place, SPAN, Stretches};
use super::plan::{Plan, Squares};
use super::rows::{Rows, output};
use super::tables::{SEGMENT, Tables, TouchedRows};
use super::updates::Update;
use super::work::Fixed;
use crate::bundle::{Manifest, Variant};
use crate::ir::{Graph, Value};
use crate::optim::NEXT;
use crate::run::{Memory, Tail};
use crate::tensor::Tensors;

/// A plan under construction.
pub(super) struct Builder<'a> {
    pub(super) g: &'a Graph,
    pub(super) outline: &'a Outline,
    pub(super) rows: &'a Rows,
    pub(super) variant: &'a Variant,
    pub(super) layout: Layout,
    pub(super) jobs: Jobs<'a>,
    pub(super) buffers: Buffers,
    pub(super) tails: Vec<Tail>,
    pub(super) fixed: Fixed,
}

impl Builder<'_> {
    pub(super) fn build(
        mut self,
        state: &Tensors,
        kernels: &[usize],
        manifest: &Manifest,
    ) -> Result<(Plan, Buffers, Vec<Tail>), Error> {
        let (gradients, ranges) = self.gradients()?;
        let settled = self.settled()?;
        let (members, classes) = self.classes();
        let indices = indices(self.g, &self.jobs.indices)?;
        let fixed_weights = untrained(self.g, &indices, state)?;
        let text = self.outline.numbers_text(self.g, self.layout.gradient)?;
        let squares = gradients
            .len()
            .max(settled.iter().map(Stretches::len).max().unwrap_or(0));
        let shared = self.shared(squares);
        let segments = self.sums_and_rest(&shared, kernels, settled, gradients, &text);
        let touched = self.updates(&shared, &members);
        let placed = |name: &str| self.variant.weights.iter().find(|p| p.tensor == name);
        let word = |name: &String| Some((name.clone(), placed(name)?.offset as usize * 4));
        let is_fixed = |v: Value| self.outline.form.trained.iter().all(|t| t.param != v);
        let own = |name: &str| state.contains_key(name);
        let params = self.g.params().filter(|(v, name, _)| is_fixed(*v) && own(name));
        let untrained =
            params.filter_map(|(_, name, ty)| Some((name.to_owned(), Place::new(&ty.shape.per_row(), placed(name)?))));
        let plan = Plan {
            untrained: untrained.collect(),
            status: self.variant.status.clone(),
            given: self.outline.sources.given.borrow().iter().cloned().collect(),
            scalars: self.rows.scalars.iter().filter_map(word).collect(),
            metrics: self.outline.metrics.clone(),
            of_rows: Vec::new(),
            norms: self.outline.sources.norms.borrow().iter().map(|i| ranges[*i]).collect(),
            clear: self.jobs.clear,
            numbers: self.outline.numbers.len(),
            tables: Tables::new(self.jobs.tables, (classes, squares), indices, &fixed_weights)?,
            trained: self.layout.trained,
            manifest: Manifest {
                variants: Vec::new(),
                ..manifest.clone()
            },
            shared,
            segments,
            touched,
            fixed: self.fixed,
        };
        Ok((plan, self.buffers, self.tails))
    }

    /// Sums that gradients and numbers are; which squares are whose.
    fn gradients(&mut self) -> Result<(Stretches, Vec<Squares>), Error> {
        let mut stretches = Stretches::default();
        let mut ranges = Vec::new();
        for (t, held) in self.outline.form.trained.iter().zip(&mut self.layout.trained) {
            if t.touched.is_some() {
                ranges.push(Squares::Table(self.jobs.tables.len()));
                self.jobs.touched_rows(t, held)?;
                continue;
            }
            if held.in_parts {
                ranges.push(Squares::Table(self.jobs.tables.len()));
                let (at, ..) = self.jobs.gradient(t, &t.gradients[0].terms, held)?;
                held.gradients.push(held.place.moved(at));
                continue;
            }
            let mut range = [0; 2];
            for (i, (gradient, place)) in t.gradients.iter().zip(&held.gradients).enumerate() {
                let parts = self.jobs.gradient(t, &gradient.terms, held)?;
                self.fixed.combined(place, parts);
                let own = stretches.add(place, parts);
                range = if i == 0 { own } else { range };
            }
            ranges.push(Squares::Stretches(range));
        }
        for (i, v) in self.outline.scalar_sums.iter().enumerate() {
            let place = Place::number(self.layout.gradient + 4 * i);
            let parts = self.jobs.sum(*v, &place)?;
            stretches.add(&place, parts);
        }
        Ok((stretches, ranges))
    }

    /// Sums that rows wait for, after each phase but the last.
    fn settled(&mut self) -> Result<Vec<Stretches>, Error> {
        let mut phases: Vec<Stretches> = Vec::new();
        phases.resize_with(self.rows.count() - 1, Stretches::default);
        for (sum, (name, phase)) in &self.rows.waited {
            // A sum that only dead values read has no place.
            let Some(weight) = self.variant.weights.iter().find(|p| p.tensor == *name) else {
                continue;
            };
            let place = Place::new(&self.g.shape(*sum).per_row(), weight);
            let parts = self.jobs.sum(*sum, &place)?;
            self.fixed.combined(&place, parts);
            phases[*phase].add(&place, parts);
        }
        Ok(phases)
    }

    /// Trained tensors by the kernel that updates them; how many of these are kernels of touched rows.
    fn classes(&mut self) -> (Vec<Vec<usize>>, usize) {
        let mut alike: IndexMap<(&Update, [bool; 3]), Vec<usize>> = IndexMap::new();
        for (i, update) in self.outline.updates.iter().enumerate() {
            let held = &self.layout.trained[i];
            let kind = [held.read, held.in_parts, self.in_words(i)];
            alike.entry((update, kind)).or_default().push(i);
        }
        let mut counted = 0;
        for ((update, ..), members) in alike.iter().filter(|((update, ..), _)| update.touched) {
            for i in members {
                let held = &self.layout.trained[*i];
                let table = self.jobs.tables.iter_mut().find(|table| table.name == held.name);
                let Some(table) = table else { continue };
                let states = held.states.iter().zip(&update.by_row);
                let states = states.map(|((_, place), by_row)| (place.flat, if *by_row { 1 } else { table.stride }));
                table.touched = Some(TouchedRows {
                    class: counted,
                    weight: held.place.flat,
                    states: states.collect(),
                    line: (held.place.width, held.place.line),
                });
            }
            counted += 1;
        }
        (alike.into_values().collect(), counted)
    }

    /// Whether what is updated as a whole lies in whole words of four elements: a tensor always, a row of one by its extent.
    fn in_words(&self, i: usize) -> bool {
        let (t, held) = (&self.outline.form.trained[i], &self.layout.trained[i]);
        let extent = self.g.shape(t.param).per_row().first().copied().unwrap_or(1);
        !t.by_lines() || (held.place.len() / extent.max(1)).is_multiple_of(4)
    }

    fn shared(&mut self, squares: usize) -> Shared {
        let (jobs, buffers) = (&mut self.jobs, &mut self.buffers);
        let classes = self.outline.updates.len();
        let norms = self.outline.sources.norms.borrow().len();
        let given = self.outline.sources.given.borrow().len();
        let gradient = self.layout.gradient + 4 * self.outline.scalar_sums.len();
        Shared {
            software: jobs.lanes,
            given: buffers.room("scalars of a step", given),
            jobs: buffers.fixed("sums", std::mem::take(&mut jobs.jobs)),
            partial: buffers.room("parts of sums", jobs.partial),
            segments: buffers.room("rows of tables", SEGMENT * jobs.lookups),
            terms: buffers.room("lookups", jobs.lookups),
            counts: buffers.room("counts", 1 + classes),
            gradient: buffers.room("gradients", gradient),
            squares: buffers.room("squares", squares + jobs.lookups),
            ranges: buffers.room("ranges of squares", 2 * norms),
            numbers: buffers.room("numbers", self.outline.numbers.len()),
            kept: buffers.room("tensors that rows do not read", self.layout.kept),
            states: self.layout.states.iter().map(|n| buffers.room("state", *n)).collect(),
        }
    }

    /// Kernels up to the numbers; which of them is the one of lookups.
    fn sums_and_rest(
        &mut self,
        shared: &Shared,
        kernels: &[usize],
        settled: Vec<Stretches>,
        gradients: Stretches,
        numbers: &str,
    ) -> usize {
        let made = Made::new(self.g, self.rows, self.variant, &self.layout.trained);
        if made.len() > 0 {
            let groups = made.len();
            self.fixed.made(&made);
            let lines = self.buffers.fixed("lines of weights", made.lines);
            let runs = self.buffers.fixed("runs of weights", made.runs);
            self.tails.push(shared.made(lines, runs, groups));
        }
        let mut after = 0;
        let mut settled = settled.into_iter();
        for (phase, tasks) in std::mem::take(&mut self.jobs.tasks).into_iter().enumerate() {
            after += kernels.get(phase).copied().unwrap_or(0);
            for (kind, tasks) in tasks {
                let groups = tasks.len() / 4;
                let tasks = self.buffers.fixed("tiles of sums", tasks);
                self.tails.push(shared.sums(kind, tasks, groups, after));
            }
            if let Some(stretches) = settled.next() {
                let groups = stretches.len();
                let own = self.buffers.fixed("stretches", stretches.words);
                self.tails.push(shared.combine(own, Memory::Weights, groups, after));
            }
        }
        self.tails.push(shared.segments());
        let segments = self.tails.len() - 1;
        let groups = gradients.len();
        let own = self.buffers.fixed("stretches", gradients.words);
        self.tails
            .push(shared.combine(own, shared.gradient, groups, usize::MAX));
        self.tails.push(shared.numbers(numbers));
        self.fixed.sums(&self.jobs);
        segments
    }

    /// Kernels of updates; those of touched rows, with what tells them which.
    fn updates(&mut self, shared: &Shared, members: &[Vec<usize>]) -> Vec<(usize, Memory)> {
        let mut touched = Vec::new();
        for members in members {
            let update = &self.outline.updates[members[0]];
            let first = &self.layout.trained[members[0]];
            let memory = first.memory(shared.kept);
            let gradient = match update.touched || first.in_parts {
                true => shared.partial,
                false => shared.gradient,
            };
            let (spans, groups) = if update.touched {
                let spans = self.buffers.room("touched rows", SPAN * self.jobs.lookups);
                touched.push((self.tails.len(), spans));
                (spans, 0)
            } else {
                let mut words = Vec::new();
                for i in members {
                    let held = &self.layout.trained[*i];
                    let extent = self.g.shape(self.outline.form.trained[*i].param).per_row();
                    let spans = held.spans(update.by_lines, &update.by_row, extent.first().copied().unwrap_or(1));
                    words.extend(spans.iter().flat_map(|span| span.words()));
                    self.fixed.updated(held);
                }
                let groups = words.len() / SPAN;
                (self.buffers.fixed("what is updated", words), groups)
            };
            let counted = touched.len().saturating_sub(1);
            let text = update.text(counted, self.in_words(members[0]));
            let bindings = (spans, gradient, memory);
            self.tails.push(shared.update(update, text, bindings, groups));
        }
        touched
    }
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
