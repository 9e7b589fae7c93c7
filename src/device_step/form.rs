//! What a step is to a device: tensors that are trained, each with gradients that are sums over the batch, and with
//! state; everything else about them is scalars.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::term::Term;
use super::terms::{is_pointwise, terms};
use crate::ir::rows::sums;
use crate::ir::{Binary, Fold, Graph, Op, Scalar, Value};
use crate::optim::NEXT;
use crate::tensor::Sizes;

/// A tensor that is trained, or follows the batch in another way.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) param: Value,
    /// What it follows: gradients, or statistics.
    pub(super) gradients: Vec<Gradient>,
    /// Its state in the optimiser.
    pub(super) states: Vec<State>,
    /// New values of the tensor and of its state.
    pub(super) next: Vec<Value>,
    /// Values that have an element for each of its elements, or for each of its rows.
    pub(super) own: BTreeSet<Value>,
    /// Sums over the elements of each row.
    pub(super) folds: Vec<Value>,
    /// Where rows change that the batch looks up, and no others.
    pub(super) touched: Option<Touched>,
}

/// A value that is a sum of sums over the batch.
#[derive(Debug)]
pub(super) struct Gradient {
    pub(super) value: Value,
    pub(super) terms: Vec<Term>,
}

/// State of a trained tensor: another parameter that the step replaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) value: Value,
    /// One element for each row of the tensor.
    pub(super) by_row: bool,
}

/// Which rows a batch looks up.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) value: Value,
    pub(super) indices: Vec<Value>,
}

/// The most gradients, and the most state, that a tensor may have.
const MOST: usize = 3;

impl Trained {
    /// Whether its gradient is nothing but rows that the batch looks up.
    pub(super) fn is_looked_up(&self, g: &Graph) -> bool {
        let scatters = |gradient: &Gradient| {
            let mut terms = gradient.terms.iter();
            terms.all(|term| matches!(g.op(term.sum), Op::ScatterAdd(_)))
        };
        matches!(&self.gradients[..], [gradient] if scatters(gradient))
    }

    /// Whether each of its rows is updated as a whole.
    pub(super) fn by_lines(&self) -> bool {
        self.touched.is_some() || !self.folds.is_empty()
    }
}

/// A step in this form.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) trained: Vec<Trained>,
    /// Metrics of one element, computed from sums.
    pub(super) metrics: Vec<(String, Value)>,
    /// Metrics of the rows.
    pub(super) of_rows: Vec<(String, Value)>,
    pub(super) is_sum: Vec<bool>,
}

impl Form {
    /// Finds the form, if the step has it.
    pub(super) fn new(g: &Graph) -> Result<Self, Error> {
        let is_sum = sums(g)?;
        let next: BTreeMap<&str, Value> = g
            .outputs
            .iter()
            .filter_map(|(name, v)| Some((name.strip_prefix(NEXT)?, *v)))
            .collect();
        let mut form = Self {
            trained: Vec::new(),
            metrics: Vec::new(),
            of_rows: Vec::new(),
            is_sum,
        };
        for (name, v) in g.outputs.iter().filter(|(name, _)| !name.starts_with(NEXT)) {
            match g.shape(*v).symbolic() {
                Some((0, _)) => form.of_rows.push((name.clone(), *v)),
                None if g.shape(*v).numel(Sizes::ONE) == 1 => form.metrics.push((name.clone(), *v)),
                _ => return Err(Error::refused(g, *v, "a metric that is neither of rows nor a number")),
            }
        }
        // First what rows read, with its state; then what nothing reads but the next step, such as running statistics.
        let in_rows = read_by_rows(g);
        let mut written: BTreeSet<Value> = BTreeSet::new();
        for is_read in [true, false] {
            for (param, name, _) in g.params().filter(|(v, _, _)| in_rows[v.index()] == is_read) {
                if let Some(v) = next.get(name).filter(|v| !written.contains(v)) {
                    let trained = form.trained(g, param, *v, &next)?;
                    written.extend(&trained.next);
                    form.trained.push(trained);
                }
            }
        }
        Ok(form)
    }

    fn trained(&self, g: &Graph, param: Value, new: Value, next: &BTreeMap<&str, Value>) -> Result<Trained, Error> {
        let mut t = Trained {
            param,
            gradients: Vec::new(),
            states: Vec::new(),
            next: vec![new],
            own: BTreeSet::from([param]),
            folds: Vec::new(),
            touched: None,
        };
        let mut seen = BTreeSet::new();
        let mut at = 0;
        let mut stack = vec![new];
        while at < t.next.len() {
            while let Some(v) = stack.pop() {
                if seen.insert(v) {
                    stack.extend(self.visit(g, &mut t, v, next));
                }
            }
            at += 1;
            stack.extend(t.next.get(at));
        }
        if t.gradients.len() > MOST || t.states.len() > MOST {
            return Err(Error::refused(
                g,
                new,
                "it follows too many sums, or has too much state",
            ));
        }
        // Operands come first.
        t.folds.sort_unstable();
        t.own.extend(t.states.iter().map(|s| s.value));
        t.own.extend(t.gradients.iter().map(|s| s.value));
        t.own.extend(t.touched.as_ref().map(|touched| touched.value));
        for (v, n) in g.iter().filter(|(v, _)| seen.contains(v)) {
            let follows = is_pointwise(&n.op) && n.args.iter().any(|a| t.own.contains(a));
            if follows || t.folds.contains(&v) {
                t.own.insert(v);
            }
        }
        keeps(g, &t)?;
        Ok(t)
    }

