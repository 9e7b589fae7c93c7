//! Runs on a device: they resume to the bit there, and change places aloud.

use std::fs;
use std::path::Path;

use loopfm::run::AdapterQuery;
use loopfm::session::DeviceChoice;
use loopfm::tensor::Tensors;
use loopfm::train::{Error, Event, Fit, Outcome, Spec, Split, Trainable, Trainer};

use super::apart;
use super::runs::{data, model, spec};
use crate::support::gpu;

const GPU: DeviceChoice = DeviceChoice::Gpu(AdapterQuery::Best);

fn trainer(spec: &Spec, device: &DeviceChoice) -> Trainer {
    let model = Trainable::of_model(&model()).unwrap();
    Trainer::on(model, spec, device).unwrap_or_else(|e| panic!("{e}"))
}

/// A whole run, or the rest of one; what it tells at its start is kept.
fn run(device: &DeviceChoice, out: &Path, resume: bool, observe: &mut dyn FnMut(&Event)) -> (Outcome, Tensors) {
    let (train, valid) = (Split::columns(data(400, 2)), Split::columns(data(200, 3)));
    let fit = Fit {
        train: &train,
        valid: Some(&valid),
        out,
        resume,
    };
    let mut trainer = trainer(&spec(), device);
    let outcome = trainer.fit(&fit, observe).unwrap_or_else(|e| panic!("{e}"));
    let weights = trainer.weights().unwrap_or_else(|e| panic!("{e}"));
    (outcome, weights)
}

fn bytes(folder: &Path) -> [Vec<u8>; 2] {
    ["checkpoint.safetensors", "model.safetensors"].map(|name| fs::read(folder.join(name)).unwrap())
}

/// Runs on a device and keeps the files as they were when a run had come to some step.
fn interrupted(device: &DeviceChoice, whole: &Path, killed: &Path, step: u64) -> (Outcome, Tensors) {
    run(device, whole, false, &mut |event| {
        if *event == (Event::Checkpoint { step }) {
            for entry in fs::read_dir(whole).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, killed.join(path.file_name().unwrap())).unwrap();
            }
        }
    })
}

#[test]
fn a_run_on_a_device_resumes_to_the_bit() {
    let Some(device) = gpu::gpu() else { return };
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (outcome, _) = interrupted(&GPU, whole.path(), killed.path(), 20);
    assert!(outcome.best.expect("there is validation data").auc > 0.8, "{outcome:?}");
    let mut start = None;
    run(&GPU, killed.path(), true, &mut |event| {
        start.get_or_insert(event.clone());
    });
    assert!(bytes(whole.path()) == bytes(killed.path()), "resumed at 20");
    let Some(Event::Start {
        device: said,
        before,
        done,
        ..
    }) = start
    else {
        panic!("{start:?}")
    };
    assert!(
        said.contains(&device.report().name) && said.ends_with("(as asked)"),
        "{said}"
    );
    assert_eq!(
        (before, done),
        (None, 624),
        "twelve batches of 32 and one of 16, then seven"
    );
}

#[test]
fn a_checkpoint_changes_places_aloud() {
    if gpu::gpu().is_none() {
        return;
    }
    for (from, to) in [(&DeviceChoice::Cpu, &GPU), (&GPU, &DeviceChoice::Cpu)] {
        let (whole, moved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (stayed, want) = interrupted(from, whole.path(), moved.path(), 25);
        let mut start = None;
        let (outcome, got) = run(to, moved.path(), true, &mut |event| {
            start.get_or_insert(event.clone());
        });
        let Some(Event::Start { device, before, .. }) = start else {
            panic!("{start:?}")
        };
        let before = before.expect("another device");
        assert!(before.contains("CPU") != device.contains("CPU"), "{before}, {device}");
        assert_eq!(outcome.steps, stayed.steps);
        for (name, weight) in &got {
            let apart = apart(weight, &want[name]);
            assert!(apart < 1e-3, "`{name}`: {apart:.1e} of its norm");
        }
    }
}

#[test]
fn a_device_refuses_what_does_not_fit() {
    if gpu::gpu().is_none() {
        return;
    }
    // More rows than any device holds: named, before any step, and by `Auto` left to the CPU (see `place`).
    let mut large = spec();
    large.data.batch = usize::MAX;
    let model = Trainable::of_model(&model()).unwrap();
    let Err(e) = Trainer::on(model, &large, &GPU) else {
        panic!("it opened")
    };
    assert!(matches!(e, Error::Device(_)), "{e:?}");
    assert_eq!(e.exit_code(), 3, "{e}");
    // Within a run: larger than it was opened for. Nothing has changed then.
    let mut small = spec();
    small.data.batch = 32;
    let mut trainer = trainer(&small, &GPU);
    let before = trainer.weights().unwrap();
    let e = trainer.step(&data(1000, 4)).expect_err("too many rows");
    assert!(e.to_string().contains("rows"), "{e}");
    let mut strange = data(32, 4);
    strange.insert(
        "ids".to_owned(),
        loopfm::tensor::HostTensor::i32(&[32, 3], vec![20; 96]),
    );
    let e = trainer.step(&strange).expect_err("ids outside");
    assert_eq!(e.exit_code(), 1, "{e}");
    assert_eq!(trainer.weights().unwrap(), before);
    trainer.step(&data(32, 4)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn what_is_not_finite_stops_a_device_too() {
    if gpu::gpu().is_none() {
        return;
    }
    let mut model = model();
    for (name, weight) in [("fc1.weight", 3e38), ("emb.weight", 2.0)] {
        let shape = model.weights[name].shape.clone();
        let all = vec![weight; shape.iter().product()];
        model
            .weights
            .insert(name.to_owned(), loopfm::tensor::HostTensor::f32(&shape, all));
    }
    let mut trainer = Trainer::on(Trainable::of_model(&model).unwrap(), &spec(), &GPU).unwrap();
    let before = trainer.weights().unwrap();
    let said = trainer.step(&data(32, 4)).expect_err("an overflow").to_string();
    assert!(said.contains("comes from %") && said.contains("`matmul`"), "{said}");
    assert_eq!(trainer.weights().unwrap(), before);
}
