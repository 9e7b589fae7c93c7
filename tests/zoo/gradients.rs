//! Gradients of every model on a device against their meaning in f64, element by element.

use loopfm::device_step::Stepper;
use loopfm::interp;
use loopfm::ir::{Graph, TypeError, Value};
use loopfm::model::{Mode, Network};
use loopfm::optim::{self, At, Group, Optimiser, Rule};
use loopfm::tensor::{HostTensor, Sizes, Tensors};

use super::{ARCHITECTURES, batch, network, spec, weights, with_loss};
use crate::support::compare::{Tol, compare_outputs};
use crate::support::terms::compare_gradients;
use crate::support::{gpu, hosts};

const ROWS: usize = 12;
const SIZES: Sizes = Sizes {
    rows: ROWS,
    requests: ROWS,
};

const TOL: Tol = Tol {
    // A bias in front of a normalisation has no gradient, and what rounding leaves.
    abs: 1e-7,
    rel: 2e-4,
    of_max: 1e-4,
};

/// All losses that a model has, under gradient descent with momentum: from no momentum, what the step writes as such is
/// the gradient.
fn step(network: &Network, lazy: bool) -> Result<optim::Step, TypeError> {
    let (g, loss) = with_loss(network)?;
    let group = Group {
        rule: Rule::Sgd,
        momentum: 0.9,
        lazy,
        ..Group::default()
    };
    let optimiser = Optimiser {
        groups: vec![group],
        ..Optimiser::default()
    };
    Ok(optim::step(g, loss, &optimiser).unwrap_or_else(|e| panic!("{e}")))
}

fn given(network: &Network, graph: &Graph) -> Tensors {
    let mut given = batch(&network.graph, SIZES, 6);
    let numbers = |f: &dyn Fn(usize) -> f32| HostTensor::f32(&[ROWS], (0..ROWS).map(f).collect());
    given.insert("label".into(), numbers(&|i| f32::from(u8::from(i % 3 == 0))));
    given.insert("teacher".into(), numbers(&|i| i as f32 / ROWS as f32));
    given.retain(|name, _| graph.inputs().any(|(_, n, _)| n == name));
    given
}

/// The largest share of what is allowed that any gradient takes, and the dispatches of the step.
fn check(config: &str, lazy: bool) -> Option<(f64, usize)> {
    let device = gpu::gpu()?;
    let network = network(config, Mode::Train);
    let step = step(&network, lazy).unwrap_or_else(|e| panic!("{e}"));
    let g = &step.graph;
    let all = weights(&network, 5);
    let own = |(_, name, _): (Value, &str, _)| Some((name.to_owned(), all.get(name)?.clone()));
    let mut state: Tensors = g.params().filter_map(own).collect();
    state.extend(step.state.clone());
    let mut stepper = Stepper::new(device, g, state.clone(), 16).unwrap_or_else(|e| panic!("{config}: {e}"));
    let mut given = given(&network, g);
    given.extend(step.scalars(At {
        step: 1,
        rows: ROWS,
        lr: 1.0,
        seed: 77,
    }));
    let metrics = stepper.step(&given, ROWS).unwrap_or_else(|e| panic!("{config}: {e}"));
    let after = stepper.state().unwrap_or_else(|e| panic!("{config}: {e}"));
    let mut got: Tensors = after.into_iter().map(|(name, t)| (format!("next.{name}"), t)).collect();
    got.insert("loss".into(), metrics["loss"].clone());
    let mut wanted = g.clone();
    let is_gradient = |name: &str| name == "loss" || name.starts_with("next.sgd.b/") || name.contains(".running_");
    wanted.outputs.retain(|(name, _)| is_gradient(name));
    assert!(wanted.outputs.len() > 2, "{config}");
    let worst = compare_gradients(&got, &wanted, (&state, &given, SIZES)).unwrap_or_else(|e| panic!("{config}: {e}"));
    // Through deep layers terms grow, and what they allow: so each is held to the largest of its tensor too.
    let meaning = interp::eval::<f64>(&wanted, &state, &given, SIZES).unwrap_or_else(|e| panic!("{config}: {e}"));
    got.retain(|name, _| is_gradient(name));
    compare_outputs(&got, &hosts(&meaning), TOL).unwrap_or_else(|e| panic!("{config}: {e}"));
    Some((worst, stepper.dispatches()))
}

/// Every layer that training has, between the models.
fn more(architecture: &str) -> &'static str {
    match architecture {
        "fm" => r#""kd": {"gradient_scale": 5.0},"#,
        "fmfm" => r#""interaction": "matrixed","#,
        "deepfm" => r#""kd": {}, "dropout": 0.2,"#,
        "dcnv2" => r#""activation": "prelu", "dropout": 0.3,"#,
        "din" => r#""batch_norm": "once", "activation": "dice","#,
        "dien" => r#""batch_norm": "each", "activation": "gelu","#,
        "dmr" => r#""dropout": 0.1, "activation": "silu","#,
        _ => r#""dropout": 0.2, "batch_norm": "each","#,
    }
}

/// The sections that go with every model, with one encoder of histories or another.
fn sections(architecture: &str) -> String {
    let encoder = match architecture {
        "fm" | "dmin" => r#""layers": [3], "target": ["item", "user"]"#,
        "fmfm" | "din" => r#""encoder": "sum""#,
        "deepfm" | "dmr" => r#""encoder": "din", "layers": [3]"#,
        _ => r#""encoder": "mean""#,
    };
    format!(
        r#""loopfm": {{"length": 4, "width": 8, {encoder}}}, "kd": {{"gradient_scale": 5.0}},
            "autoencoder": {{"of": ["hidden"], "layers": [5], "width": 3, "prefixes": [1]}},"#
    )
}

fn every_model(more: impl Fn(&str) -> String, lazy: bool) {
    let mut failed = Vec::new();
    for architecture in ARCHITECTURES {
        let config = spec(architecture, &more(architecture));
        match std::panic::catch_unwind(|| check(&config, lazy)) {
            Ok(None) => return,
            Ok(Some((worst, n))) => eprintln!("{architecture}: {worst:.3} of what is allowed, {n} dispatches"),
            Err(_) => failed.push(architecture),
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn as_they_are() {
    every_model(|_| String::new(), false);
}

#[test]
fn with_every_layer() {
    every_model(|architecture| more(architecture).to_owned(), true);
}

#[test]
fn with_history_distillation_and_autoencoder() {
    every_model(sections, true);
}
