//! From model to bundle: the models of `models/` and the reference workloads.

#[allow(dead_code, reason = "batches are for the other benchmark")]
mod workloads;

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use loopfm::bundle::Precision;
use loopfm::compile::{Options, compile};
use loopfm::model;

fn models(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let options = Options::new(Precision::F16);
    for name in ["kuairand-dcnv2", "kuairand-din"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("models")
            .join(name)
            .join("model.safetensors");
        // The crate package has no models.
        let Ok(m) = model::load(&file) else { continue };
        group.bench_function(name, |b| b.iter(|| compile(&m.name, &m.graph, &m.weights, &options)));
    }
    // W2 is one model on two batches.
    for w in workloads::all().iter().take(2) {
        group.bench_function(&w.name, |b| b.iter(|| compile(&w.name, &w.graph, &w.weights, &options)));
    }
}

criterion_group!(benches, models);
criterion_main!(benches);
