//! Gradients: the chain rule, walked back over a graph.
//!
//! [`grad`] appends to a graph the nodes that compute the derivative of one number, the loss, by some of its values. Each
//! op has one rule, its *pullback*: from the gradient of its result to those of its operands. The result is graph like
//! any other: what runs forwards runs backwards, and gradients have gradients.
//!
//! - [`pointwise`] has the rules of scalar functions, [`moves`] of ops that move elements, [`loops`] of the others.
//! - [`parts`] adds up what the readers of a value pass back to it.
//!
//! Only what lies between `wrt` and the loss is walked, and nothing is added to zeros. A weight that all rows share gets
//! sums over rows: `matmul` over a symbolic extent, `reduce_sum`, and for a table that was looked up one `scatter_add`.
//!
//! Where a function has a kink, PyTorch decides: `abs` and `max(x, 0)` have gradient 0 at 0, a bound that is a constant
//! passes gradients of what lies on it, operands (or elements of a fold) that are equally large share alike.

mod loops;
mod moves;
mod parts;
mod pointwise;

use self::parts::Part;
use crate::ir::{Graph, Op, TensorType, TypeError, Unary, Value};
use crate::tensor::{DType, Dim, Shape};

/// What has no gradient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A loss that is not one float.
    #[error("the loss {loss} is {ty}, not one float")]
    Loss {
        /// The value.
        loss: Value,
        /// Its type.
        ty: TensorType,
    },
    /// A derivative by what is no float.
    #[error("{value} is {ty}: only floats have a gradient")]
    NotFloat {
        /// The value.
        value: Value,
        /// Its type.
        ty: TensorType,
    },
    /// An op that has no rule.
    #[error("{node} `{op}` of `{scope}` is a gradient itself and has none")]
    Second {
        /// The node.
        node: Value,
        /// Name of its operation.
        op: &'static str,
        /// Where in the model it came from; empty when unknown.
        scope: String,
    },
    /// A rule built an operation that does not type: a bug.
    #[error(transparent)]
    Type(#[from] TypeError),
}

type Done = Result<(), Error>;
type Built = Result<Value, TypeError>;

/// The derivatives of `loss`, a float whose extents are all 1, by each of `wrt`, of the same shapes as these. Appends the
/// nodes that compute them, each under the scope of the node whose rule it belongs to. What the loss does not depend on
/// gets zeros.
///
/// # Errors
/// [`Error`] when the loss is not one float, a value of `wrt` is none, or `gru_grad` lies between.
///
/// # Example
/// ```
/// use loopfm::grad::grad;
/// use loopfm::{interp, ir};
/// use loopfm::tensor::{HostTensor, Tensors};
///
/// // The sum over rows of (x w)^2.
/// let mut g = ir::parse(
///     r#"loopfm 1
/// %0 = input "x" : f32[rows, 2]
/// %1 = param "w" : f32[2, 1]
/// %2 = matmul(%0, %1) : f32[rows, 1]
/// %3 = mul(%2, %2) : f32[rows, 1]
/// %4 = reduce_sum(%3) {axes=[0, 1]} : f32[1, 1]
/// return "loss" = %4
/// "#,
/// )?;
/// let (loss, w) = (g.outputs[0].1, g.params().next().map(|(v, ..)| v).expect("one"));
/// let dw = grad(&mut g, loss, &[w])?[0];
/// assert_eq!(g.shape(dw).to_string(), "[2, 1]");
///
/// g.outputs.push(("dw".into(), dw));
/// let weights = Tensors::from([("w".into(), HostTensor::f32(&[2, 1], vec![1.0, -1.0]))]);
/// let batch = Tensors::from([("x".into(), HostTensor::f32(&[2, 2], vec![1.0, 0.0, 2.0, 3.0]))]);
/// let sizes = interp::sizes_of(&g, &batch)?;
/// let dw = interp::eval::<f64>(&g, &weights, &batch, sizes)?["dw"].clone();
/// assert_eq!(dw.floats(), [-2.0, -6.0]); // 2 x^T (x w)
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grad(g: &mut Graph, loss: Value, wrt: &[Value]) -> Result<Vec<Value>, Error> {
    let ty = g.ty(loss).clone();
    if ty.dtype != DType::F32 || ty.shape.0.iter().any(|d| *d != Dim::Fixed(1)) {
        return Err(Error::Loss { loss, ty });
    }
    if let Some(&value) = wrt.iter().find(|v| g.ty(**v).dtype != DType::F32) {
        let ty = g.ty(value).clone();
        return Err(Error::NotFloat { value, ty });
    }
    let mut walk = Walk {
        between: dependent(g, wrt),
        parts: vec![Vec::new(); g.len()],
        g,
    };
    let one = walk.g.constant_f32(1.0)?;
    let seed = walk.g.reshape(one, &ty.shape)?;
    walk.give(loss, seed);
    walk.back(loss, wrt)
}

