//! Kernels against the goldens and the interpreter: fused, unfused, every profile and rung.

use loopfm::bundle::Precision;
use loopfm::compile::{Options, compile};

use crate::support::models;

fn selected(name: &str) -> bool {
    std::env::var("LOOPFM_ONLY").map_or(true, |only| name.contains(&only))
}

#[test]
fn every_export_compiles() {
    let mut faults = Vec::new();
    for file in models::in_repository().into_iter().chain(models::elsewhere()) {
        let golden = models::load(&file);
        if !selected(&golden.name) {
            continue;
        }
        for precision in [Precision::F16, Precision::F32] {
            let start = std::time::Instant::now();
            match compile(&golden.model.name, &golden.model.graph, &golden.model.weights, &Options::new(precision)) {
                Ok(b) => {
                    let counts: Vec<usize> = b.manifest.variants.iter().map(|v| v.kernels.len()).collect();
                    eprintln!("{} {precision:?}: {counts:?} dispatches, {:?}, flops {:?}", golden.name, start.elapsed(), b.manifest.flops);
                }
                Err(e) => faults.push(format!("{} {precision:?}: {e}", golden.name)),
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
