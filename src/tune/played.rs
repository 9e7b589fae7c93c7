//! Tests of which variant comes first, on a device that only plays that it multiplies matrices or is of another kind.

use std::sync::Arc;

use super::measure::Tuner;
use super::{Tuning, Verdict};
use crate::bundle::{Bundle, Precision, Rung, digest};
use crate::compile::{self, compile, vouch};
use crate::fuse::Profile;
use crate::run::{AdapterKind, AdapterQuery, Device, DeviceOptions, Error, Options, Runtime, VariantChoice};
use crate::tensor::{HostTensor, Sizes, Tensors};

const GRAPH: &str = "loopfm 1
%0 = input \"x\" : f32[rows, 64]
%1 = param \"w\" : f32[64, 64]
%2 = matmul(%0, %1) : f32[rows, 64]
return \"y\" = %2
";

/// A device that says that it multiplies squares, and a bundle with a variant that does.
fn playing(outcome: Result<(), Error>) -> Option<(Arc<Device>, Bundle)> {
    let Ok(mut device) = Device::open(&AdapterQuery::Best, &DeviceOptions::default()) else {
        eprintln!("skipped: no adapter");
        return None;
    };
    if !device.report().f16 {
        eprintln!("skipped: no f16");
        return None;
    }
    let graph = crate::ir::parse(GRAPH).expect("a sound graph");
    let weights = Tensors::from([("w".to_owned(), HostTensor::f32(&[64, 64], vec![0.25; 4096]))]);
    let options = compile::Options {
        profiles: vec![&Profile::MATRIX, &Profile::PORTABLE],
        rungs: vec![Rung::Native],
        ..compile::Options::new(Precision::F16)
    };
    let bundle = compile("wide", &graph, &weights, &options).expect("it compiles");
    device.play_matrices(16, outcome);
    Some((Arc::new(device), bundle))
}

#[test]
fn squares_that_nobody_vouches_for_never_run() {
    let Some((device, mut bundle)) = playing(Ok(())) else {
        return;
    };
    let open = |bundle: &Bundle| {
        let options = Options {
            vouched: vouch(bundle).map(Arc::new),
            ..Options::default()
        };
        Runtime::open(Arc::clone(&device), bundle, &options)
    };
    let skipped = |runtime: Result<Runtime, Error>| {
        let report = runtime.expect("the plain variant runs").report().clone();
        assert_eq!(report.profile, "portable");
        report.skipped.join("; ")
    };
    let plain = Runtime::open(Arc::clone(&device), &bundle, &Options::default());
    assert!(skipped(plain).contains("is not what this build generates"));
    // Its own work gets as far as wgpu, which knows that the device only plays.
    assert!(matches!(open(&bundle), Err(Error::Bug { .. })));
    // A text that is not: by a byte.
    let kernel = &mut bundle.manifest.variants[0].kernels[0];
    let text = bundle.wgsl[&kernel.wgsl].clone() + " ";
    kernel.wgsl = digest(&text);
    bundle.wgsl.insert(kernel.wgsl.clone(), text);
    assert!(skipped(open(&bundle)).contains("is not what this build generates"));
}

#[test]
fn variants_whose_self_test_fails_are_passed_over() {
    let failed = Error::SelfTest {
        what: "a product of 16x16 matrices".into(),
        seen: "1".into(),
        expected: "2".into(),
    };
    let Some((device, bundle)) = playing(Err(failed.clone())) else {
        return;
    };
    let runtime = Runtime::open(Arc::clone(&device), &bundle, &Options::default()).expect("the plain variant runs");
    assert_eq!(runtime.report().profile, "portable");
    assert_eq!(runtime.report().skipped, [format!("matrix/native skipped: {failed}")]);
    let (candidates, _) = Runtime::candidates(device.report(), &bundle, &VariantChoice::default());
    assert_eq!(candidates.len(), 2);
    let tuning = Tuning::new(Sizes { rows: 64, requests: 1 });
    let tuner = Tuner::new(&device, &bundle, &Options::default(), &tuning).expect("the CPU runs it");
    let (_, figures) = tuner.figures(&candidates, Vec::new()).expect("one variant is right");
    assert_eq!(figures.chosen, "portable/native");
    assert_eq!(
        figures.candidates[0].verdict,
        Verdict::Failed {
            why: failed.to_string()
        }
    );
}

#[test]
fn integrated_devices_run_and_race_their_own_profile_first() {
    let Ok(mut device) = Device::open(&AdapterQuery::Best, &DeviceOptions::default()) else {
        eprintln!("skipped: no adapter");
        return;
    };
    let graph = crate::ir::parse(GRAPH).expect("a sound graph");
    let weights = Tensors::from([("w".to_owned(), HostTensor::f32(&[64, 64], vec![0.25; 4096]))]);
    let bundle = compile("wide", &graph, &weights, &compile::Options::new(Precision::F32)).expect("it compiles");
    for (kind, profile) in [
        (AdapterKind::Discrete, "discrete"),
        (AdapterKind::Integrated, "integrated"),
    ] {
        device.play_kind(kind);
        let played = Arc::new(device);
        let runtime = Runtime::open(Arc::clone(&played), &bundle, &Options::default()).expect("it runs");
        assert_eq!(runtime.report().profile, profile);
        let (candidates, _) = Runtime::candidates(played.report(), &bundle, &VariantChoice::default());
        assert_eq!(candidates[0].profile, profile);
        drop(runtime);
        device = Arc::into_inner(played).expect("nobody else has it");
    }
}
