//! Tables of work: what each workgroup of the fixed kernels sums, and where it goes.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};

use super::Error;
use super::form::Trained;
use super::layout::Held;
use super::matrices::{Matrices, NONE, Tiles};
use super::places::{Parts, Place};
use super::rows::{Operands, Rows};
use super::tables::{Table, small};
use super::term::{Order, Term};
use crate::ir::{Graph, Value};

/// Lines that a workgroup should have to itself.
const SHARE: usize = 256;
/// Into how many parts lines are cut at most, and elements of all parts of a sum.
const PARTS: usize = 32;
const MOST: usize = 1 << 22;

/// Words of a job.
const JOB: usize = 19;
/// Where a job has its next one.
const ALSO: usize = 16;

/// What is added up, by what factor, in which order and padding.
type Key = (Value, u32, Order, usize, usize);

/// Who makes tiles in how many parts after which phase, and of which matrices: first elements, columns, lines, weights.
type Made = (Tiles, usize, usize, [usize; 6]);

/// A product by lanes that may add up the lines of its left matrix, too.
#[derive(Clone, Copy, Debug)]
struct Adder {
    job: usize,
    /// What it adds up: first element, columns, lines for each row.
    of: (usize, usize, usize),
    phase: usize,
    parts: usize,
}

/// Sums under construction.
pub(super) struct Jobs<'a> {
    pub(super) g: &'a Graph,
    pub(super) rows: &'a Rows,
    pub(super) capacity: usize,
    /// First element of an output of the row part, and its elements for each row.
    pub(super) output_at: &'a dyn Fn(usize) -> (usize, usize),
    /// Sums that stand alone, which others may share.
    known: HashMap<Key, Parts>,
    adders: Vec<Adder>,
    /// The last job of those that share tiles, by what they multiply.
    made: HashMap<Made, usize>,
    pub(super) jobs: Vec<u32>,
    /// Tiles of each phase, and who makes them.
    pub(super) tasks: Vec<IndexMap<Tiles, Vec<u32>>>,
    /// Whether the adapter has lanes that share loads.
    pub(super) lanes: bool,
    /// Elements that all jobs read for each row, and that they write.
    pub(super) read: usize,
    pub(super) written: usize,
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
        lanes: bool,
    ) -> Self {
        Self {
            g,
            rows,
            capacity,
            output_at,
            known: HashMap::new(),
            adders: Vec::new(),
            made: HashMap::new(),
            jobs: Vec::new(),
            tasks: vec![IndexMap::new(); rows.count()],
            lanes,
            read: 0,
            written: 0,
            partial: 0,
            tables: Vec::new(),
            indices: IndexSet::new(),
            lookups: 0,
            clear: Vec::new(),
        }
    }

    /// The parts of a sum as it stands.
    pub(super) fn sum(&mut self, v: Value, place: &Place) -> Result<Parts, Error> {
        let term = Term::whole(self.g, v);
        let term = term.ok_or_else(|| Error::refused(self.g, v, "no kernel makes this sum over rows"))?;
        self.one(&term, place)
    }

    /// The parts of a gradient.
    pub(super) fn gradient(&mut self, t: &Trained, terms: &[Term], held: &Held) -> Result<Parts, Error> {
        if let [term] = terms
            && !self.is_scatter(term)
            && term.offset() == 0
        {
            return self.one(term, &held.place);
        }
        let (source, len) = (self.partial, held.place.room());
        let mut sites = Vec::new();
        // How many parts each element has so far: terms side by side share theirs.
        let mut depths = vec![0; held.place.lines * held.place.width];
        let mut parts = 0;
        for term in terms {
            if let Some(site) = self.site(term)? {
                sites.push(site);
                continue;
            }
            let own = term.elements();
            let first = own.iter().map(|e| depths[*e]).max().unwrap_or(0);
            let end = first + self.product(term, &held.place, source + first * len)?;
            own.iter().for_each(|e| depths[*e] = end);
            parts = parts.max(end);
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

    /// One sum, made once for all who want it in the same order.
    fn one(&mut self, term: &Term, place: &Place) -> Result<Parts, Error> {
        let order = self.order(term)?;
        let key = (term.sum, term.scale.to_bits(), order, place.width, place.line);
        if let Some(parts) = self.known.get(&key) {
            return Ok(*parts);
        }
        let (source, len) = (self.partial, place.room());
        let parts = self.product(term, place, source)?;
        self.partial += parts * len;
        self.known.insert(key, (source, parts, len));
        Ok((source, parts, len))
    }

    fn order(&self, term: &Term) -> Result<Order, Error> {
        let order = term.order(self.g);
        order.ok_or_else(|| Error::refused(self.g, term.sum, "a gradient has it in an order that no kernel writes"))
    }

    /// Adds a job whose parts lie one after the other from `target` on; how many there are.
    fn product(&mut self, term: &Term, place: &Place, target: usize) -> Result<usize, Error> {
        let Some(operands) = self.rows.sums.get(&term.sum) else {
            return Err(Error::refused(self.g, term.sum, "no operands"));
        };
        let order = self.order(term)?;
        let x = Matrices::new(*operands, order, self.output_at);
        let x = x.ok_or_else(|| Error::refused(self.g, term.sum, "a number summed into rows"))?;
        let phase = self.rows.phase(term.sum);
        if let Some(parts) = self.added(term, &x, phase, place, target) {
            return Ok(parts);
        }
        let most = (MOST / place.len().max(1)).clamp(1, PARTS);
        let parts = (self.capacity * x.lines).div_ceil(SHARE).clamp(1, most);
        let job = self.jobs.len() / JOB;
        let by_lanes = if self.lanes {
            x.for_lanes(place, term.offset())
        } else {
            None
        };
        let weighted = x.weights != NONE;
        let (kind, x, end) = match by_lanes {
            Some(x) => {
                let weights = self.weights_beside(operands).filter(|_| x.is_turned);
                let weights = weights.unwrap_or(x.weights);
                let kind = Tiles::of_lanes(x.k, weights != NONE);
                (kind, Matrices { weights, ..x }, [NONE, 0])
            }
            None => (Tiles::Shared, x, [place.width, place.line]),
        };
        let Matrices {
            a,
            k,
            b,
            n,
            lines,
            order,
            weights,
            ..
        } = x;
        let (row, block, outer, inner) = (order.row, order.block, order.outer, order.inner);
        let words = [a, b, k, n, lines, parts, target, place.room(), term.offset()];
        self.jobs.extend(words.map(small));
        self.jobs.extend([row, block, outer, inner].map(small));
        self.jobs.extend(end.map(small));
        self.jobs
            .extend([term.scale.to_bits(), small(NONE), small(weights), u32::from(weighted)]);
        self.written += parts * place.len();
        if let Some(before) = self
            .made
            .insert((kind, parts, phase, [a, b, k, n, lines, weights]), job)
        {
            self.jobs[before * JOB + ALSO] = small(job);
            return Ok(parts);
        }
        self.read += lines * (k.max(1) + n);
        if kind != Tiles::Shared {
            let of = (a, k, lines);
            self.adders.push(Adder { job, of, phase, parts });
        }
        let (tall, wide) = kind.extents(k, n);
        let tasks = self.tasks[phase].entry(kind).or_default();
        for y in (0..k.max(1)).step_by(tall) {
            for x in (0..n).step_by(wide) {
                for part in 0..parts {
                    tasks.extend([job, y, x, part].map(small));
                }
            }
        }
        Ok(parts)
    }

    /// The weights of another sum of the same product: what a row adds is then a sum of its own for both.
    fn weights_beside(&self, operands: &Operands) -> Option<usize> {
        let Operands::Product {
            a, b, weights: None, ..
        } = *operands
        else {
            return None;
        };
        let same = |other: &Operands| match *other {
            Operands::Product {
                a: x,
                b: y,
                weights: Some(w),
                ..
            } if (x, y) == (a, b) => Some(w),
            _ => None,
        };
        let first = self.rows.sums.values().filter_map(same).min()?;
        let at = (self.output_at)(first).0;
        at.is_multiple_of(4).then_some(at)
    }

    /// Has a product that loads them add up the lines of a matrix; into how many parts.
    fn added(&mut self, term: &Term, x: &Matrices, phase: usize, place: &Place, target: usize) -> Option<usize> {
        let plain = x.a == NONE && term.scale == 1.0 && term.is_straight() && place.len() == x.n;
        let of = (x.b, x.n, x.lines);
        let at = self
            .adders
            .iter()
            .position(|adder| adder.of == of && adder.phase == phase);
        let adder = self.adders.swap_remove(at.filter(|_| plain)?);
        let words = [target, place.room()].map(small);
        self.jobs[adder.job * JOB + 13..][..2].copy_from_slice(&words);
        self.written += adder.parts * place.len();
        Some(adder.parts)
    }
}
