//! How far devices are from PyTorch on trained models, and what that does to their ranking.

use std::path::{Path, PathBuf};

use loopfm::bundle::{Bundle, Precision};
use loopfm::compile::{Options, compile};
use loopfm::import;
use loopfm::metrics::{Difference, auc, numbers};
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::Tensors;

use crate::support::models::{self, Golden};

/// Shipped models, whose rows carry labels.
const SHIPPED: [&str; 2] = ["kuairand-dcnv2", "kuairand-din"];

/// Exports of `LOOPFM_EXPORTS` that a user would bring, and the rows to run them on.
const BROUGHT: [(&str, &[&str]); 7] = [
    ("w1", &["golden"]),
    ("w2", &["golden", "shared500"]),
    ("fuxictr_din", &["golden"]),
    ("fuxictr_dcnv2", &["golden"]),
    ("torchrechub_din", &["golden"]),
    ("torchrechub_dcnv2_mix", &["golden"]),
    ("deepctrtorch_dcnmix", &["golden"]),
];

/// The folder that `LOOPFM_EXPORTS` names; says so when it names none.
fn exports() -> Option<PathBuf> {
    let folder = std::env::var_os("LOOPFM_EXPORTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: LOOPFM_EXPORTS names no folder of exports");
    }
    folder
}

fn compiled(golden: &Golden, precision: Precision) -> Bundle {
    let m = &golden.model;
    compile(&m.name, &m.graph, &m.weights, &Options::new(precision)).unwrap_or_else(|e| panic!("{}: {e}", golden.name))
}

/// Answers of every device to a batch: of the CPU, and of the GPU for every rung it has, by name.
fn answers(bundle: &Bundle, batch: &Tensors) -> Vec<(String, Tensors)> {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        ..SessionOptions::default()
    };
    let session = Session::open(bundle, &options).unwrap_or_else(|e| panic!("CPU: {e}"));
    let on_cpu = session.run(batch).unwrap_or_else(|e| panic!("CPU: {e}"));
    std::iter::once(("CPU".to_owned(), on_cpu))
        .chain(gpu_answers(bundle, batch))
        .collect()
}

/// A build without the GPU has no rungs to compare.
#[cfg(not(feature = "gpu"))]
fn gpu_answers(_: &Bundle, _: &Tensors) -> Vec<(String, Tensors)> {
    Vec::new()
}

#[cfg(feature = "gpu")]
fn gpu_answers(bundle: &Bundle, batch: &Tensors) -> Vec<(String, Tensors)> {
    use loopfm::bundle::{Rung, Variant};
    use loopfm::fuse::Profile;
    use loopfm::run::{self, Runtime, VariantChoice};

    use crate::support::gpu;

    let Some(device) = gpu::gpu() else {
        return Vec::new();
    };
    // The profiles of tiles differ in nothing that rounds.
    let profiles = [Profile::SOFTWARE, Profile::DISCRETE];
    let serves = |v: &&Variant| {
        let profile = profiles.iter().find(|p| p.name == v.profile);
        profile.is_some_and(|p| gpu::serves(&device, p)) && (v.rung != Rung::Native || device.report().f16)
    };
    let run = |v: &Variant| {
        let options = run::Options {
            variant: VariantChoice {
                rung: Some(v.rung),
                profile: Some(v.profile.clone()),
            },
            ..run::Options::default()
        };
        let name = format!("{} {:?}", v.profile, v.rung);
        let runtime = Runtime::open(device.clone(), bundle, &options);
        let got = runtime.and_then(|r| r.run(batch));
        let got = got.unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, got)
    };
    bundle.manifest.variants.iter().filter(serves).map(run).collect()
}

/// Compares each output with its golden, shows how far it is, and lists what is beyond `allowed`.
fn compare(name: &str, got: &Tensors, want: &Tensors, allowed: impl Fn(&str, &Difference) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (output, want) in want {
        assert_eq!(got[output].shape, want.shape, "{name} `{output}`");
        let d = Difference::of(&numbers(&got[output]), &numbers(want));
        eprintln!("{name} `{output}`: {:.2e}, {:.2e} of the largest", d.max_abs, d.of_max);
        if !allowed(output, &d) {
            faults.push(format!("{name} `{output}`: {d:?}"));
        }
    }
    faults
}

/// How the ranking of labelled rows by `prob` changes.
fn auc_change(file: &Path, got: &Tensors, want: &Tensors) -> f64 {
    let (tensors, _) = import::read_tensors(file).unwrap();
    let labels: Vec<bool> = numbers(&tensors["label"]).iter().map(|x| *x > 0.5).collect();
    let of = |t: &Tensors| auc(&numbers(&t["prob"]), &labels).expect("two classes");
    (of(got) - of(want)).abs()
}

#[test]
fn shipped_models_keep_their_answers_and_their_ranking() {
    let mut faults = Vec::new();
    for model in SHIPPED {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(model);
        let file = folder.join("golden.io.safetensors");
        let golden = models::load(&file);
        for (device, got) in answers(&compiled(&golden, Precision::F16), &golden.batch) {
            let name = format!("{model} {device}");
            faults.extend(compare(&name, &got, &golden.want, |_, d| d.of_max < 1e-3));
            let change = auc_change(&file, &got, &golden.want);
            eprintln!("{name}: AUC differs by {change:.1e}");
            if change >= 5e-4 {
                faults.push(format!("{name}: AUC differs by {change:e}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn shipped_models_rank_their_whole_test_sets_alike() {
    let Some(exports) = exports() else { return };
    let mut faults = Vec::new();
    for model in SHIPPED {
        let file = exports.join(model).join("test20k.io.safetensors");
        let golden = models::load(&file);
        for (device, got) in answers(&compiled(&golden, Precision::F16), &golden.batch) {
            let change = auc_change(&file, &got, &golden.want);
            eprintln!("{model} {device}: AUC differs by {change:.1e}");
            if change >= 1e-4 {
                faults.push(format!("{model} {device}: AUC differs by {change:e}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// Probabilities to the fifth digit, everything else to twenty millionths of the largest.
fn as_f32(output: &str, d: &Difference) -> bool {
    if output == "prob" {
        d.max_abs < 1e-5
    } else {
        d.of_max < 2e-5
    }
}

/// A thousandth of the largest.
fn as_f16(d: &Difference) -> bool {
    d.of_max < 1e-3
}

#[test]
fn brought_models_keep_their_answers() {
    let Some(exports) = exports() else { return };
    let mut faults = Vec::new();
    for (model, files) in BROUGHT {
        for file in files {
            let golden = models::load(&exports.join(model).join(format!("{file}.io.safetensors")));
            for precision in [Precision::F32, Precision::F16] {
                for (device, got) in answers(&compiled(&golden, precision), &golden.batch) {
                    let name = format!("{model}/{file} {precision:?} {device}");
                    faults.extend(compare(&name, &got, &golden.want, |output, d| match precision {
                        Precision::F32 => as_f32(output, d),
                        Precision::F16 => as_f16(d),
                    }));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
