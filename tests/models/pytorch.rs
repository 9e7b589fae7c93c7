//! Architectures against PyTorch's answers on the reference workloads.

use std::path::PathBuf;

use loopfm::import::read_tensors;
use loopfm::interp;
use loopfm::model::load;
use loopfm::tensor::{HostTensor, Sizes, Tensors};

use super::checkpoint;

/// The folder of large fixtures, if there is one.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("LOOPFM_SHARED").map(|s| PathBuf::from(s).join("fixtures"));
    if folder.is_none() {
        eprintln!("skipped: LOOPFM_SHARED names no folder of fixtures");
    }
    folder
}

/// Renames tensors, and parts the stacked table into one of 1000 rows per field.
fn renamed(read: &Tensors, fields: usize, rename: impl Fn(&str) -> String) -> Tensors {
    let mut named: Tensors = read.iter().map(|(n, t)| (rename(n), t.clone())).collect();
    let stacked = named.swap_remove("emb.weight").expect("a table");
    let part = 1000 * stacked.shape[1];
    for (i, rows) in stacked.as_f32().expect("floats").chunks(part).take(fields).enumerate() {
        named.insert(
            format!("embedding.f{i}.weight"),
            HostTensor::f32(&[1000, stacked.shape[1]], rows.to_vec()),
        );
    }
    named
}

/// The columns of `ids`, which count from 0 in each, as inputs `f0`, `f1`, ..
fn split_ids(ids: &HostTensor, batch: &mut Tensors) {
    let (rows, fields) = (ids.shape[0], ids.shape[1]);
    let all = ids.as_i32().expect("integers");
    for f in 0..fields {
        let column = (0..rows).map(|r| all[r * fields + f]).collect();
        batch.insert(format!("f{f}"), HostTensor::i32(&[rows], column));
    }
}

fn fields(n: usize, width: usize) -> String {
    let one = |i| format!(r#"{{"name": "f{i}", "vocabulary": 1000, "width": {width}}}"#);
    (0..n).map(one).collect::<Vec<_>>().join(", ")
}

fn agrees(got: &[f64], want: &HostTensor) {
    let want = want.as_f32().expect("floats");
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    for (g, w) in got.iter().zip(want) {
        assert!((*g as f32 - w).abs() <= 1e-5 * largest, "got {g}, want {w}");
    }
}

#[test]
fn dcnv2_agrees_with_pytorch() {
    let Some(folder) = fixtures() else { return };
    let (read, _) = read_tensors(&folder.join("w1.safetensors")).expect("weights");
    let (io, _) = read_tensors(&folder.join("w1_b256.io.safetensors")).expect("a batch");
    let config = format!(
        r#"{{"architecture": "dcnv2", "fields": [{}], "cross": {{"layers": 3}}, "mlp": [1024, 512, 256], "projection": 256}}"#,
        fields(16, 32)
    );
    let named = renamed(&read, 16, |n| {
        n.replace("out.", "projection.").replace("logit.", "out.")
    });
    let (_folder, path) = checkpoint(&config, &named);
    let mut batch = Tensors::new();
    split_ids(&io["ids"], &mut batch);
    let model = load(&path).expect("its tensors fit");
    let outputs =
        interp::eval::<f32>(&model.graph, &model.weights, &batch, Sizes { rows: 256, requests: 1 }).expect("it runs");
    let got = |name: &str| outputs[name].floats().iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    agrees(&got("hidden"), &io["emb"]);
    agrees(&got("logit"), &io["logit"]);
}

#[test]
fn din_agrees_with_pytorch() {
    let Some(folder) = fixtures() else { return };
    let (read, _) = read_tensors(&folder.join("w2.safetensors")).expect("weights");
    let rename = |n: &str| match n {
        "a1" => "attention.0.prelu.weight".to_owned(),
        "a2" => "attention.1.prelu.weight".to_owned(),
        n => n
            .replace("att.2", "attention.out")
            .replace("att.", "attention.")
            .replace("mlp.2", "out"),
    };
    let named = renamed(&read, 8, rename);
    for (file, requests) in [("w2_shared500.io.safetensors", 1), ("w2_batch512.io.safetensors", 512)] {
        let config = format!(
            r#"{{"architecture": "din", "fields": [{}], "dense": [{{"name": "cand", "width": 64}}],
                "history": {{"length": 50, "of": ["cand"], "per_request": {}}},
                "attention": {{"layers": [64, 16], "activation": "prelu"}}, "mlp": [256, 128]}}"#,
            fields(8, 16),
            requests == 1
        );
        let (_folder, path) = checkpoint(&config, &named);
        let (io, _) = read_tensors(&folder.join(file)).expect("a batch");
        let mut batch = Tensors::new();
        split_ids(&io["ids"], &mut batch);
        batch.insert("cand".into(), io["cand"].clone());
        batch.insert("hist_cand".into(), io["hist"].clone());
        let mask = io["mask"].as_f32().expect("floats").iter().map(|x| *x != 0.0).collect();
        batch.insert("hist_mask".into(), HostTensor::bool(&io["mask"].shape, mask));
        let model = load(&path).expect("its tensors fit");
        let sizes = Sizes {
            rows: io["cand"].shape[0],
            requests,
        };
        let outputs = interp::eval::<f32>(&model.graph, &model.weights, &batch, sizes).expect("it runs");
        let prob: Vec<f64> = outputs["prob"].floats().iter().map(|x| f64::from(*x)).collect();
        agrees(&prob, &io["prob"]);
    }
}
