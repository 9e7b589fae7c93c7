//! Each rule against PyTorch's, step by step.

use loopfm::grad;
use loopfm::ir::{Graph, Op};
use loopfm::optim::{self, Decay, Error, Group, Optimiser, Rule, Schedule};
use loopfm::tensor::{HostTensor, Tensors};

use super::{Machine, apart, bce, reference, scalar, small};

const STEPS: usize = 25;
const ROWS: usize = 16;
const LAST: usize = 7;

fn one(group: Group) -> Optimiser {
    Optimiser {
        groups: vec![group],
        ..Optimiser::default()
    }
}

fn rule(rule: Rule) -> Group {
    Group {
        rule,
        ..Group::default()
    }
}

fn batch(all: &Tensors, t: usize) -> Tensors {
    let rows = if t + 1 == STEPS { LAST } else { ROWS };
    let ids = &all["ids"].as_i32().expect("integers")[t * ROWS * 3..][..rows * 3];
    let label = &all["label"].as_f32().expect("floats")[t * ROWS..][..rows];
    Tensors::from([
        ("ids".to_owned(), HostTensor::i32(&[rows, 3], ids.to_vec())),
        ("label".to_owned(), HostTensor::f32(&[rows], label.to_vec())),
    ])
}

fn weights(all: &Tensors, prefix: &str) -> Tensors {
    let named = |(name, t): (&String, &HostTensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
    all.iter()
        .filter_map(named)
        .filter(|(name, _)| name != "loss")
        .collect()
}

fn machine(optimiser: &Optimiser, weights: &Tensors) -> Machine {
    let mut g = Graph::new();
    let logit = small(&mut g);
    let loss = bce(&mut g, logit);
    Machine::new(
        optim::step(g, loss, optimiser).unwrap_or_else(|e| panic!("{e}")),
        weights,
    )
}

fn follows_pytorch(name: &str, optimiser: &Optimiser, lr: &Schedule) {
    let all = reference("optimisers.safetensors");
    let mut m = machine(optimiser, &weights(&all, "start/"));
    let want = all[&format!("{name}/loss")].as_f32().expect("floats");
    for (t, want) in want.iter().enumerate() {
        let metrics = m.step(&batch(&all, t), lr.at(t as u64 + 1));
        assert_eq!(metrics.keys().collect::<Vec<_>>(), ["loss", "grad_norm"]);
        let loss = scalar(&metrics, "loss");
        assert!((loss - want).abs() < 2e-6, "{name}, step {t}: {loss}, PyTorch {want}");
    }
    for (param, want) in weights(&all, &format!("{name}/")) {
        let apart = apart(&m.state[&param], &want);
        assert!(apart < 1e-5, "{name}, `{param}`: {apart:.1e} of its norm");
    }
}

fn constant(lr: f64) -> Schedule {
    Schedule {
        lr,
        ..Schedule::default()
    }
}

#[test]
fn sgd() {
    follows_pytorch("sgd", &one(rule(Rule::Sgd)), &constant(0.1));
    let group = Group {
        momentum: 0.9,
        l2: 0.01,
        ..rule(Rule::Sgd)
    };
    follows_pytorch("momentum", &one(group), &constant(0.1));
}

#[test]
fn adagrad() {
    follows_pytorch("adagrad", &one(rule(Rule::Adagrad)), &constant(0.05));
    follows_pytorch("rowwise", &one(rule(Rule::RowwiseAdagrad)), &constant(0.05));
}

#[test]
fn adam() {
    follows_pytorch("adam", &one(rule(Rule::Adam)), &constant(0.01));
    let l2 = Group {
        l2: 0.02,
        ..Group::default()
    };
    follows_pytorch("adam_l2", &one(l2), &constant(0.01));
    let decoupled = Group {
        weight_decay: 0.1,
        ..Group::default()
    };
    follows_pytorch("adamw", &one(decoupled), &constant(0.01));
}

#[test]
fn adam_of_tables_by_row() {
    let lazy = Group {
        lazy: true,
        ..Group::default()
    };
    follows_pytorch("lazy", &one(lazy), &constant(0.01));
}

#[test]
fn gradients_are_clipped_together() {
    let clipped = Optimiser {
        clip: Some(0.1),
        ..one(Group {
            eps: 1e-3,
            ..Group::default()
        })
    };
    follows_pytorch("clipped", &clipped, &constant(0.01));
}

#[test]
fn learning_rates_warm_up() {
    let warm = Schedule {
        warmup: 10,
        ..constant(0.02)
    };
    follows_pytorch("warm", &one(Group::default()), &warm);
}

#[test]
fn lazy_tables_keep_the_rows_that_no_batch_asks_for() {
    let all = reference("optimisers.safetensors");
    let start = weights(&all, "start/");
    for rule in [Rule::Sgd, Rule::Adagrad, Rule::RowwiseAdagrad, Rule::Adam] {
        let group = Group {
            rule,
            momentum: 0.9,
            l2: 0.1,
            weight_decay: 0.1,
            lazy: true,
            ..Group::default()
        };
        let mut m = machine(&one(group), &start);
        for t in 0..2 {
            let before = m.state.clone();
            let batch = batch(&all, t);
            m.step(&batch, 0.1);
            let ids = batch["ids"].as_i32().expect("integers");
            for (name, old) in before.iter().filter(|(name, _)| name.ends_with("emb.weight")) {
                let (old, new) = (old.as_f32().expect("floats"), m.state[name].as_f32().expect("floats"));
                let width = old.len() / 20;
                for row in 0..20 {
                    let same = old[row * width..][..width] == new[row * width..][..width];
                    assert_eq!(
                        same,
                        !ids.contains(&(row as i32)),
                        "{rule:?}, step {t}: row {row} of `{name}`"
                    );
                }
            }
        }
    }
}

#[test]
fn the_first_group_that_takes_a_parameter_governs_it() {
    let group = |params: &str, rule| Group {
        params: vec![params.to_owned()],
        rule,
        ..Group::default()
    };
    let optimiser = Optimiser {
        groups: vec![
            group("tables", Rule::RowwiseAdagrad),
            group("fc1.*", Rule::Frozen),
            group("*.bias", Rule::Sgd),
        ],
        ..Optimiser::default()
    };
    let all = reference("optimisers.safetensors");
    let start = weights(&all, "start/");
    let mut m = machine(&optimiser, &start);
    assert_eq!(m.step.state.keys().collect::<Vec<_>>(), ["adagrad.s/emb.weight"]);
    assert_eq!(m.step.state["adagrad.s/emb.weight"].shape, [20, 1]);
    m.step(&batch(&all, 0), 0.1);
    let changed = |name: &&String| m.state[*name] != start[*name];
    assert_eq!(
        start.keys().filter(changed).collect::<Vec<_>>(),
        ["emb.weight", "fc2.bias"]
    );
}

#[test]
fn a_batch_without_finite_gradients_changes_nothing() {
    let all = reference("optimisers.safetensors");
    let mut start = weights(&all, "start/");
    start.insert("fc2.bias".to_owned(), HostTensor::f32(&[1], vec![f32::NAN]));
    for lazy in [false, true] {
        let group = Group {
            lazy,
            ..Group::default()
        };
        let mut m = machine(&one(group), &start);
        let before = format!("{:?}", m.state);
        let metrics = m.step(&batch(&all, 0), 0.1);
        assert!(scalar(&metrics, "loss").is_nan() && scalar(&metrics, "grad_norm").is_nan());
        assert_eq!(format!("{:?}", m.state), before);
    }
}

#[test]
fn lazy_writes_have_the_form_that_executors_know() {
    let mut g = Graph::new();
    let logit = small(&mut g);
    let loss = bce(&mut g, logit);
    let lazy = Group {
        lazy: true,
        ..Group::default()
    };
    let step = optim::step(g, loss, &one(lazy)).unwrap_or_else(|e| panic!("{e}"));
    let g = &step.graph;
    let next = |name: &str| g.outputs.iter().find(|(n, _)| n == name).expect("an output").1;
    let is_select = |name: &str| matches!(g.op(next(name)), Op::Select);
    assert!(is_select("next.emb.weight") && is_select("next.adam.m/emb.weight"));
    let scatters: Vec<String> = g
        .iter()
        .filter(|(_, n)| matches!(n.op, Op::ScatterAdd(0)))
        .map(|(_, n)| n.ty.to_string())
        .collect();
    assert_eq!(scatters, ["f32[20, 4]", "f32[20, 1]"], "a gradient and a count");
}

#[test]
fn settings_are_checked() {
    let refused = |optimiser: &Optimiser| match optimiser.check() {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let group = |change: fn(&mut Group)| {
        let mut group = Group::default();
        change(&mut group);
        one(group)
    };
    assert_eq!(refused(&group(|g| g.l2 = -1.0)), "l2");
    assert_eq!(refused(&group(|g| g.eps = f64::NAN)), "eps");
    assert_eq!(refused(&group(|g| g.momentum = 1.0)), "momentum");
    let clip = Optimiser {
        clip: Some(0.0),
        ..Optimiser::default()
    };
    assert_eq!(refused(&clip), "clip");
    let ends_before_it_begins = Schedule {
        decay: Decay::Linear,
        warmup: 10,
        steps: 10,
        ..Schedule::default()
    };
    assert!(ends_before_it_begins.check().is_err());
}

#[test]
fn a_loss_of_no_parameter_is_refused() {
    let mut g = Graph::new();
    let logit = small(&mut g);
    let still = g.detach(logit).expect("types fit");
    let loss = bce(&mut g, still);
    let frozen = one(rule(Rule::Frozen));
    assert!(matches!(optim::step(g.clone(), loss, &frozen), Err(Error::Untrained)));
    // What `detach` hides has no gradient, but a value: zeros.
    assert!(grad::grad(&mut g, loss, &[logit]).is_ok());
}
