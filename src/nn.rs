//! Composites: what a model is written in, each a function that appends plain ops.
//!
//! Weights follow PyTorch's conventions, and here alone: a linear layer's weight is `[out, in]`, normalisations work on
//! the last axis, an embedding table is `[vocabulary, width]`, gates of a GRU come in the order r, z, n.

mod attention;
mod loss;

pub use attention::{
    Projections, attention_weights, masked_mean, masked_softmax, masked_sum, multi_head_attention, pairs,
    pairs_by_position, pooled, softmax, target_attention,
};
pub use loss::{autoencoder, bce_with_logits, distillation, mean_over_rows, mse, scale_gradient, total};

use crate::ir::{Binary, Fold, Graph, Op, TypeError, Unary, Value};
use crate::tensor::{Dim, Shape};

/// A value, or why the operands do not fit.
pub type Built = Result<Value, TypeError>;

/// `x W^T + b` over the last axis; `w` is `[out, in]`.
///
/// # Errors
/// As every function here, [`TypeError`] when types do not fit.
pub fn linear(g: &mut Graph, x: Value, w: Value, b: Option<Value>) -> Built {
    let w = g.permute(w, &[1, 0])?;
    let y = g.matmul(x, w)?;
    match b {
        Some(b) => g.binary(Binary::Add, y, b),
        None => Ok(y),
    }
}

/// Linear layers, each but the last one followed by an activation, which is told the layer's number.
///
/// # Errors
/// See [`linear`].
pub fn mlp(
    g: &mut Graph,
    mut x: Value,
    layers: &[(Value, Option<Value>)],
    mut activation: impl FnMut(&mut Graph, usize, Value) -> Built,
) -> Built {
    for (i, (w, b)) in layers.iter().enumerate() {
        x = linear(g, x, *w, *b)?;
        if i + 1 < layers.len() {
            x = activation(g, i, x)?;
        }
    }
    Ok(x)
}

/// `max(x, 0)`.
///
/// # Errors
/// See [`linear`].
pub fn relu(g: &mut Graph, x: Value) -> Built {
    let zero = g.constant_f32(0.0)?;
    g.binary(Binary::Max, x, zero)
}

/// `x` where positive, `alpha x` elsewhere; `alpha` is `[1]` or as wide as the last axis.
///
/// # Errors
/// See [`linear`].
pub fn prelu(g: &mut Graph, x: Value, alpha: Value) -> Built {
    let zero = g.constant_f32(0.0)?;
    let positive = g.binary(Binary::Max, x, zero)?;
    let negative = g.binary(Binary::Min, x, zero)?;
    let scaled = g.binary(Binary::Mul, alpha, negative)?;
    g.binary(Binary::Add, positive, scaled)
}

/// `x sigmoid(x)`.
///
/// # Errors
/// See [`linear`].
pub fn silu(g: &mut Graph, x: Value) -> Built {
    let s = g.unary(Unary::Sigmoid, x)?;
    g.binary(Binary::Mul, x, s)
}

/// `x (1 + erf(x / sqrt 2)) / 2`.
///
/// # Errors
/// See [`linear`].
pub fn gelu(g: &mut Graph, x: Value) -> Built {
    let inner = scale(g, x, std::f32::consts::FRAC_1_SQRT_2)?;
    let erf = g.unary(Unary::Erf, inner)?;
    let one = g.constant_f32(1.0)?;
    let twice = g.binary(Binary::Add, erf, one)?;
    let gate = scale(g, twice, 0.5)?;
    g.binary(Binary::Mul, x, gate)
}

/// Batch normalisation at inference: `(x - mean) / sqrt(var + eps)`, then `weight` and `bias` if there are any.
///
/// # Errors
/// See [`linear`].
pub fn batch_norm(g: &mut Graph, x: Value, mean: Value, var: Value, affine: Option<(Value, Value)>, eps: f32) -> Built {
    let eps = g.constant_f32(eps)?;
    let var = g.binary(Binary::Add, var, eps)?;
    let factor = g.unary(Unary::Rsqrt, var)?;
    let centred = g.binary(Binary::Sub, x, mean)?;
    let normal = g.binary(Binary::Mul, centred, factor)?;
    scaled_and_shifted(g, normal, affine)
}

/// Normalisation of the last axis by its own mean and (biased) variance.
///
/// # Errors
/// See [`linear`].
pub fn layer_norm(g: &mut Graph, x: Value, affine: Option<(Value, Value)>, eps: f32) -> Built {
    let mean = mean(g, x)?;
    let centred = g.binary(Binary::Sub, x, mean)?;
    let square = g.binary(Binary::Mul, centred, centred)?;
    let var = self::mean(g, square)?;
    let eps = g.constant_f32(eps)?;
    let var = g.binary(Binary::Add, var, eps)?;
    let factor = g.unary(Unary::Rsqrt, var)?;
    let normal = g.binary(Binary::Mul, centred, factor)?;
    scaled_and_shifted(g, normal, affine)
}

/// Dice at inference: `p x + (1 - p) alpha x` with `p` the sigmoid of `x` normalised by running statistics.
///
/// # Errors
/// See [`linear`].
pub fn dice(g: &mut Graph, x: Value, alpha: Value, mean: Value, var: Value, eps: f32) -> Built {
    let normal = batch_norm(g, x, mean, var, None, eps)?;
    gated(g, x, alpha, normal)
}

