//! The device that tests share.

use std::sync::{Arc, OnceLock};

use loopfm::fuse::{LANES, Profile, Scheme};
use loopfm::run::{AdapterKind, AdapterQuery, Device, DeviceOptions};

/// The best adapter of this machine, opened once for all tests. Without one, says so and gives none; with
/// `LOOPFM_REQUIRE_GPU=1` in the environment that is a failure.
pub(crate) fn gpu() -> Option<Arc<Device>> {
    static DEVICE: OnceLock<Option<Arc<Device>>> = OnceLock::new();
    DEVICE.get_or_init(|| open(&DeviceOptions::default())).clone()
}

/// A device of a test's own.
pub(crate) fn open(options: &DeviceOptions) -> Option<Arc<Device>> {
    match Device::open(&AdapterQuery::Best, options) {
        Ok(device) => Some(Arc::new(device)),
        Err(e) => {
            let required = std::env::var("LOOPFM_REQUIRE_GPU").is_ok_and(|v| v == "1");
            assert!(!required, "LOOPFM_REQUIRE_GPU=1, but: {e}");
            eprintln!("skipped: no adapter ({e})");
            None
        }
    }
}

/// Whether a device can run kernels planned for a profile; says so where it cannot.
pub(crate) fn serves(device: &Device, profile: &Profile) -> bool {
    let report = device.report();
    let lanes = LANES as u32;
    let serves = profile.scheme == Scheme::Tiles
        || (report.kind == AdapterKind::Software && report.subgroups == Some((lanes, lanes)));
    if !serves {
        eprintln!("skipped: `{}` cannot run the profile `{}`", report.name, profile.name);
    }
    serves
}

/// Runs something on every variant of a bundle that the shared device can run, each named.
#[cfg(feature = "data")]
pub(crate) fn each_variant(bundle: &loopfm::bundle::Bundle, run: impl Fn(&str, &loopfm::run::Runtime)) {
    use loopfm::bundle::Rung;
    use loopfm::run::{Options, Runtime, VariantChoice};

    let Some(device) = gpu() else { return };
    for variant in &bundle.manifest.variants {
        let profile = Profile::ALL.iter().find(|p| p.name == variant.profile);
        let native = variant.rung == Rung::Native && !device.report().f16;
        if native || !profile.is_some_and(|p| serves(&device, p)) {
            continue;
        }
        let options = Options {
            variant: VariantChoice {
                profile: Some(variant.profile.clone()),
                rung: Some(variant.rung),
            },
            ..Options::default()
        };
        let runtime = Runtime::open(Arc::clone(&device), bundle, &options).unwrap();
        run(&format!("{}/{:?}", variant.profile, variant.rung), &runtime);
    }
}
