//! From a loss to a training step: one graph that computes it, its gradients and what the parameters become.
//!
//! The graph's parameters are the trained tensors and the optimiser's state; its output `next.NAME` is what parameter
//! `NAME` holds after the step. All other outputs are metrics: `loss` first, then the model's own, then `grad_norm`, the
//! norm of all gradients together before they are clipped. A batch whose gradients are not finite changes nothing:
//! every write is a choice between the new value and the old one.
//!
//! What differs from step to step comes as scalar inputs, which [`Step::scalars`] makes:
//!
//! | input | type | holds |
//! |---|---|---|
//! | `step.lr` | `f32[]` | the learning rate |
//! | `step.inv_rows` | `f32[]` | 1 / rows of the batch |
//! | `step.bias1`, `step.bias2` | `f32[]` | `1 - beta^t` of Adam's two means |
//! | `step.seed` | `i32[]` | where the step's random numbers start |
//!
//! # Algebra
//!
//! Gradients are taken of the model as it is written or with its products of concatenations split
//! ([`crate::simplify::split`]), whichever makes the cheaper step. Parameters, state and metrics are the same.
//!
//! # Lazy tables
//!
//! A table is a parameter that is only ever looked up by row. Under [`Group::lazy`] its writes have the form
//!
//! ```text
//! count   = scatter_add(ones, ids) + ..           [V, 1], one term for each lookup
//! next.T  = select(count > 0 and finite, new, T)  [V, D]; the same for its state
//! ```
//!
//! and everything between the gradient, a sum of `scatter_add`, and the write keeps the table's rows apart. An executor
//! that knows the form computes the batch's rows alone; one that does not computes the same numbers.

mod config;
mod rows;
mod update;

use crate::grad;
use crate::ir::{Binary, Fold, Graph, Op, TypeError, Unary, Value};
use crate::simplify::{self, flops};
use crate::tensor::{DType, HostTensor, Shape, Sizes, Tensors};

pub use crate::pieces::NEXT;
pub use config::{Decay, Group, Optimiser, Rule, Schedule};
pub use rows::rows_for_requests;
use update::{Hyper, Writes};

/// The learning rate.
pub const LR: &str = "step.lr";
/// 1 / rows of the batch.
pub const INV_ROWS: &str = "step.inv_rows";
/// `1 - beta1^t`.
pub const BIAS1: &str = "step.bias1";
/// `1 - beta2^t`.
pub const BIAS2: &str = "step.bias2";
/// Where the step's random numbers start.
pub const SEED: &str = "step.seed";

/// A training step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The graph; see the module.
    pub graph: Graph,
    /// The optimiser's state before the first step: zeros, under the names of the graph's parameters.
    pub state: Tensors,
    betas: (f64, f64),
}

/// Why there is no training step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Operands do not fit.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The loss has no gradient.
    #[error(transparent)]
    Grad(#[from] grad::Error),
    /// A rule of algebra failed: a bug.
    #[error(transparent)]
    Simplify(#[from] simplify::Error),
    /// No group takes a parameter that the loss depends on.
    #[error("nothing to train: the loss depends on no parameter that a group of the optimiser takes")]
    Untrained,
    /// A setting that means nothing.
    #[error("optimiser: `{name}` is {seen}, it must be {expected}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        seen: f64,
        /// What it may be.
        expected: &'static str,
    },
}

/// Appends gradients and updates to the graph of a loss `[]`. The graph's outputs become metrics, but for those named
/// `next.NAME`, which stay writes: running statistics, for one. Parameters that are not float, that have such an output
/// or that the loss does not depend on are not trained.
///
/// # Errors
/// [`Error`].
pub fn step(mut g: Graph, loss: Value, optimiser: &Optimiser) -> Result<Step, Error> {
    optimiser.check()?;
    g.outputs.retain(|(name, _)| name != LOSS);
    g.outputs.insert(0, (LOSS.to_owned(), loss));
    let split = simplify::split(&g)?;
    let written = step_of(g, optimiser)?;
    let split = step_of(split, optimiser)?;
    let cost = |step: &Step| flops(&step.graph, BATCH);
    Ok(if cost(&split) < cost(&written) { split } else { written })
}

/// The metric that is trained.
const LOSS: &str = "loss";

/// What steps are compared at.
const BATCH: Sizes = Sizes {
    rows: 512,
    requests: 512,
};

/// The step of the output `loss` of a graph.
fn step_of(mut g: Graph, optimiser: &Optimiser) -> Result<Step, Error> {
    let loss = g.outputs[0].1;
    let trained = trained(&g, loss, optimiser);
    if trained.is_empty() {
        return Err(Error::Untrained);
    }
    let wrt: Vec<Value> = trained.iter().map(|t| t.value).collect();
    let gradients = grad::grad(&mut g, loss, &wrt)?;
    let scope = g.enter("optimiser");
    let norm = norm(&mut g, &gradients)?;
    let infinite = g.constant_f32(f32::INFINITY)?;
    let finite = g.binary(Binary::Lt, norm, infinite)?;
    let factor = match optimiser.clip {
        Some(clip) => Some(clip_factor(&mut g, norm, clip as f32)?),
        None => None,
    };
    let (writes, mut metrics): (Vec<_>, Vec<_>) = std::mem::take(&mut g.outputs)
        .into_iter()
        .partition(|(name, _)| name.starts_with(NEXT));
    metrics.push(("grad_norm".to_owned(), norm));
    let mut out = Writes::new(metrics, finite);
    for (name, new) in writes {
        out.keep(&mut g, &name[NEXT.len()..], new)?;
    }
    let hyper = Hyper::new(&mut g, optimiser)?;
    for (t, gradient) in trained.iter().zip(gradients) {
        let gradient = match factor {
            Some(factor) => g.binary(Binary::Mul, gradient, factor)?,
            None => gradient,
        };
        out.update(&mut g, t, gradient, &hyper)?;
    }
    g.leave(scope);
    g.outputs = out.outputs;
    Ok(Step {
        graph: g,
        state: out.state,
        betas: optimiser.betas,
    })
}

