//! Training steps on a device: what they give against the CPU, and how many dispatches they take.

mod layers;
mod tables;

use loopfm::cpu;
use loopfm::device_step::{Error, Stepper};
use loopfm::ir::{Binary, Fold, Graph, Op, TensorType, TypeError, Unary, Value};
use loopfm::nn;
use loopfm::optim::{self, At, Group, INV_ROWS, Optimiser, Rule};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};

use crate::support::compare::{Tol, compare_outputs};
use crate::support::gpu;
use crate::support::rng::Rng;
use crate::support::terms::compare_gradients;

const TOL: Tol = Tol {
    abs: 1e-7,
    rel: 1e-5,
    of_max: 1e-5,
};

type Built = Result<Value, TypeError>;

fn rows(inner: &[usize]) -> Shape {
    let inner = inner.iter().map(|n| Dim::Fixed(*n));
    Shape(std::iter::once(Dim::Rows(1)).chain(inner).collect())
}

/// The step of a logit `[rows, 1]` against a label.
fn step(logit: impl Fn(&mut Graph) -> Built, optimiser: &Optimiser) -> optim::Step {
    let build = || -> Result<optim::Step, TypeError> {
        let mut g = Graph::new();
        let logit = logit(&mut g)?;
        let label = g.input("label", DType::F32, rows(&[]))?;
        let inv_rows = g.input(INV_ROWS, DType::F32, Shape::default())?;
        let loss = nn::bce_with_logits(&mut g, logit, label)?;
        let loss = nn::mean_over_rows(&mut g, loss, None, inv_rows)?;
        g.outputs = vec![("logit".into(), logit)];
        Ok(optim::step(g, loss, optimiser).expect("a step"))
    };
    build().unwrap_or_else(|e| panic!("{e}"))
}

fn all(rule: Rule) -> Group {
    Group {
        rule,
        ..Group::default()
    }
}

fn only(group: Group) -> Optimiser {
    Optimiser {
        groups: vec![group],
        ..Optimiser::default()
    }
}

fn weights(g: &Graph, known: &Tensors, rng: &mut Rng) -> Tensors {
    let mut state = known.clone();
    for (_, name, ty) in g.params().filter(|(_, name, _)| !known.contains_key(*name)) {
        let shape = ty.shape.per_row();
        let n = shape.iter().product();
        state.insert(name.to_owned(), HostTensor::f32(&shape, rng.floats(n, 0.2)));
    }
    state
}

fn batch(g: &Graph, rng: &mut Rng, n: usize) -> Tensors {
    let mut batch = Tensors::new();
    for (_, name, ty) in g.inputs().filter(|(_, _, ty)| ty.shape.symbolic().is_some()) {
        let mut shape = ty.shape.per_row();
        shape[0] *= n;
        let elements = shape.iter().product();
        let tensor = match ty.dtype {
            DType::I32 => HostTensor::i32(&shape, rng.ids(elements, 20)),
            _ if name == "label" => HostTensor::f32(&shape, (0..elements).map(|i| (i % 3 % 2) as f32).collect()),
            _ => HostTensor::f32(&shape, rng.floats(elements, 1.0)),
        };
        batch.insert(name.to_owned(), tensor);
    }
    batch
}

/// Trains on the CPU and on the device, batches of these sizes; how many dispatches a step took.
fn check(step: &optim::Step, sizes: &[usize]) -> Option<usize> {
    let device = gpu::gpu()?;
    let mut rng = Rng(7);
    let g = &step.graph;
    let state = weights(g, &step.state, &mut rng);
    let most = sizes.iter().copied().max().unwrap_or(1);
    let most = u32::try_from(most).expect("few rows");
    let mut want = cpu::Stepper::new(g, state.clone()).unwrap_or_else(|e| panic!("{e}\n{g}"));
    let mut got = Stepper::new(device, g, state, most).unwrap_or_else(|e| panic!("{e}\n{g}"));
    for (t, &rows) in (1..).zip(sizes) {
        let mut batch = batch(g, &mut rng, rows);
        batch.extend(step.scalars(At {
            step: t,
            rows,
            lr: 1e-2,
            seed: 0,
        }));
        let wanted = want.step(&batch, rows).unwrap_or_else(|e| panic!("{e}"));
        let metrics = got.step(&batch, rows).unwrap_or_else(|e| panic!("{e}\n{g}"));
        compare_outputs(&metrics, &wanted, TOL).unwrap_or_else(|e| panic!("step {t}: {e}\n{g}"));
    }
    let state = got.state().unwrap_or_else(|e| panic!("{e}"));
    compare_outputs(&state, want.state(), TOL).unwrap_or_else(|e| panic!("{e}\n{g}"));
    Some(got.dispatches())
}

