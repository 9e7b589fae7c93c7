//! Building a graph together with a batch, its values known at every step.

use loopfm::interp;
use loopfm::ir::{Binary, Fold, Graph, Op, REQUEST_OF_ROW, Scalar, TensorType, Unary, Value, infer};
use loopfm::tensor::{DType, Data, Dim, HostTensor, Shape, Sizes, Tensors};

use crate::support::rng::Rng;

/// No intermediate value is larger.
const LARGEST: f64 = 64.0;

/// A graph in the making. Every step is evaluated, and refused (`None`) when its result is not a moderate number.
pub(crate) struct Build {
    pub(crate) rng: Rng,
    pub(crate) graph: Graph,
    pub(crate) weights: Tensors,
    pub(crate) batch: Tensors,
    pub(crate) sizes: Sizes,
    /// The value of each node on the batch.
    pub(crate) known: Vec<HostTensor>,
}

impl Build {
    pub(crate) fn new(seed: u64, sizes: Sizes) -> Self {
        Self {
            rng: Rng(seed),
            graph: Graph::new(),
            weights: Tensors::new(),
            batch: Tensors::new(),
            sizes,
            known: Vec::new(),
        }
    }

    pub(crate) fn shape(&self, v: Value) -> Shape {
        self.graph.shape(v).clone()
    }

    pub(crate) fn dtype(&self, v: Value) -> DType {
        self.graph.ty(v).dtype
    }

    pub(crate) fn value(&self, v: Value) -> &HostTensor {
        &self.known[v.index()]
    }

    /// Appends a node of a type that follows from its operands.
    pub(crate) fn apply(&mut self, op: Op, args: &[Value]) -> Option<Value> {
        self.node(op, args, None)
    }

    /// Appends a node of a declared type.
    pub(crate) fn declare(&mut self, op: Op, args: &[Value], dtype: DType, shape: Shape) -> Option<Value> {
        self.node(op, args, Some(TensorType::new(dtype, shape)))
    }

    fn node(&mut self, op: Op, args: &[Value], declared: Option<TensorType>) -> Option<Value> {
        let types: Vec<&TensorType> = args.iter().map(|a| self.graph.ty(*a)).collect();
        let ty = infer(&op, &types, declared.as_ref()).ok()?;
        let value = self.evaluate(&op, args, &ty)?;
        let moderate = match &value.data {
            Data::F32(x) => x.iter().all(|x| f64::from(x.abs()) <= LARGEST),
            Data::I32(x) => x.iter().all(|x| x.unsigned_abs() <= 1 << 16),
            Data::Bool(_) => true,
        };
        if !moderate {
            return None;
        }
        let v = self.graph.declare(op, args, ty).expect("infer accepts it");
        if v.index() == self.known.len() {
            self.known.push(value);
        }
        Some(v)
    }

    /// The value of one node: its operands become the inputs of a graph of its own.
    fn evaluate(&self, op: &Op, args: &[Value], ty: &TensorType) -> Option<HostTensor> {
        let mut alone = Graph::new();
        let mut batch = Tensors::new();
        let mut inputs = Vec::new();
        for (i, a) in args.iter().enumerate() {
            let name = format!("{i}");
            inputs.push(
                alone
                    .declare(Op::Input(name.clone()), &[], self.graph.ty(*a).clone())
                    .ok()?,
            );
            batch.insert(name, self.value(*a).clone());
        }
        if let Op::Input(name) = op {
            batch.insert(name.clone(), self.batch[name].clone());
        }
        let v = alone.declare(op.clone(), &inputs, ty.clone()).ok()?;
        let values = interp::eval_values::<f64>(&alone, &self.weights, &batch, self.sizes, &[v]).ok()?;
        Some(values[0].to_host())
    }

    pub(crate) fn input(&mut self, name: &str, shape: Shape, data: Data) -> Value {
        let tensor = HostTensor {
            shape: shape.at(self.sizes),
            data,
        };
        let dtype = tensor.dtype();
        self.batch.insert(name.into(), tensor);
        self.declare(Op::Input(name.into()), &[], dtype, shape)
            .expect("an input is moderate")
    }

    /// The reserved input, for rows spread over the requests.
    pub(crate) fn request_of_row(&mut self) -> Value {
        let Sizes { rows, requests } = self.sizes;
        let data = match requests {
            n if n == rows => (0..n as i32).collect(),
            n => self.rng.ids(rows, n),
        };
        self.input(REQUEST_OF_ROW, Shape(vec![Dim::Rows(1)]), Data::I32(data))
    }

    /// A parameter of random floats of `-scale..scale`.
    pub(crate) fn param(&mut self, extents: &[usize], scale: f32) -> Value {
        let data = self.rng.floats(extents.iter().product(), scale);
        let name = format!("w{}", self.weights.len());
        self.weights.insert(name.clone(), HostTensor::f32(extents, data));
        self.declare(Op::Param(name), &[], DType::F32, Shape::fixed(extents))
            .expect("weights are moderate")
    }

