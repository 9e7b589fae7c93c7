//! Exported models: the same answers for fewer operations.
//!
//! As for the interpreter's goldens, `LOOPFM_EXPORTS` names a folder of further ones, at any depth.

use std::path::{Path, PathBuf};

use loopfm::import::{load, read_tensors};
use loopfm::interp::{eval, sizes_of};
use loopfm::ir::{Graph, Op};
use loopfm::simplify::{flops, simplify};
use loopfm::tensor::Tensors;

use super::{BATCH, SHARED, check_on};
use crate::support::compare::{Tol, compare_outputs};
use crate::support::hosts;

/// Folders with a model, at any depth.
fn models(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if root.join("model.safetensors").exists() {
        found.push(root.to_owned());
    }
    let entries = std::fs::read_dir(root).into_iter().flatten();
    let folders = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir());
    found.extend(folders.flat_map(|f| models(&f)));
    found.sort();
    found
}

/// PyTorch computes in f32, in an order of its own.
const TOL: Tol = Tol {
    abs: 0.0,
    rel: 0.0,
    of_max: 2e-5,
};

/// The tensors `<kind>.<name>` of a golden file.
fn part(golden: &Tensors, kind: &str) -> Tensors {
    let named = golden
        .iter()
        .filter_map(|(n, t)| Some((n.strip_prefix(kind)?.strip_prefix('.')?.to_owned(), t.clone())));
    named.collect()
}

#[test]
fn exports_in_the_repository() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/graphs");
    models(Path::new(root)).iter().for_each(|m| check_model(m));
}

#[test]
fn exports_elsewhere() {
    match std::env::var_os("LOOPFM_EXPORTS") {
        Some(root) => models(Path::new(&root)).iter().for_each(|m| check_model(m)),
        None => eprintln!("skipped: LOOPFM_EXPORTS names no folder of exports"),
    }
}

/// A model keeps its goldens and costs no more; says what it costs.
fn check_model(folder: &Path) {
    let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
    let model = load(&folder.join("model.safetensors")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let entries = std::fs::read_dir(folder)
        .expect("readable")
        .filter_map(|e| Some(e.ok()?.path()));
    for golden in entries.filter(|f| f.to_string_lossy().ends_with(".io.safetensors")) {
        let (golden, _) = read_tensors(&golden).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (batch, want) = (part(&golden, "in"), part(&golden, "out"));
        let sizes = sizes_of(&model.graph, &batch).expect("a batch");
        let after = check_on(&model.graph, &model.weights, &batch, sizes);
        let got = hosts(&eval::<f32>(&after.graph, &after.weights, &batch, sizes).expect("evaluates"));
        compare_outputs(&got, &want, TOL).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let (after, _) = simplify(&model.graph, &model.weights).expect("simplifies");
    let mut line = format!("{name}: nodes {} -> {}", model.graph.len(), after.len());
    for (what, sizes) in [("512/512", BATCH), ("500/1", SHARED)] {
        let (before, now) = (flops(&model.graph, sizes), flops(&after, sizes));
        line += &format!(", {what} {:.1} -> {:.1} MFLOP", before as f64 / 1e6, now as f64 / 1e6);
    }
    let count = |g: &Graph, f: fn(&Op) -> bool| g.iter().filter(|(_, n)| f(&n.op)).count();
    let views: fn(&Op) -> bool = |op| matches!(op, Op::Reshape | Op::Permute(_));
    let (a, b) = (count(&model.graph, Op::is_anchor), count(&after, Op::is_anchor));
    let (c, d) = (count(&model.graph, views), count(&after, views));
    eprintln!("{line}, anchors {a} -> {b}, reshapes and permutes {c} -> {d}");
}
