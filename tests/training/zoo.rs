//! Architectures in training: dropout and statistics resume to the bit, distillation and autoencoder reach what they
//! should and nothing else.

use loopfm::optim::{Group, Optimiser, Rule};
use loopfm::tensor::{HostTensor, Tensors};
use loopfm::train::{Distillation, Event, Fit, Spec, Split, Trainable, Trainer};

use crate::support::rng::Rng;

const DCN: &str = r#"
architecture = "dcnv2"
fields = [{name = "user", vocabulary = 30, width = 4}, {name = "video", vocabulary = 50, width = 4}]
dense = [{name = "price", width = 1}]
cross = {layers = 1}
mlp = [16, 8]
"#;

fn spec(model: &str) -> Spec {
    let mut spec = Spec {
        seed: 5,
        model: toml::from_str(model).unwrap(),
        ..Spec::default()
    };
    spec.data.batch = 64;
    spec.schedule.lr = 0.01;
    spec.run.checkpoint = 3;
    spec
}

fn data(rows: usize, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let (user, video) = (rng.ids(rows, 30), rng.ids(rows, 50));
    let price = rng.floats(rows, 1.0);
    let like = |i: usize| f32::from(u8::from(video[i] < 20 && price[i] < 0.3 || user[i] < 5));
    let label = (0..rows).map(like).collect();
    let teacher = rng.floats(rows, 1.0).iter().map(|x| x.abs().min(1.0)).collect();
    Tensors::from([
        ("label".to_owned(), HostTensor::f32(&[rows], label)),
        ("teacher".to_owned(), HostTensor::f32(&[rows], teacher)),
        ("user".to_owned(), HostTensor::i32(&[rows], user)),
        ("video".to_owned(), HostTensor::i32(&[rows], video)),
        ("price".to_owned(), HostTensor::f32(&[rows, 1], price)),
    ])
}

fn trainer(spec: &Spec) -> Trainer {
    let model = Trainable::of_spec(spec).unwrap_or_else(|e| panic!("{e}"));
    Trainer::new(model, spec).unwrap_or_else(|e| panic!("{e}"))
}

/// The parameters of training after some steps.
fn trained(spec: &Spec, steps: u64) -> Tensors {
    let mut trainer = trainer(spec);
    for step in 0..steps {
        let mut batch = data(64, step);
        if spec.loss.distillation.is_none() {
            batch.shift_remove("teacher");
        }
        trainer.step(&batch).unwrap_or_else(|e| panic!("{e}"));
    }
    trainer.weights().unwrap()
}

fn plain_sgd(mut spec: Spec) -> Spec {
    let group = Group {
        rule: Rule::Sgd,
        ..Group::default()
    };
    spec.optimiser = Optimiser {
        groups: vec![group],
        ..Optimiser::default()
    };
    spec
}

#[test]
fn an_autoencoder_leaves_the_model_as_it_is() {
    let with = format!("{DCN}autoencoder = {{of = [\"mlp.0\"], layers = [12], width = 6, prefixes = [2, 4]}}\n");
    let mut beside = spec(&with);
    beside.loss.autoencoder = Some(0.7);
    let (alone, beside) = (trained(&spec(DCN), 6), trained(&beside, 6));
    for (name, weight) in &alone {
        // To the bit.
        assert_eq!(weight, &beside[name], "`{name}`");
    }
    let code = |name: &&String| !alone.contains_key(*name);
    assert!(beside.keys().any(|name| code(&name)), "the code is part of the model");
}

#[test]
fn a_teacher_reaches_the_backbone_by_its_scale_and_the_serving_head_not() {
    let step = |beta: Option<f64>| {
        let kd = beta.map_or(String::new(), |beta| format!("kd = {{gradient_scale = {beta:?}}}\n"));
        let mut spec = plain_sgd(spec(&format!("{DCN}{kd}")));
        spec.loss.distillation = beta.map(|_| Distillation {
            alpha: 1.5,
            weight: 3.0,
            ..Distillation::default()
        });
        trained(&spec, 1)
    };
    let [none, zero, one, two] = [None, Some(0.0), Some(1.0), Some(2.0)].map(step);
    for (name, without) in &none {
        if name.starts_with("out.") {
            assert_eq!(without, &two[name], "`{name}`");
        }
        assert_eq!(without, &zero[name], "`{name}`");
    }
    let moved = |to: &Tensors, i: usize| {
        let w = |t: &Tensors| f64::from(t["mlp.0.weight"].as_f32().unwrap()[i]);
        w(to) - w(&none)
    };
    let (mut apart, mut size) = (0.0, 0.0);
    for i in 0..none["mlp.0.weight"].data.len() {
        apart += (moved(&two, i) - 2.0 * moved(&one, i)).abs();
        size += moved(&two, i).abs();
    }
    assert!(size > 1e-3 && apart < 1e-3 * size, "{apart} of {size}");
}

