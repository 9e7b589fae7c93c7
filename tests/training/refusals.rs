//! What training refuses, by name, before any weight changes.

use std::fs;
use std::path::Path;

use loopfm::container::{Dtype, View, canonical_order, head};
use loopfm::tensor::{HostTensor, Tensors};
use loopfm::train::{CheckpointError, DataError, Error, Fit, Spec, Split, Trainable, Trainer};

use super::runs::{data, fit, model, spec};

/// The error of a run on this data, and that its folder stayed empty.
fn refused(spec: &Spec, train: Tensors, valid: Option<Tensors>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let (train, valid) = (Split::columns(train), valid.map(Split::columns));
    let fit = Fit {
        train: &train,
        valid: valid.as_ref(),
        out: &out,
        resume: false,
    };
    let mut trainer = Trainer::new(Trainable::of_model(&model()).unwrap(), spec).unwrap();
    let error = trainer.fit(&fit, &mut |_| {}).expect_err("bad data");
    assert!(matches!(error, Error::Data(_)), "{error:?}");
    assert_eq!(error.exit_code(), 1);
    assert!(!out.exists(), "nothing is written");
    assert_eq!(trainer.weights().unwrap(), model().weights, "no weight has changed");
    error.to_string()
}

fn changed(change: impl FnOnce(&mut Tensors)) -> Tensors {
    let mut columns = data(100, 2);
    change(&mut columns);
    columns
}

fn with_label(row: usize, label: f32) -> Tensors {
    changed(|c| {
        let mut labels = c["label"].as_f32().unwrap().to_vec();
        labels[row] = label;
        c.insert("label".to_owned(), HostTensor::f32(&[100], labels));
    })
}

#[test]
fn labels_outside_0_to_1() {
    for label in [-0.1, 1.5, f32::NAN, f32::INFINITY] {
        let said = refused(&spec(), with_label(17, label), None);
        assert!(said.contains("row 17: `label` is ") && said.contains("0..=1"), "{said}");
    }
}

#[test]
fn ids_out_of_range() {
    for id in [20, -1, i32::MAX] {
        let bad = changed(|c| {
            let mut ids = c["ids"].as_i32().unwrap().to_vec();
            ids[3 * 41 + 2] = id;
            c.insert("ids".to_owned(), HostTensor::i32(&[100, 3], ids));
        });
        let said = refused(&spec(), bad.clone(), None);
        assert_eq!(
            said,
            format!("the columns given, row 41: index {id} of `ids` is outside 0..20 of `emb.weight`")
        );
        // Validation data is looked at as early.
        assert_eq!(refused(&spec(), data(100, 2), Some(bad)), said);
    }
}

#[test]
fn columns() {
    let missing = refused(&spec(), changed(|c| drop(c.shift_remove("ids"))), None);
    assert!(
        missing.contains("column `ids` is missing, it must be i32[rows, 3]; there are `label`"),
        "{missing}"
    );
    let floats = HostTensor::f32(&[100, 3], vec![0.0; 300]);
    let said = refused(&spec(), changed(|c| drop(c.insert("ids".to_owned(), floats))), None);
    assert!(
        said.contains("column `ids` is f32[100, 3], it must be i32[rows, 3]"),
        "{said}"
    );
    let narrow = HostTensor::i32(&[100, 2], vec![0; 200]);
    let said = refused(&spec(), changed(|c| drop(c.insert("ids".to_owned(), narrow))), None);
    assert!(said.contains("column `ids` is i32[100, 2]"), "{said}");
    let short = HostTensor::f32(&[99], vec![0.0; 99]);
    let said = refused(&spec(), changed(|c| drop(c.insert("label".to_owned(), short))), None);
    assert!(said.contains("column `label` has 99 rows, `ids` has 100"), "{said}");
}

#[test]
fn empty_and_one_class_splits() {
    let empty = Tensors::from([
        ("ids".to_owned(), HostTensor::i32(&[0, 3], Vec::new())),
        ("label".to_owned(), HostTensor::f32(&[0], Vec::new())),
    ]);
    assert!(refused(&spec(), empty.clone(), None).ends_with("has no rows"));
    assert!(refused(&spec(), data(100, 2), Some(empty)).ends_with("has no rows"));
    let zeros = changed(|c| drop(c.insert("label".to_owned(), HostTensor::f32(&[100], vec![0.0; 100]))));
    let said = refused(&spec(), zeros, None);
    assert!(said.contains("every label of `label` is 0"), "{said}");
    let none = Split::files(&[]);
    let folder = tempfile::tempdir().unwrap();
    let fit = Fit {
        train: &none,
        valid: None,
        out: folder.path(),
        resume: false,
    };
    let mut trainer = Trainer::new(Trainable::of_model(&model()).unwrap(), &spec()).unwrap();
    assert!(matches!(
        trainer.fit(&fit, &mut |_| {}),
        Err(Error::Data(DataError::Empty { .. }))
    ));
}

