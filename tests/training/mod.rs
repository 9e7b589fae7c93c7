//! Training: optimisers and whole models against PyTorch, runs and what they refuse.

#[cfg(all(feature = "gpu", feature = "train"))]
mod devices;
#[cfg(feature = "train")]
mod memory;
mod optimisers;
#[cfg(feature = "train")]
mod refusals;
#[cfg(feature = "train")]
mod runs;
#[cfg(feature = "train")]
mod w2;
#[cfg(feature = "train")]
mod zoo;

use std::path::PathBuf;

use loopfm::import::read_tensors;
use loopfm::interp;
use loopfm::ir::{Graph, Value};
use loopfm::nn;
use loopfm::optim::{self, At, INV_ROWS, Step};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};

/// What PyTorch did: `tests/data/training/NAME`.
fn reference(name: &str) -> Tensors {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/training")).join(name);
    read_tensors(&path).unwrap_or_else(|e| panic!("{e}")).0
}

/// The small model of `reference.py`: logits `[rows, 1]` of `ids [rows, 3]`.
pub(crate) fn small(g: &mut Graph) -> Value {
    let ids = Shape(vec![Dim::Rows(1), Dim::Fixed(3)]);
    let ids = g.input("ids", DType::I32, ids).expect("an input");
    let mut param = |name: &str, extents: &[usize]| g.param(name, extents).expect("a parameter");
    let table = param("emb.weight", &[20, 4]);
    let layers = [
        (param("fc1.weight", &[8, 12]), Some(param("fc1.bias", &[8]))),
        (param("fc2.weight", &[1, 8]), Some(param("fc2.bias", &[1]))),
    ];
    let x = g.gather(table, ids).expect("types fit");
    let x = g
        .reshape(x, &Shape(vec![Dim::Rows(1), Dim::Fixed(12)]))
        .expect("types fit");
    nn::mlp(g, x, &layers, |g, _, x| nn::relu(g, x)).expect("types fit")
}

/// The mean logistic loss of logits.
fn bce(g: &mut Graph, logit: Value) -> Value {
    let label = g
        .input("label", DType::F32, Shape(vec![Dim::Rows(1)]))
        .expect("an input");
    let inv_rows = g.input(INV_ROWS, DType::F32, Shape(Vec::new())).expect("an input");
    let loss = nn::bce_with_logits(g, logit, label).expect("types fit");
    nn::mean_over_rows(g, loss, None, inv_rows).expect("types fit")
}

/// A step graph under way, interpreted.
struct Machine {
    step: Step,
    state: Tensors,
    done: u64,
}

impl Machine {
    fn new(step: Step, weights: &Tensors) -> Self {
        let mut state = weights.clone();
        state.extend(step.state.clone());
        Self { step, state, done: 0 }
    }

    /// One step; its metrics.
    fn step(&mut self, batch: &Tensors, lr: f64) -> Tensors {
        self.done += 1;
        let rows = batch["label"].shape[0];
        let mut batch = batch.clone();
        batch.extend(self.step.scalars(At {
            step: self.done,
            rows,
            lr,
            seed: 0,
        }));
        let sizes = Sizes { rows, requests: rows };
        let out = interp::eval::<f32>(&self.step.graph, &self.state, &batch, sizes).unwrap_or_else(|e| panic!("{e}"));
        let mut metrics = Tensors::new();
        for (name, value) in out {
            match name.strip_prefix(optim::NEXT) {
                Some(param) => self.state.insert(param.to_owned(), value.to_host()),
                None => metrics.insert(name, value.to_host()),
            };
        }
        metrics
    }
}

fn scalar(metrics: &Tensors, name: &str) -> f32 {
    metrics[name].as_f32().expect("floats")[0]
}

/// The distance of two tensors over the second one's norm.
fn apart(got: &HostTensor, want: &HostTensor) -> f64 {
    assert_eq!(got.shape, want.shape);
    let (got, want) = (got.as_f32().expect("floats"), want.as_f32().expect("floats"));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let apart = norm(&mut got.iter().zip(want).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    apart / norm(&mut want.iter().map(|x| f64::from(*x)))
}

/// Random weights of the small model.
#[cfg(feature = "train")]
fn weights_of_small(rng: &mut crate::support::rng::Rng) -> Tensors {
    let shapes: [(&str, &[usize]); 5] = [
        ("emb.weight", &[20, 4]),
        ("fc1.weight", &[8, 12]),
        ("fc1.bias", &[8]),
        ("fc2.weight", &[1, 8]),
        ("fc2.bias", &[1]),
    ];
    let mut weight = |(name, shape): (&str, &[usize])| {
        let n = shape.iter().product();
        (name.to_owned(), HostTensor::f32(shape, rng.floats(n, 0.3)))
    };
    shapes.map(&mut weight).into_iter().collect()
}
