//! How far a device may be from the meaning of a graph.
//!
//! The roundings of a device are imitated: the graph is evaluated in `f64` a few times, each weight, and each value
//! that is computed, moved at random by no more than the device may round it. What reaches an output element is a
//! sample of the error there, with all cancellation and correlation that the graph has (which rules that add up worst
//! cases do not know). Allowed are eight standard deviations, as for a dot product of `k` terms `5 u |w x|` is, plus
//! what a device would do that rounds every value in one direction.
//!
//! This is a statistical promise and no proof: from [`SAMPLES`] samples a deviation is known to about a fifth, so an
//! element is never thought more exact than half the root mean square of its tensor. A comparison that rounding may
//! turn is allowed to turn only if it did in a sample. Integers and truth values must be exact.

use indexmap::IndexMap;

use super::{Elements, EvalError, Run, Tensor, Watch, fold, index, scalar};
use crate::ir::{Binary, Fold, Graph, Node, Op, Unary};
use crate::tensor::{Sizes, Tensors};

/// Random evaluations that a bound rests on.
const SAMPLES: u64 = 12;
/// Standard deviations that are allowed.
const DEVIATIONS: f64 = 8.0;
/// One unit in the last place of an `f32`, relatively.
const ULP: f64 = 1.0 / (1 << 23) as f64;
/// The step between the smallest numbers of an `f16`, halved.
const TINY: f64 = 1.0 / (1 << 25) as f64;

/// How a device rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Of weights where they are stored, relatively: 0, or 2^-11 for `f16` rounded to nearest.
    pub weights: f64,
    /// Of values between operations: 0 where they stay `f32`, 2^-10 for `f16` rounded either way.
    pub values: f64,
    /// Of functions such as `exp`, times what WGSL allows: 1 for any device, 0 for a mathematical library.
    pub functions: f64,
}

impl Rounding {
    /// A CPU in `f32`.
    pub const CPU: Self = Self {
        weights: 0.0,
        values: 0.0,
        functions: 0.0,
    };
    /// Any GPU, all in `f32`.
    pub const GPU: Self = Self {
        functions: 1.0,
        ..Self::CPU
    };
    /// Any GPU, with weights in `f16`.
    pub const GPU_F16_WEIGHTS: Self = Self {
        weights: 1.0 / 2048.0,
        ..Self::GPU
    };
}

/// What an output means, and how far a result may be from it.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The output in `f64`.
    pub meaning: Tensor<f64>,
    /// For each element, the largest difference that rounding explains.
    pub allowed: Vec<f64>,
    /// The largest difference that is ever tolerated, so that no wide bound excuses a fault: a bound above it says
    /// that these roundings do not suit this graph.
    pub ceiling: f64,
}

/// The outputs of a graph and how far a device that rounds like this may be from them.
///
/// # Errors
/// See [`super::eval`].
pub fn bounds(
    graph: &Graph,
    weights: &Tensors,
    batch: &Tensors,
    sizes: Sizes,
    rounding: Rounding,
) -> Result<IndexMap<String, Bound>, EvalError> {
    let (run, wanted) = Run::of_outputs(graph, weights, batch, sizes)?;
    let sample = |mut direction: Box<dyn FnMut() -> f64>| {
        let mut disturb = |node: &Node, args: &[&Tensor<f64>], value: &mut Tensor<f64>| {
            disturb(rounding, &mut direction, node, args, value);
        };
        let each: &mut Watch<f64> = &mut disturb;
        run.values(&wanted, each)
    };
    let meanings = run.values::<f64>(&wanted, &mut |_, _, _| {})?;
    let one_way = sample(Box::new(|| 1.0))?;
    let samples: Vec<Vec<Tensor<f64>>> = (1..=SAMPLES)
        .map(|i| sample(Box::new(noise(i))))
        .collect::<Result<_, _>>()?;
    let bound = |(i, meaning): (usize, Tensor<f64>)| {
        let samples: Vec<&Tensor<f64>> = samples.iter().map(|outputs| &outputs[i]).collect();
        Bound::new(meaning, &samples, &one_way[i])
    };
    let names = graph.outputs.iter().map(|(name, _)| name.clone());
    Ok(names.zip(meanings.into_iter().enumerate().map(bound)).collect())
}

