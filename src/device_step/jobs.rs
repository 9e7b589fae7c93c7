//! Tables of work: what each workgroup of the fixed kernels sums, and where it goes.

use indexmap::IndexSet;

use super::Error;
use super::form::{Term, Trained, matrix};
use super::plan::Held;
use super::rows::{Operands, Rows, output};
use super::tables::{Table, small};
use crate::bundle::{Layout, Placement};
use crate::ir::{Graph, Value};
use crate::tensor::{Data, HostTensor};

/// A tensor among all that are trained, in elements: laid out as kernels read weights.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) flat: usize,
    lines: usize,
    width: usize,
    line: usize,
}

impl Place {
    pub(super) fn new(shape: &[usize], placement: &Placement) -> Self {
        let width = shape.last().copied().unwrap_or(1);
        Self {
            flat: placement.offset as usize * 4,
            lines: shape.iter().rev().skip(1).product(),
            width,
            line: match placement.layout {
                Layout::RowsWords => width.next_multiple_of(8),
                _ => width,
            },
        }
    }

    /// A number.
    pub(super) fn number(flat: usize) -> Self {
        Self {
            flat,
            lines: 1,
            width: 1,
            line: 1,
        }
    }

    /// Elements, padding included.
    pub(super) fn len(&self) -> usize {
        self.lines * self.line
    }

    /// A tensor as it lies here.
    pub(super) fn padded(&self, tensor: &HostTensor) -> Vec<u32> {
        let mut words = vec![0; self.len()];
        let bools: Vec<u32>;
        let own: &[u32] = match &tensor.data {
            Data::F32(x) => bytemuck::cast_slice(x),
            Data::I32(x) => bytemuck::cast_slice(x),
            Data::Bool(x) => {
                bools = x.iter().map(|x| u32::from(*x)).collect();
                &bools
            }
        };
        for (to, from) in words.chunks_mut(self.line.max(1)).zip(own.chunks(self.width.max(1))) {
            to[..from.len()].copy_from_slice(from);
        }
        words
    }

    /// The elements without padding.
    pub(super) fn stripped(&self, words: &[u32]) -> Vec<f32> {
        let lines = words.chunks(self.line.max(1));
        lines
            .flat_map(|line| line[..self.width].iter().map(|w| f32::from_bits(*w)))
            .collect()
    }
}

/// First element, parts, elements from part to part.
type Parts = (usize, usize, usize);

/// Tensors cut for workgroups.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    pub(super) words: Vec<u32>,
    /// First and last stretch of each tensor.
    pub(super) ranges: Vec<[u32; 2]>,
}

/// Elements of a stretch.
const STRETCH: usize = 1024;

impl Stretches {
    pub(super) fn add(&mut self, place: &Place, (source, parts, stride): Parts) {
        let start = small(self.words.len() / 8);
        for first in (0..place.len()).step_by(STRETCH) {
            let count = STRETCH.min(place.len() - first);
            let words = [place.flat, first, count, source, parts, stride, place.width, place.line];
            self.words.extend(words.map(small));
        }
        self.ranges.push([start, small(self.words.len() / 8)]);
    }
}

/// Lines that a workgroup should have to itself.
const SHARE: usize = 256;
/// Into how many parts lines are cut at most, and elements of all parts of a sum.
const PARTS: usize = 32;
const MOST: usize = 1 << 22;

