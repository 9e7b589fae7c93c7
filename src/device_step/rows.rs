//! The part of a step that works row by row, as a graph for the pipeline of inference.
//!
//! Its outputs are the operands of the sums and the metrics of rows. Scalars of the step are parameters of it: they are
//! written where weights are, before each step. So are sums that rows wait for: they are written there between two
//! *phases*, of which every value has one.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};

use super::Error;
use super::by_rows::ByRows;
use super::form::Form;
use super::made::made_of;
use super::term::Term;
use crate::ir::{Binary, Fold, Graph, Op, Value};
use crate::tensor::{Dim, Sizes};

/// What a sum over rows multiplies: positions among the outputs of the row part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operands {
    /// `A^T B`, both with so many lines for each row; `weights` has one line for each row, which those of A are multiplied
    /// by.
    Product {
        a: usize,
        b: usize,
        lines: usize,
        weights: Option<usize>,
    },
    /// The sum of the lines of B.
    Lines { b: usize, lines: usize },
    /// Lines of B to where an index, a value of the step, says.
    Scatter { b: usize, index: Value },
}

/// The row part and where its results are needed.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) graph: Graph,
    /// When each value of the graph is computed.
    pub(super) phases: Vec<usize>,
    /// Scalars of the step that the graph has as parameters.
    pub(super) scalars: Vec<String>,
    pub(super) sums: HashMap<Value, Operands>,
    /// Sums that rows wait for: the parameter that each is, and the phase after which it is there.
    pub(super) waited: IndexMap<Value, (String, usize)>,
    /// Name of the output for each metric of rows.
    pub(super) metrics: Vec<(String, String)>,
    /// Parameters of the graph that are made of trained tensors, as values of the step, before a batch.
    pub(super) made: IndexMap<Value, (String, Vec<Term>)>,
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
            sums: HashMap::new(),
            waited: IndexMap::new(),
            made: IndexMap::new(),
        };
        // Trained tensors first, so that they lie together.
        for t in &form.trained {
            copy.at(t.param)?;
        }
        for v in sums {
            copy.sum(*v)?;
        }
        let mut metrics = Vec::new();
        for (name, v) in &form.of_rows {
            let i = copy.output(*v)?;
            metrics.push((name.clone(), output(i)));
        }
        Ok(copy.finish(metrics))
    }

    /// How many phases there are.
    pub(super) fn count(&self) -> usize {
        self.waited.values().map(|(_, phase)| phase + 2).max().unwrap_or(1)
    }

    /// The phase after which a sum is made: as soon as rows wait for it, else at the end.
    pub(super) fn phase(&self, sum: Value) -> usize {
        self.waited.get(&sum).map_or(self.count() - 1, |(_, phase)| *phase)
    }
}

struct Copy<'a> {
    g: &'a Graph,
    form: &'a Form,
    graph: Graph,
    known: HashMap<Value, Value>,
    scalars: Vec<String>,
    outputs: IndexSet<Value>,
    sums: HashMap<Value, Operands>,
    /// The parameter that a sum is.
    waited: IndexMap<Value, Value>,
    made: IndexMap<Value, (String, Vec<Term>)>,
}

