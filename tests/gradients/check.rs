//! Gradients against central differences, both in `f64`.
//!
//! The loss is the sum of all float outputs, each element times a weight of its own. It is differentiated along
//! directions `d` of a value `x`: once by the graph's gradient, and once by evaluating the graph with `x + t d` in place
//! of `x`, where `t` and `d` are inputs, so that nothing is rounded to `f32`.

use std::fmt;

use loopfm::grad::grad;
use loopfm::interp::{self, Tensor};
use loopfm::ir::{Binary, Fold, Graph, Value};
use loopfm::tensor::{DType, HostTensor, Shape, Sizes, Tensors};

use crate::support::rng::Rng;

/// Step of the differences, a power of two.
const STEP: f32 = 1.0 / (1 << 20) as f32;
/// Relative error of a derivative.
const REL: f64 = 1e-6;
/// Error that the rounding of a loss of magnitude 1 makes.
const ABS: f64 = 1e-8;
/// Jacobians with no more entries are checked whole.
const WHOLE: usize = 64;
/// Directions for larger ones.
const DIRECTIONS: usize = 8;

/// A graph, the batch it runs on, and the gradients of a loss by some of its values.
pub(crate) struct Subject {
    pub(crate) name: String,
    /// Outputs and loss.
    pub(crate) forward: Graph,
    pub(crate) loss: Value,
    pub(crate) wrt: Vec<Value>,
    /// The same, and the gradients behind it.
    pub(crate) backward: Graph,
    pub(crate) gradients: Vec<Value>,
    pub(crate) weights: Tensors,
    pub(crate) batch: Tensors,
    pub(crate) sizes: Sizes,
    /// Elements of the outputs that the loss adds up.
    elements: usize,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { rows, requests } = self.sizes;
        write!(
            f,
            "{}, {rows} rows of {requests} requests\n{}",
            self.name, self.backward
        )
    }
}

/// What a check saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Directions that were compared.
    pub(crate) compared: usize,
    /// Directions along which the loss has a kink.
    pub(crate) kinks: usize,
    /// Largest difference, relative to the derivative or 1/100.
    pub(crate) worst: f64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.kinks += other.kinks;
        self.worst = self.worst.max(other.worst);
    }
}

/// The float inputs and parameters of a graph.
pub(crate) fn leaves(g: &Graph) -> Vec<Value> {
    let floats = g.iter().filter(|(_, n)| n.ty.dtype == DType::F32);
    let named = floats.filter(|(_, n)| matches!(n.op, loopfm::ir::Op::Input(_) | loopfm::ir::Op::Param(_)));
    named.map(|(v, _)| v).collect()
}

impl Subject {
    /// The gradients by `wrt` of the weighted sum of a graph's outputs.
    pub(crate) fn new(
        name: &str,
        graph: &Graph,
        (weights, batch, sizes): (&Tensors, &Tensors, Sizes),
        wrt: Vec<Value>,
    ) -> Self {
        let (mut forward, mut batch) = (graph.clone(), batch.clone());
        let mut rng = Rng(name.len() as u64 ^ 0xfeed);
        let (mut loss, mut elements) = (None, 0);
        for (output, y) in &graph.outputs {
            let ty = graph.ty(*y).clone();
            if ty.dtype != DType::F32 {
                continue;
            }
            let input = format!("weight of {output}");
            let count = ty.shape.numel(sizes);
            elements += count;
            let drawn = HostTensor::f32(&ty.shape.at(sizes), rng.floats(count, 1.0));
            batch.insert(input.clone(), drawn);
            let built = (|| {
                let weight = forward.input(&input, DType::F32, ty.shape.clone())?;
                let mut sum = forward.binary(Binary::Mul, *y, weight)?;
                let axes: Vec<usize> = (0..ty.shape.rank()).collect();
                if !axes.is_empty() {
                    sum = forward.reduce(Fold::Sum, sum, &axes)?;
                }
                let sum = forward.reshape(sum, &Shape::default())?;
                match loss {
                    None => Ok(sum),
                    Some(loss) => forward.binary(Binary::Add, loss, sum),
                }
            })();
            loss = Some(built.unwrap_or_else(|e: loopfm::ir::TypeError| panic!("{name}: {e}")));
        }
        let loss = loss.unwrap_or_else(|| panic!("{name} has no float output"));
        let mut backward = forward.clone();
        let gradients = grad(&mut backward, loss, &wrt).unwrap_or_else(|e| panic!("{name}: {e}\n{forward}"));
        Self {
            name: name.to_owned(),
            forward,
            loss,
            wrt,
            backward,
            gradients,
            weights: weights.clone(),
            batch,
            sizes,
            elements,
        }
    }