#[test]
fn dropout_and_statistics_resume_to_the_bit() {
    let spec = spec(&format!("{DCN}dropout = 0.3\nbatch_norm = \"each\"\n"));
    let run = |out: &std::path::Path, resume: bool, observe: &mut dyn FnMut(&Event)| {
        let mut columns = data(600, 9);
        columns.shift_remove("teacher");
        let train = Split::columns(columns);
        let fit = Fit {
            train: &train,
            valid: None,
            out,
            resume,
        };
        let mut trainer = trainer(&spec);
        trainer.fit(&fit, observe).unwrap_or_else(|e| panic!("{e}"));
        trainer.weights().unwrap()
    };
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = whole.path().join("checkpoint.safetensors");
    let mut early = Vec::new();
    let weights = run(whole.path(), false, &mut |event| {
        if let Event::Checkpoint { step: 6 } = event {
            early = std::fs::read(&path).unwrap();
        }
    });
    std::fs::write(killed.path().join("checkpoint.safetensors"), early).unwrap();
    assert_eq!(run(killed.path(), true, &mut |_| {}), weights);
    let mean = &weights["mlp.0.norm.running_mean"];
    assert!(mean.as_f32().unwrap().iter().any(|x| *x != 0.0), "statistics are kept");
}

/// What goes on from a trained file has dropout and statistics of batches again; a file of unknown origin has not.
#[test]
fn going_on_from_a_file() {
    let sizes = format!("{DCN}dropout = 0.3\nbatch_norm = \"each\"\n");
    let run = spec(&sizes);
    let mut columns = data(600, 9);
    columns.shift_remove("teacher");
    let split = Split::columns(columns);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut first = trainer(&run);
    first.learn(&split, None, &mut |_| {}).unwrap();
    first.save_model(&path).unwrap();

    let again = Trainable::of_file(&path, 1).unwrap();
    let whole = Trainable::of_spec(&run).unwrap();
    assert_eq!((&again.training, &again.graph), (&whole.training, &whole.graph));
    assert_eq!(again.weights, first.weights().unwrap());
    assert!(again.notes.is_empty(), "{:?}", again.notes);
    // A trained file that was trained again says the same.
    let mut second = Trainer::new(again, &run).unwrap();
    second.learn(&split, None, &mut |_| {}).unwrap();
    second.save_model(&path).unwrap();
    let third = Trainable::of_file(&path, 1).unwrap();
    assert_eq!(third.training, whole.training);
    assert_ne!(third.weights, first.weights().unwrap());

    // Without its architecture, or with a graph that is not that one's.
    let (tensors, mut metadata) = loopfm::import::read_tensors(&path).unwrap();
    let config = metadata.remove("loopfm.config").expect("it says what it is");
    let write = |metadata: &std::collections::BTreeMap<String, String>| {
        let pairs: Vec<(&str, &str)> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let bytes = crate::support::files::safetensors(&pairs, &tensors);
        std::fs::write(&path, bytes).unwrap();
        Trainable::of_file(&path, 1).unwrap()
    };
    let foreign = write(&metadata);
    let mut sizes: serde_json::Value = serde_json::from_str(&config).unwrap();
    sizes["activation"] = "silu".into();
    metadata.insert("loopfm.config".to_owned(), sizes.to_string());
    let changed = write(&metadata);
    for (made, why) in [
        (foreign, "names no architecture"),
        (changed, "has a graph that is not its architecture's"),
    ] {
        assert!(
            made.training.inputs().all(|(_, name, _)| name != "step.seed"),
            "no dropout"
        );
        let mut said = Vec::new();
        let mut t = Trainer::new(made, &run).unwrap();
        t.learn(&split, None, &mut |e| {
            if let Event::Note { text } = e {
                said.push(text.clone());
            }
        })
        .unwrap();
        assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
    }

    // Heads that only training has are not in a file: they start anew, aloud.
    let kd = spec(&format!("{DCN}kd = {{gradient_scale = 2.0}}\n"));
    trainer(&kd).save_model(&path).unwrap();
    let made = Trainable::of_file(&path, 1).unwrap();
    assert!(made.distillation.is_some());
    assert!(
        made.notes.len() == 1 && made.notes[0].contains("has no kd.weight, kd.bias: they start anew"),
        "{:?}",
        made.notes
    );
}

#[test]
fn every_architecture_learns() {
    let heads: [(&str, &str); 4] = [
        ("fm", ""),
        ("deepfm", "mlp = [16, 8]\n"),
        ("dcnv2", "cross = {layers = 2}\nmlp = [16, 8]\n"),
        ("fmfm", ""),
    ];
    for (name, sizes) in heads {
        let fields = DCN.lines().find(|l| l.starts_with("fields")).unwrap();
        let text = format!("architecture = \"{name}\"\n{fields}\n{sizes}");
        let mut spec = spec(&text);
        spec.schedule.lr = 0.03;
        spec.optimiser.groups[0].lazy = true;
        let mut trainer = trainer(&spec);
        let mut batch = data(256, 1);
        batch.shift_remove("teacher");
        batch.shift_remove("price");
        let first = trainer.step(&batch).unwrap_or_else(|e| panic!("{name}: {e}")).loss;
        let mut last = first;
        for _ in 0..40 {
            last = trainer.step(&batch).unwrap_or_else(|e| panic!("{name}: {e}")).loss;
        }
        assert!(last < 0.8 * first, "{name}: {first} to {last}");
    }
}