impl Copy<'_> {
    fn finish(mut self, metrics: Vec<(String, String)>) -> Rows {
        let outputs = self.outputs.iter().enumerate();
        self.graph.outputs = outputs.map(|(i, v)| (output(i), *v)).collect();
        let sum_of: HashMap<Value, Value> = self.waited.iter().map(|(sum, param)| (*param, *sum)).collect();
        let mut phases: Vec<usize> = Vec::with_capacity(self.graph.len());
        let mut waited = IndexMap::new();
        for (v, n) in self.graph.iter() {
            let phase = match sum_of.get(&v) {
                None => n.args.iter().map(|a| phases[a.index()]).max().unwrap_or(0),
                Some(sum) => {
                    let of = |i: usize| phases[self.outputs[i].index()];
                    let phase = match self.sums[sum] {
                        Operands::Product { a, b, weights, .. } => of(a).max(of(b)).max(weights.map_or(0, of)),
                        Operands::Lines { b, .. } | Operands::Scatter { b, .. } => of(b),
                    };
                    waited.insert(*sum, (waited_name(*sum), phase));
                    phase + 1
                }
            };
            phases.push(phase);
        }
        Rows {
            graph: self.graph,
            phases,
            scalars: self.scalars,
            sums: self.sums,
            waited,
            metrics,
            made: self.made,
        }
    }

    fn sum(&mut self, v: Value) -> Result<(), Error> {
        if !self.sums.contains_key(&v) {
            let operands = self.operands(v)?;
            self.sums.insert(v, operands);
        }
        Ok(())
    }

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
                Ok(Operands::Product {
                    a,
                    b,
                    lines,
                    weights: None,
                })
            }
            Op::Reduce(Fold::Sum, axes) => {
                let x = n.args[0];
                if let Some(by_rows) = ByRows::of(g, v) {
                    return self.by_rows(by_rows);
                }
                // Leading axes are lines; others are folded row by row first.
                let mut leading = axes.iter().enumerate().take_while(|(i, a)| i == *a).count();
                // A number would be the sum of one long column.
                let last = g.shape(x).0[leading.saturating_sub(1)..]
                    .iter()
                    .map(|d| d.factor())
                    .product::<usize>();
                if leading > 1 && g.shape(v).numel(Sizes::ONE) == 1 && last > 1 {
                    leading -= 1;
                }
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

    fn by_rows(&mut self, ByRows { turned, b, weights }: ByRows) -> Result<Operands, Error> {
        let swap = || Op::Permute(vec![0, 2, 1]);
        let lines = self.g.shape(b).0[..2].iter().map(|d| d.factor()).product();
        let product = self.g.shape(turned).0[1].factor().min(self.g.shape(b).0[2].factor());
        let by_kernel = product > 1 && self.g.shape(b).0[0] == Dim::Rows(1);
        let mut a = match self.g.op(turned) {
            op if *op == swap() => self.at(self.g.args(turned)[0])?,
            _ => {
                let turned = self.at(turned)?;
                self.graph.apply(swap(), &[turned])?
            }
        };
        let of_kernel = match weights.filter(|_| by_kernel) {
            Some(weights) => Some(self.output(weights)?),
            None => None,
        };
        if let Some(weights) = weights.filter(|_| !by_kernel) {
            let weights = self.at(weights)?;
            let weights = self.graph.apply(swap(), &[weights])?;
            a = self.graph.binary(Binary::Mul, a, weights)?;
        }
        let a = self.outputs.insert_full(a).0;
        let b = self.output(b)?;
        Ok(Operands::Product {
            a,
            b,
            lines,
            weights: of_kernel,
        })
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
        if let Some(terms) = made_of(self.g, self.form, v) {
            let name = format!("made.{v}");
            let new = self.graph.declare(Op::Param(name.clone()), &[], n.ty.clone())?;
            self.made.insert(v, (name, terms));
            self.known.insert(v, new);
            return Ok(new);
        }
        let new = match &n.op {
            _ if self.form.is_sum[v.index()] => {
                self.sum(v)?;
                let name = Op::Param(waited_name(v));
                let new = self.graph.declare(name, &[], n.ty.clone())?;
                self.waited.insert(v, new);
                new
            }
            Op::Input(name) if n.ty.shape.symbolic().is_none() => {
                self.scalars.push(name.clone());
                self.graph.declare(Op::Param(name.clone()), &[], n.ty.clone())?
            }
            _ => {
                let args = n.args.iter().map(|a| self.at(*a)).collect::<Result<Vec<_>, _>>()?;
                let scope = self.graph.enter(self.g.scope_of(v));
                let new = self.graph.declare(n.op.clone(), &args, n.ty.clone())?;
                self.graph.leave(scope);
                new
            }
        };
        self.known.insert(v, new);
        Ok(new)
    }
}

/// The parameter that holds a sum which rows wait for.
fn waited_name(sum: Value) -> String {
    format!("sum.{sum}")
}

/// Lines of a matrix for each row of the batch: its first axis.
fn lines(g: &Graph, v: Value) -> usize {
    g.shape(v).at(Sizes::ONE).first().copied().unwrap_or(1)
}
