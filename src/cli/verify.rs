//! `verify`: does it still give the numbers it gave where it was trained?

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::args::{DeviceArgs, TuneArgs, VerifyArgs};
use super::device::{self, Place};
use super::golden::{Bounds, Comparison, Golden};
use super::report::{self, Error};
use super::{load, words};
use crate::bundle::Bundle;
use crate::run::Batch;
use crate::tensor::Sizes;

/// A bundle's answers to golden batches.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    place: Place,
    goldens: Vec<One>,
}

#[derive(Debug, Serialize)]
struct One {
    golden: PathBuf,
    run_seconds: f64,
    #[serde(flatten)]
    comparison: Comparison,
}

/// Runs golden batches and compares; beyond the bounds is an error.
pub(super) fn verify(args: &VerifyArgs) -> Result<(), Error> {
    let goldens: Vec<Golden> = args
        .golden
        .iter()
        .map(|path| Golden::read(path))
        .collect::<Result<_, _>>()?;
    let bundle = load::bundle_or_model(&args.bundle, &args.target)?;
    let bounds = Bounds::new(&args.bounds, bundle.manifest.precision);
    let verified = against(&bundle, &goldens, bounds, &args.device, &args.tune)?;
    report::print(&verified, args.format)?;
    verified.verdict()
}

/// Runs and compares golden batches.
pub(super) fn against(
    bundle: &Bundle,
    goldens: &[Golden],
    bounds: Bounds,
    device: &DeviceArgs,
    tune: &TuneArgs,
) -> Result<Verified, Error> {
    let mut largest = Sizes { rows: 0, requests: 0 };
    for golden in goldens {
        let Sizes { rows, requests } = Batch::check(&bundle.manifest, &golden.batch)?.sizes;
        largest = Sizes {
            rows: largest.rows.max(rows),
            requests: largest.requests.max(requests),
        };
    }
    let (session, place) = device::open_tuned(bundle, device, tune, largest)?;
    let one = |golden: &Golden| {
        let start = Instant::now();
        let seen = session.run(&golden.batch)?;
        let run_seconds = start.elapsed().as_secs_f64();
        Ok(One {
            golden: golden.path.clone(),
            run_seconds,
            comparison: golden.compare(&seen, bounds)?,
        })
    };
    let goldens = goldens.iter().map(one).collect::<Result<_, Error>>()?;
    Ok(Verified { place, goldens })
}

impl Verified {
    /// An error for the first golden beyond the bounds.
    pub(super) fn verdict(&self) -> Result<(), Error> {
        let mut goldens = self.goldens.iter();
        goldens.try_for_each(|one| one.comparison.verdict(&format!("`{}`", one.golden.display())))
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        for one in &self.goldens {
            let took = words::seconds(one.run_seconds);
            writeln!(f, "golden {}, ran in {took}", one.golden.display())?;
            one.comparison.fmt(f)?;
        }
        Ok(())
    }
}
