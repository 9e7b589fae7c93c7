//! Architectures from `config.json`: their numbers, their tensors, their refusals.

mod naive;
mod pytorch;

use std::path::PathBuf;

use indexmap::IndexMap;
use loopfm::import;
use loopfm::interp;
use loopfm::ir::{Graph, Op};
use loopfm::model::{self, Model, build, load};
use loopfm::tensor::{DType, Data, HostTensor, Sizes, Tensors};
use tempfile::TempDir;

use self::naive::Naive;
use crate::support::files::{put, safetensors};
use crate::support::rng::Rng;

const DCN: &str = r#"{"architecture": "dcnv2",
    "fields": [{"name": "user", "vocabulary": 11, "width": 3, "per_request": true},
               {"name": "item", "vocabulary": 7, "width": 4}],
    "dense": [{"name": "age", "width": 1}],
    "cross": {"layers": 2}, "mlp": [6, 5]}"#;

const DIN: &str = r#"{"architecture": "din",
    "fields": [{"name": "user", "vocabulary": 11, "width": 3, "per_request": true},
               {"name": "item", "vocabulary": 7, "width": 4}],
    "dense": [{"name": "emb", "width": 2}],
    "history": {"length": 5, "of": ["item", "emb"], "per_request": true},
    "attention": {"layers": [8, 4], "activation": "dice"},
    "mlp": [6, 5], "activation": "prelu"}"#;

/// Random weights for every parameter; variances are positive.
fn weights(graph: &Graph, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let random = |(_, name, ty): (_, &str, &loopfm::ir::TensorType)| {
        let shape = ty.shape.at(Sizes::ONE);
        let mut x = rng.floats(shape.iter().product(), 0.5);
        if name.ends_with("running_var") {
            x.iter_mut().for_each(|x| *x = 0.5 + x.abs());
        }
        (name.to_owned(), HostTensor::f32(&shape, x))
    };
    graph.params().map(random).collect()
}

/// A folder with a checkpoint and its `config.json`.
fn checkpoint(config: &str, weights: &Tensors) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path(), "config.json", config);
    let path = put(
        folder.path(),
        "model.safetensors",
        safetensors(&[("format", "pt")], weights),
    );
    (folder, path)
}

fn run(model: &Model, batch: &Tensors, sizes: Sizes) -> IndexMap<String, Vec<f64>> {
    let outputs = interp::eval::<f64>(&model.graph, &model.weights, batch, sizes).expect("it runs");
    outputs
        .iter()
        .map(|(name, t)| (name.clone(), t.floats().to_vec()))
        .collect()
}

/// Random values for every input.
fn batch(graph: &Graph, sizes: Sizes, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let mut random = |(_, name, ty): (_, &str, &loopfm::ir::TensorType)| {
        let shape = ty.shape.at(sizes);
        let n = shape.iter().product();
        let data = match ty.dtype {
            DType::F32 => Data::F32(rng.floats(n, 1.0)),
            DType::I32 if name == "request_of_row" => Data::I32(rng.ids(n, sizes.requests)),
            DType::I32 => Data::I32(rng.ids(n, 7)),
            DType::Bool => Data::Bool((0..n).map(|_| !rng.one_in(3)).collect()),
        };
        (name.to_owned(), HostTensor { shape, data })
    };
    graph.inputs().map(&mut random).collect()
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-6 * (1.0 + w.abs()), "got {g}, want {w}");
    }
}

#[test]
fn models_compute_what_they_say() {
    for config in [DCN, DIN] {
        let graph = build(config).expect("a sound configuration");
        loopfm::ir::verify(&graph).expect("it is typed");
        assert_eq!(
            loopfm::ir::parse(&graph.to_string()).expect("its text is a graph"),
            graph
        );
        let (_folder, path) = checkpoint(config, &weights(&graph, 3));
        let model = load(&path).expect("its tensors fit");
        for sizes in [Sizes { rows: 1, requests: 1 }, Sizes { rows: 9, requests: 4 }] {
            let batch = batch(&model.graph, sizes, 4);
            let got = run(&model, &batch, sizes);
            let width = got["hidden"].len() / sizes.rows;
            for row in 0..sizes.rows {
                let naive = Naive {
                    weights: &model.weights,
                    batch: &batch,
                    row,
                };
                let want = if config == DCN { naive.dcn() } else { naive.din() };
                close(&got["hidden"][row * width..][..width], &want);
                let logit = naive.linear("out", &want)[0];
                close(&got["logit"][row..=row], &[logit]);
                close(&got["prob"][row..=row], &[1.0 / (1.0 + (-logit).exp())]);
            }
        }
    }
}

