//! Where everything that is trained lies.

use super::Error;
use super::form::{Form, Trained};
use super::places::{Place, Span};
use crate::bundle::{Layout as WeightLayout, Variant};
use crate::ir::{Graph, Op, Value};
use crate::run::Memory;

/// A tensor on the device.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    /// Whether rows read it: then it lies where weights do.
    pub(super) read: bool,
    pub(super) place: Place,
    /// Its state: name, and place in the memory of first, second, .. states.
    pub(super) states: Vec<(String, Place)>,
    /// Its gradients among all, or among parts of sums; none where only touched rows have one.
    pub(super) gradients: Vec<Place>,
    /// Whether its gradient is among parts of sums: rows of a table, which need no adding up.
    pub(super) in_parts: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) trained: Vec<Held>,
    /// Elements of gradients, of tensors that no row reads, of each state.
    pub(super) gradient: usize,
    pub(super) kept: usize,
    pub(super) states: Vec<usize>,
}

impl Layout {
    pub(super) fn new(g: &Graph, form: &Form, variant: &Variant) -> Result<Self, Error> {
        let mut layout = Self::default();
        for t in &form.trained {
            let held = layout.held(g, t, variant)?;
            layout.trained.push(held);
        }
        Ok(layout)
    }

    fn held(&mut self, g: &Graph, t: &Trained, variant: &Variant) -> Result<Held, Error> {
        let name = |v: Value| match g.op(v) {
            Op::Param(name) => name.clone(),
            _ => String::new(),
        };
        let own = name(t.param);
        let shape = g.shape(t.param).per_row();
        let weight = variant.weights.iter().find(|p| p.tensor == own);
        if weight.is_some_and(|p| !matches!(p.layout, WeightLayout::Words | WeightLayout::RowsWords)) {
            return Err(Error::refused(g, t.param, "kernels read it in blocks"));
        }
        let place = match weight {
            Some(weight) => Place::new(&shape, weight),
            None => {
                let place = Place::dense(&shape, self.kept);
                self.kept += place.room();
                place
            }
        };
        let mut states = Vec::new();
        for (i, state) in t.states.iter().enumerate() {
            if self.states.len() == i {
                self.states.push(0);
            }
            let own = match state.by_row {
                true => Place::dense(&[shape[0], 1], self.states[i]),
                false => place.moved(self.states[i]),
            };
            self.states[i] += own.room();
            states.push((name(state.value), own));
        }
        let mut gradients = Vec::new();
        let in_parts = t.touched.is_none() && t.is_looked_up(g);
        if t.touched.is_none() && !in_parts {
            for _ in &t.gradients {
                gradients.push(place.moved(self.gradient));
                self.gradient += place.room();
            }
        }
        Ok(Held {
            name: own,
            read: weight.is_some(),
            place,
            states,
            gradients,
            in_parts,
        })
    }
}

impl Held {
    /// Where it lies; `kept` is for what no row reads.
    pub(super) fn memory(&self, kept: Memory) -> Memory {
        if self.read { Memory::Weights } else { kept }
    }

    /// What workgroups update: stretches of it, or its rows.
    pub(super) fn spans(&self, by_lines: bool, by_row: &[bool], extent: usize) -> Vec<Span> {
        let mut span = Span {
            weight: self.place.flat,
            first: 0,
            count: self.place.len(),
            width: self.place.width,
            line: self.place.line,
            gradients: [0; 3],
            states: [0; 3],
        };
        for (to, place) in span.gradients.iter_mut().zip(&self.gradients) {
            *to = place.flat;
        }
        for (to, (_, place)) in span.states.iter_mut().zip(&self.states) {
            *to = place.flat;
        }
        if !by_lines {
            return span.cut().collect();
        }
        let stride = self.place.len() / extent.max(1);
        let of_row = |row: usize| {
            let mut own = span;
            own.count = stride;
            own.weight += row * stride;
            own.gradients.iter_mut().for_each(|at| *at += row * stride);
            for (at, by_row) in own.states.iter_mut().zip(by_row) {
                *at += if *by_row { row } else { row * stride };
            }
            own
        };
        (0..extent).map(of_row).collect()
    }
}