/// Holds the gradients of a step under gradient descent with momentum to their meaning: from no momentum, what it writes
/// as such is the gradient.
fn gradients(step: &optim::Step, rows: usize) {
    let Some(device) = gpu::gpu() else { return };
    let mut rng = Rng(7);
    let g = &step.graph;
    let state = weights(g, &step.state, &mut rng);
    let capacity = u32::try_from(rows).expect("few rows");
    let mut stepper = Stepper::new(device, g, state.clone(), capacity).unwrap_or_else(|e| panic!("{e}\n{g}"));
    let mut batch = batch(g, &mut rng, rows);
    batch.extend(step.scalars(At {
        step: 1,
        rows,
        lr: 1.0,
        seed: 0,
    }));
    stepper.step(&batch, rows).unwrap_or_else(|e| panic!("{e}\n{g}"));
    let after = stepper.state().unwrap_or_else(|e| panic!("{e}"));
    let got: Tensors = after.into_iter().map(|(name, t)| (format!("next.{name}"), t)).collect();
    let mut wanted = g.clone();
    wanted.outputs.retain(|(name, _)| name.starts_with("next.sgd.b/"));
    let sizes = Sizes { rows, requests: rows };
    let worst = compare_gradients(&got, &wanted, (&state, &batch, sizes)).unwrap_or_else(|e| panic!("{e}\n{g}"));
    eprintln!("{worst:.3} of what is allowed");
}

fn tower(g: &mut Graph, widths: &[usize]) -> Built {
    let x = g.input("x", DType::F32, rows(&widths[..1]))?;
    dense(g, x, widths)
}

fn dense(g: &mut Graph, x: Value, widths: &[usize]) -> Built {
    let mut layers = Vec::new();
    for (i, w) in widths.windows(2).enumerate() {
        let weight = g.param(&format!("fc{i}.weight"), &[w[1], w[0]])?;
        let bias = g.param(&format!("fc{i}.bias"), &[w[1]])?;
        layers.push((weight, Some(bias)));
    }
    let logit = nn::mlp(g, x, &layers, |g, _, x| nn::relu(g, x))?;
    g.reshape(logit, &rows(&[]))
}

#[test]
fn a_tower_with_adam() {
    // A divisor off zero, where rounding alone would decide which way a weight goes.
    let adam = Group {
        eps: 1e-5,
        ..all(Rule::Adam)
    };
    let step = step(|g| tower(g, &[256, 256, 128, 1]), &only(adam));
    if let Some(n) = check(&step, &[512, 512, 100, 512]) {
        eprintln!("{n} dispatches");
        assert!(n <= 6, "{n} dispatches");
    }
}

#[test]
fn a_tall_sum_has_many_workgroups() {
    let Some(device) = gpu::gpu() else { return };
    let step = step(|g| tower(g, &[256, 1]), &only(all(Rule::Sgd)));
    check(&step, &[8192, 1000]);
    let state = weights(&step.graph, &step.state, &mut Rng(1));
    let mut stepper = Stepper::new(device, &step.graph, state, 8192).expect("a step");
    let workgroups = |stepper: &mut Stepper, n: usize| {
        let mut batch = batch(&step.graph, &mut Rng(3), n);
        batch.extend(step.scalars(At {
            step: 1,
            rows: n,
            lr: 1e-2,
            seed: 0,
        }));
        stepper.step(&batch, n).expect("a batch");
        stepper.work().workgroups
    };
    // Thirty-two parts of four tiles of columns.
    assert!(workgroups(&mut stepper, 1) > 128);
}

