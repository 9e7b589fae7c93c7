//! Fresh weights: each element is a function of the seed, the parameter's name and its own position.
//!
//! So a parameter's values do not depend on which others a model has, nor on the machine: only exact operations are made.
//! Layers start as PyTorch's do, tables as FuxiCTR's (normal, 1e-4).

use rayon::prelude::*;

use crate::random::philox;
use crate::tensor::HostTensor;

/// A parameter of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Extents.
    pub shape: Vec<usize>,
    /// What it starts as.
    pub init: Init,
    /// Whether gradients change it; the others are statistics, which batches change.
    pub trained: bool,
}

/// What a parameter starts as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number.
    Constant(f32),
    /// From minus to plus this bound.
    Uniform(f32),
    /// Around zero with this standard deviation.
    Normal(f32),
    /// Ones on the diagonal of a square matrix.
    Identity,
}

impl Init {
    /// Of embedding tables.
    pub(super) const EMBEDDING: Self = Self::Normal(1e-4);

    /// Of a linear layer's weight and bias.
    pub(super) fn linear(inputs: usize) -> Self {
        Self::Uniform(1.0 / (inputs as f32).sqrt())
    }

    /// Variance 2 / (inputs + outputs) of `[outputs, inputs, ..]`, axes behind these counting for both.
    pub(super) fn xavier_normal(extents: &[usize]) -> Self {
        Self::Normal((2.0 / fans(extents)).sqrt())
    }

    /// The same variance, uniform.
    pub(super) fn xavier_uniform(extents: &[usize]) -> Self {
        Self::Uniform((6.0 / fans(extents)).sqrt())
    }
}

fn fans(extents: &[usize]) -> f32 {
    let behind: usize = extents.iter().skip(2).product();
    (extents.iter().take(2).sum::<usize>() * behind) as f32
}

impl Parameter {
    /// Its first values.
    #[must_use]
    pub fn start(&self, name: &str, seed: u64) -> HostTensor {
        let n: usize = self.shape.iter().product();
        let key = key(name, seed);
        let each = |f: &(dyn Fn(u64) -> f32 + Sync)| (0..n as u64).into_par_iter().map(f).collect();
        let values = match self.init {
            Init::Constant(x) => vec![x; n],
            Init::Uniform(bound) => each(&|i| (f64::from(bound) * (2.0 * unit(draw(key, i, 0)[0]) - 1.0)) as f32),
            Init::Normal(deviation) => each(&|i| (f64::from(deviation) * normal(key, i)) as f32),
            Init::Identity => {
                let side = self.shape.last().map_or(1, |width| *width as u64 + 1);
                each(&|i| f32::from(u8::from(i % side == 0)))
            }
        };
        HostTensor::f32(&self.shape, values)
    }
}

/// A parameter's key under a seed.
fn key(name: &str, seed: u64) -> [u32; 2] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let hash = hasher.update(name.as_bytes()).finalize();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Two random numbers for an element.
fn draw(key: [u32; 2], index: u64, attempt: u32) -> [u64; 2] {
    let [a, b, c, d] = philox([index as u32, (index >> 32) as u32, attempt, 0], key);
    [u64::from(a) << 32 | u64::from(b), u64::from(c) << 32 | u64::from(d)]
}

/// A multiple of 2^-53 within 0..1.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Normal by the ratio of uniforms (Kinderman and Monahan, 1977): quotients are exact everywhere, and the logarithm
/// only decides which of them counts.
fn normal(key: [u32; 2], index: u64) -> f64 {
    /// `2 sqrt(2 / e)`
    const SIDE: f64 = 1.715_527_769_921_413_5;
    for attempt in 0..64 {
        let [a, b] = draw(key, index, attempt);
        let u = 1.0 - unit(a);
        let x = SIDE * (unit(b) - 0.5) / u;
        if x * x <= -4.0 * u.ln() {
            return x;
        }
    }
    // One draw in four is refused: 64 in a row are not met.
    0.0
}