/// A parameter that is trained.
struct Trained<'a> {
    value: Value,
    name: String,
    group: &'a Group,
    /// The ids by which it is looked up, where that is all that is done with it.
    lookups: Option<Vec<Value>>,
}

fn trained<'a>(g: &Graph, loss: Value, optimiser: &'a Optimiser) -> Vec<Trained<'a>> {
    let reached = reached(g, loss);
    let written = |name: &str| g.outputs.iter().any(|(n, _)| n.strip_prefix(NEXT) == Some(name));
    let mut list = Vec::new();
    for (value, name, ty) in g.params() {
        if !reached[value.index()] || ty.dtype != DType::F32 || written(name) {
            continue;
        }
        let lookups = lookups(g, value, &reached);
        let group = optimiser
            .groups
            .iter()
            .find(|group| group.takes(name, lookups.is_some()));
        if let Some(group) = group.filter(|group| group.rule != Rule::Frozen) {
            list.push(Trained {
                value,
                name: name.to_owned(),
                group,
                lookups,
            });
        }
    }
    list
}

/// What a value is computed from.
fn reached(g: &Graph, from: Value) -> Vec<bool> {
    let mut reached = vec![false; g.len()];
    reached[from.index()] = true;
    for (v, n) in g.iter().rev() {
        if reached[v.index()] {
            n.args.iter().for_each(|a| reached[a.index()] = true);
        }
    }
    reached
}

/// The ids of every lookup in a parameter, if looking up rows is all that is done with it.
fn lookups(g: &Graph, param: Value, reached: &[bool]) -> Option<Vec<Value>> {
    let mut ids = Vec::new();
    for (v, n) in g.iter().filter(|(v, n)| reached[v.index()] && n.args.contains(&param)) {
        match n.args[..] {
            [table, index] if *g.op(v) == Op::Gather(0) && table == param => ids.push(index),
            _ => return None,
        }
    }
    ids.dedup();
    (!ids.is_empty()).then_some(ids)
}

/// The norm of all gradients together, `[]`.
fn norm(g: &mut Graph, gradients: &[Value]) -> Result<Value, TypeError> {
    let mut sum = None;
    for gradient in gradients {
        let square = g.binary(Binary::Mul, *gradient, *gradient)?;
        let axes: Vec<usize> = (0..g.shape(square).rank()).collect();
        let part = if axes.is_empty() {
            square
        } else {
            let part = g.reduce(Fold::Sum, square, &axes)?;
            g.reshape(part, &Shape(Vec::new()))?
        };
        sum = Some(match sum {
            None => part,
            Some(sum) => g.binary(Binary::Add, sum, part)?,
        });
    }
    let sum = match sum {
        Some(sum) => sum,
        None => g.constant_f32(0.0)?,
    };
    g.unary(Unary::Sqrt, sum)
}

/// `min(1, clip / (norm + 1e-6))`, PyTorch's.
fn clip_factor(g: &mut Graph, norm: Value, clip: f32) -> Result<Value, TypeError> {
    let (clip, tiny, one) = (g.constant_f32(clip)?, g.constant_f32(1e-6)?, g.constant_f32(1.0)?);
    let norm = g.binary(Binary::Add, norm, tiny)?;
    let factor = g.binary(Binary::Div, clip, norm)?;
    g.binary(Binary::Min, factor, one)
}

/// A step among others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// Its number, from 1 on.
    pub step: u64,
    /// Rows of its batch.
    pub rows: usize,
    /// The learning rate.
    pub lr: f64,
    /// Where its random numbers start.
    pub seed: i32,
}

impl Step {
    /// The scalar inputs that the graph has, for one step.
    #[must_use]
    pub fn scalars(&self, at: At) -> Tensors {
        let t = at.step as f64;
        let value = |name: &str| match name {
            LR => Some(at.lr),
            INV_ROWS => Some(1.0 / at.rows.max(1) as f64),
            BIAS1 => Some(1.0 - self.betas.0.powf(t)),
            BIAS2 => Some(1.0 - self.betas.1.powf(t)),
            _ => None,
        };
        let mut scalars = Tensors::new();
        for (_, name, _) in self.graph.inputs() {
            if let Some(x) = value(name) {
                scalars.insert(name.to_owned(), HostTensor::f32(&[], vec![x as f32]));
            } else if name == SEED {
                scalars.insert(name.to_owned(), HostTensor::i32(&[], vec![at.seed]));
            }
        }
        scalars
    }
}
