//! The GPU that benchmarks run on, and the clock that suits it.

use std::sync::Arc;

use loopfm::run::{AdapterKind, AdapterQuery, Device, DeviceOptions};

use crate::clock::Clock;

/// The best adapter, if there is one; says which, and what is measured.
pub(crate) fn open() -> (Option<Arc<Device>>, Clock) {
    let device = match Device::open(&AdapterQuery::Best, &DeviceOptions::default()) {
        Ok(device) => Some(Arc::new(device)),
        Err(e) => {
            eprintln!("no GPU is measured: {e}");
            None
        }
    };
    let kind = device.as_ref().map(|d| d.report().kind);
    let clock = Clock::new(kind.is_some_and(|kind| kind != AdapterKind::Software));
    if let Some(device) = &device {
        let report = device.report();
        eprintln!("`{}`, {}, {}", report.name, report.backend, report.driver);
    }
    eprintln!("{}", clock.name());
    (device, clock)
}
