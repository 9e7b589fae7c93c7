//! The meaning of a graph: every op as slow and obvious loops.
//!
//! This is what all other ways to run a graph are compared with, so it shares nothing with them. In `f64` it is the
//! meaning itself; in `f32` it shows what rounding alone does to a graph.

mod batch;
mod bounds;
mod error;
mod finite;
mod fold;
mod index;
mod real;
mod recurrence;
mod scalar;
mod value;

use indexmap::IndexMap;

use self::index::Outside;
use crate::ir::{Graph, Node, Op, Value};
use crate::tensor::{Sizes, Tensors};

pub use batch::{check_batch, input, param, sizes_of};
pub use bounds::{Bound, Rounding, bounds};
pub use error::EvalError;
pub use finite::first_non_finite;
pub use real::Real;
pub use value::{Elements, Tensor};

/// The outputs of a graph on a batch. `request_of_row` may be left out of the batch where the sizes imply it.
///
/// # Errors
/// [`EvalError`] when batch or weights do not fit the graph, or an index is outside its axis.
pub fn eval<T: Real>(
    graph: &Graph,
    weights: &Tensors,
    batch: &Tensors,
    sizes: Sizes,
) -> Result<IndexMap<String, Tensor<T>>, EvalError> {
    check_batch(graph, batch, sizes)?;
    let wanted: Vec<Value> = graph.outputs.iter().map(|(_, v)| *v).collect();
    let values = eval_values(graph, weights, batch, sizes, &wanted)?;
    let names = graph.outputs.iter().map(|(name, _)| name.clone());
    Ok(names.zip(values).collect())
}

/// The values of some nodes. Only what they depend on is evaluated and looked up, so a value that no input reaches
/// needs no batch.
///
/// # Errors
/// See [`eval`].
pub fn eval_values<T: Real>(
    graph: &Graph,
    weights: &Tensors,
    batch: &Tensors,
    sizes: Sizes,
    wanted: &[Value],
) -> Result<Vec<Tensor<T>>, EvalError> {
    let run = Run {
        graph,
        weights,
        batch,
        sizes,
    };
    run.values(wanted, &mut |_, _, _| {})
}

/// Sees a node with its operands' values and its own, which it may change.
type Watch<'a, T> = dyn FnMut(&Node, &[&Tensor<T>], &mut Tensor<T>) + 'a;

/// What a graph is evaluated on.
struct Run<'a> {
    graph: &'a Graph,
    weights: &'a Tensors,
    batch: &'a Tensors,
    sizes: Sizes,
}

impl<'a> Run<'a> {
    /// A batch that fits the graph, and the values of its outputs.
    fn of_outputs(
        graph: &'a Graph,
        weights: &'a Tensors,
        batch: &'a Tensors,
        sizes: Sizes,
    ) -> Result<(Self, Vec<Value>), EvalError> {
        check_batch(graph, batch, sizes)?;
        let run = Self {
            graph,
            weights,
            batch,
            sizes,
        };
        Ok((run, graph.outputs.iter().map(|(_, v)| *v).collect()))
    }

    /// Evaluates what `wanted` depends on, in order; showing each value to `each`.
    fn values<T: Real>(&self, wanted: &[Value], each: &mut Watch<T>) -> Result<Vec<Tensor<T>>, EvalError> {
        let mut readers = self.readers(wanted);
        let mut values: Vec<Option<Tensor<T>>> = vec![None; self.graph.len()];
        for (v, node) in self
            .graph
            .iter()
            .filter(|(v, _)| readers[v.index()] > 0)
            .collect::<Vec<_>>()
        {
            let args: Vec<&Tensor<T>> = node.args.iter().map(|a| known(&values, *a)).collect();
            let mut value = self.value(node, &args)?;
            each(node, &args, &mut value);
            values[v.index()] = Some(value);
            for a in &node.args {
                readers[a.index()] -= 1;
                if readers[a.index()] == 0 {
                    values[a.index()] = None;
                }
            }
        }
        Ok(wanted.iter().map(|v| known(&values, *v).clone()).collect())
    }

