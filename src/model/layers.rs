//! Layers with parameters, as they are at inference and in training.
//!
//! In training a normalisation reads the batch: mean and variance over all axes but the last, by sums over rows and the
//! input `step.inv_rows f32[]`, which is 1 / rows; its statistics move by a share towards them. Dropout draws from
//! `step.seed i32[]`, each layer from a stream of its own.

use super::Fault;
use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::{Activation, Attention, Norm, Width};
use crate::ir::{Binary, Fold, Op, TensorType, Unary, Value};
use crate::nn;
use crate::tensor::{DType, Dim, Shape};

/// Linear layers, each followed by what is named here.
#[derive(Clone, Copy)]
pub(super) struct Tower<'a> {
    pub(super) widths: &'a [Width],
    pub(super) activation: Activation,
    pub(super) dropout: f32,
    pub(super) norm: Norm,
}

/// How a normalisation differs from another.
struct Statistics {
    /// Share of the batch in the new statistics.
    momentum: f32,
    eps: f32,
}

impl Parts {
    /// `<prefix>.weight [out, in]` and `<prefix>.bias [out]` applied to the last axis.
    pub(super) fn linear(&mut self, prefix: &str, x: Value, out: usize) -> Built {
        let width = self.width(x);
        self.scoped(prefix, |p| {
            let w = p.param(&format!("{prefix}.weight"), &[out, width], Init::linear(width))?;
            let b = p.param(&format!("{prefix}.bias"), &[out], Init::linear(width))?;
            Ok(nn::linear(&mut p.graph, x, w, Some(b))?)
        })
    }

    /// The tensors of [`Parts::linear`], for a layer that this mode leaves out.
    pub(super) fn declare_linear(&mut self, prefix: &str, width: usize, out: usize) -> Result<(), Fault> {
        self.declare(&format!("{prefix}.weight"), &[out, width], Init::linear(width), true)?;
        self.declare(&format!("{prefix}.bias"), &[out], Init::linear(width), true)
    }

    /// `<prefix>.weight [out, in]` alone.
    pub(super) fn linear_unbiased(&mut self, prefix: &str, x: Value, out: usize) -> Built {
        let width = self.width(x);
        self.scoped(prefix, |p| {
            let w = p.param(&format!("{prefix}.weight"), &[out, width], Init::linear(width))?;
            Ok(nn::linear(&mut p.graph, x, w, None)?)
        })
    }

    /// Layers `<prefix>.0`, `<prefix>.1`, ..: linear, normalisation, activation, dropout. Those of `[rows, width]` are
    /// hidden layers, as they are before dropout.
    pub(super) fn tower(&mut self, prefix: &str, mut x: Value, t: Tower) -> Built {
        if t.norm == Norm::Once {
            x = self.batch_norm(&format!("{prefix}.norm"), x)?;
        }
        for (i, out) in t.widths.iter().enumerate() {
            let layer = format!("{prefix}.{i}");
            x = self.linear(&layer, x, out.0)?;
            if t.norm == Norm::Each {
                x = self.batch_norm(&format!("{layer}.norm"), x)?;
            }
            x = self.scoped(&layer, |p| p.activated(&layer, x, t.activation))?;
            if self.graph.shape(x).rank() == 2 {
                self.point(&layer, x);
            }
            x = self.dropout(x, t.dropout)?;
        }
        Ok(x)
    }

    /// A score `[.., T, 1]` of pairs `[.., T, K]`: layers `<prefix>.0`, .. and `<prefix>.out`.
    pub(super) fn score(&mut self, prefix: &str, pairs: Value, a: &Attention, activation: Activation) -> Built {
        let tower = Tower {
            widths: &a.layers(),
            activation: a.activation.unwrap_or(activation),
            dropout: a.dropout.0,
            norm: Norm::None,
        };
        let x = self.tower(prefix, pairs, tower)?;
        self.linear(&format!("{prefix}.out"), x, 1)
    }

