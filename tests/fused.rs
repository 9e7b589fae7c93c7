//! Kernels against the goldens and the interpreter: fused, unfused, every profile and rung.

use loopfm::bundle::Precision;
use loopfm::compile::{Options, compile};

use crate::support::models;

pub(crate) fn selected(name: &str) -> bool {
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
            match compile(
                &golden.model.name,
                &golden.model.graph,
                &golden.model.weights,
                &Options::new(precision),
            ) {
                Ok(b) => {
                    let counts: Vec<usize> = b.manifest.variants.iter().map(|v| v.kernels.len()).collect();
                    eprintln!(
                        "{} {precision:?}: {counts:?} dispatches, {:?}, flops {:?}",
                        golden.name,
                        start.elapsed(),
                        b.manifest.flops
                    );
                }
                Err(e) => faults.push(format!("{} {precision:?}: {e}", golden.name)),
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[cfg(feature = "gpu")]
mod gpu {
    use std::sync::Arc;

    use loopfm::bundle::{Precision, Rung};
    use loopfm::compile::{Options, compile};
    use loopfm::fuse::Fusion;
    use loopfm::run::{self, Runtime, VariantChoice};

    use crate::support::compare::{Tol, compare_outputs};
    use crate::support::{gpu, models};

    /// Rounding of an f32 evaluation in another order than PyTorch's.
    const F32: Tol = Tol {
        abs: 1e-6,
        rel: 0.0,
        of_max: 2e-5,
    };
    /// Rounding of weights to f16.
    const F16: Tol = Tol {
        abs: 0.0,
        rel: 0.0,
        of_max: 5e-3,
    };

    fn check_all(precision: Precision, rung: Rung, fusion: Fusion, tol: Tol) {
        let Some(device) = gpu::gpu() else { return };
        let options = Options {
            fusion,
            rungs: vec![rung],
            ..Options::new(precision)
        };
        let mut faults = Vec::new();
        let mut goldens = 0;
        for file in models::in_repository().into_iter().chain(models::elsewhere()) {
            let golden = models::load(&file);
            if !super::selected(&golden.name) {
                continue;
            }
            goldens += 1;
            let m = &golden.model;
            let bundle = match compile(&m.name, &m.graph, &m.weights, &options) {
                Ok(bundle) => bundle,
                Err(e) => {
                    faults.push(format!("{}: {e}", golden.name));
                    continue;
                }
            };
            for profile in &options.profiles {
                let choice = VariantChoice {
                    profile: Some(profile.name.to_owned()),
                    rung: Some(rung),
                };
                let start = std::time::Instant::now();
                let opened = Runtime::open(
                    Arc::clone(&device),
                    &bundle,
                    &run::Options {
                        variant: choice,
                        ..run::Options::default()
                    },
                );
                let outcome = opened.and_then(|r| r.run(&golden.batch)).map_err(|e| e.to_string());
                let outcome = outcome.and_then(|got| compare_outputs(&got, &golden.want, tol));
                eprintln!(
                    "{} {} {rung:?} {fusion:?}: {:?} {:?}",
                    golden.name,
                    profile.name,
                    start.elapsed(),
                    outcome.is_ok()
                );
                if let Err(e) = outcome {
                    faults.push(format!("{} {}: {e}", golden.name, profile.name));
                }
            }
        }
        assert!(
            faults.is_empty(),
            "{} faults in {goldens} goldens\n{}",
            faults.len(),
            faults.join("\n")
        );
    }

    #[test]
    fn f32_gives_the_goldens() {
        check_all(Precision::F32, Rung::F32, Fusion::Full, F32);
    }

    #[test]
    fn packed_halves_give_the_goldens() {
        check_all(Precision::F16, Rung::Packed, Fusion::Full, F16);
    }

    #[test]
    fn native_halves_give_the_goldens() {
        check_all(Precision::F16, Rung::Native, Fusion::Full, F16);
    }

    #[test]
    fn unfused_gives_the_goldens() {
        check_all(Precision::F32, Rung::F32, Fusion::None, F32);
    }

    /// CPU milliseconds per run on a software adapter, for exports that `LOOPFM_TIME` names; a tool for development.
    #[test]
    fn timings() {
        let Ok(only) = std::env::var("LOOPFM_TIME") else { return };
        let Some(device) = gpu::gpu() else { return };
        let cpu = || {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
            let f: Vec<i64> = stat
                .rsplit(')')
                .next()
                .unwrap_or("")
                .split_whitespace()
                .filter_map(|x| x.parse().ok())
                .collect();
            (f[10] + f[11]) as f64 * 10.0
        };
        for file in models::elsewhere()
            .into_iter()
            .filter(|f| f.to_string_lossy().contains(&only))
        {
            let golden = models::load(&file);
            let m = &golden.model;
            let bundle = compile(&m.name, &m.graph, &m.weights, &Options::new(Precision::F16)).unwrap();
            let f = bundle.manifest.flops;
            let open = |profile: &str| {
                let c = cpu();
                let choice = VariantChoice {
                    profile: Some(profile.into()),
                    rung: Some(Rung::Packed),
                };
                let r = Runtime::open(
                    Arc::clone(&device),
                    &bundle,
                    &run::Options {
                        variant: choice,
                        ..run::Options::default()
                    },
                )
                .unwrap();
                let got = r.run(&golden.batch).unwrap();
                let error = compare_outputs(&got, &golden.want, F16).err();
                eprintln!("{} {profile}: first answer {} CPU ms {error:?}", golden.name, cpu() - c);
                r
            };
            let runtimes: Vec<_> = ["discrete", "portable"].into_iter().map(|p| (p, open(p))).collect();
            let mut times: Vec<Vec<f64>> = vec![Vec::new(); runtimes.len()];
            for _ in 0..3 {
                for ((_, r), t) in runtimes.iter().zip(&mut times) {
                    let c = cpu();
                    for _ in 0..4 {
                        r.run(&golden.batch).unwrap();
                    }
                    t.push((cpu() - c) / 4.0);
                }
            }
            for ((p, r), t) in runtimes.iter().zip(&times) {
                let profile = r.profile(&golden.batch).unwrap();
                eprintln!("{} {p}: {t:?} CPU ms {:?}\n   {f:?}", golden.name, profile.kernels);
            }
        }
    }
}

/// Writes every stage of the exports that `LOOPFM_ONLY` names to the folder `LOOPFM_DUMP`.
#[test]
fn dump_stages() {
    let Some(folder) = std::env::var_os("LOOPFM_DUMP") else {
        return;
    };
    for file in models::in_repository().into_iter().chain(models::elsewhere()) {
        let golden = models::load(&file);
        if selected(&golden.name) {
            let to = std::path::Path::new(&folder).join(golden.name.replace('/', "_"));
            std::fs::create_dir_all(&to).unwrap();
            let m = &golden.model;
            let done = loopfm::compile::compile_observed(
                &m.name,
                &m.graph,
                &m.weights,
                &Options::new(Precision::F16),
                &mut |stage, text| {
                    std::fs::write(to.join(stage), text).unwrap();
                },
            );
            eprintln!("{}: {:?}", golden.name, done.err());
        }
    }
}
