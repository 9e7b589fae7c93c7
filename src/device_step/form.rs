//! What a step is to a device: tensors that are trained, each with a gradient that is sums over the batch, and with
//! state; everything else about them is scalars.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use crate::ir::rows::sums;
use crate::ir::{Binary, Fold, Graph, Op, Unary, Value};
use crate::optim::NEXT;
use crate::tensor::Sizes;

/// A tensor that is trained.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) param: Value,
    pub(super) gradient: Value,
    /// What the gradient is the sum of.
    pub(super) terms: Vec<Term>,
    /// Its state in the optimiser: parameters of the same shape.
    pub(super) states: Vec<Value>,
    /// New values of the tensor and of its state.
    pub(super) next: Vec<Value>,
    /// Values that have an element for each of its elements.
    pub(super) spread: BTreeSet<Value>,
}

/// A sum over the batch as part of a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) sum: Value,
    pub(super) scale: f32,
    /// What a row and a column of the sum count for in the gradient's order of elements.
    pub(super) strides: (usize, usize),
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
        let in_rows = read_by_rows(g);
        for (param, name, _) in g.params() {
            if let Some(v) = next.get(name).filter(|_| in_rows[param.index()]) {
                let trained = form.trained(g, param, *v, &next)?;
                form.trained.push(trained);
            }
        }
        let mut written: Vec<Value> = form.trained.iter().flat_map(|t| t.next.iter().copied()).collect();
        written.sort_unstable();
        for (name, v) in &next {
            if written.binary_search(v).is_err() {
                return Err(Error::refused(g, *v, &format!("`{name}` is trained in another way")));
            }
        }
        Ok(form)
    }

    fn trained(&self, g: &Graph, param: Value, new: Value, next: &BTreeMap<&str, Value>) -> Result<Trained, Error> {
        let mut t = Trained {
            param,
            gradient: new,
            terms: Vec::new(),
            states: Vec::new(),
            next: vec![new],
            spread: BTreeSet::from([param]),
        };
        let mut found: Vec<(Value, Vec<Term>)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut at = 0;
        let mut stack = vec![new];
        while at < t.next.len() {
            while let Some(v) = stack.pop() {
                if !seen.insert(v) {
                    continue;
                }
                if let Op::Param(name) = g.op(v) {
                    if let Some(next) = next.get(name.as_str()).filter(|_| v != param && g.ty(v) == g.ty(param)) {
                        t.states.push(v);
                        t.next.push(*next);
                    }
                } else if let Some(terms) = (g.ty(v) == g.ty(param)).then(|| self.terms(g, v)).flatten() {
                    found.push((v, terms));
                } else if is_pointwise(g.op(v)) {
                    stack.extend(g.args(v).iter().rev());
                }
            }
            at += 1;
            stack.extend(t.next.get(at));
        }
        let [(gradient, terms)] = &found[..] else {
            return Err(Error::refused(
                g,
                new,
                &format!("{} gradients where there should be one", found.len()),
            ));
        };
        (t.gradient, t.terms) = (*gradient, terms.clone());
        t.spread.extend(&t.states);
        t.spread.insert(t.gradient);
        for (v, n) in g.iter().filter(|(v, _)| seen.contains(v)) {
            if is_pointwise(&n.op) && n.args.iter().any(|a| t.spread.contains(a)) {
                t.spread.insert(v);
            }
        }
        Ok(t)
    }

    /// The sums over the batch that a value is the sum of, if it is.
    pub(super) fn terms(&self, g: &Graph, v: Value) -> Option<Vec<Term>> {
        let n = g.node(v);
        if self.is_sum[v.index()] {
            let strides = (matrix(g, v)?.1, 1);
            return Some(vec![Term {
                sum: v,
                scale: 1.0,
                strides,
            }]);
        }
        let of = |i: usize| self.terms(g, n.args[i]);
        let scaled = |terms: Vec<Term>| terms.into_iter().map(|t| Term { scale: -t.scale, ..t });
        match &n.op {
            Op::Reshape => of(0),
            Op::Unary(Unary::Neg) => Some(scaled(of(0)?).collect()),
            Op::Binary(Binary::Add) => Some(of(0)?.into_iter().chain(of(1)?).collect()),
            Op::Binary(Binary::Sub) => Some(of(0)?.into_iter().chain(scaled(of(1)?)).collect()),
            Op::Permute(perm) => {
                let shape = g.shape(n.args[0]).at(Sizes::ONE);
                let long: Vec<usize> = perm.iter().copied().filter(|a| shape[*a] != 1).collect();
                match long[..] {
                    [a, b] if a > b => {
                        let turned = |t: Term| transposed(g, t, [shape[b], shape[a]]);
                        of(0)?.into_iter().map(turned).collect()
                    }
                    _ if long.is_sorted() => of(0),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// A term of a matrix of these extents as one of the matrix turned.
fn transposed(g: &Graph, t: Term, [rows, columns]: [usize; 2]) -> Option<Term> {
    let (k, n) = matrix(g, t.sum)?;
    let strides = match (k, n) {
        _ if (k, n) == (rows, columns) && t.strides == (n, 1) => (1, k),
        _ if (k, n) == (columns, rows) && t.strides == (1, k) => (n, 1),
        _ => return None,
    };
    Some(Term { strides, ..t })
}

/// Rows and columns of a sum over the batch, if it is one matrix or vector.
pub(super) fn matrix(g: &Graph, sum: Value) -> Option<(usize, usize)> {
    let shape = g.shape(sum).at(Sizes::ONE);
    let all = shape.iter().product();
    match g.op(sum) {
        Op::MatMul if shape.len() == 2 => Some((shape[0], shape[1])),
        Op::Reduce(Fold::Sum, _) => Some((1, all)),
        Op::ScatterAdd(0) => Some((shape[0], all / shape[0].max(1))),
        _ => None,
    }
}

/// Whether each element of the result comes from one element of every operand.
fn is_pointwise(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Detach | Op::Broadcast | Op::Reshape
    )
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