#[test]
fn rules_and_odd_sizes() {
    let clipped = |group| Optimiser {
        clip: Some(0.05),
        ..only(group)
    };
    let momentum = Group {
        momentum: 0.9,
        l2: 0.01,
        ..all(Rule::Sgd)
    };
    let decay = Group {
        weight_decay: 0.1,
        ..all(Rule::Adam)
    };
    for optimiser in [
        only(all(Rule::Sgd)),
        clipped(momentum),
        only(all(Rule::Adagrad)),
        clipped(decay),
    ] {
        let step = step(|g| tower(g, &[13, 37, 3, 1]), &optimiser);
        check(&step, &[33, 1, 70]);
    }
}

/// Attention of a target over a history of 6, both out of one table; tables updated whole.
fn attention(g: &mut Graph) -> Built {
    let target = g.input("target", DType::I32, rows(&[]))?;
    let history = g.input("history", DType::I32, rows(&[6]))?;
    let table = g.param("table", &[20, 10])?;
    let (q, k) = (g.gather(table, target)?, g.gather(table, history)?);
    let q3 = g.reshape(q, &rows(&[1, 10]))?;
    let q3 = g.broadcast(q3, &rows(&[6, 10]))?;
    let product = g.binary(Binary::Mul, q3, k)?;
    let (w, b) = (g.param("attention.weight", &[7, 10])?, g.param("attention.bias", &[7])?);
    let hidden = nn::linear(g, product, w, Some(b))?;
    let hidden = g.unary(Unary::Sigmoid, hidden)?;
    let (w, b) = (g.param("score.weight", &[1, 7])?, g.param("score.bias", &[1])?);
    let score = nn::linear(g, hidden, w, Some(b))?;
    let score = g.broadcast(score, &rows(&[6, 10]))?;
    let pooled = g.binary(Binary::Mul, score, k)?;
    let pooled = g.reduce(Fold::Sum, pooled, &[1])?;
    let pooled = g.reshape(pooled, &rows(&[10]))?;
    let x = nn::beside(g, &[q, pooled])?;
    dense(g, x, &[20, 16, 1])
}

#[test]
fn attention_over_a_table() {
    let step = step(attention, &only(all(Rule::Adam)));
    if let Some(n) = check(&step, &[60, 60, 9]) {
        eprintln!("{n} dispatches");
        assert!(n <= 8, "{n} dispatches");
    }
}

#[test]
fn the_same_bits_every_time() {
    let Some(device) = gpu::gpu() else { return };
    let step = step(attention, &only(all(Rule::Adam)));
    let train = || {
        let mut rng = Rng(3);
        let state = weights(&step.graph, &step.state, &mut rng);
        let mut stepper = Stepper::new(device.clone(), &step.graph, state, 64).expect("a step");
        for t in 1..4 {
            let mut batch = batch(&step.graph, &mut rng, 64);
            batch.extend(step.scalars(At {
                step: t,
                rows: 64,
                lr: 1e-2,
                seed: 0,
            }));
            stepper.step(&batch, 64).expect("a batch");
        }
        stepper.state().expect("a state")
    };
    assert_eq!(train(), train());
}