#[test]
fn batches_without_a_negative() {
    let sorted = changed(|c| {
        let labels = (0..100).map(|r| f32::from(u8::from(r >= 64))).collect();
        c.insert("label".to_owned(), HostTensor::f32(&[100], labels));
    });
    let mut spec = spec();
    spec.data.order = loopfm::train::Order::File;
    let said = refused(&spec, sorted.clone(), None);
    assert!(
        said.contains("a batch of 32 rows, of row 64 and others") && said.contains("one-class"),
        "{said}"
    );
    // Unless one wants them, or they are mixed.
    for allow in [true, false] {
        let mut spec = spec.clone();
        match allow {
            true => spec.data.one_class = loopfm::train::OneClass::Allow,
            false => spec.data.order = loopfm::train::Order::Shuffled,
        }
        let folder = tempfile::tempdir().unwrap();
        let train = Split::columns(sorted.clone());
        let fit = Fit {
            train: &train,
            valid: None,
            out: folder.path(),
            resume: false,
        };
        let mut trainer = Trainer::new(Trainable::of_model(&model()).unwrap(), &spec).unwrap();
        trainer.fit(&fit, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
    }
}

fn resumed(folder: &Path, spec: &Spec) -> CheckpointError {
    match fit(spec, folder, true, &mut |_| {}) {
        Err(Error::Checkpoint(e)) => e,
        other => panic!("{other:?}"),
    }
}

#[test]
fn checkpoints_of_other_runs_and_formats() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        resumed(folder.path(), &spec()),
        CheckpointError::Absent { .. }
    ));
    let mut few = spec();
    few.run.steps = Some(6);
    fit(&few, folder.path(), false, &mut |_| {}).unwrap();
    let before = fs::read(folder.path().join("checkpoint.safetensors")).unwrap();
    let again = fit(&few, folder.path(), false, &mut |_| {});
    assert!(matches!(again, Err(Error::Checkpoint(CheckpointError::Exists { .. }))));
    let other = resumed(folder.path(), &spec());
    assert!(matches!(other, CheckpointError::Other { .. }), "{other}");
    assert_eq!(Error::from(other).exit_code(), 6);
    let mut faster = few.clone();
    faster.schedule.lr *= 2.0;
    assert!(matches!(resumed(folder.path(), &faster), CheckpointError::Other { .. }));
    let after = fs::read(folder.path().join("checkpoint.safetensors")).unwrap();
    assert!(before == after, "what was refused is left as it was");

    // What follows has no other checkpoint to go on from.
    fs::remove_file(folder.path().join("checkpoint.1.safetensors")).unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let put = |metadata: &[(&str, &str)]| {
        let metadata = metadata
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut views: Vec<View<'_>> = vec![View {
            name: "x",
            dtype: Dtype::F32,
            shape: &[1],
            bytes: &[0; 4],
        }];
        canonical_order(&mut views);
        let mut bytes = head(&metadata, &views).unwrap();
        bytes.extend([0; 4]);
        fs::write(&path, bytes).unwrap();
    };
    put(&[]);
    assert!(matches!(resumed(folder.path(), &few), CheckpointError::NotOne { .. }));
    put(&[("loopfm.checkpoint", "99")]);
    let newer = resumed(folder.path(), &few);
    assert!(newer.to_string().contains("format `99`"), "{newer}");
    assert_eq!(Error::from(newer).exit_code(), 6);
    fs::write(&path, &before[..before.len() - 1]).unwrap();
    assert!(matches!(resumed(folder.path(), &few), CheckpointError::Read(_)));
    let mut flipped = before.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, &flipped).unwrap();
    let damaged = resumed(folder.path(), &few);
    assert!(matches!(damaged, CheckpointError::Damaged { .. }), "{damaged}");
    assert_eq!(Error::from(damaged).exit_code(), 5);
    // One of another run is not passed over for an older one.
    fs::write(&path, &before).unwrap();
    fs::write(folder.path().join("checkpoint.1.safetensors"), &before).unwrap();
    assert!(matches!(resumed(folder.path(), &spec()), CheckpointError::Other { .. }));
}

#[test]
fn what_is_not_finite_is_traced_to_its_node() {
    let mut model = model();
    // A weight that overflows in the first layer's product.
    let big = HostTensor::f32(&[8, 12], vec![3e38; 96]);
    model.weights.insert("fc1.weight".to_owned(), big);
    let table = HostTensor::f32(&[20, 4], vec![2.0; 80]);
    model.weights.insert("emb.weight".to_owned(), table);
    let mut trainer = Trainer::new(Trainable::of_model(&model).unwrap(), &spec()).unwrap();
    let before = trainer.weights().unwrap();
    let error = trainer.step(&data(32, 4)).expect_err("an overflow");
    let said = error.to_string();
    assert!(
        said.starts_with("step 1: ") && said.contains("the first infinity comes from %") && said.contains("`matmul`"),
        "{said}"
    );
    assert_eq!(trainer.weights().unwrap(), before);
}
