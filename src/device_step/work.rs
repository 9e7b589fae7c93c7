//! What a step costs, counted from its plan.

use super::jobs::Jobs;
use super::layout::Held;
use super::made::Made;
use super::places::{Parts, Place};
use super::tables::Lookups;
use crate::bundle::Variant;

/// What the kernels of a step do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Kernels that run.
    pub dispatches: usize,
    /// Workgroups of all of them.
    pub workgroups: usize,
    /// Bytes of device memory that they read and write, weights of layers once, and that are set to zero before.
    pub bytes: usize,
}

/// Words that kernels of a step touch, whatever the batch looks up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fixed {
    of_row: usize,
    once: usize,
}

impl Fixed {
    pub(super) fn new(variant: &Variant) -> Self {
        let kernels = &variant.kernels;
        Self {
            of_row: kernels.iter().map(|k| k.activation_bytes as usize / 4).sum(),
            once: kernels.iter().map(|k| k.weight_bytes as usize / 4).sum(),
        }
    }

    pub(super) fn made(&mut self, made: &Made) {
        self.once += made.elements.iter().sum::<usize>();
    }

    pub(super) fn sums(&mut self, jobs: &Jobs) {
        self.of_row += jobs.read;
        self.once += jobs.written + jobs.clear.iter().map(|(_, words)| words).sum::<usize>();
    }

    pub(super) fn combined(&mut self, place: &Place, (_, parts, _): Parts) {
        self.once += place.len() * (parts + 1);
    }

    pub(super) fn updated(&mut self, held: &Held) {
        let states: usize = held.states.iter().map(|(_, place)| place.len()).sum();
        self.once += held.place.len() * (2 + held.gradients.len()) + 2 * states;
    }

    /// Bytes of a batch.
    pub(super) fn bytes(&self, rows: usize, lookups: &Lookups) -> usize {
        let [rows_of_tables, terms, touched] = lookups.elements;
        let spans: usize = lookups.spans.iter().map(Vec::len).sum();
        let lists = lookups.segments.len() + lookups.terms.len() + spans;
        // Touched rows and their state are read and written, their gradients read.
        4 * (self.of_row * rows + self.once + rows_of_tables + terms + 3 * touched + lists)
    }
}