    /// Checks the gradients by all of `wrt`.
    pub(crate) fn check(&self) -> Result<Seen, String> {
        let mut seen = Seen::default();
        for i in 0..self.wrt.len() {
            seen.add(self.check_one(i)?);
        }
        Ok(seen)
    }

    /// Checks the gradient by the `i`-th of `wrt`.
    pub(crate) fn check_one(&self, i: usize) -> Result<Seen, String> {
        let (x, gradient) = (self.wrt[i], self.gradients[i]);
        if self.backward.ty(x) != self.backward.ty(gradient) {
            return Err(format!("the gradient of {x} is {}\n{self}", self.backward.ty(gradient)));
        }
        let (moved, loss) = self.moved(x);
        let shape = self.forward.shape(x).at(self.sizes);
        let count: usize = shape.iter().product();
        let mut rng = Rng(i as u64);
        let whole = count * self.elements <= WHOLE;
        let directions: Vec<Vec<f32>> = match whole || count <= DIRECTIONS {
            true => (0..count).map(|at| unit(count, at)).collect(),
            false => (0..DIRECTIONS).map(|_| rng.floats(count, 1.0)).collect(),
        };
        let mut seen = Seen::default();
        for weighting in 0..if whole { self.elements } else { 1 } {
            let mut batch = self.batch.clone();
            if whole {
                self.single_out(weighting, &mut batch);
            }
            let values = self.eval(&self.backward, &batch, &[gradient, self.loss])?;
            for d in &directions {
                let exact: f64 = values[0].floats().iter().zip(d).map(|(g, d)| g * f64::from(*d)).sum();
                batch.insert("direction of x".into(), HostTensor::f32(&shape, d.clone()));
                let mut at = |t: f32| {
                    batch.insert("step of x".into(), HostTensor::f32(&[], vec![t]));
                    self.eval(&moved, &batch, &[loss]).map(|y| y[0].floats()[0])
                };
                let (after, before) = (at(STEP)?, at(-STEP)?);
                let step = f64::from(STEP);
                let seen_slope = (after - before) / (2.0 * step);
                let error = (seen_slope - exact).abs();
                let allowed = REL * exact.abs().max(seen_slope.abs()) + ABS * after.abs().max(1.0);
                // A comparison with NaN is false.
                if error <= allowed {
                    seen.compared += 1;
                    seen.worst = seen.worst.max(error / exact.abs().max(0.01));
                    continue;
                }
                let here = values[1].floats()[0];
                let (right, left) = ((after - here) / step, (here - before) / step);
                if (right - left).abs() > 1e-3 * right.abs().max(left.abs()) {
                    seen.kinks += 1;
                } else {
                    let leaf = self.forward.op(x);
                    return Err(format!(
                        "derivative by {x} ({leaf:?}) is {exact:e}, differences say {seen_slope:e}\n{self}"
                    ));
                }
            }
        }
        Ok(seen)
    }

    /// The loss with `x + t d` in place of `x`.
    fn moved(&self, x: Value) -> (Graph, Value) {
        let mut moved = Graph::new();
        let mut map: Vec<Value> = Vec::new();
        for (v, n) in self.forward.iter() {
            let args: Vec<Value> = n.args.iter().map(|a| map[a.index()]).collect();
            let mut y = moved.declare(n.op.clone(), &args, n.ty.clone()).expect("a copy");
            if v == x {
                let t = moved
                    .input("step of x", DType::F32, Shape::default())
                    .expect("an input");
                let d = moved
                    .input("direction of x", DType::F32, n.ty.shape.clone())
                    .expect("an input");
                let step = moved.binary(Binary::Mul, t, d).expect("a scalar and any shape");
                y = moved.binary(Binary::Add, y, step).expect("of one shape");
            }
            map.push(y);
        }
        (moved, map[self.loss.index()])
    }

    /// Weights of the loss that are 1 at one element of all outputs and 0 elsewhere.
    fn single_out(&self, mut element: usize, batch: &mut Tensors) {
        for (_, tensor) in batch.iter_mut().filter(|(name, _)| name.starts_with("weight of ")) {
            let count = tensor.data.len();
            let at = if element < count {
                unit(count, element)
            } else {
                vec![0.0; count]
            };
            element = element.wrapping_sub(count);
            *tensor = HostTensor::f32(&tensor.shape.clone(), at);
        }
    }

    pub(crate) fn eval(&self, g: &Graph, batch: &Tensors, wanted: &[Value]) -> Result<Vec<Tensor<f64>>, String> {
        interp::eval_values(g, &self.weights, batch, self.sizes, wanted).map_err(|e| format!("{e}\n{self}"))
    }
}

fn unit(count: usize, at: usize) -> Vec<f32> {
    (0..count).map(|i| f32::from(u8::from(i == at))).collect()
}
