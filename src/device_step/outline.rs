//! What a step computes besides its rows: updates, numbers, and the sums over the batch that these are made of.

use indexmap::IndexSet;

use super::Error;
use super::form::Form;
use super::numbers::{Numbers, Sources};
use super::updates::Update;
use crate::ir::{Graph, Value};

/// Where a number is among those of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(pub(super) usize);

/// A step, understood.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) form: Form,
    /// One for each trained tensor.
    pub(super) updates: Vec<Update>,
    pub(super) numbers: Numbers,
    pub(super) sources: Sources,
    pub(super) metrics: Vec<(String, Slot)>,
    /// Sums that numbers are computed from.
    pub(super) scalar_sums: Vec<Value>,
}

impl Outline {
    pub(super) fn new(g: &Graph) -> Result<Self, Error> {
        let form = Form::new(g)?;
        let numbers = Numbers::default();
        let slot = |(name, v): &(String, Value)| (name.clone(), Slot(numbers.slot(*v)));
        let metrics = form.metrics.iter().map(slot).collect();
        let updates = form.trained.iter().map(|t| Update::new(g, t, &numbers));
        let updates = updates.collect::<Result<_, Error>>()?;
        let sources = Sources::default();
        // Once to learn which sums numbers are computed from.
        numbers.text(g, &form, &sources, &|_| 0)?;
        let scalar_sums = sources.sums.borrow().iter().copied().collect();
        Ok(Self {
            form,
            updates,
            numbers,
            sources,
            metrics,
            scalar_sums,
        })
    }

    /// All sums over the batch that gradients and numbers are made of.
    pub(super) fn sums(&self) -> Vec<Value> {
        let gradients = self.form.trained.iter().flat_map(|t| &t.gradients);
        let terms = gradients.flat_map(|gradient| gradient.terms.iter().map(|term| term.sum));
        let all: IndexSet<Value> = terms.chain(self.scalar_sums.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// The kernel of all numbers, sums that are numbers lying among gradients from `first` on, each in a word of its own.
    pub(super) fn numbers_text(&self, g: &Graph, first: usize) -> Result<String, Error> {
        let place = |v: Value| first + 4 * self.scalar_sums.iter().position(|s| *s == v).unwrap_or(0);
        self.numbers.text(g, &self.form, &self.sources, &place)
    }
}
