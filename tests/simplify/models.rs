//! Real models: the folder `LOOPFM_EXPORTS` holds `<name>/model.safetensors` and `<name>/golden.io.safetensors`.

use std::path::PathBuf;

use loopfm::import::{load, read_tensors};
use loopfm::interp::{eval, sizes_of};
use loopfm::ir::Op;
use loopfm::simplify::flops;
use loopfm::tensor::{Sizes, Tensors};

use super::check_on;
use crate::support::compare::{Tol, compare_outputs};
use crate::support::hosts;

const BATCH: Sizes = Sizes {
    rows: 512,
    requests: 512,
};
const SHARED: Sizes = Sizes { rows: 500, requests: 1 };

fn exports() -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("LOOPFM_EXPORTS") else {
        eprintln!("skipped: LOOPFM_EXPORTS names no folder of exported models");
        return Vec::new();
    };
    let entries = std::fs::read_dir(&root).expect("LOOPFM_EXPORTS is a folder");
    let mut models: Vec<PathBuf> = entries.map(|e| e.expect("readable").path()).collect();
    models.retain(|m| m.join("model.safetensors").exists());
    models.sort();
    models
}

/// The tensors `<kind>.<name>` of a golden file.
fn part(golden: &Tensors, kind: &str) -> Tensors {
    let named = golden
        .iter()
        .filter_map(|(n, t)| Some((n.strip_prefix(kind)?.strip_prefix('.')?.to_owned(), t.clone())));
    named.collect()
}

#[test]
fn exports_keep_their_goldens_and_cost_no_more() {
    for folder in exports() {
        let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
        let model = load(&folder.join("model.safetensors")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (golden, _) = read_tensors(&folder.join("golden.io.safetensors")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (batch, want) = (part(&golden, "in"), part(&golden, "out"));
        let sizes = sizes_of(&model.graph, &batch).expect("a batch");
        let after = check_on(&model.graph, &model.weights, &batch, sizes);
        let got = hosts(&eval::<f32>(&after.graph, &after.weights, &batch, sizes).expect("evaluates"));
        let tolerance = Tol {
            abs: 0.0,
            rel: 0.0,
            of_max: 2e-5,
        };
        compare_outputs(&got, &want, tolerance).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut line = format!("{name}: nodes {} -> {}", model.graph.len(), after.graph.len());
        for (what, sizes) in [("512/512", BATCH), ("500/1", SHARED)] {
            let (before, now) = (flops(&model.graph, sizes), flops(&after.graph, sizes));
            line += &format!(", {what} {:.1} -> {:.1} MFLOP", before as f64 / 1e6, now as f64 / 1e6);
            assert!(now <= before, "{name} costs more");
        }
        let anchors = after.graph.iter().filter(|(_, n)| n.op.is_anchor()).count();
        let views = after
            .graph
            .iter()
            .filter(|(_, n)| matches!(n.op, Op::Reshape | Op::Permute(_)))
            .count();
        eprintln!("{line}, {anchors} anchors, {views} reshapes and permutes");
    }
}
