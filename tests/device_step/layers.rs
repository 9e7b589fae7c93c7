//! Layers that only training has, and those whose gradients have loops of their own.

use loopfm::device_step::Stepper;
use loopfm::ir::{Binary, Graph, Op, Value};
use loopfm::nn;
use loopfm::optim::{At, Group, Rule, SEED};
use loopfm::random::uniform;
use loopfm::tensor::{DType, Shape};

use super::{Built, all, batch, dense, gradients, only, rows, step, weights};
use crate::support::gpu;
use crate::support::rng::Rng;

#[test]
fn random_numbers_are_everywhere_the_same() {
    let Some(device) = gpu::gpu() else { return };
    let build = |g: &mut Graph| -> Built {
        let x = g.input("x", DType::F32, rows(&[15]))?;
        let seed = g.input(SEED, DType::I32, Shape::default())?;
        let (odd, even) = (g.uniform(seed, 3, &rows(&[5, 3]))?, g.uniform(seed, 4, &rows(&[8]))?);
        let odd = g.reshape(odd, &rows(&[15]))?;
        let x = g.binary(Binary::Mul, x, odd)?;
        let x = nn::beside(g, &[x, even])?;
        dense(g, x, &[23, 1])
    };
    let step = step(build, &only(all(Rule::Sgd)));
    let mut g = step.graph.clone();
    let drawn = g.iter().filter_map(|(v, n)| match n.op {
        Op::Uniform(stream) => Some((format!("{stream}"), v)),
        _ => None,
    });
    let drawn: Vec<(String, Value)> = drawn.collect();
    g.outputs.extend(drawn);
    let state = weights(&g, &step.state, &mut Rng(1));
    let mut stepper = Stepper::new(device, &g, state, 40).unwrap_or_else(|e| panic!("{e}"));
    for seed in [0, -1, 123_456_789] {
        let mut batch = batch(&g, &mut Rng(3), 37);
        batch.extend(step.scalars(At {
            step: 1,
            rows: 37,
            lr: 1e-2,
            seed,
        }));
        let metrics = stepper.step(&batch, 37).unwrap_or_else(|e| panic!("{e}"));
        for (stream, width) in [(3, 15), (4, 8)] {
            let want: Vec<f32> = (0..37 * width).map(|i| uniform(seed, stream, i)).collect();
            let got = metrics[&stream.to_string()].as_f32().expect("floats");
            assert_eq!(got, want, "stream {stream} of seed {seed}");
        }
    }
}

/// A recurrent unit over five events of a table, with attention or without; the tower reads all states or the last.
fn recurrent(g: &mut Graph, attentive: bool, last: bool) -> Built {
    let ids = g.input("ids", DType::I32, rows(&[5]))?;
    let table = g.param("table", &[20, 6])?;
    let events = g.gather(table, ids)?;
    let (w, b) = (g.param("input.weight", &[18, 6])?, g.param("input.bias", &[18])?);
    let x = nn::linear(g, events, w, Some(b))?;
    let target = g.input("target", DType::F32, rows(&[6]))?;
    let (w, b) = (g.param("hidden.weight", &[6, 18])?, g.param("hidden.bias", &[18])?);
    let mut args = vec![x, target, w, b];
    if attentive {
        let scores = g.param("scores", &[6, 1])?;
        let scores = g.matmul(events, scores)?;
        let scores = g.reshape(scores, &rows(&[5]))?;
        args.push(scores);
    }
    let states = g.apply(Op::Gru, &args)?;
    let x = match last {
        true => {
            let last = g.slice(states, 1, 4, 5)?;
            g.reshape(last, &rows(&[6]))?
        }
        false => g.reshape(states, &rows(&[30]))?,
    };
    dense(g, x, &[if last { 6 } else { 30 }, 7, 1])
}

#[test]
fn recurrent_units() {
    for attentive in [false, true] {
        for last in [false, true] {
            let momentum = Group {
                momentum: 0.9,
                ..all(Rule::Sgd)
            };
            let step = step(|g| recurrent(g, attentive, last), &only(momentum));
            gradients(&step, 21);
        }
    }
}
