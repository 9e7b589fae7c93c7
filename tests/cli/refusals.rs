//! What commands refuse, with which code and words, and that they leave nothing behind.

use std::fs;
use std::path::Path;

use loopfm::tensor::HostTensor;

use super::{Ran, changed_batch, command, compiled, golden, graph, listed, loopfm};
use crate::support::files::put;

#[test]
fn usage() {
    for args in [
        &["no-such-verb"][..],
        &["compile"],
        &["compile", "x", "--profile", "quantum"],
        &["compile", "x", "--precision", "f64"],
        &["compile", "x", "--verify", "0"],
        &["run", "x"],
        &["bench", "x", "--duration", "-1"],
        &["verify", "x", "--golden", "y", "--max-error", "nan"],
        &["inspect", "x", "--variant", "portable"],
    ] {
        let ran = Ran::of(command(&[]).args(args));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
    }
}

#[test]
fn flags_that_do_not_fit_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let batch = golden("din");
    let on_cpu = loopfm!("run", bundle, "--input", batch, "--device", "cpu", "--adapter", "0").fails(2);
    assert!(on_cpu.contains("--device cpu"), "{on_cpu}");
    let variant = loopfm!("run", bundle, "--input", batch, "--variant", "portable/f32").fails(2);
    assert!(variant.contains("it has software/packed, discrete/native"), "{variant}");
    let compiled = loopfm!("verify", bundle, "--golden", batch, "--precision", "f32").fails(2);
    assert!(compiled.contains("is compiled already"), "{compiled}");
    let model = folder.path().join("m.safetensors");
    fs::copy(graph("din").join("model.safetensors"), &model).unwrap();
    let itself = loopfm!("compile", model, "-o", model).fails(2);
    assert!(itself.contains("is the model"), "{itself}");
}

#[test]
fn files_that_are_not_there_or_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let missing = folder.path().join("missing");
    let (model, batch) = (graph("din").join("model.safetensors"), golden("din"));
    for ran in [
        loopfm!("compile", missing),
        loopfm!("inspect", missing),
        loopfm!("bench", missing),
        loopfm!("run", missing, "--input", batch),
        loopfm!("run", bundle, "--input", missing),
        loopfm!("verify", missing, "--golden", batch),
        loopfm!("verify", bundle, "--golden", missing),
    ] {
        let line = ran.fails(1);
        assert!(line.contains("missing"), "{line}");
    }
    let line = loopfm!("inspect", model).fails(1);
    assert!(line.contains("is no bundle: `loopfm-compile` makes bundles"), "{line}");
    let line = loopfm!("run", graph("din"), "--input", batch).fails(1);
    assert!(line.contains("is a folder"), "{line}");
    let line = loopfm!("verify", bundle, "--golden", model).fails(1);
    assert!(line.contains("has no tensors `out.NAME`"), "{line}");
    loopfm!("compile", batch, "-o", folder.path().join("y.loopfm")).fails(1);
    assert_eq!(listed(folder.path()), ["din.loopfm"]);
}

#[test]
fn damaged_bundles() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(compiled(folder.path(), "din")).unwrap();
    let inspect = |bytes: &[u8]| loopfm!("inspect", put(folder.path(), "damaged.loopfm", bytes));
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        inspect(&whole[..length]).fails(5);
    }
    for at in (0..whole.len()).step_by(whole.len() / 25) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        inspect(&flipped).fails(5);
    }
    let mut longer = whole.clone();
    longer.push(0);
    inspect(&longer).fails(5);
    // The same file for whoever else reads it.
    let damaged = folder.path().join("damaged.loopfm");
    loopfm!("run", damaged, "--input", golden("din")).fails(5);
    loopfm!("verify", damaged, "--golden", golden("din")).fails(5);
    loopfm!("bench", damaged).fails(5);
}

#[test]
fn bundles_of_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(compiled(folder.path(), "din")).unwrap();
    let key = br#""loopfm.format":"1""#;
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
    bytes[at + key.len() - 2] = b'9';
    let line = loopfm!("inspect", put(folder.path(), "later.loopfm", bytes)).fails(6);
    assert!(line.contains("bundle format `9`, this build reads `1`"), "{line}");
}

