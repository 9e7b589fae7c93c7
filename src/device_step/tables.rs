//! Gradients of tables: what a batch looks up, sorted by row on the host.

use indexmap::IndexMap;

use crate::cpu::{self, Executor};
use crate::ir::Graph;
use crate::tensor::{Sizes, Tensors};

use super::Error;
use super::places::{SPAN, Span};

/// Sums of rows of the batch into rows of one tensor.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) extent: usize,
    /// First element of its gradient, elements from row to row, and in a row.
    pub(super) target: usize,
    pub(super) stride: usize,
    pub(super) width: usize,
    /// Output of the index graph, and first element of what is added at its first index, if anything is.
    pub(super) sites: Vec<(String, Option<usize>)>,
    /// Where only touched rows change: then the gradient has these alone, one after the other.
    pub(super) touched: Option<TouchedRows>,
    /// Whether nobody else adds up the squares of its rows.
    pub(super) squared: bool,
}

/// How touched rows are updated.
#[derive(Debug)]
pub(super) struct TouchedRows {
    /// Number of the kernel among those of touched rows.
    pub(super) class: usize,
    /// First element of the table where weights are.
    pub(super) weight: usize,
    /// First elements of its states, and from row to row.
    pub(super) states: Vec<(usize, usize)>,
    /// Elements of a line, and with its padding.
    pub(super) line: (usize, usize),
}

/// All tables of a step.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) list: Vec<Table>,
    /// Kernels of touched rows.
    pub(super) classes: usize,
    /// Where the squares of touched rows begin.
    pub(super) squares: usize,
    /// Computes indices; they are the same whatever is trained.
    indices: Option<(Graph, Executor)>,
}

/// What the device gets to know of a batch's lookups.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// See `shaders/segments.wgsl`.
    pub(super) segments: Vec<u32>,
    pub(super) terms: Vec<u32>,
    /// What the kernels of touched rows update.
    pub(super) spans: Vec<Vec<u32>>,
    /// Where the squares of each table's rows are.
    pub(super) squares: Vec<[u32; 2]>,
    /// Elements of all segments' rows, of all terms, and of touched rows with their state.
    pub(super) elements: [usize; 3],
}

/// Words of a segment.
pub(super) const SEGMENT: usize = 5;

impl Tables {
    /// Tables whose indices a graph computes, with the parameters that it reads.
    pub(super) fn new(
        list: Vec<Table>,
        (classes, squares): (usize, usize),
        indices: Graph,
        weights: &Tensors,
    ) -> Result<Self, Error> {
        let indices = match indices.outputs.is_empty() {
            true => None,
            false => {
                let executor = Executor::new(&indices, weights)?;
                Some((indices, executor))
            }
        };
        Ok(Self {
            list,
            classes,
            squares,
            indices,
        })
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
        let mut lookups = Lookups {
            spans: vec![Vec::new(); self.classes],
            ..Lookups::default()
        };
        let Some((graph, executor)) = &self.indices else {
            return Ok(lookups);
        };
        let own = graph
            .inputs()
            .filter_map(|(_, name, _)| Some((name.to_owned(), inputs.get(name)?.clone())));
        let outputs: IndexMap<_, _> = executor.run(&own.collect(), sizes)?;
        let mut squares = self.squares;
        for table in &self.list {
            let first = squares;
            for (i, (row, terms)) in table.by_row(&outputs)?.into_iter().enumerate() {
                let start = lookups.terms.len();
                lookups.terms.extend(terms);
                let (place, square) = match &table.touched {
                    None if table.squared => {
                        squares += 1;
                        (row, small(squares - 1))
                    }
                    None => (row, small(usize::MAX)),
                    Some(touched) => {
                        lookups.spans[touched.class].extend(table.span(touched, row, i));
                        lookups.elements[2] += table.stride * (1 + touched.states.len());
                        squares += 1;
                        (i, small(squares - 1))
                    }
                };
                let into = small(table.target + place * table.stride);
                let end = lookups.terms.len();
                lookups.elements[0] += table.width;
                lookups.elements[1] += table.width * (end - start);
                let segment = [into, small(start), small(end), small(table.width), square];
                lookups.segments.extend(segment);
            }
            lookups.squares.push([small(first), small(squares)]);
        }
        Ok(lookups)
    }
}

impl Table {
    /// The rows that a batch looks up, ascending, with what is added to each, in the order of the batch.
    fn by_row(&self, outputs: &Tensors) -> Result<Vec<(usize, Vec<u32>)>, Error> {
        let mut by_row: Vec<(u32, Option<u32>)> = Vec::new();
        for (output, first) in &self.sites {
            let ids = outputs[output].as_i32().unwrap_or_default();
            for (i, id) in ids.iter().enumerate() {
                let row = u32::try_from(*id).ok().filter(|row| (*row as usize) < self.extent);
                let row = row.ok_or_else(|| self.outside(i, *id))?;
                by_row.push((row, first.map(|first| small(first + i * self.width))));
            }
        }
        // Stable: terms of a row stay in the order of the batch.
        by_row.sort_by_key(|(row, _)| *row);
        let runs = by_row.chunk_by(|a, b| a.0 == b.0);
        Ok(runs
            .map(|run| (run[0].0 as usize, run.iter().filter_map(|(_, at)| *at).collect()))
            .collect())
    }

    /// What the update of a row reads and writes, the `i`-th of the batch.
    fn span(&self, touched: &TouchedRows, row: usize, i: usize) -> [u32; SPAN] {
        let mut states = [0; 3];
        for (to, (first, stride)) in states.iter_mut().zip(&touched.states) {
            *to = first + row * stride;
        }
        let span = Span {
            weight: touched.weight + row * self.stride,
            first: 0,
            count: self.stride,
            width: touched.line.0,
            line: touched.line.1,
            gradients: [self.target + i * self.stride, 0, 0],
            states,
        };
        span.words()
    }

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
