//! Gradients of tables: what a batch looks up, sorted by row on the host.

use indexmap::IndexMap;

use crate::cpu::{self, Executor};
use crate::ir::Graph;
use crate::tensor::{Sizes, Tensors};

use super::Error;

/// Sums of rows of the batch into rows of one tensor.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) extent: usize,
    /// First element of its gradient, elements from row to row, and in a row.
    pub(super) target: usize,
    pub(super) stride: usize,
    pub(super) width: usize,
    /// Output of the index graph, and first element of what is added at its first index.
    pub(super) sites: Vec<(String, usize)>,
}

/// All tables of a step.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) list: Vec<Table>,
    /// Computes indices; they are the same whatever is trained.
    indices: Option<(Graph, Executor)>,
}

/// What the device gets to know of a batch's lookups.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pub(super) segments: Vec<u32>,
    pub(super) terms: Vec<u32>,
}

impl Tables {
    /// Tables whose indices a graph computes, with the parameters that it reads.
    pub(super) fn new(list: Vec<Table>, indices: Graph, weights: &Tensors) -> Result<Self, Error> {
        let indices = match indices.outputs.is_empty() {
            true => None,
            false => {
                let executor = Executor::new(&indices, weights)?;
                Some((indices, executor))
            }
        };
        Ok(Self { list, indices })
    }

    /// Takes other values for the parameters that indices are computed from.
    pub(super) fn restore(&mut self, state: &Tensors) -> Result<(), Error> {
        if let Some((graph, executor)) = &mut self.indices {
            let own = graph
                .params()
                .map(|(_, name, _)| (name.to_owned(), state[name].clone()));
            *executor = Executor::new(graph, &own.collect())?;
        }
        Ok(())
    }

    /// Segments and terms of a batch.
    pub(super) fn lookups(&self, inputs: &Tensors, sizes: Sizes) -> Result<Lookups, Error> {
        let Some((graph, executor)) = &self.indices else {
            return Ok(Lookups::default());
        };
        let own = graph
            .inputs()
            .filter_map(|(_, name, _)| Some((name.to_owned(), inputs.get(name)?.clone())));
        let outputs: IndexMap<_, _> = executor.run(&own.collect(), sizes)?;
        let mut lookups = Lookups {
            segments: Vec::new(),
            terms: vec![0],
        };
        for table in &self.list {
            let mut by_row: Vec<(u32, u32)> = Vec::new();
            for (output, first) in &table.sites {
                let ids = outputs[output].as_i32().unwrap_or_default();
                for (i, id) in ids.iter().enumerate() {
                    let row = u32::try_from(*id).ok().filter(|row| (*row as usize) < table.extent);
                    let row = row.ok_or_else(|| table.outside(i, *id))?;
                    by_row.push((row, small(first + i * table.width)));
                }
            }
            // Stable: terms of a row stay in the order of the batch.
            by_row.sort_by_key(|(row, _)| *row);
            for run in by_row.chunk_by(|a, b| a.0 == b.0) {
                let start = small(lookups.terms.len());
                lookups.terms.extend(run.iter().map(|(_, at)| at));
                let target = small(table.target + run[0].0 as usize * table.stride);
                lookups
                    .segments
                    .extend([target, start, small(lookups.terms.len()), small(table.width)]);
            }
        }
        lookups.terms[0] = small(lookups.segments.len() / 4);
        Ok(lookups)
    }
}

impl Table {
    fn outside(&self, at: usize, value: i32) -> Error {
        Error::Index(cpu::Error::Index {
            index: "a lookup".into(),
            table: self.name.clone(),
            row: at,
            value,
            extent: self.extent,
        })
    }
}

/// A number of elements of device memory; what does not fit has been refused before.
pub(super) fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