/// Which values change when those of `wrt` do, as far as derivatives tell.
fn dependent(g: &Graph, wrt: &[Value]) -> Vec<bool> {
    let mut dependent = vec![false; g.len()];
    wrt.iter().for_each(|v| dependent[v.index()] = true);
    for (v, n) in g.iter().filter(|(_, n)| n.ty.dtype == DType::F32 && !is_flat(&n.op)) {
        dependent[v.index()] |= n.args.iter().any(|a| dependent[a.index()]);
    }
    dependent
}

/// Whether the derivative is zero wherever there is one.
fn is_flat(op: &Op) -> bool {
    use Unary::{Ceil, Floor, Round, Sign, Trunc};
    matches!(op, Op::Detach | Op::Unary(Sign | Floor | Ceil | Round | Trunc))
}

/// A walk from the loss to what it depends on.
struct Walk<'g> {
    g: &'g mut Graph,
    /// Values that depend on what the gradient is taken by.
    between: Vec<bool>,
    /// What the readers of each value passed back to it so far.
    parts: Vec<Vec<Part>>,
}

impl Walk<'_> {
    /// Readers of a value have larger ids, so all of them have passed back when its turn comes.
    fn back(&mut self, loss: Value, wrt: &[Value]) -> Result<Vec<Value>, Error> {
        let mut gradients: Vec<Option<Value>> = vec![None; wrt.len()];
        let nodes: Vec<Value> = self.g.iter().map(|(v, _)| v).take(loss.index() + 1).collect();
        for v in nodes.into_iter().rev() {
            if !self.wants(v) {
                continue;
            }
            let scope = self.g.scope_of(v).to_owned();
            let outer = self.g.enter(&scope);
            if let Some(dy) = self.total(v)? {
                let own = wrt.iter().zip(&mut gradients).filter(|(w, _)| **w == v);
                own.for_each(|(_, gradient)| *gradient = Some(dy));
                self.pull(v, dy)?;
            }
            self.g.leave(outer);
        }
        let mut known = Vec::with_capacity(wrt.len());
        for (v, gradient) in wrt.iter().zip(gradients) {
            known.push(match gradient {
                Some(gradient) => gradient,
                None => self.zeros(&self.g.shape(*v).clone())?,
            });
        }
        Ok(known)
    }

    /// Whether a value lies between.
    fn wants(&self, v: Value) -> bool {
        self.between[v.index()]
    }

    /// Passes a gradient back to a value.
    fn give(&mut self, to: Value, gradient: Value) {
        self.parts[to.index()].push(Part::Whole(gradient));
    }

    /// Passes back to the operands of `v` what the gradient of `v` makes of theirs.
    fn pull(&mut self, v: Value, dy: Value) -> Done {
        let n = self.g.node(v).clone();
        let args = n.args.as_slice();
        if !args.iter().any(|a| self.wants(*a)) || is_flat(&n.op) {
            return Ok(());
        }
        match n.op {
            Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota | Op::Uniform(_) | Op::Detach => Ok(()),
            Op::Unary(op) => self.unary(op, args[0], v, dy),
            Op::Binary(op) => self.binary(op, [args[0], args[1]], v, dy),
            Op::Select => self.select([args[0], args[1], args[2]], dy),
            Op::Cast => {
                self.give(args[0], dy);
                Ok(())
            }
            Op::Broadcast => self.broadcast(args[0], dy),
            Op::Reshape => self.reshape(args[0], dy),
            Op::Permute(perm) => self.permute(&perm, args[0], dy),
            Op::Slice { axis, start, step, .. } => self.slice(axis, start, step, args[0], dy),
            Op::Concat(axis) => self.concat(axis, args, dy),
            Op::Gather(axis) => {
                self.parts[args[0].index()].push(Part::Looked {
                    axis,
                    index: args[1],
                    gradient: dy,
                });
                Ok(())
            }
            Op::TakeAlong(axis) => self.take_along(axis, args[0], args[1], dy),
            Op::ScatterAdd(axis) => {
                let gradient = self.g.apply(Op::Gather(axis), &[dy, args[1]])?;
                self.give(args[0], gradient);
                Ok(())
            }
            Op::MatMul => self.matmul(args[0], args[1], dy),
            Op::Reduce(fold, _) => self.reduce(fold, args[0], v, dy),
            Op::CumSum(axis) => self.cumsum(axis, args[0], dy),
            Op::Gru => self.gru(args, v, dy),
            Op::GruGrad => Err(Error::Second {
                node: v,
                op: n.op.name(),
                scope: self.g.scope_of(v).to_owned(),
            }),
        }
    }

    fn zeros(&mut self, shape: &Shape) -> Built {
        let zero = self.g.constant_f32(0.0)?;
        self.g.broadcast(zero, shape)
    }
}