    pub(crate) fn constant(&mut self, x: Scalar) -> Value {
        self.apply(Op::Const(x), &[]).expect("a constant is moderate")
    }

    pub(crate) fn float(&mut self, x: f32) -> Value {
        self.constant(Scalar::F32(x))
    }

    pub(crate) fn unary(&mut self, op: Unary, x: Value) -> Option<Value> {
        self.apply(Op::Unary(op), &[x])
    }

    /// `y` repeated to the shape of `x` first.
    pub(crate) fn binary(&mut self, op: Binary, x: Value, y: Value) -> Option<Value> {
        let y = self.broadcast(y, &self.shape(x))?;
        self.apply(Op::Binary(op), &[x, y])
    }

    pub(crate) fn broadcast(&mut self, x: Value, to: &Shape) -> Option<Value> {
        if self.graph.shape(x) == to {
            return Some(x);
        }
        self.declare(Op::Broadcast, &[x], self.dtype(x), to.clone())
    }

    pub(crate) fn reshape(&mut self, x: Value, to: Shape) -> Option<Value> {
        if *self.graph.shape(x) == to {
            return Some(x);
        }
        self.declare(Op::Reshape, &[x], self.dtype(x), to)
    }

    pub(crate) fn cast(&mut self, x: Value, to: DType) -> Option<Value> {
        self.declare(Op::Cast, &[x], to, self.shape(x))
    }

    pub(crate) fn scaled(&mut self, x: Value, by: f32) -> Option<Value> {
        let by = self.float(by);
        self.binary(Binary::Mul, x, by)
    }

    /// Largest magnitude of a value.
    pub(crate) fn largest(&self, x: Value) -> f32 {
        self.value(x)
            .as_f32()
            .map_or(0.0, |x| x.iter().fold(0.0, |m, x| m.max(x.abs())))
    }

    /// `x`, times a power of two where it is larger than `limit`.
    pub(crate) fn tame(&mut self, x: Value, limit: f32) -> Option<Value> {
        let largest = self.largest(x);
        if largest <= limit {
            return Some(x);
        }
        self.scaled(x, (limit / largest).log2().floor().exp2())
    }

    /// `|x| + 1/2`.
    pub(crate) fn positive(&mut self, x: Value) -> Option<Value> {
        let x = self.unary(Unary::Abs, x)?;
        let half = self.float(0.5);
        self.binary(Binary::Add, x, half)
    }

    /// `x w + b`, of magnitudes like those of `x`; the last axis of `x` is fixed.
    pub(crate) fn linear(&mut self, x: Value, n: usize) -> Option<Value> {
        let k = self.fixed_axis(x, self.graph.shape(x).rank().checked_sub(1)?)?;
        let w = self.param(&[k, n], (3.0 / k as f32).sqrt());
        let b = self.param(&[n], 0.5);
        let y = self.apply(Op::MatMul, &[x, w])?;
        self.binary(Binary::Add, y, b)
    }

    /// One of the usual functions between layers.
    pub(crate) fn activation(&mut self, x: Value) -> Option<Value> {
        match self.rng.below(5) {
            0 => self.unary(Unary::Tanh, x),
            1 => self.unary(Unary::Sigmoid, x),
            2 => {
                let s = self.unary(Unary::Sigmoid, x)?;
                self.binary(Binary::Mul, x, s)
            }
            _ => {
                let zero = self.float(0.0);
                self.binary(Binary::Max, x, zero)
            }
        }
    }

    pub(crate) fn fold(&mut self, fold: Fold, x: Value, axis: usize) -> Option<Value> {
        self.apply(Op::Reduce(fold, vec![axis]), &[x])
    }

    pub(crate) fn mean(&mut self, x: Value, axis: usize) -> Option<Value> {
        let n = self.fixed_axis(x, axis)?;
        let sum = self.fold(Fold::Sum, x, axis)?;
        self.scaled(sum, 1.0 / n as f32)
    }

    pub(crate) fn softmax(&mut self, x: Value, axis: usize) -> Option<Value> {
        let max = self.fold(Fold::Max, x, axis)?;
        let x = self.binary(Binary::Sub, x, max)?;
        let e = self.unary(Unary::Exp, x)?;
        let sum = self.fold(Fold::Sum, e, axis)?;
        self.binary(Binary::Div, e, sum)
    }

    /// The extent of an axis, if it is a number.
    pub(crate) fn fixed_axis(&self, x: Value, axis: usize) -> Option<usize> {
        match self.graph.shape(x).0.get(axis)? {
            Dim::Fixed(n) => Some(*n),
            Dim::Rows(_) | Dim::Requests(_) => None,
        }
    }
}