impl Bound {
    /// Whether the roundings suit the graph: no element may be further off than is ever tolerated.
    #[must_use]
    pub fn is_useful(&self) -> bool {
        self.allowed.iter().all(|allowed| *allowed <= self.ceiling)
    }

    fn new(meaning: Tensor<f64>, samples: &[&Tensor<f64>], one_way: &Tensor<f64>) -> Self {
        let Elements::Float(exact) = &meaning.data else {
            let exactly = vec![0.0; meaning.shape.iter().product()];
            return Self {
                meaning,
                allowed: exactly,
                ceiling: 0.0,
            };
        };
        let mean_square = |at: usize| {
            let squares = samples.iter().map(|s| (s.floats()[at] - exact[at]).powi(2));
            squares.sum::<f64>() / samples.len() as f64
        };
        let squares: Vec<f64> = (0..exact.len()).map(mean_square).collect();
        let whole = (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt();
        let drift = one_way.floats().iter().zip(exact).map(|(y, exact)| (y - exact).abs());
        // Devices may flush what is too small for a normal number; what is no number must be the same.
        let allowed = squares.iter().zip(drift).map(|(square, drift)| {
            let allowed = DEVIATIONS * square.sqrt().max(whole / 2.0) + drift + f64::from(f32::MIN_POSITIVE);
            if allowed.is_nan() { 0.0 } else { allowed }
        });
        let largest = exact.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        Self {
            allowed: allowed.collect(),
            ceiling: 1e-3 * largest + 2.5e-3,
            meaning,
        }
    }
}

/// Numbers of -1..1.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// Moves each float of a value by no more than the device may have rounded it.
fn disturb(
    rounding: Rounding,
    direction: &mut dyn FnMut() -> f64,
    node: &Node,
    args: &[&Tensor<f64>],
    value: &mut Tensor<f64>,
) {
    let errors = errors(rounding, node, args, value);
    if let (Elements::Float(y), Some(errors)) = (&mut value.data, errors) {
        for (y, error) in y.iter_mut().zip(errors) {
            *y += error * direction();
        }
    }
}

/// The largest error of each element of a computed value; none where elements are only moved.
fn errors(rounding: Rounding, node: &Node, args: &[&Tensor<f64>], value: &Tensor<f64>) -> Option<Vec<f64>> {
    let Elements::Float(y) = &value.data else {
        return None;
    };
    // Terms that are alike are rounded alike: then a sum's error grows with their number.
    let of_sum = |terms: usize, magnitudes: &[f64]| {
        let unit = (terms as f64 / 16.0).max(2.0) * ULP;
        magnitudes.iter().map(|s| unit * s).collect()
    };
    let in_f32: Vec<f64> = match &node.op {
        Op::Param(_) if rounding.weights > 0.0 => return Some(stored(y, rounding.weights)),
        Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota | Op::Select => return None,
        Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Concat(_) | Op::Detach => return None,
        Op::Gather(_) | Op::TakeAlong(_) | Op::Reduce(Fold::Max | Fold::Min, _) => return None,
        // Multiples of 2^-24 below 1: exact.
        Op::Uniform(_) => return None,
        Op::Cast => y.iter().map(|y| ULP * y.abs()).collect(),
        Op::Unary(op) => {
            let x = args[0].floats();
            x.iter()
                .zip(y)
                .map(|(x, y)| of_function(*op, *x, *y, rounding.functions))
                .collect()
        }
        Op::Binary(op) => {
            let operands = args[0].floats().iter().zip(args[1].floats());
            operands
                .zip(y)
                .map(|((a, b), y)| of_operation(*op, *a, *b, *y, rounding.functions))
                .collect()
        }
        Op::MatMul => {
            let terms = *args[0].shape.last().unwrap_or(&1);
            of_sum(terms, &fold::matmul(&magnitude(args[0]), &magnitude(args[1])))
        }
        Op::Reduce(Fold::Sum, axes) => {
            let terms = axes.iter().map(|a| args[0].shape[*a]).product();
            of_sum(terms, floats(&fold::reduce(Fold::Sum, &magnitude(args[0]), axes)))
        }
        Op::CumSum(axis) => of_sum(args[0].shape[*axis], floats(&fold::cumsum(&magnitude(args[0]), *axis))),
        Op::ScatterAdd(axis) => {
            // In the worst case every element goes to one place.
            let terms: usize = args[1].shape.iter().product();
            let sums = index::scatter_add(&magnitude(args[0]), args[1], *axis, &value.shape);
            sums.map_or_else(|_| vec![0.0; y.len()], |sums| of_sum(terms, floats(&sums)))
        }
        Op::Gru | Op::GruGrad => {
            // States stay in -1..1 where the first one does; each step adds a `tanh`, two `sigmoid` and a product.
            let steps = value.shape[value.shape.len() - 2] as f64;
            let each = steps * (1e-5 * rounding.functions + 32.0 * ULP);
            y.iter().map(|y| each * y.abs().max(1.0)).collect()
        }
    };
    if rounding.values == 0.0 {
        return Some(in_f32);
    }
    let stored = stored(y, rounding.values);
    Some(in_f32.iter().zip(stored).map(|(a, b)| a + b).collect())
}

fn stored(y: &[f64], unit: f64) -> Vec<f64> {
    y.iter().map(|y| unit * y.abs() + TINY).collect()
}

fn magnitude(x: &Tensor<f64>) -> Tensor<f64> {
    Tensor {
        shape: x.shape.clone(),
        data: scalar::unary(Unary::Abs, x),
    }
}

fn floats(x: &Elements<f64>) -> &[f64] {
    if let Elements::Float(x) = x { x } else { &[] }
}

/// Of `y = op(x)`: four units for a library, and for a device what WGSL allows, functions it lacks written with those
/// it has.
fn of_function(op: Unary, x: f64, y: f64, functions: f64) -> f64 {
    let exponential = (3.0 + 2.0 * x.abs()) * ULP;
    let device = match op {
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc => return 0.0,
        Unary::Not => return 0.0,
        Unary::Exp => exponential * y,
        Unary::Expm1 => exponential * (y + 1.0),
        Unary::Sigmoid => (exponential + 3.0 * ULP) * y,
        Unary::Log | Unary::Log1p => 4.0 * ULP,
        Unary::Sin | Unary::Cos => 1.0 / 2048.0,
        Unary::Tanh => 1e-5,
        Unary::Erf => 1e-6,
        Unary::Sqrt | Unary::Rsqrt | Unary::Recip => 0.0,
    };
    functions * device + 4.0 * ULP * y.abs()
}

/// Of `y = op(a, b)`.
fn of_operation(op: Binary, a: f64, b: f64, y: f64, functions: f64) -> f64 {
    match op {
        Binary::Add | Binary::Sub | Binary::Mul => ULP * y.abs(),
        Binary::Div => 2.5 * ULP * y.abs(),
        Binary::Rem => 3.0 * ULP * a.abs(),
        Binary::Max | Binary::Min => 0.0,
        // `exp2(b log2 a)`.
        Binary::Pow => {
            let exponent = (b * a.abs().log2()).abs();
            let device = if exponent.is_finite() {
                (3.0 + 5.0 * exponent + 4.0 * b.abs()) * ULP
            } else {
                0.0
            };
            (functions * device + 4.0 * ULP) * y.abs()
        }
        Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => 0.0,
        Binary::And | Binary::Or | Binary::Xor => 0.0,
    }
}
