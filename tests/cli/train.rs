//! `train`: from a specification and data to a model, through kills.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loopfm::bundle::{Bundle, NOTE_FM};
use loopfm::tensor::{HostTensor, Tensors};

use super::{command, json, listed, loopfm, repository};
use crate::support::files::{put, safetensors};
use crate::support::rng::Rng;

/// Data for the small model of `tests/data/training`, as a file.
fn data(folder: &Path, name: &str, rows: usize, seed: u64) -> PathBuf {
    let mut rng = Rng(seed);
    let ids = rng.ids(rows * 3, 20);
    let labels = ids
        .chunks(3)
        .map(|row| f32::from(u8::from(row.iter().filter(|id| **id < 8).count() > 1)));
    let columns = Tensors::from([
        ("label".to_owned(), HostTensor::f32(&[rows], labels.collect())),
        ("ids".to_owned(), HostTensor::i32(&[rows, 3], ids)),
    ]);
    put(folder, name, safetensors(&[], &columns))
}

pub(super) const SPEC: &str = r#"
seed = 3

[model]
file = "start.safetensors"

[data]
batch = 64
epochs = 6
order = "shuffled"

[schedule]
lr = 0.02

[[optimiser.groups]]
params = ["tables"]
rule = "rowwise-adagrad"
lazy = true
lr = 5.0

[[optimiser.groups]]
params = ["*"]
weight-decay = 0.01

[run]
checkpoint = 1
log = 5
"#;

/// A folder with a model, a specification, and data.
pub(super) fn prepared(spec: &str) -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let all = repository("tests/data/training/optimisers.safetensors");
    let (all, _) = loopfm::import::read_tensors(&all).unwrap();
    let start = |(name, t): (&String, &HostTensor)| Some((name.strip_prefix("start/")?.to_owned(), t.clone()));
    let weights: Tensors = all.iter().filter_map(start).collect();
    let mut g = loopfm::ir::Graph::new();
    let logit = crate::training::small(&mut g);
    let prob = g.unary(loopfm::ir::Unary::Sigmoid, logit).unwrap();
    g.outputs = vec![("prob".to_owned(), prob)];
    let text = g.to_string();
    let metadata = [
        ("loopfm.format", "1"),
        ("loopfm.graph", &*text),
        ("loopfm.model", "small"),
    ];
    put(folder.path(), "start.safetensors", safetensors(&metadata, &weights));
    let spec = put(folder.path(), "small.toml", spec);
    let train = data(folder.path(), "train.safetensors", 1000, 1);
    let valid = data(folder.path(), "valid.safetensors", 300, 2);
    (folder, spec, train, valid)
}

#[test]
fn trains_a_model_that_compiles() {
    let (folder, spec, train, valid) = prepared(SPEC);
    let out = folder.path().join("run");
    let report = loopfm!(
        "train", spec, "--train", train, "--valid", valid, "--out", out, "--json"
    )
    .ok();
    let report = json(&report);
    assert_eq!((&report["steps"], &report["rows"]), (&96.into(), &6000.into()));
    assert!(report["best"]["auc"].as_f64().unwrap() > 0.9, "{report}");
    assert_eq!(
        listed(&out),
        [
            "checkpoint.1.safetensors",
            "checkpoint.safetensors",
            "curve.svg",
            "metrics.jsonl",
            "model.safetensors"
        ]
    );
    let bundle = folder.path().join("small.loopfm");
    loopfm!("compile", out.join("model.safetensors"), "-o", bundle).ok();
    // What is done is done: nothing changes, and the report is the same.
    let before = fs::read(out.join("checkpoint.safetensors")).unwrap();
    let text = loopfm!(
        "train", spec, "--train", train, "--valid", valid, "--out", out, "--resume"
    )
    .ok();
    assert!(
        text.contains("96 steps, 6,000 rows") && text.contains("best validation"),
        "{text}"
    );
    assert!(before == fs::read(out.join("checkpoint.safetensors")).unwrap());
}

/// Columns that were gathered from a log of embeddings say whose they are; so does the model, and so does its bundle.
#[test]
fn models_say_whose_embeddings_they_read() {
    let (folder, spec, train, _) = prepared(SPEC);
    let (columns, _) = loopfm::import::read_tensors(&train).unwrap();
    let of = |name: &str, fm: &str| put(folder.path(), name, safetensors(&[(NOTE_FM, fm)], &columns));
    let (one, other) = (of("one.safetensors", "aa"), of("other.safetensors", "bb"));
    let out = folder.path().join("run");
    let refused = loopfm!("train", spec, "--train", one, other, "--out", out).fails(6);
    assert!(refused.contains("no model learns from both"), "{refused}");
    loopfm!("train", spec, "--train", one, train, "--out", out).ok();
    let bundle = folder.path().join("vm.loopfm");
    loopfm!("compile", out.join("model.safetensors"), "-o", bundle).ok();
    assert_eq!(Bundle::read(&bundle).unwrap().notes[NOTE_FM], "aa");
}

#[test]
fn a_killed_run_resumes_with_nothing_else_lost() {
    survives_kills(&SPEC.replace("epochs = 6", "epochs = 20"), &[], 6, 20..250);
}

/// The same on a device, where state has to be fetched and put back. A kill comes once there is a checkpoint.
#[cfg(feature = "gpu")]
#[test]
fn a_run_killed_on_a_device_resumes_with_nothing_else_lost() {
    if crate::support::gpu::gpu().is_some() {
        survives_kills(SPEC, &["--device", "gpu"], 2, 20..400);
    }
}

