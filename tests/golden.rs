//! Exported models against the answers PyTorch gave when they were exported.
//!
//! A folder holds `model.safetensors` with the graph in its metadata, and one or more `*.io.safetensors` with tensors
//! `in.<input>` and `out.<output>`. Those in `tests/data/graphs` are always run; `LOOPFM_EXPORTS` names a folder of
//! further ones, at any depth.

use std::path::{Path, PathBuf};

use loopfm::interp;

use crate::support::compare::{Tol, compare_outputs};
use crate::support::hosts;
use crate::support::models::{self, Golden};

/// PyTorch computes in f32, in an order of its own.
const TOL: Tol = Tol {
    abs: 0.0,
    rel: 0.0,
    of_max: 2e-5,
};

#[test]
fn exports_in_the_repository() {
    check_all(&models::in_repository());
}

#[test]
fn exports_elsewhere() {
    check_all(&models::elsewhere());
}

/// Checks every golden and reports all that fail.
fn check_all(goldens: &[PathBuf]) {
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
}

fn check(file: &Path) -> Result<(), String> {
    let Golden { model, batch, want, .. } = models::load(file);
    let sizes = interp::sizes_of(&model.graph, &batch).map_err(|e| e.to_string())?;
    let got = interp::eval::<f64>(&model.graph, &model.weights, &batch, sizes).map_err(|e| e.to_string())?;
    compare_outputs(&hosts(&got), &want, TOL)
}
