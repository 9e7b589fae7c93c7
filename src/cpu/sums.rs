//! Sums over the rows of a batch.
//!
//! Each block computes the sum of its own rows. Blocks of a group, one after the other, add to one partial sum; partial
//! sums are added in the order of their rows. How a batch is cut into groups depends on its size alone, so the result
//! does not depend on the number of threads or on which was first.

use super::Error;
use super::plan::{Plan, Wanted};
use crate::ir::Value;
use crate::tensor::{DType, Sizes};

/// Where the values of a block go, piece by piece.
pub(super) type Pieces<'a> = Vec<Vec<&'a mut [u32]>>;

/// The values of a stage that sum over rows.
pub(super) struct Sums {
    /// Position among the values of the stage, element type and words.
    sums: Vec<(usize, Value, DType, usize)>,
}

/// The sums of some consecutive blocks; empty before the first of them.
#[derive(Default)]
pub(super) struct Partial {
    sums: Vec<Vec<u32>>,
}

impl Sums {
    pub(super) fn new(plan: &Plan, values: &[Wanted]) -> Self {
        let added_up = values.iter().enumerate().filter(|(_, v)| plan.is_added_up(v.value));
        let sum = |(i, v): (usize, &Wanted)| {
            let ty = plan.graph.ty(v.value);
            (i, v.value, ty.dtype, ty.shape.numel(Sizes::ONE))
        };
        Self {
            sums: added_up.map(sum).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    pub(super) fn has(&self, v: Value) -> bool {
        self.sums.iter().any(|s| s.1 == v)
    }

    /// Computes a block and adds its sums to a partial one.
    pub(super) fn collect(
        &self,
        partial: &mut Partial,
        pieces: &mut Pieces<'_>,
        block: impl FnOnce(&mut Pieces<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut own: Vec<Vec<u32>> = self.sums.iter().map(|s| vec![0; s.3]).collect();
        let mut all: Pieces<'_> = pieces
            .iter_mut()
            .map(|pieces| pieces.iter_mut().map(|p| &mut **p).collect())
            .collect();
        for ((i, ..), sum) in self.sums.iter().zip(&mut own) {
            all[*i] = vec![sum];
        }
        block(&mut all)?;
        self.add(partial, own);
        Ok(())
    }

    fn add(&self, partial: &mut Partial, more: Vec<Vec<u32>>) {
        if partial.sums.is_empty() {
            partial.sums = more;
            return;
        }
        for ((_, _, dtype, _), (sum, more)) in self.sums.iter().zip(partial.sums.iter_mut().zip(&more)) {
            let pairs = sum.iter_mut().zip(more);
            match dtype {
                DType::F32 => pairs.for_each(|(s, m)| *s = (f32::from_bits(*s) + f32::from_bits(*m)).to_bits()),
                DType::I32 | DType::Bool => pairs.for_each(|(s, m)| *s = s.wrapping_add(*m)),
            }
        }
    }

    /// Adds partial sums up, in the order of their rows.
    pub(super) fn finish(&self, groups: Vec<Partial>, sums: &mut [&mut Vec<u32>]) {
        let mut total = Partial::default();
        for group in groups {
            self.add(&mut total, group.sums);
        }
        for (sum, words) in sums.iter_mut().zip(total.sums) {
            **sum = words;
        }
    }
}