/// Dice with statistics of each row's last axis: `p = sigmoid((x - mean) / sqrt(sum((x - mean)^2 + eps)))`, a sum, not a
/// mean: torch-rechub's reading.
///
/// # Errors
/// See [`linear`].
pub fn dice_of_rows(g: &mut Graph, x: Value, alpha: Value, eps: f32) -> Built {
    let mean = mean(g, x)?;
    let centred = g.binary(Binary::Sub, x, mean)?;
    let square = g.binary(Binary::Mul, centred, centred)?;
    let eps = g.constant_f32(eps)?;
    let square = g.binary(Binary::Add, square, eps)?;
    let sum = g.reduce(Fold::Sum, square, &[last(g, x)])?;
    let factor = g.unary(Unary::Rsqrt, sum)?;
    let normal = g.binary(Binary::Mul, centred, factor)?;
    gated(g, x, alpha, normal)
}

/// Lookups side by side along the last axis: one `(table [V, D], ids)` each, all `ids` of one shape.
///
/// # Errors
/// See [`linear`].
pub fn embeddings(g: &mut Graph, fields: &[(Value, Value)]) -> Built {
    let rows: Vec<Value> = fields
        .iter()
        .map(|(t, ids)| g.gather(*t, *ids))
        .collect::<Result<_, _>>()?;
    beside(g, &rows)
}

/// Values side by side along the last axis.
///
/// # Errors
/// See [`linear`].
pub fn beside(g: &mut Graph, parts: &[Value]) -> Built {
    let axis = parts.first().map_or(0, |x| last(g, *x));
    g.concat(parts, axis)
}

/// All states `[.., T, H]` of a gated recurrent unit over `x [.., T, I]`, from a state of zeros; weights `[3H, I]`,
/// `[3H, H]`, biases `[3H]`.
///
/// # Errors
/// See [`linear`].
pub fn gru(g: &mut Graph, x: Value, input: (Value, Value), hidden: (Value, Value)) -> Built {
    recurrent(g, x, input, hidden, None)
}

/// [`gru`] whose update gate, which here weighs the candidate and not the state, is multiplied by `attention [.., T]`:
/// where that is zero the state stays. The cell of Deep Interest Evolution Networks.
///
/// # Errors
/// See [`linear`].
pub fn augru(g: &mut Graph, x: Value, input: (Value, Value), hidden: (Value, Value), attention: Value) -> Built {
    recurrent(g, x, input, hidden, Some(attention))
}

fn recurrent(
    g: &mut Graph,
    x: Value,
    input: (Value, Value),
    hidden: (Value, Value),
    attention: Option<Value>,
) -> Built {
    let gates = linear(g, x, input.0, Some(input.1))?;
    let w = g.permute(hidden.0, &[1, 0])?;
    let mut state = g.shape(x).0.clone();
    state.truncate(state.len().saturating_sub(2));
    state.push(Dim::Fixed(extent(g, w, 0)));
    let zero = g.constant_f32(0.0)?;
    let zeros = g.broadcast(zero, &Shape(state))?;
    let mut args = vec![gates, zeros, w, hidden.1];
    args.extend(attention);
    g.apply(Op::Gru, &args)
}

fn gated(g: &mut Graph, x: Value, alpha: Value, normal: Value) -> Built {
    let p = g.unary(Unary::Sigmoid, normal)?;
    let one = g.constant_f32(1.0)?;
    let rest = g.binary(Binary::Sub, one, p)?;
    let rest = g.binary(Binary::Mul, rest, alpha)?;
    let gate = g.binary(Binary::Add, p, rest)?;
    g.binary(Binary::Mul, gate, x)
}

fn scaled_and_shifted(g: &mut Graph, x: Value, affine: Option<(Value, Value)>) -> Built {
    match affine {
        None => Ok(x),
        Some((weight, bias)) => {
            let scaled = g.binary(Binary::Mul, x, weight)?;
            g.binary(Binary::Add, scaled, bias)
        }
    }
}

fn mean(g: &mut Graph, x: Value) -> Built {
    let axis = last(g, x);
    let n = extent(g, x, axis);
    let sum = g.reduce(Fold::Sum, x, &[axis])?;
    scale(g, sum, 1.0 / n as f32)
}

fn scale(g: &mut Graph, x: Value, factor: f32) -> Built {
    let factor = g.constant_f32(factor)?;
    g.binary(Binary::Mul, x, factor)
}

/// A new axis of extent 1 before `axis`.
fn with_axis(g: &mut Graph, x: Value, axis: usize) -> Built {
    let mut dims = g.shape(x).0.clone();
    dims.insert(axis.min(dims.len()), Dim::Fixed(1));
    g.reshape(x, &Shape(dims))
}

fn last(g: &Graph, x: Value) -> usize {
    g.shape(x).rank().saturating_sub(1)
}

/// An extent as a number; 0 where there is none, which no op then accepts.
fn extent(g: &Graph, x: Value, axis: usize) -> usize {
    g.shape(x).0.get(axis).map_or(0, |d| d.factor())
}