#[test]
fn batches_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let out = folder.path().join("out.safetensors");
    let run = |batch: &Path| loopfm!("run", bundle, "--input", batch, "-o", out, "--device", "cpu").fails(1);
    let renamed = changed_batch(folder.path(), "din", |batch| {
        let user = batch.shift_remove("user").unwrap();
        batch.insert("usr".into(), user);
    });
    let line = run(&renamed);
    assert!(
        line.contains("`usr` is not an input") && line.contains("input `user` is missing"),
        "{line}"
    );
    let outside = changed_batch(folder.path(), "din", |batch| {
        let mut ids = batch["user"].as_i32().unwrap().to_vec();
        ids[3] = 30;
        batch.insert("user".into(), HostTensor::i32(&[ids.len()], ids));
    });
    let line = run(&outside);
    assert!(
        line.contains("input `user` row 3 column 0 is 30, table `tables.user.weight` takes 0 to 29"),
        "{line}"
    );
    let shorter = changed_batch(folder.path(), "din", |batch| {
        let ids = batch["user"].as_i32().unwrap()[1..].to_vec();
        batch.insert("user".into(), HostTensor::i32(&[ids.len()], ids));
    });
    run(&shorter);
    assert!(!out.exists(), "outputs of a refused batch");
}

#[test]
fn answers_beyond_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let ran = loopfm!(
        "verify",
        bundle,
        "--golden",
        golden("din"),
        "--device",
        "cpu",
        "--max-error",
        "1e-9"
    );
    // The figures are told before the verdict.
    assert!(ran.out.contains("beyond bounds"), "{}", ran.out);
    let line = ran.fails(1);
    assert!(line.contains("outputs beyond bounds: `last_hidden` (error "), "{line}");
    let args = ["--device", "cpu", "--max-auc-difference", "1"];
    let ran = Ran::of(command(&[&"verify", &bundle, &"--golden", &golden("din")]).args(args));
    assert!(ran.fails(1).contains("no output has an AUC"));
}

#[test]
fn no_gpu_where_one_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let without_drivers = |args: &[&str]| {
        let mut run = command(&[&"verify", &bundle, &"--golden", &golden("din")]);
        for variable in [
            "VK_DRIVER_FILES",
            "VK_ICD_FILENAMES",
            "__EGL_VENDOR_LIBRARY_FILENAMES",
            "__EGL_VENDOR_LIBRARY_DIRS",
            "LIBGL_DRIVERS_PATH",
        ] {
            run.env(variable, "/nonexistent");
        }
        Ran::of(run.args(args))
    };
    if cfg!(target_os = "linux") {
        let line = without_drivers(&["--device", "gpu"]).fails(3);
        assert!(
            line.contains("no GPU adapter") || line.contains("without the feature `gpu`"),
            "{line}"
        );
        let text = without_drivers(&[]).ok();
        assert!(
            text.starts_with("device: CPU executor (no GPU adapter") || text.contains("without the feature"),
            "{text}"
        );
    }
    loopfm!(
        "verify",
        bundle,
        "--golden",
        golden("din"),
        "--adapter",
        "no such adapter"
    )
    .fails(3);
}

#[test]
fn nothing_is_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere/x.loopfm");
    loopfm!("compile", graph("din"), "-o", nowhere).fails(1);
    let busy = folder.path().join("busy");
    fs::create_dir(&busy).unwrap();
    fs::write(busy.join("mine"), "mine").unwrap();
    let out = folder.path().join("x.loopfm");
    for flag in ["--emit", "--dump"] {
        let line = loopfm!("compile", graph("din"), "-o", out, flag, busy).fails(1);
        assert!(line.contains("is not empty"), "{line}");
    }
    assert_eq!(listed(folder.path()), ["busy"]);
    assert_eq!(listed(&busy), ["mine"]);
}
