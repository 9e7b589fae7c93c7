//! Exported models against the answers PyTorch gave when they were exported.
//!
//! A folder holds `model.safetensors` with the graph in its metadata, and one or more `*.io.safetensors` with tensors
//! `in.<input>` and `out.<output>`. Those in `tests/data/graphs` are always run; `LOOPFM_EXPORTS` names a folder of
//! further ones, at any depth.

use std::path::{Path, PathBuf};

use loopfm::import::{self, Model};
use loopfm::interp;
use loopfm::tensor::Tensors;

use crate::support::compare::{Tol, compare_outputs};
use crate::support::hosts;

/// PyTorch computes in f32, in an order of its own.
const TOL: Tol = Tol {
    abs: 0.0,
    rel: 0.0,
    of_max: 2e-5,
};

#[test]
fn exports_in_the_repository() {
    let checked = check_all(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/graphs")));
    assert!(checked > 0, "no exports in tests/data/graphs");
}

#[test]
fn exports_elsewhere() {
    match std::env::var_os("LOOPFM_EXPORTS") {
        Some(folder) => {
            let checked = check_all(Path::new(&folder));
            assert!(checked > 0, "no exports in {}", folder.display());
        }
        None => eprintln!("skipped: LOOPFM_EXPORTS names no folder of exports"),
    }
}

/// Checks every export in a folder and reports all that fail; how many goldens there were.
fn check_all(folder: &Path) -> usize {
    let mut goldens = Vec::new();
    collect(folder, &mut goldens);
    let faults: Vec<String> = goldens
        .iter()
        .filter_map(|file| check(file).err().map(|e| format!("{}: {e}", file.display())))
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {}\n{}",
        faults.len(),
        goldens.len(),
        faults.join("\n")
    );
    goldens.len()
}

/// Golden files in a folder, in order of name.
fn collect(folder: &Path, goldens: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, goldens);
        } else if path.to_string_lossy().ends_with(".io.safetensors") {
            goldens.push(path);
        }
    }
}

fn check(golden: &Path) -> Result<(), String> {
    let model = import::load(&golden.with_file_name("model.safetensors")).map_err(|e| e.to_string())?;
    let (tensors, _) = import::read_tensors(golden).map_err(|e| e.to_string())?;
    let part = |prefix: &str| -> Tensors {
        let named = |(name, t): (&String, &_)| Some((name.strip_prefix(prefix)?.to_owned(), Clone::clone(t)));
        tensors.iter().filter_map(named).collect()
    };
    let (batch, want) = (part("in."), part("out."));
    let got = outputs(&model, &batch).map_err(|e| e.to_string())?;
    compare_outputs(&got, &want, TOL)
}

fn outputs(model: &Model, batch: &Tensors) -> Result<Tensors, interp::EvalError> {
    let sizes = interp::sizes_of(&model.graph, batch)?;
    Ok(hosts(&interp::eval::<f64>(&model.graph, &model.weights, batch, sizes)?))
}
