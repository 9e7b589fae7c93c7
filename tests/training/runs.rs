//! Whole runs: they learn, resume to the bit, stop when they should, and leave a model behind.

use std::fs;
use std::path::Path;

use loopfm::import::{self, Model};
use loopfm::ir::Graph;
use loopfm::model;
use loopfm::tensor::{HostTensor, Tensors};
use loopfm::train::{Error, Event, Fit, OneClass, Order, Outcome, Spec, Split, Trainable, Trainer};

use super::{small, weights_of_small};
use crate::support::rng::Rng;

/// The small model with random weights.
pub(super) fn model() -> Model {
    let mut graph = Graph::new();
    let logit = small(&mut graph);
    graph.outputs = vec![("logit".to_owned(), logit)];
    Model {
        name: "small".to_owned(),
        graph,
        weights: weights_of_small(&mut Rng(1)),
    }
}

/// Ids of which some are liked: there is something to learn.
pub(super) fn data(rows: usize, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let ids = rng.ids(rows * 3, 20);
    let liked = |row: &[i32]| row.iter().filter(|id| **id < 8).count();
    let labels = ids
        .chunks(3)
        .map(|row| f32::from(u8::from(liked(row) + rng.below(2) > 1)));
    let labels: Vec<f32> = labels.collect();
    Tensors::from([
        ("ids".to_owned(), HostTensor::i32(&[rows, 3], ids)),
        ("label".to_owned(), HostTensor::f32(&[rows], labels)),
    ])
}

pub(super) fn spec() -> Spec {
    let mut spec = Spec {
        seed: 7,
        ..Spec::default()
    };
    spec.data.batch = 32;
    spec.data.epochs = 3;
    spec.data.order = Order::Shuffled;
    spec.schedule.lr = 0.02;
    spec.optimiser.groups[0].lazy = true;
    spec.run.checkpoint = 5;
    spec
}

pub(super) fn fit(spec: &Spec, out: &Path, resume: bool, observe: &mut dyn FnMut(&Event)) -> Result<Outcome, Error> {
    let (train, valid) = (Split::columns(data(400, 2)), Split::columns(data(200, 3)));
    let fit = Fit {
        train: &train,
        valid: Some(&valid),
        out,
        resume,
    };
    Trainer::new(Trainable::of_model(&model())?, spec)?.fit(&fit, observe)
}

fn run(spec: &Spec, out: &Path) -> Outcome {
    fit(spec, out, false, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"))
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap_or_else(|e| panic!("`{name}`: {e}"))
}

#[test]
fn a_run_learns_and_leaves_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = Vec::new();
    let outcome = fit(&spec(), folder.path(), false, &mut |e| events.push(e.clone())).unwrap();
    let best = outcome.best.expect("there is validation data");
    assert!(best.auc > 0.8, "{outcome:?}");
    assert_eq!((outcome.steps, outcome.rows), (39, 1200));
    let validations: Vec<f64> = events
        .iter()
        .filter_map(|e| match e {
            Event::Validation(v) => Some(v.auc),
            _ => None,
        })
        .collect();
    assert_eq!(validations.len(), 3, "one an epoch");
    assert_eq!(validations.iter().copied().fold(0.0, f64::max), best.auc);
    // A line an event, and a picture.
    let lines = String::from_utf8(bytes(folder.path(), "metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), events.len());
    for (line, event) in lines.lines().zip(&events) {
        assert_eq!(&serde_json::from_str::<Event>(line).unwrap(), event);
    }
    assert!(bytes(folder.path(), "curve.svg").starts_with(b"<svg"));
    // The model is one that the compiler takes.
    let trained = model::load(&outcome.model).unwrap();
    assert_eq!(trained.graph, model().graph);
    let bundle = loopfm::compile::compile(
        &trained.name,
        &trained.graph,
        &trained.weights,
        &loopfm::compile::Options::new(loopfm::bundle::Precision::F16),
    );
    assert_eq!(bundle.unwrap().manifest.model, "small");
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&spec(), a.path());
    run(&spec(), b.path());
    for name in ["model.safetensors", "checkpoint.safetensors"] {
        assert!(bytes(a.path(), name) == bytes(b.path(), name), "`{name}` differs");
    }
    let mut other = spec();
    other.seed += 1;
    let c = tempfile::tempdir().unwrap();
    run(&other, c.path());
    assert!(bytes(a.path(), "model.safetensors") != bytes(c.path(), "model.safetensors"));
}

#[test]
fn a_run_that_stopped_anywhere_resumes_to_the_bit() {
    let whole = tempfile::tempdir().unwrap();
    run(&spec(), whole.path());
    let checkpoint = |folder: &Path| bytes(folder, "checkpoint.safetensors");
    // Each checkpoint of a run, in the middle of epochs and between them.
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    let path = folder.path().to_path_buf();
    fit(&spec(), folder.path(), false, &mut |event| {
        if let Event::Checkpoint { step } = event {
            kept.push((*step, checkpoint(&path)));
        }
    })
    .unwrap();
    assert!(kept.len() > 8);
    for (step, bytes_then) in kept {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("checkpoint.safetensors"), bytes_then).unwrap();
        let mut first = None;
        let outcome = fit(&spec(), folder.path(), true, &mut |event| {
            if let (None, Event::Step(line)) = (&first, event) {
                first = Some(line.step);
            }
        })
        .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(outcome.steps, 39);
        assert!(
            first.is_none_or(|first| first > step),
            "step {first:?} was done before {step}"
        );
        assert!(
            checkpoint(folder.path()) == checkpoint(whole.path()),
            "resumed at {step}"
        );
    }
}

