//! Every export compiled, and its kernels against PyTorch's answers: fused and unfused, every profile and rung.

use loopfm::bundle::Precision;
use loopfm::compile::{Options, compile};

use crate::support::models;

#[test]
fn every_export_compiles() {
    let mut faults = Vec::new();
    for file in models::in_repository().into_iter().chain(models::elsewhere()) {
        let golden = models::load(&file);
        let m = &golden.model;
        for precision in [Precision::F16, Precision::F32] {
            if let Err(e) = compile(&m.name, &m.graph, &m.weights, &Options::new(precision)) {
                faults.push(format!("{} {precision:?}: {e}", golden.name));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[cfg(feature = "gpu")]
mod gpu {
    use std::sync::Arc;

    use loopfm::bundle::{Bundle, Precision, Rung};
    use loopfm::compile::{Options, compile};
    use loopfm::fuse::{Fusion, Profile};
    use loopfm::run::{self, Device, Runtime};

    use crate::support::compare::{Tol, compare_outputs};
    use crate::support::models::Golden;
    use crate::support::{gpu, models};

    /// Rounding of an f32 evaluation in another order than PyTorch's.
    const F32: Tol = Tol {
        abs: 1e-6,
        rel: 0.0,
        of_max: 2e-5,
    };
    /// Rounding of weights to f16; models of random weights feel it more than trained ones.
    const F16: Tol = Tol {
        abs: 0.0,
        rel: 0.0,
        of_max: 5e-3,
    };

    #[test]
    fn f32_on_the_portable_profile() {
        check_all(&Profile::PORTABLE, Rung::F32, Fusion::Full);
    }

    #[test]
    fn packed_halves_on_the_portable_profile() {
        check_all(&Profile::PORTABLE, Rung::Packed, Fusion::Full);
    }

    #[test]
    fn native_halves_on_the_integrated_profile() {
        check_all(&Profile::INTEGRATED, Rung::Native, Fusion::Full);
    }

    #[test]
    fn native_halves_on_the_discrete_profile() {
        check_all(&Profile::DISCRETE, Rung::Native, Fusion::Full);
    }

    #[test]
    fn f32_on_the_software_profile() {
        check_all(&Profile::SOFTWARE, Rung::F32, Fusion::Full);
    }

    #[test]
    fn packed_halves_on_the_software_profile() {
        check_all(&Profile::SOFTWARE, Rung::Packed, Fusion::Full);
    }

    #[test]
    fn unfused() {
        check_all(&Profile::PORTABLE, Rung::F32, Fusion::None);
    }

    fn check_all(profile: &'static Profile, rung: Rung, fusion: Fusion) {
        let Some(device) = gpu::gpu() else { return };
        if !gpu::serves(&device, profile) {
            return;
        }
        let (precision, tol) = match rung {
            Rung::F32 => (Precision::F32, F32),
            Rung::Native | Rung::Packed => (Precision::F16, F16),
        };
        let options = Options {
            fusion,
            rungs: vec![rung],
            profiles: vec![profile],
            ..Options::new(precision)
        };
        let mut faults = Vec::new();
        for file in models::in_repository().into_iter().chain(models::elsewhere()) {
            let golden = models::load(&file);
            let m = &golden.model;
            let outcome = compile(&m.name, &m.graph, &m.weights, &options)
                .map_err(|e| e.to_string())
                .and_then(|bundle| run(&device, &bundle, &golden, tol));
            if let Err(e) = outcome {
                faults.push(format!("{}: {e}", golden.name));
            }
        }
        assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    }

    fn run(device: &Arc<Device>, bundle: &Bundle, golden: &Golden, tol: Tol) -> Result<(), String> {
        let runtime = Runtime::open(Arc::clone(device), bundle, &run::Options::default()).map_err(|e| e.to_string())?;
        let got = runtime.run(&golden.batch).map_err(|e| e.to_string())?;
        compare_outputs(&got, &golden.want, tol)
    }
}
