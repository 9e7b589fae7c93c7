//! The same models in training: they are those of inference but for dropout and statistics.

use loopfm::ir::{Op, verify};
use loopfm::model::{Init, Mode};
use loopfm::tensor::{HostTensor, Sizes, Tensors};

use super::{ADDITIONS, ARCHITECTURES, batch, close, network, run, scalars, spec, weights};

const SIZES: Sizes = Sizes { rows: 9, requests: 9 };

fn find<'a>(outputs: &'a [(String, Vec<f64>)], name: &str) -> &'a [f64] {
    let found = outputs.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no `{name}`")).1
}

/// Batch normalisation, where there is a tower.
fn normalised(architecture: &str, more: &str) -> String {
    let norm = if architecture.contains("fm") && architecture != "deepfm" {
        ""
    } else {
        r#""batch_norm": "each","#
    };
    spec(architecture, &format!("{more} {norm}"))
}

#[test]
fn models_have_one_set_of_parameters() {
    for architecture in ARCHITECTURES {
        for (name, more) in ADDITIONS {
            let config = normalised(architecture, more);
            let (eval, train) = (network(&config, Mode::Eval), network(&config, Mode::Train));
            assert_eq!(eval.parameters, train.parameters, "{architecture} {name}");
            for network in [&eval, &train] {
                verify(&network.graph).unwrap_or_else(|e| panic!("{architecture} {name}: {e}"));
                for (_, param, ty) in network.graph.params() {
                    assert_eq!(network.parameters[param].shape, ty.shape.at(Sizes::ONE), "{param}");
                }
            }
            let trained = train.graph.params().count();
            assert_eq!(
                trained,
                train.parameters.len(),
                "{architecture} {name}: a tensor that nothing uses"
            );
            assert!(train.graph.inputs().all(|(_, input, _)| input != "request_of_row"));
            let statistics = train
                .parameters
                .iter()
                .filter(|(_, p)| !p.trained)
                .map(|(n, _)| format!("next.{n}"));
            let outputs = |name: &String| train.graph.outputs.iter().any(|(known, _)| known == name);
            assert!(statistics.into_iter().all(|n| outputs(&n)), "{architecture} {name}");
            assert_eq!(train.logit_kd.is_some(), name == "kd");
            assert_eq!(
                train.code.is_some_and(|code| code.loss.is_some()),
                name == "autoencoder"
            );
        }
    }
}

/// What the batch's statistics were, from what the running ones became.
fn of_batch(name: &str, old: &HostTensor, next: &[f64], n: f64) -> HostTensor {
    let share = if name.contains(".dice.") { 0.01 } else { 0.1 };
    let unbiased = |(old, next): (&f32, &f64)| f64::from(*old) + (next - f64::from(*old)) / share;
    // Normalisation divides by n, what runs along by n - 1.
    let factor = if name.ends_with("running_var") {
        (n - 1.0) / n
    } else {
        1.0
    };
    let values = old.as_f32().unwrap().iter().zip(next);
    HostTensor::f32(
        &old.shape,
        values.map(|pair| (unbiased(pair) * factor) as f32).collect(),
    )
}

#[test]
fn training_is_inference_by_statistics_of_the_batch() {
    for architecture in ARCHITECTURES {
        for (name, more) in ADDITIONS {
            let config = normalised(architecture, more);
            let (eval, train) = (network(&config, Mode::Eval), network(&config, Mode::Train));
            let mut weights = weights(&train, 5);
            let mut given = batch(&train.graph, SIZES, 6);
            scalars(&mut given, SIZES.rows, 1);
            let trained = run(&train.graph, &weights, &given, SIZES);
            let statistics: Vec<String> = train
                .parameters
                .iter()
                .filter(|(_, p)| !p.trained)
                .map(|(n, _)| n.clone())
                .collect();
            for statistic in statistics {
                let positions = if statistic.starts_with("attention") { 3 } else { 1 };
                let n = (SIZES.rows * positions) as f64;
                let of_batch = of_batch(
                    &statistic,
                    &weights[&statistic],
                    find(&trained, &format!("next.{statistic}")),
                    n,
                );
                weights.insert(statistic, of_batch);
            }
            let rows: Vec<i32> = (0..SIZES.rows as i32).collect();
            given.insert("request_of_row".into(), HostTensor::i32(&[SIZES.rows], rows));
            let evaluated = run(&eval.graph, &weights, &given, SIZES);
            close(
                &format!("{architecture} {name}"),
                find(&trained, "logit"),
                find(&evaluated, "logit"),
                2e-5,
            );
        }
    }
}