/// Sums under construction.
pub(super) struct Jobs<'a> {
    g: &'a Graph,
    rows: &'a Rows,
    capacity: usize,
    /// First element of an output of the row part, and its elements for each row.
    output_at: &'a dyn Fn(usize) -> (usize, usize),
    pub(super) jobs: Vec<u32>,
    pub(super) tasks: Vec<u32>,
    /// Elements of all parts.
    pub(super) partial: usize,
    pub(super) tables: Vec<Table>,
    /// Indices of the tables' sites.
    pub(super) indices: IndexSet<Value>,
    /// Lookups of the largest batch.
    pub(super) lookups: usize,
    /// Elements that are zero before a step.
    pub(super) clear: Vec<(usize, usize)>,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(
        g: &'a Graph,
        rows: &'a Rows,
        capacity: usize,
        output_at: &'a dyn Fn(usize) -> (usize, usize),
    ) -> Self {
        Self {
            g,
            rows,
            capacity,
            output_at,
            jobs: Vec::new(),
            tasks: Vec::new(),
            partial: 0,
            tables: Vec::new(),
            indices: IndexSet::new(),
            lookups: 0,
            clear: Vec::new(),
        }
    }

    /// The parts of a sum that is a number.
    pub(super) fn number(&mut self, v: Value, place: &Place) -> Result<Parts, Error> {
        let source = self.partial;
        let term = Term {
            sum: v,
            scale: 1.0,
            strides: (1, 1),
        };
        let parts = self.product(&term, place, source)?;
        self.partial += parts;
        Ok((source, parts, 1))
    }

    /// The parts of a gradient.
    pub(super) fn tensor(&mut self, t: &Trained, held: &Held) -> Result<Parts, Error> {
        let (source, len) = (self.partial, held.place.len());
        let mut parts = 0;
        let mut sites = Vec::new();
        for term in &t.terms {
            if let Some(Operands::Scatter { b, index }) = self.rows.sums.get(&term.sum) {
                if term.scale != 1.0 || matrix(self.g, term.sum).is_none_or(|(_, n)| term.strides != (n, 1)) {
                    return Err(Error::refused(self.g, term.sum, "only sums into rows as they are"));
                }
                sites.push((*b, *index));
            } else {
                parts += self.product(term, &held.place, source + parts * len)?;
            }
        }
        if !sites.is_empty() {
            let target = source + parts * len;
            parts += 1;
            self.clear.push((target, len));
            self.table(t, held, target, &sites)?;
        }
        self.partial += parts * len;
        Ok((source, parts, len))
    }

    fn table(&mut self, t: &Trained, held: &Held, target: usize, sites: &[(usize, Value)]) -> Result<(), Error> {
        let shape = self.g.shape(t.param).per_row();
        let place = &held.place;
        if place.line != place.width && shape.len() != 2 {
            return Err(Error::refused(
                self.g,
                t.param,
                "rows of a table in several lines with padding",
            ));
        }
        let extent = shape[0];
        let width = place.lines * place.width / extent.max(1);
        let mut table = Table {
            name: held.name.clone(),
            extent,
            target,
            stride: place.len() / extent.max(1),
            width,
            sites: Vec::new(),
        };
        for (b, index) in sites {
            let (first, per_row) = (self.output_at)(*b);
            let i = self.indices.insert_full(*index).0;
            table.sites.push((output(i), first));
            self.lookups += self.capacity * (per_row / width.max(1));
        }
        self.tables.push(table);
        Ok(())
    }

    /// Adds a job whose parts lie one after the other from `target` on; how many there are.
    fn product(&mut self, term: &Term, place: &Place, target: usize) -> Result<usize, Error> {
        let Some(operands) = self.rows.sums.get(&term.sum) else {
            return Err(Error::refused(self.g, term.sum, "no operands"));
        };
        let (ei, ej) = term.strides;
        let none = u32::MAX as usize;
        let of = |i: usize, lines: usize| {
            let (first, per_row) = (self.output_at)(i);
            (first, per_row / lines.max(1))
        };
        // Weights or left matrix, its columns (0 for weights), right matrix, its columns, what its columns count for.
        let (a, k, b, n, ej, lines) = match *operands {
            Operands::Lines { b, lines } => {
                let (b, n) = of(b, lines);
                (none, 0, b, n, ej, lines)
            }
            Operands::Product { a, b, lines } => match (of(a, lines), of(b, lines)) {
                ((a, 1), (b, n)) => (a, 0, b, n, ej, lines),
                ((a, k), (b, 1)) => (b, 0, a, k, ei, lines),
                ((a, k), (b, n)) => (a, k, b, n, ej, lines),
            },
            Operands::Scatter { .. } => return Err(Error::refused(self.g, term.sum, "a number summed into rows")),
        };
        let most = (MOST / place.len().max(1)).clamp(1, PARTS);
        let parts = (self.capacity * lines).div_ceil(SHARE).clamp(1, most);
        let columns = n.next_power_of_two().min(64);
        let job = self.jobs.len() / 14;
        let words = [
            a,
            b,
            k,
            n,
            lines,
            parts,
            target,
            place.len(),
            ei,
            ej,
            place.width,
            place.line,
        ];
        self.jobs.extend(words.map(small));
        self.jobs.extend([term.scale.to_bits(), small(columns)]);
        let (tall, wide) = if k == 0 { (1, columns) } else { (32, 32) };
        for y in (0..k.max(1)).step_by(tall) {
            for x in (0..n).step_by(wide) {
                for part in 0..parts {
                    self.tasks.extend([job, y, x, part].map(small));
                }
            }
        }
        Ok(parts)
    }
}