    /// `<prefix>.position [T, P]` for every row, if `P` is not 0.
    pub(super) fn position(&mut self, prefix: &str, length: usize, width: usize) -> Result<Option<Value>, Fault> {
        if width == 0 {
            return Ok(None);
        }
        let table = self.param(&format!("{prefix}.position"), &[length, width], Init::Constant(0.0))?;
        let shape = Shape(vec![Dim::Rows(1), Dim::Fixed(length), Dim::Fixed(width)]);
        Ok(Some(self.graph.broadcast(table, &shape)?))
    }

    /// `x [rows, K]` at each of `length` positions.
    pub(super) fn spread(&mut self, x: Value, length: usize) -> Built {
        let width = self.width(x);
        let shape = |n| Shape(vec![Dim::Rows(1), Dim::Fixed(n), Dim::Fixed(width)]);
        let x = self.graph.reshape(x, &shape(1))?;
        Ok(self.graph.broadcast(x, &shape(length))?)
    }

    /// Numbers of positions, `i32[n]`.
    pub(super) fn numbers(&mut self, n: usize) -> Built {
        let ty = TensorType::new(DType::I32, Shape::fixed(&[n]));
        Ok(self.graph.declare(Op::Iota, &[], ty)?)
    }

    fn activated(&mut self, prefix: &str, x: Value, activation: Activation) -> Built {
        Ok(match activation {
            Activation::Relu => nn::relu(&mut self.graph, x)?,
            Activation::Silu => nn::silu(&mut self.graph, x)?,
            Activation::Gelu => nn::gelu(&mut self.graph, x)?,
            Activation::Sigmoid => self.graph.unary(Unary::Sigmoid, x)?,
            Activation::Tanh => self.graph.unary(Unary::Tanh, x)?,
            Activation::Prelu => {
                let alpha = self.param(&format!("{prefix}.prelu.weight"), &[1], Init::Constant(0.25))?;
                nn::prelu(&mut self.graph, x, alpha)?
            }
            Activation::Dice => {
                let prefix = format!("{prefix}.dice");
                let alpha = self.param(&format!("{prefix}.alpha"), &[self.width(x)], Init::Constant(0.0))?;
                let like = Statistics {
                    momentum: 0.01,
                    eps: 1e-9,
                };
                let (mean, var) = self.moments(&prefix, x, &like)?;
                nn::dice(&mut self.graph, x, alpha, mean, var, like.eps)?
            }
        })
    }

    /// `<prefix>.weight`, `.bias`, `.running_mean`, `.running_var`, each as wide as the last axis; eps 1e-5.
    pub(super) fn batch_norm(&mut self, prefix: &str, x: Value) -> Built {
        self.scoped(prefix, |p| {
            let affine = p.affine(prefix, x)?;
            let like = Statistics {
                momentum: 0.1,
                eps: 1e-5,
            };
            let (mean, var) = p.moments(prefix, x, &like)?;
            Ok(nn::batch_norm(&mut p.graph, x, mean, var, Some(affine), like.eps)?)
        })
    }

    /// `(x - mean) / sqrt(var + 1e-5)` by `<prefix>.running_mean` and `<prefix>.running_var`.
    pub(super) fn standardised(&mut self, prefix: &str, x: Value) -> Built {
        self.scoped(prefix, |p| {
            let like = Statistics {
                momentum: 0.1,
                eps: 1e-5,
            };
            let (mean, var) = p.moments(prefix, x, &like)?;
            Ok(nn::batch_norm(&mut p.graph, x, mean, var, None, like.eps)?)
        })
    }

    /// `<prefix>.weight`, `<prefix>.bias`, each as wide as the last axis; eps 1e-5.
    pub(super) fn layer_norm(&mut self, prefix: &str, x: Value) -> Built {
        self.scoped(prefix, |p| {
            let affine = p.affine(prefix, x)?;
            Ok(nn::layer_norm(&mut p.graph, x, Some(affine), 1e-5)?)
        })
    }