#[test]
fn a_damaged_checkpoint_leaves_the_one_before_it() {
    let whole = tempfile::tempdir().unwrap();
    let mut saved = Vec::new();
    fit(&spec(), whole.path(), false, &mut |event| {
        if let Event::Checkpoint { step } = event {
            saved.push(*step);
        }
    })
    .unwrap();
    assert!(saved.is_sorted_by(|a, b| a < b), "one line a checkpoint: {saved:?}");
    let [.., before, last] = saved[..] else {
        panic!("{saved:?}")
    };
    assert_eq!(last, 39);
    let names = ["checkpoint.safetensors", "checkpoint.1.safetensors"];
    let [newer, older] = names.map(|name| bytes(whole.path(), name));
    let mut flipped = newer.clone();
    flipped[newer.len() / 2] ^= 4;
    for damage in [Some(&newer[..newer.len() / 2]), Some(&flipped[..]), Some(&[][..]), None] {
        let folder = tempfile::tempdir().unwrap();
        if let Some(bytes) = damage {
            fs::write(folder.path().join(names[0]), bytes).unwrap();
        }
        fs::write(folder.path().join(names[1]), &older).unwrap();
        let (mut notes, mut steps) = (Vec::new(), Vec::new());
        let outcome = fit(&spec(), folder.path(), true, &mut |event| match event {
            Event::Note { text } => notes.push(text.clone()),
            Event::Step(line) => steps.push(line.step),
            _ => {}
        });
        assert_eq!(outcome.unwrap_or_else(|e| panic!("{e}")).steps, 39);
        assert!(steps.iter().all(|step| *step > before), "{steps:?} after {before}");
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(
            note.contains("checkpoint.safetensors`") && note.contains(&format!("after step {before}, instead")),
            "{note}"
        );
        assert!(bytes(folder.path(), names[0]) == newer, "as if nothing had happened");
        assert!(bytes(folder.path(), names[1]) == older, "what is damaged is not kept");
    }
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(folder.path().join(name), &flipped).unwrap();
    }
    assert!(matches!(
        fit(&spec(), folder.path(), true, &mut |_| {}),
        Err(Error::Checkpoint(_))
    ));
}

#[test]
fn patience_and_steps_end_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut few = spec();
    few.run.steps = Some(4);
    assert_eq!(run(&few, folder.path()).steps, 4);
    let folder = tempfile::tempdir().unwrap();
    let mut impatient = spec();
    impatient.data.epochs = 1000;
    impatient.schedule.lr = 0.2;
    impatient.run.validate = Some(5);
    impatient.run.patience = Some(2);
    let outcome = run(&impatient, folder.path());
    let best = outcome.best.expect("there is validation data");
    assert_eq!(outcome.steps, best.step + 10);
}

#[test]
fn without_validation_the_last_weights_are_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let train = Split::columns(data(100, 2));
    let fit = Fit {
        train: &train,
        valid: None,
        out: folder.path(),
        resume: false,
    };
    let mut trainer = Trainer::new(Trainable::of_model(&model()).unwrap(), &spec()).unwrap();
    let outcome = trainer.fit(&fit, &mut |_| {}).unwrap();
    assert_eq!(outcome.best, None);
    let (read, _) = import::read_tensors(&outcome.model).unwrap();
    for (name, tensor) in trainer.weights().unwrap() {
        assert_eq!(read[&name], tensor);
    }
}

#[test]
fn files_come_one_after_the_other() {
    // Two files in order are the rows of one, as long as batches end where files do.
    let mut spec = spec();
    spec.data.order = Order::File;
    spec.data.one_class = OneClass::Allow;
    let all = data(96, 5);
    let part = |from: usize, to: usize| {
        let ids = all["ids"].as_i32().unwrap()[3 * from..3 * to].to_vec();
        let label = all["label"].as_f32().unwrap()[from..to].to_vec();
        Tensors::from([
            ("ids".to_owned(), HostTensor::i32(&[to - from, 3], ids)),
            ("label".to_owned(), HostTensor::f32(&[to - from], label)),
        ])
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, tensors: &Tensors| {
        crate::support::files::put(folder.path(), name, crate::support::files::safetensors(&[], tensors))
    };
    let files = [write("a", &part(0, 64)), write("b", &part(64, 96))];
    let trained = |split: &Split, out: &str| {
        let out = folder.path().join(out);
        let fit = Fit {
            train: split,
            valid: None,
            out: &out,
            resume: false,
        };
        let mut trainer = Trainer::new(Trainable::of_model(&model()).unwrap(), &spec).unwrap();
        trainer.fit(&fit, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
        trainer.weights().unwrap()
    };
    assert_eq!(
        trained(&Split::files(&files), "x"),
        trained(&Split::columns(all.clone()), "y")
    );
}