#[test]
fn other_values_take_the_place_of_all() {
    let Some(device) = gpu::gpu() else { return };
    // `scale` is read by rows and never trained, `turn` by indices.
    let build = |g: &mut Graph| -> Built {
        let ids = g.input("target", DType::I32, rows(&[]))?;
        let turn = g.declare(
            Op::Param("turn".into()),
            &[],
            TensorType::new(DType::I32, Shape(vec![Dim::Fixed(20)])),
        )?;
        let ids = g.gather(turn, ids)?;
        let table = g.param("table", &[20, 10])?;
        let x = g.gather(table, ids)?;
        let scale = g.param("scale", &[10])?;
        let x = g.binary(Binary::Mul, x, scale)?;
        dense(g, x, &[10, 1])
    };
    let frozen = Group {
        params: vec!["scale".into()],
        rule: Rule::Frozen,
        ..Group::default()
    };
    let momentum = Group {
        momentum: 0.9,
        ..all(Rule::Sgd)
    };
    let optimiser = Optimiser {
        groups: vec![frozen, momentum],
        ..Optimiser::default()
    };
    let step = step(build, &optimiser);
    let mut rng = Rng(3);
    let mut random = || {
        let turn = HostTensor::i32(&[20], rng.ids(20, 20));
        weights(
            &step.graph,
            &[("turn".to_owned(), turn)].into_iter().collect(),
            &mut rng,
        )
    };
    let (first, other) = (random(), random());
    let mut batch = batch(&step.graph, &mut Rng(5), 9);
    batch.extend(step.scalars(At {
        step: 1,
        rows: 9,
        lr: 1e-2,
        seed: 0,
    }));
    let mut stepper = Stepper::new(device.clone(), &step.graph, first, 16).expect("a step");
    stepper.step(&batch, 9).expect("a batch");
    stepper.restore(other.clone()).expect("a state");
    assert_eq!(stepper.state().expect("a state"), other);
    let mut fresh = Stepper::new(device, &step.graph, other, 16).expect("a step");
    assert_eq!(
        stepper.step(&batch, 9).expect("a batch"),
        fresh.step(&batch, 9).expect("a batch")
    );
    let after = stepper.state().expect("a state");
    assert_eq!(after, fresh.state().expect("a state"));
    let mut without = after.clone();
    without.swap_remove("scale");
    assert!(matches!(stepper.restore(without), Err(Error::State(_))));
    assert_eq!(stepper.state().expect("a state"), after);
}

#[test]
fn what_is_wrong_changes_nothing() {
    let Some(device) = gpu::gpu() else { return };
    let step = step(attention, &only(all(Rule::Adam)));
    let mut rng = Rng(3);
    let state = weights(&step.graph, &step.state, &mut rng);
    let mut stepper = Stepper::new(device.clone(), &step.graph, state.clone(), 8).expect("a step");
    let mut good = batch(&step.graph, &mut rng, 8);
    good.extend(step.scalars(At {
        step: 1,
        rows: 8,
        lr: 1e-2,
        seed: 0,
    }));
    let mut outside = good.clone();
    outside.insert("target".into(), HostTensor::i32(&[8], vec![0, 1, 2, 3, 4, 5, 6, 20]));
    let mut missing = good.clone();
    missing.swap_remove("step.lr");
    let mut infinite = good.clone();
    infinite.insert("label".into(), HostTensor::f32(&[8], vec![f32::NAN; 8]));
    for bad in [outside, missing] {
        let e = stepper.step(&bad, 8).expect_err("a wrong batch");
        assert!(matches!(e, Error::Run(_)), "{e}");
    }
    let metrics = stepper.step(&infinite, 8).expect("a batch");
    assert!(metrics["grad_norm"].as_f32().expect("floats")[0].is_nan());
    assert_eq!(stepper.state().expect("a state"), state);

    let mut without = state.clone();
    without.swap_remove("table");
    assert!(matches!(
        Stepper::new(device, &step.graph, without, 8),
        Err(Error::State(_))
    ));
}

#[test]
fn other_forms_are_refused_by_name() {
    let Some(device) = gpu::gpu() else { return };
    let step = step(attention, &only(all(Rule::Adam)));
    let mut g = step.graph.clone();
    let metric = g.params().find(|(_, name, _)| *name == "table").expect("a table").0;
    g.outputs.push(("table".into(), metric));
    let state = weights(&g, &step.state, &mut Rng(1));
    match Stepper::new(device, &g, state, 8) {
        Err(e @ Error::Form { .. }) => eprintln!("{e}"),
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("not refused"),
    }
}