    /// How often each value is read: by nodes that `wanted` depends on, and as one that is wanted.
    fn readers(&self, wanted: &[Value]) -> Vec<usize> {
        let mut readers = vec![0; self.graph.len()];
        wanted.iter().for_each(|v| readers[v.index()] += 1);
        for (v, node) in self.graph.iter().rev() {
            if readers[v.index()] > 0 {
                node.args.iter().for_each(|a| readers[a.index()] += 1);
            }
        }
        readers
    }

    fn value<T: Real>(&self, node: &Node, args: &[&Tensor<T>]) -> Result<Tensor<T>, EvalError> {
        let shape = node.ty.shape.at(self.sizes);
        let data = match &node.op {
            Op::Input(name) => {
                return Ok(Tensor::from_host(&*input(name, &node.ty, self.batch, self.sizes)?));
            }
            Op::Param(name) => return Ok(Tensor::from_host(param(name, &node.ty, self.weights)?)),
            Op::Const(x) => Tensor::scalar(*x),
            Op::Iota => Elements::Int((0..).take(shape[0]).collect()),
            Op::Unary(op) => scalar::unary(*op, args[0]),
            Op::Binary(op) => scalar::binary(*op, args[0], args[1]),
            Op::Select => scalar::select(args[0], args[1], args[2]),
            Op::Cast => scalar::cast(args[0], node.ty.dtype),
            Op::Broadcast => index::broadcast(args[0], &shape),
            Op::Detach | Op::Reshape => args[0].data.clone(),
            Op::Permute(perm) => index::permute(args[0], perm),
            Op::Slice { axis, start, step, .. } => index::slice(args[0], *axis, *start, *step, &shape),
            Op::Concat(axis) => index::concat(args, *axis),
            Op::Gather(axis) => index::gather(args[0], args[1], *axis).map_err(|e| self.outside(node, e))?,
            Op::TakeAlong(axis) => index::take_along(args[0], args[1], *axis).map_err(|e| self.outside(node, e))?,
            Op::MatMul => Elements::Float(fold::matmul(args[0], args[1])),
            Op::Reduce(fold, axes) => fold::reduce(*fold, args[0], axes),
            Op::CumSum(axis) => fold::cumsum(args[0], *axis),
            Op::ScatterAdd(axis) => {
                index::scatter_add(args[0], args[1], *axis, &shape).map_err(|e| self.outside(node, e))?
            }
            Op::Gru => Elements::Float(recurrence::gru(args)),
            Op::GruGrad => Elements::Float(recurrence::gru_grad(args)),
            Op::Uniform(stream) => Elements::Float(scalar::uniform(args[0].ints()[0], *stream, &shape)),
        };
        Ok(Tensor { shape, data })
    }

    fn outside(&self, node: &Node, Outside { at, value, extent }: Outside) -> EvalError {
        let index = node.args[1];
        let shape = self.graph.shape(index);
        let row = match shape.symbolic() {
            Some((axis, dim)) => {
                let inner: usize = shape.at(self.sizes)[axis + 1..].iter().product();
                at / inner % dim.at(self.sizes) / dim.factor()
            }
            None => at,
        };
        EvalError::Index {
            index: self.name(index),
            table: match node.op {
                Op::ScatterAdd(_) => format!("`scatter_add` to {}", node.ty),
                _ => self.name(node.args[0]),
            },
            row,
            value,
            extent,
        }
    }

    /// A value as its user knows it: by the leaf it rearranges, else by its module.
    fn name(&self, v: Value) -> String {
        match self.graph.op(v) {
            Op::Input(name) => format!("input `{name}`"),
            Op::Param(name) => format!("parameter `{name}`"),
            Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast | Op::Cast | Op::Detach => {
                self.name(self.graph.args(v)[0])
            }
            op => format!("{v} (`{}` in `{}`)", op.name(), self.graph.scope_of(v)),
        }
    }
}

fn known<T>(values: &[Option<Tensor<T>>], v: Value) -> &Tensor<T> {
    values[v.index()]
        .as_ref()
        .expect("operands come first and stay until read")
}
