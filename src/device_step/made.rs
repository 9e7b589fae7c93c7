//! Values that are made of trained tensors alone, put together before a batch: matrices turned, so that kernels read along
//! their lines, differences of parts of a matrix.

use super::form::Form;
use super::layout::Held;
use super::places::Place;
use super::rows::Rows;
use super::tables::small;
use super::term::Term;
use super::terms::terms;
use crate::bundle::Variant;
use crate::ir::{Graph, Node, Op, Value};

/// What the workgroups of `shaders/made.wgsl` do.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Lines: where to, elements, first run, runs.
    pub(super) lines: Vec<u32>,
    pub(super) runs: Vec<u32>,
    /// Elements that are read, and written.
    pub(super) elements: [usize; 2],
}

/// Words of a line.
const LINE: usize = 4;
/// Words of a run.
const RUN: usize = 6;

impl Made {
    /// Of all values that kernels read.
    pub(super) fn new(g: &Graph, rows: &Rows, variant: &Variant, trained: &[Held]) -> Self {
        let mut made = Self::default();
        for (v, (name, terms)) in &rows.made {
            let Some(weight) = variant.weights.iter().find(|p| p.tensor == *name) else {
                continue;
            };
            let shape = g.shape(*v).per_row();
            let place = Place::new(&shape, weight);
            for line in 0..place.lines {
                let mut index = Vec::new();
                let mut rest = line;
                for n in shape.iter().rev().skip(1) {
                    index.push(rest % n);
                    rest /= n;
                }
                index.reverse();
                let first = made.runs.len() / RUN;
                for term in terms {
                    let held = trained
                        .iter()
                        .find(|held| matches!(g.op(term.sum), Op::Param(name) if *name == held.name));
                    let Some((held, run)) = held.zip(term.run(&index)) else {
                        continue;
                    };
                    let words = [held.place.flat + run.from, run.stride, run.start, run.count];
                    made.runs.extend(words.map(small));
                    made.runs.extend([term.scale.to_bits(), u32::from(held.read)]);
                    made.elements[0] += run.count;
                }
                let runs = made.runs.len() / RUN - first;
                let words = [place.flat + line * place.line, place.width, first, runs];
                made.lines.extend(words.map(small));
                made.elements[1] += place.width;
            }
        }
        made
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len() / LINE
    }
}

/// What a value is made of, if it is made of trained tensors alone, several of them or one that rows would read across its
/// lines, each again.
pub(super) fn made_of(g: &Graph, form: &Form, v: Value) -> Option<Vec<Term>> {
    let n = g.node(v);
    if n.ty.shape.symbolic().is_some() || n.args.is_empty() || n.ty.shape.rank() == 0 {
        return None;
    }
    // Lines of others have padding where kernels read them.
    let whole = |v: &Value| g.shape(*v).per_row().last().is_some_and(|n| n.is_multiple_of(8));
    let trained = |v: &Value| form.trained.iter().any(|t| t.param == *v);
    let leaf = |v: Value| Some(v).filter(trained).filter(whole).map(|v| Term::all(g, v));
    let terms = terms(g, &leaf, v)?;
    let across = || terms.iter().any(|t| !t.is_along_lines()) && is_read_by_each(g, v);
    (terms.len() > 1 || across()).then_some(terms)
}

/// Whether every row reads a value anew: not where a product has one line for each, for then many share what is read.
fn is_read_by_each(g: &Graph, v: Value) -> bool {
    let anew = |n: &Node| {
        let lines = || g.shape(n.args[0]).per_row().iter().rev().skip(1).product::<usize>();
        n.op != Op::MatMul || n.args[1] != v || lines() >= WIDE
    };
    let reads = |n: &Node| n.args.contains(&v) && n.ty.shape.symbolic().is_some();
    g.iter().any(|(_, n)| reads(n) && anew(n))
}

/// Lines of a row from which on a kernel has few rows.
const WIDE: usize = 8;
