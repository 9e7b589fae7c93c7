//! The part of a step that works row by row, as a graph for the pipeline of inference.
//!
//! Its outputs are the operands of the sums and the metrics of rows. Scalars of the step are parameters of it: they are
//! written where weights are, before each step.

use std::collections::HashMap;

use indexmap::IndexSet;

use super::Error;
use super::form::Form;
use crate::ir::{Fold, Graph, Op, Value};
use crate::tensor::Sizes;

/// What a sum over rows multiplies: positions among the outputs of the row part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operands {
    /// `A^T B`, both with so many lines for each row.
    Product { a: usize, b: usize, lines: usize },
    /// The sum of the lines of B.
    Lines { b: usize, lines: usize },
    /// Lines of B to where an index, a value of the step, says.
    Scatter { b: usize, index: Value },
}

/// The row part and where its results are needed.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) graph: Graph,
    /// Scalars of the step that the graph has as parameters.
    pub(super) scalars: Vec<String>,
    pub(super) sums: HashMap<Value, Operands>,
    /// Name of the output for each metric of rows.
    pub(super) metrics: Vec<(String, String)>,
}

/// Name of output `i` of the row part.
pub(super) fn output(i: usize) -> String {
    format!("o{i}")
}

impl Rows {
    pub(super) fn new(g: &Graph, form: &Form, sums: &[Value]) -> Result<Self, Error> {
        let mut copy = Copy {
            g,
            form,
            graph: Graph::new(),
            known: HashMap::new(),
            scalars: Vec::new(),
            outputs: IndexSet::new(),
        };
        // Trained tensors first, so that they lie together.
        for t in &form.trained {
            copy.at(t.param)?;
        }
        let operands = |v: &Value| Ok((*v, copy.operands(*v)?));
        let sums = sums.iter().map(operands).collect::<Result<_, Error>>()?;
        let mut metrics = Vec::new();
        for (name, v) in &form.of_rows {
            let i = copy.output(*v)?;
            metrics.push((name.clone(), output(i)));
        }
        let outputs = copy.outputs.iter().enumerate();
        copy.graph.outputs = outputs.map(|(i, v)| (output(i), *v)).collect();
        Ok(Self {
            graph: copy.graph,
            scalars: copy.scalars,
            sums,
            metrics,
        })
    }
}

struct Copy<'a> {
    g: &'a Graph,
    form: &'a Form,
    graph: Graph,
    known: HashMap<Value, Value>,
    scalars: Vec<String>,
    outputs: IndexSet<Value>,
}

impl Copy<'_> {
    fn operands(&mut self, v: Value) -> Result<Operands, Error> {
        let g = self.g;
        let n = g.node(v);
        match &n.op {
            Op::MatMul if g.shape(v).rank() == 2 => {
                let (turned, b) = (n.args[0], n.args[1]);
                let a = match g.op(turned) {
                    Op::Permute(perm) if perm[..] == [1, 0] => self.output(g.args(turned)[0])?,
                    _ => {
                        let a = self.at(turned)?;
                        let a = self.graph.apply(Op::Permute(vec![1, 0]), &[a])?;
                        self.outputs.insert_full(a).0
                    }
                };
                let lines = lines(g, b);
                let b = self.output(b)?;
                Ok(Operands::Product { a, b, lines })
            }
            Op::Reduce(Fold::Sum, axes) => {
                let x = n.args[0];
                // Leading axes are lines; others are folded row by row first.
                let leading = axes.iter().enumerate().take_while(|(i, a)| i == *a).count();
                if leading == 0 {
                    return Err(Error::refused(g, v, "rows are not its first axis"));
                }
                let lines = g.shape(x).0[..leading].iter().map(|d| d.factor()).product();
                let b = if leading == axes.len() {
                    self.output(x)?
                } else {
                    let x = self.at(x)?;
                    let folded = self.graph.reduce(Fold::Sum, x, &axes[leading..])?;
                    self.outputs.insert_full(folded).0
                };
                Ok(Operands::Lines { b, lines })
            }
            Op::ScatterAdd(0) => {
                let b = self.output(n.args[0])?;
                Ok(Operands::Scatter { b, index: n.args[1] })
            }
            _ => Err(Error::refused(g, v, "no kernel makes this sum over rows")),
        }
    }

    /// An output of the row part: the same elements in the same order as `v` of the step.
    fn output(&mut self, mut v: Value) -> Result<usize, Error> {
        let first = |v: Value| matches!(self.g.shape(v).symbolic(), Some((0, _)));
        while matches!(self.g.op(v), Op::Reshape) && first(self.g.args(v)[0]) {
            v = self.g.args(v)[0];
        }
        let new = self.at(v)?;
        Ok(self.outputs.insert_full(new).0)
    }

    fn at(&mut self, v: Value) -> Result<Value, Error> {
        if let Some(new) = self.known.get(&v) {
            return Ok(*new);
        }
        let n = self.g.node(v);
        if self.form.is_sum[v.index()] {
            return Err(Error::refused(self.g, v, "rows wait for this sum over rows"));
        }
        let scope = self.graph.enter(self.g.scope_of(v));
        let new = match &n.op {
            Op::Input(name) if n.ty.shape.symbolic().is_none() => {
                self.scalars.push(name.clone());
                self.graph.declare(Op::Param(name.clone()), &[], n.ty.clone())?
            }
            _ => {
                let args = n.args.iter().map(|a| self.at(*a)).collect::<Result<Vec<_>, _>>()?;
                self.graph.declare(n.op.clone(), &args, n.ty.clone())?
            }
        };
        self.graph.leave(scope);
        self.known.insert(v, new);
        Ok(new)
    }
}

/// Lines of a matrix for each row of the batch: its first axis.
fn lines(g: &Graph, v: Value) -> usize {
    g.shape(v).at(Sizes::ONE).first().copied().unwrap_or(1)
}