    fn affine(&mut self, prefix: &str, x: Value) -> Result<(Value, Value), Fault> {
        let width = self.width(x);
        let weight = self.param(&format!("{prefix}.weight"), &[width], Init::Constant(1.0))?;
        Ok((
            weight,
            self.param(&format!("{prefix}.bias"), &[width], Init::Constant(0.0))?,
        ))
    }

    /// Mean and variance of the last axis' channels: the statistics or, in training, those of the batch.
    fn moments(&mut self, prefix: &str, x: Value, like: &Statistics) -> Result<(Value, Value), Fault> {
        let names = [format!("{prefix}.running_mean"), format!("{prefix}.running_var")];
        let width = self.width(x);
        let old_mean = self.statistic(&names[0], &[width], Init::Constant(0.0))?;
        let old_var = self.statistic(&names[1], &[width], Init::Constant(1.0))?;
        if !self.training() {
            return Ok((old_mean, old_var));
        }
        let inv_rows = self.scalar("step.inv_rows", DType::F32)?;
        let g = &mut self.graph;
        let dims = g.shape(x).0.clone();
        let folded: Vec<usize> = (0..dims.len().saturating_sub(1)).collect();
        // Of a row, so that the count is rows times this.
        let each: usize = dims[..folded.len()].iter().map(|d| d.factor()).product();
        let each = g.constant_f32(1.0 / each as f32)?;
        let share = g.binary(Binary::Mul, inv_rows, each)?;
        let sum = g.reduce(Fold::Sum, x, &folded)?;
        let mean = g.binary(Binary::Mul, sum, share)?;
        let centred = g.binary(Binary::Sub, x, mean)?;
        let square = g.binary(Binary::Mul, centred, centred)?;
        let sum = g.reduce(Fold::Sum, square, &folded)?;
        let var = g.binary(Binary::Mul, sum, share)?;
        // n / (n - 1); a single element has no variance to correct.
        let (one, least) = (g.constant_f32(1.0)?, g.constant_f32(1e-12)?);
        let rest = g.binary(Binary::Sub, one, share)?;
        let rest = g.binary(Binary::Max, rest, least)?;
        let unbiased = g.binary(Binary::Div, var, rest)?;
        for (name, old, new) in [(&names[0], old_mean, mean), (&names[1], old_var, unbiased)] {
            let next = self.moved(old, new, like.momentum)?;
            self.next.push((format!("next.{name}"), next));
        }
        Ok((mean, var))
    }

    /// `old + share (new - old)`.
    fn moved(&mut self, old: Value, new: Value, share: f32) -> Built {
        let g = &mut self.graph;
        let new = g.reshape(new, &g.shape(old).clone())?;
        let share = g.constant_f32(share)?;
        let apart = g.binary(Binary::Sub, new, old)?;
        let step = g.binary(Binary::Mul, share, apart)?;
        Ok(g.binary(Binary::Add, old, step)?)
    }

    /// In training zero for a share of the elements, the others scaled up so that the mean stays.
    pub(super) fn dropout(&mut self, x: Value, rate: f32) -> Built {
        if rate == 0.0 || !self.training() {
            return Ok(x);
        }
        let seed = self.scalar("step.seed", DType::I32)?;
        let stream = self.stream();
        let g = &mut self.graph;
        let drawn = g.uniform(seed, stream, &g.shape(x).clone())?;
        let (rate_of, zero) = (g.constant_f32(rate)?, g.constant_f32(0.0)?);
        let kept = g.binary(Binary::Ge, drawn, rate_of)?;
        let factor = g.constant_f32(1.0 / (1.0 - rate))?;
        let scaled = g.binary(Binary::Mul, x, factor)?;
        Ok(g.select(kept, scaled, zero)?)
    }
}

impl Attention {
    /// Widths of the scoring tower.
    pub(super) fn layers(&self) -> Vec<Width> {
        match &self.layers {
            Some(widths) => widths.0.clone(),
            None => [512, 256].map(super::sections::Size).to_vec(),
        }
    }
}