#[test]
fn variants_differ_in_their_tensors() {
    let names = |config: &str| -> Vec<String> {
        let graph = build(config).expect("a sound configuration");
        graph
            .params()
            .map(|(_, name, ty)| format!("{name} {}", ty.shape))
            .collect()
    };
    let low = names(&DCN.replace(r#""layers": 2"#, r#""layers": 1, "rank": 2"#));
    assert!(
        ["cross.0.v.weight [2, 8]", "cross.0.u.weight [8, 2]", "cross.0.bias [8]"]
            .iter()
            .all(|n| low.contains(&(*n).to_owned())),
        "{low:?}"
    );
    let projected = names(&DCN.replace(r#""mlp""#, r#""structure": "stacked", "projection": 2, "mlp""#));
    assert!(
        projected.contains(&"projection.weight [2, 5]".to_owned()),
        "{projected:?}"
    );
    assert!(projected.contains(&"out.weight [1, 2]".to_owned()), "{projected:?}");
    let softmax = build(&DIN.replace(r#""layers": [8, 4]"#, r#""softmax": true, "layers": []"#)).expect("sound");
    assert!(softmax.iter().any(|(_, n)| n.op == Op::Unary(loopfm::ir::Unary::Exp)));
    for activation in ["relu", "silu", "gelu", "sigmoid", "tanh", "dice"] {
        assert!(build(&DIN.replace("prelu", activation)).is_ok(), "{activation}");
    }
}

#[test]
fn a_configuration_may_lie_inside_the_file() {
    let graph = build(DCN).expect("a sound configuration");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = safetensors(&[("loopfm.config", DCN)], &weights(&graph, 3));
    assert_eq!(
        load(&put(folder.path(), "m.safetensors", bytes))
            .expect("it fits")
            .graph,
        graph
    );
}

#[test]
fn configurations_are_refused_by_name() {
    let cases = [
        (
            DCN.replace("dcnv2", "dcnv3"),
            "unknown architecture `dcnv3`, known are `fm`, `fmfm`, `deepfm`, `dcnv2`, `din`, `dien`, `dmr`, `dmin`",
        ),
        (DCN.replace("cross", "kross"), "unknown field `kross`"),
        (
            DCN.replace(r#""layers": 2"#, r#""layers": 2, "depth": 1"#),
            "unknown field `depth`",
        ),
        (
            DCN.replace(r#""vocabulary": 7"#, r#""vocabulary": 0"#),
            "0 is not within 1..=2147483648",
        ),
        (
            DCN.replace(r#""width": 4"#, r#""width": 65537"#),
            "65537 is not within 1..=65536",
        ),
        (DCN.replace(r#""width": 4"#, r#""width": -4"#), "-4"),
        (
            DCN.replace(r#""layers": 2"#, r#""layers": 2000"#),
            "2000 is not within 1..=1024",
        ),
        (DCN.replace("item", "user"), "input `user` is defined twice"),
        (DCN.replace("item", "request_of_row"), "cannot name an input"),
        (DCN.replace("item", "a\\nb"), "cannot name an input"),
        (
            DIN.replace(r#"["item", "emb"]"#, r#"["shop"]"#),
            "`history.of` names `shop`",
        ),
        (DIN.replace(r#"["item", "emb"]"#, "[]"), "`history.of` is empty"),
        (DIN.replace("\"dice\"", "\"swish\""), "unknown variant `swish`"),
        (format!("{DIN}x"), "trailing characters"),
        ("[".repeat(100_000), "nests 100000 deep"),
        ("[]".to_owned(), "invalid"),
        (
            r#"{"architecture": "din", "architecture": "dcnv2"}"#.to_owned(),
            "duplicate field",
        ),
    ];
    for (config, expected) in cases {
        let (_folder, path) = checkpoint(&config, &Tensors::new());
        let e = load(&path).expect_err(expected);
        assert!(e.to_string().contains(expected), "{e}");
        assert!(e.to_string().contains("config.json") && e.exit_code() == 1, "{e}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = put(folder.path(), "m.safetensors", safetensors(&[], &Tensors::new()));
    assert!(matches!(load(&path), Err(model::Error::NoConfig { .. })));
}

#[test]
fn all_tensors_that_do_not_fit_are_reported_together() {
    let mut wrong = weights(&build(DIN).expect("a sound configuration"), 3);
    wrong.swap_remove("out.bias");
    wrong.insert("bn.num_batches_tracked".into(), HostTensor::i32(&[], vec![1]));
    wrong.insert("mlp.0.weight".into(), HostTensor::f32(&[15, 6], vec![0.0; 90]));
    wrong.insert("mlp.1.bias".into(), HostTensor::i32(&[5], vec![0; 5]));
    let (_folder, path) = checkpoint(DIN, &wrong);
    let Err(model::Error::Import(import::Error::Mismatch { problems, .. })) = load(&path) else {
        panic!("the tensors do not fit")
    };
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "shape: tensor `mlp.0.weight` is f32[15, 6], expected f32[6, 15]",
            "type: tensor `mlp.1.bias` is I32 [5], expected f32[5]",
            "missing: tensor `out.bias`, f32[1]",
            "unexpected: tensor `bn.num_batches_tracked`, I32 []",
        ]
    );
}