/// A run with so many kills, milliseconds after its checkpoint is there, leaves what one without leaves.
fn survives_kills(spec: &str, args: &[&str], most: usize, after: std::ops::Range<usize>) {
    let (folder, spec, train, valid) = prepared(spec);
    let prepare = |out: &Path| {
        let mut run = command(&[&"train", &spec, &"--train", &train, &"--valid", &valid, &"--out", &out]);
        run.args(args);
        run
    };
    let whole = folder.path().join("whole");
    super::Ran::of(&mut prepare(&whole)).ok();
    let out = folder.path().join("killed");
    let checkpoint = out.join("checkpoint.safetensors");
    let mut rng = Rng(11);
    let mut kills = 0;
    let done = loop {
        let mut run = prepare(&out);
        if checkpoint.exists() {
            run.arg("--resume");
        }
        if kills == most {
            break super::Ran::of(&mut run);
        }
        let mut run = run
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the command was built");
        while kills == 0 && !checkpoint.exists() && run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(rng.between(after.start, after.end) as u64));
        // It may have come to its end.
        let _ = run.kill();
        run.wait().unwrap();
        kills += 1;
    };
    done.ok();
    same_run(&whole, &out);
}

/// Whether a run left what another one has left.
pub(super) fn same_run(whole: &Path, out: &Path) {
    for name in ["checkpoint.safetensors", "model.safetensors"] {
        assert!(
            fs::read(out.join(name)).unwrap() == fs::read(whole.join(name)).unwrap(),
            "`{name}` differs"
        );
    }
    // Of the metrics nothing is lost or twice there, but for the lines that say when the run began.
    let lines = |folder: &Path| -> Vec<(String, serde_json::Value)> {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(json).filter(|l| l["event"] == "step");
        lines.map(|l| (l["step"].to_string(), l["loss"].clone())).collect()
    };
    assert_eq!(lines(out), lines(whole));
}

#[cfg(feature = "gpu")]
#[test]
fn says_where_it_runs_and_why() {
    let Some(device) = crate::support::gpu::gpu() else {
        return;
    };
    let name = &device.report().name;
    let (folder, spec, train, _) = prepared(SPEC);
    let out = |name: &str| folder.path().join(name);
    let text = loopfm!("train", spec, "--train", train, "--out", out("gpu"), "--device", "gpu").ok();
    assert!(
        text.starts_with(&format!("device: `{name}` (")) && text.contains("(as asked)"),
        "{text}"
    );
    let text = loopfm!("train", spec, "--train", train, "--out", out("cpu"), "--device", "cpu").ok();
    assert!(text.starts_with("device: CPU (as asked)"), "{text}");
    // A software adapter is not taken unasked.
    let report = json(&loopfm!("train", spec, "--train", train, "--out", out("auto"), "--json").ok());
    let said = report["device"].as_str().unwrap();
    let software = device.report().kind == loopfm::run::AdapterKind::Software;
    assert!(said.contains(name), "{said}");
    assert_eq!(said.starts_with("CPU"), software, "{said}");
    // Elsewhere than its checkpoint: done, and said.
    let resume = |device: &str| {
        let run = loopfm!(
            "train",
            spec,
            "--train",
            train,
            "--out",
            out("gpu"),
            "--resume",
            "--device",
            device
        );
        run.ok()
    };
    assert!(!resume("gpu").contains("the checkpoint is of"));
    let text = resume("cpu");
    assert!(text.contains(&format!("the checkpoint is of `{name}`")), "{text}");
}

#[test]
fn refuses_by_code_and_name() {
    let (folder, spec, train, valid) = prepared(SPEC);
    let out = folder.path().join("run");
    let on = |args: &[&str]| {
        let mut run = command(&[&"train", &spec, &"--train", &train, &"--out", &out]);
        super::Ran::of(run.args(args))
    };
    let said = on(&["--adapter", "no such adapter"]).fails(3);
    assert!(said.contains("no such adapter"), "{said}");
    on(&["--device", "cpu", "--adapter", "0"]).fails(2);
    let unknown = put(folder.path(), "unknown.toml", SPEC.replace("lr = 0.02", "rate = 0.02"));
    let said = loopfm!("train", unknown, "--train", train, "--out", out).fails(1);
    assert!(said.contains("unknown.toml") && said.contains("`rate`"), "{said}");
    let bad = put(folder.path(), "bad.toml", SPEC.replace("lr = 0.02", "lr = -1.0"));
    let said = loopfm!("train", bad, "--train", train, "--out", out).fails(1);
    assert!(said.contains("`lr` is -1"), "{said}");
    let none = put(
        folder.path(),
        "none.toml",
        SPEC.replace("file = \"start.safetensors\"", ""),
    );
    loopfm!("train", none, "--train", train, "--out", out).fails(1);
    loopfm!("train", spec, "--train", folder.path().join("absent"), "--out", out).fails(1);
    loopfm!("train", spec, "--train", train, "--out", out, "--resume").fails(1);
    assert!(!out.exists());
    loopfm!("train", spec, "--train", train, "--out", out).ok();
    let said = loopfm!("train", spec, "--train", train, "--out", out).fails(1);
    assert!(said.contains("--resume"), "{said}");
    let said = loopfm!("train", spec, "--train", valid, "--out", out, "--resume").fails(6);
    assert!(said.contains("another configuration"), "{said}");
}
