//! Whole training steps of every model on the CPU: they mean what the interpreter says, and the loss falls.

use loopfm::cpu::Stepper;
use loopfm::grad::grad;
use loopfm::interp;
use loopfm::ir::{Binary, Graph, TypeError, Value};
use loopfm::model::{Mode, Network};
use loopfm::tensor::{HostTensor, Sizes, Tensors};

use super::{ADDITIONS, ARCHITECTURES, batch, network, scalars, spec, weights, with_loss};
use crate::support::compare::{Tol, compare_outputs};

const ROWS: usize = 12;
const SIZES: Sizes = Sizes {
    rows: ROWS,
    requests: ROWS,
};
const TOL: Tol = Tol {
    abs: 1e-6,
    rel: 0.0,
    of_max: 1e-4,
};

/// Gradient descent on the sum of all losses that a model has.
fn step(network: &Network, rate: f32) -> Result<Graph, TypeError> {
    let (mut g, loss) = with_loss(network)?;
    let trained: Vec<(Value, String)> = g
        .params()
        .filter(|(_, name, _)| network.parameters[*name].trained)
        .map(|(v, name, _)| (v, name.to_owned()))
        .collect();
    let wrt: Vec<Value> = trained.iter().map(|(v, _)| *v).collect();
    let gradients = grad(&mut g, loss, &wrt).unwrap_or_else(|e| panic!("{e}"));
    for ((v, name), gradient) in trained.iter().zip(gradients) {
        let rate = g.constant_f32(rate)?;
        let change = g.binary(Binary::Mul, rate, gradient)?;
        let next = g.binary(Binary::Sub, *v, change)?;
        g.outputs.push((format!("next.{name}"), next));
    }
    g.outputs.insert(0, ("loss".to_owned(), loss));
    Ok(g)
}

fn given(network: &Network) -> Tensors {
    let mut given = batch(&network.graph, SIZES, 6);
    let numbers = |f: &dyn Fn(usize) -> f32| HostTensor::f32(&[ROWS], (0..ROWS).map(f).collect());
    given.insert("label".into(), numbers(&|i| f32::from(u8::from(i % 3 == 0))));
    if network.logit_kd.is_some() {
        given.insert("teacher".into(), numbers(&|i| i as f32 / ROWS as f32));
    }
    given
}

/// The inputs that a graph has.
fn read(graph: &Graph, given: &Tensors) -> Tensors {
    let named = |(_, name, _): (_, &str, _)| (name.to_owned(), given[name].clone());
    graph.inputs().map(named).collect()
}

/// Every layer that training has, between the models.
fn more(architecture: &str) -> &'static str {
    match architecture {
        "fm" => r#""kd": {"gradient_scale": 5.0},"#,
        "fmfm" => ADDITIONS[3].1,
        "deepfm" => r#""kd": {}, "autoencoder": {"layers": [5], "width": 3, "prefixes": [1]}, "dropout": 0.2,"#,
        "dcnv2" => r#""loopfm": {"length": 4, "width": 8, "layers": [3]}, "activation": "prelu","#,
        "din" => r#""batch_norm": "once", "activation": "dice","#,
        "dien" => r#""batch_norm": "each", "activation": "gelu","#,
        "dmr" => r#""dropout": 0.1, "activation": "silu","#,
        _ => r#""dropout": 0.2, "batch_norm": "each","#,
    }
}

