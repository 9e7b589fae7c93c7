//! One method per op, with broadcasting done for the caller: how graphs are written by hand.

use super::graph::{Graph, TensorType, Value};
use super::infer::TypeError;
use super::op::{Binary, Fold, Op, Scalar, Unary};
use crate::tensor::{DType, Dim, Shape};

type Built = Result<Value, TypeError>;

impl Graph {
    /// An input of a batch.
    ///
    /// # Errors
    /// As every method here, [`TypeError`] when types do not fit.
    pub fn input(&mut self, name: &str, dtype: DType, shape: Shape) -> Built {
        self.declare(Op::Input(name.into()), &[], TensorType::new(dtype, shape))
    }

    /// A float parameter of fixed extents.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn param(&mut self, name: &str, extents: &[usize]) -> Built {
        self.declare(
            Op::Param(name.into()),
            &[],
            TensorType::new(DType::F32, Shape::fixed(extents)),
        )
    }

    /// A float constant.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn constant_f32(&mut self, x: f32) -> Built {
        self.apply(Op::Const(Scalar::F32(x)), &[])
    }

    /// A function of one element.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn unary(&mut self, op: Unary, x: Value) -> Built {
        self.apply(Op::Unary(op), &[x])
    }

    /// A function of two elements; operands broadcast against each other.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn binary(&mut self, op: Binary, x: Value, y: Value) -> Built {
        let to = joint(self.shape(x), self.shape(y));
        let (x, y) = (self.broadcast(x, &to)?, self.broadcast(y, &to)?);
        self.apply(Op::Binary(op), &[x, y])
    }

    /// Choice by a truth value; operands broadcast against each other.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn select(&mut self, c: Value, x: Value, y: Value) -> Built {
        let to = joint(&joint(self.shape(c), self.shape(x)), self.shape(y));
        let args = [
            self.broadcast(c, &to)?,
            self.broadcast(x, &to)?,
            self.broadcast(y, &to)?,
        ];
        self.apply(Op::Select, &args)
    }

    /// Repetition to a shape; nothing when it has that shape.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn broadcast(&mut self, x: Value, to: &Shape) -> Built {
        let dtype = self.ty(x).dtype;
        if self.shape(x) == to {
            Ok(x)
        } else {
            self.declare(Op::Broadcast, &[x], TensorType::new(dtype, to.clone()))
        }
    }

    /// The same elements under another shape; nothing when it has that shape.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn reshape(&mut self, x: Value, to: &Shape) -> Built {
        let dtype = self.ty(x).dtype;
        if self.shape(x) == to {
            Ok(x)
        } else {
            self.declare(Op::Reshape, &[x], TensorType::new(dtype, to.clone()))
        }
    }

    /// To another element type; nothing when it has that type.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn cast(&mut self, x: Value, dtype: DType) -> Built {
        let shape = self.shape(x).clone();
        if self.ty(x).dtype == dtype {
            Ok(x)
        } else {
            self.declare(Op::Cast, &[x], TensorType::new(dtype, shape))
        }
    }

    /// Axes in another order; nothing for the identity.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn permute(&mut self, x: Value, perm: &[usize]) -> Built {
        if perm.iter().copied().eq(0..perm.len()) {
            Ok(x)
        } else {
            self.apply(Op::Permute(perm.to_vec()), &[x])
        }
    }

    /// `start..stop` of an axis; nothing for the whole axis.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, stop: usize) -> Built {
        if start == 0 && self.shape(x).0.get(axis) == Some(&Dim::Fixed(stop)) {
            return Ok(x);
        }
        self.apply(
            Op::Slice {
                axis,
                start,
                stop,
                step: 1,
            },
            &[x],
        )
    }

    /// Operands one after the other; nothing for a single one.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Built {
        if let [x] = parts {
            Ok(*x)
        } else {
            self.apply(Op::Concat(axis), parts)
        }
    }

    /// Rows of a table by index: `[V, ..]` and `i32[..]`.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn gather(&mut self, table: Value, index: Value) -> Built {
        self.apply(Op::Gather(0), &[table, index])
    }

    /// The same value; gradients stop here.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn detach(&mut self, x: Value) -> Built {
        self.apply(Op::Detach, &[x])
    }

    /// Zeros of a shape, with `u` added at `index` along its axis 0: the transpose of [`Graph::gather`].
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn scatter_add(&mut self, u: Value, index: Value, to: &Shape) -> Built {
        self.declare(Op::ScatterAdd(0), &[u, index], TensorType::new(DType::F32, to.clone()))
    }

    /// Floats of `0..1`, the same for the same seed `i32[]`, stream and shape.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn uniform(&mut self, seed: Value, stream: u32, shape: &Shape) -> Built {
        self.declare(Op::Uniform(stream), &[seed], TensorType::new(DType::F32, shape.clone()))
    }

    /// Matrix product.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn matmul(&mut self, a: Value, b: Value) -> Built {
        self.apply(Op::MatMul, &[a, b])
    }

    /// Fold of axes, each kept with extent 1.
    ///
    /// # Errors
    /// See [`Graph::input`].
    pub fn reduce(&mut self, fold: Fold, x: Value, axes: &[usize]) -> Built {
        self.apply(Op::Reduce(fold, axes.to_vec()), &[x])
    }
}

/// The shape two operands broadcast to; where they clash, the first one's, and typing then says so.
fn joint(x: &Shape, y: &Shape) -> Shape {
    let rank = x.rank().max(y.rank());
    let at = |s: &Shape, i: usize| (i + s.rank()).checked_sub(rank).map_or(Dim::Fixed(1), |j| s.0[j]);
    Shape(
        (0..rank)
            .map(|i| if at(x, i) == Dim::Fixed(1) { at(y, i) } else { at(x, i) })
            .collect(),
    )
}