#[test]
fn dropout_follows_its_seed() {
    let config = spec("dmin", r#""dropout": 0.5,"#);
    let train = network(&config, Mode::Train);
    let streams = train.graph.iter().filter_map(|(_, n)| match n.op {
        Op::Uniform(stream) => Some(stream),
        _ => None,
    });
    // Two layers of the tower, two heads, the refiner.
    assert_eq!(streams.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let weights = weights(&train, 5);
    let mut given = batch(&train.graph, SIZES, 6);
    let mut logits = |seed: i32| {
        scalars(&mut given, SIZES.rows, seed);
        find(&run(&train.graph, &weights, &given, SIZES), "logit").to_vec()
    };
    let first = logits(1);
    assert_eq!(first, logits(1));
    assert_ne!(first, logits(2));
    let plain = network(&spec("dmin", ""), Mode::Train);
    assert!(plain.graph.inputs().all(|(_, name, _)| !name.starts_with("step.")));
    assert_eq!(
        network(&config, Mode::Eval).graph,
        network(&spec("dmin", ""), Mode::Eval).graph
    );
}

#[test]
fn dropout_keeps_the_mean() {
    let config = r#"{"architecture": "dcnv2", "fields": [{"name": "a", "vocabulary": 7, "width": 1}], "cross": {"layers": 1},
        "structure": "stacked", "mlp": [1], "activation": "sigmoid", "dropout": 0.25}"#;
    let train = network(config, Mode::Train);
    let sizes = Sizes {
        rows: 4000,
        requests: 1,
    };
    let mut weights = train.init(1);
    weights.insert("mlp.0.weight".into(), HostTensor::f32(&[1, 1], vec![0.0]));
    weights.insert("mlp.0.bias".into(), HostTensor::f32(&[1], vec![0.0]));
    weights.insert("out.weight".into(), HostTensor::f32(&[1, 1], vec![1.0]));
    weights.insert("out.bias".into(), HostTensor::f32(&[1], vec![0.0]));
    let mut given: Tensors = batch(&train.graph, sizes, 6);
    scalars(&mut given, sizes.rows, 3);
    let outputs = run(&train.graph, &weights, &given, sizes);
    let logits = find(&outputs, "logit");
    let kept = logits.iter().filter(|x| **x != 0.0).count();
    assert!((2900..3100).contains(&kept), "{kept} of 4000 are kept");
    assert!(logits.iter().all(|x| *x == 0.0 || (*x - 0.5 / 0.75).abs() < 1e-6));
}

#[test]
fn fresh_weights_are_functions_of_their_names() {
    let config = spec("dmin", ADDITIONS[4].1);
    let train = network(&config, Mode::Train);
    let (weights, again) = (train.init(7), network(&config, Mode::Eval).init(7));
    assert_eq!(weights, again);
    assert_ne!(weights, train.init(8));
    let alone = network(&spec("dmin", ""), Mode::Eval).init(7);
    assert_eq!(alone["mlp.1.weight"], weights["mlp.1.weight"]);
    for (name, p) in &train.parameters {
        let values = weights[name].as_f32().unwrap();
        assert_eq!(weights[name].shape, p.shape);
        let within = match p.init {
            Init::Constant(x) => values.iter().all(|v| *v == x),
            Init::Uniform(bound) => {
                values.iter().all(|v| v.abs() <= bound)
                    && (values.len() < 16 || values.iter().any(|v| v.abs() > bound / 2.0))
            }
            Init::Normal(deviation) => values.iter().all(|v| v.abs() < 6.0 * deviation),
            Init::Identity => p.shape[0] == p.shape[1],
        };
        assert!(within, "`{name}` {:?}", p.init);
    }
    let head = &weights["embedding.item.weight"].as_f32().unwrap()[..3];
    assert_eq!(
        head,
        [-5.671_053e-5, -7.450_407_4e-5, 1.536_923_8e-5],
        "the generator's first numbers"
    );
}

#[test]
fn fresh_tables_are_normal() {
    let config = r#"{"architecture": "fm", "fields": [{"name": "a", "vocabulary": 20000, "width": 4}]}"#;
    let weights = network(config, Mode::Eval).init(3);
    let x: Vec<f64> = weights["embedding.a.weight"]
        .as_f32()
        .unwrap()
        .iter()
        .map(|x| f64::from(*x) * 1e4)
        .collect();
    let moment = |k: i32| x.iter().map(|x| x.powi(k)).sum::<f64>() / x.len() as f64;
    assert!(
        moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 0.02,
        "{} {}",
        moment(1),
        moment(2)
    );
    assert!(
        moment(3).abs() < 0.05 && (moment(4) - 3.0).abs() < 0.1,
        "{} {}",
        moment(3),
        moment(4)
    );
}