#[test]
fn steps_on_the_cpu_are_what_they_mean() {
    for architecture in ARCHITECTURES {
        let network = network(&spec(architecture, more(architecture)), Mode::Train);
        let graph = step(&network, 0.1).unwrap();
        let mut stepper = Stepper::new(&graph, weights(&network, 5)).unwrap_or_else(|e| panic!("{architecture}: {e}"));
        let mut given = given(&network);
        for seed in 0..3 {
            scalars(&mut given, ROWS, seed);
            let inputs = read(&graph, &given);
            let meaning = interp::eval::<f64>(&graph, stepper.state(), &inputs, SIZES);
            let want = crate::support::hosts(&meaning.unwrap_or_else(|e| panic!("{architecture}: {e}")));
            let mut got = stepper
                .step(&inputs, ROWS)
                .unwrap_or_else(|e| panic!("{architecture}: {e}"));
            for (name, value) in stepper.state() {
                got.insert(format!("next.{name}"), value.clone());
            }
            compare_outputs(&got, &want, TOL).unwrap_or_else(|e| panic!("{architecture}, step {seed}: {e}"));
        }
    }
}

#[test]
fn every_model_learns_a_batch() {
    for architecture in ARCHITECTURES {
        let network = network(&spec(architecture, ""), Mode::Train);
        let graph = step(&network, 0.1).unwrap();
        let mut given = given(&network);
        scalars(&mut given, ROWS, 0);
        let inputs = read(&graph, &given);
        let mut stepper = Stepper::new(&graph, weights(&network, 5)).unwrap_or_else(|e| panic!("{architecture}: {e}"));
        let mut losses = Vec::new();
        for _ in 0..500 {
            let metrics = stepper
                .step(&inputs, ROWS)
                .unwrap_or_else(|e| panic!("{architecture}: {e}"));
            losses.push(metrics["loss"].as_f32().unwrap()[0]);
        }
        let (first, last) = (losses[0], losses[499]);
        eprintln!("{architecture}: {first} to {last}");
        assert!(last < 0.3 * first, "{architecture}: {first} to {last}");
    }
}

/// Adam on every model without additions, on a device and on the CPU.
#[cfg(feature = "gpu")]
#[test]
fn steps_on_a_device_are_those_of_the_cpu() {
    use loopfm::device_step;
    use loopfm::optim::{At, Optimiser, step};

    let Some(device) = crate::support::gpu::gpu() else {
        return;
    };
    for architecture in ARCHITECTURES {
        let network = network(&spec(architecture, ""), Mode::Train);
        let (g, loss) = with_loss(&network).unwrap();
        let step = step(g, loss, &Optimiser::default()).unwrap_or_else(|e| panic!("{architecture}: {e}"));
        let all = weights(&network, 5);
        let own = |(_, name, _): (Value, &str, _)| Some((name.to_owned(), all.get(name)?.clone()));
        let mut state: Tensors = step.graph.params().filter_map(own).collect();
        state.extend(step.state.clone());
        let mut want = Stepper::new(&step.graph, state.clone()).unwrap_or_else(|e| panic!("{architecture}: {e}"));
        let got = device_step::Stepper::new(device.clone(), &step.graph, state, 16);
        let mut got = got.unwrap_or_else(|e| panic!("{architecture}: {e}"));
        let mut given = given(&network);
        for t in 1..4 {
            let at = At {
                step: t,
                rows: ROWS,
                lr: 1e-3,
                seed: 0,
            };
            given.extend(step.scalars(at));
            let inputs = read(&step.graph, &given);
            let wanted = want
                .step(&inputs, ROWS)
                .unwrap_or_else(|e| panic!("{architecture}: {e}"));
            let metrics = got
                .step(&inputs, ROWS)
                .unwrap_or_else(|e| panic!("{architecture}: {e}"));
            compare_outputs(&metrics, &wanted, TOL).unwrap_or_else(|e| panic!("{architecture}, step {t}: {e}"));
        }
        let state = got.state().unwrap_or_else(|e| panic!("{architecture}: {e}"));
        // Adam turns noise about zero into whole steps: three of them at most.
        let tol = Tol { abs: 2e-4, ..TOL };
        compare_outputs(&state, want.state(), tol).unwrap_or_else(|e| panic!("{architecture}: {e}"));
        eprintln!("{architecture}: {} dispatches", got.dispatches());
        assert!(
            got.dispatches() <= 40,
            "{architecture}: {} dispatches",
            got.dispatches()
        );
    }
}