    /// Takes in a value that a new one is computed from; what that one is computed from, if that matters.
    fn visit<'a>(&self, g: &'a Graph, t: &mut Trained, v: Value, next: &BTreeMap<&str, Value>) -> &'a [Value] {
        let (shape, own) = (g.shape(t.param).per_row(), g.shape(v).per_row());
        let elements = |shape: &[usize]| -> usize { shape.iter().product() };
        let same = elements(&shape) == elements(&own) && g.shape(v).symbolic().is_none();
        if let Some(indices) = self.touched(g, v) {
            t.touched = Some(Touched { value: v, indices });
        } else if let Op::Param(name) = g.op(v) {
            let by_row = !same && own.first() == shape.first() && elements(&own) == own[0];
            if let Some(next) = next.get(name.as_str()).filter(|_| v != t.param && (same || by_row)) {
                t.states.push(State { value: v, by_row });
                t.next.push(*next);
            }
        } else if let Some(terms) = same.then(|| self.terms(g, v)).flatten() {
            t.gradients.push(Gradient { value: v, terms });
        } else if folds_rows(g, v, &shape) {
            t.folds.push(v);
            return g.args(v);
        } else if is_pointwise(g.op(v)) {
            return g.args(v);
        }
        &[]
    }

    /// The sums over the batch that a value is made of, if it is.
    fn terms(&self, g: &Graph, v: Value) -> Option<Vec<Term>> {
        terms(g, &|v| Term::whole(g, v).filter(|_| self.is_sum[v.index()]), v)
    }

    /// The indices whose rows a value is true for, if it says which rows are looked up.
    fn touched(&self, g: &Graph, v: Value) -> Option<Vec<Value>> {
        let n = g.node(v);
        if n.op != Op::Binary(Binary::Gt) || constant(g, n.args[1]) != Some(Scalar::F32(0.0)) {
            return None;
        }
        let mut indices = Vec::new();
        let mut stack = vec![n.args[0]];
        while let Some(v) = stack.pop() {
            let n = g.node(v);
            match n.op {
                Op::Binary(Binary::Add) => stack.extend(n.args.iter().rev()),
                Op::ScatterAdd(0) if self.is_sum[v.index()] => {
                    constant(g, n.args[0]).filter(|c| *c == Scalar::F32(1.0))?;
                    indices.push(n.args[1]);
                }
                _ => return None,
            }
        }
        Some(indices)
    }
}

/// The constant that every element of a value is.
fn constant(g: &Graph, mut v: Value) -> Option<Scalar> {
    while matches!(g.op(v), Op::Broadcast | Op::Reshape) {
        v = g.args(v)[0];
    }
    g.constant(v)
}

/// Whether a value is the sum over all elements of each row of tensors of this shape.
fn folds_rows(g: &Graph, v: Value, shape: &[usize]) -> bool {
    match g.op(v) {
        Op::Reduce(Fold::Sum, axes) => {
            let from = g.shape(g.args(v)[0]);
            from.symbolic().is_none() && from.per_row() == shape && axes.iter().copied().eq(1..shape.len())
        }
        _ => false,
    }
}

/// Whether rows that are not touched keep their values, where only touched ones are visited.
fn keeps(g: &Graph, t: &Trained) -> Result<(), Error> {
    let Some(touched) = &t.touched else { return Ok(()) };
    let old = std::iter::once(t.param).chain(t.states.iter().map(|s| s.value));
    for (new, old) in t.next.iter().zip(old) {
        let n = g.node(*new);
        let mut stack = vec![n.args.first().copied().unwrap_or(*new)];
        let mut depends = false;
        while let Some(v) = stack.pop() {
            depends |= v == touched.value;
            if matches!(g.op(v), Op::Binary(Binary::And) | Op::Broadcast | Op::Reshape) {
                stack.extend(g.args(v));
            }
        }
        if n.op != Op::Select || n.args[2] != old || !depends {
            return Err(Error::refused(g, *new, "rows change that the batch does not look up"));
        }
    }
    for gradient in &t.gradients {
        let known = |v: &Value| touched.indices.iter().any(|index| lookups(g, *index).contains(v));
        let index = |term: &Term| match g.op(term.sum) {
            Op::ScatterAdd(0) => lookups(g, g.args(term.sum)[1]).iter().all(known),
            _ => false,
        };
        if !gradient.terms.iter().all(index) {
            return Err(Error::refused(
                g,
                gradient.value,
                "it has rows that the batch does not look up",
            ));
        }
    }
    Ok(())
}

/// The indices that make up one of many lookups.
pub(super) fn lookups(g: &Graph, index: Value) -> Vec<Value> {
    match g.op(index) {
        Op::Reshape | Op::Concat(_) => g.args(index).iter().flat_map(|a| lookups(g, *a)).collect(),
        _ => vec![index],
    }
}

/// Which values some value with rows is computed from.
fn read_by_rows(g: &Graph) -> Vec<bool> {
    let mut read = vec![false; g.len()];
    for (v, n) in g.iter().rev() {
        if read[v.index()] || g.shape(v).symbolic().is_some() {
            n.args.iter().for_each(|a| read[a.index()] = true);
        }
    }
    read
}
