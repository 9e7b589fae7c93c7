//! `compile --verify`: random rows through every device there is, and through the interpreter in f64.

use std::fmt;

use serde::Serialize;

use super::args::{DeviceArg, DeviceArgs};
use super::golden::{Bounds, Comparison, compare};
use super::report::Error;
use super::words;
use crate::bundle::{Bundle, Variant};
use crate::interp;
use crate::model::Model;
use crate::run::{self, AdapterQuery, Options, VariantChoice};
use crate::session::{DeviceChoice, Session, SessionError, SessionOptions};
use crate::tensor::Tensors;

/// Rows of a request in the batch.
const ROWS_OF_REQUEST: usize = 4;

/// How every device compares with the meaning of the model.
#[derive(Debug, Serialize)]
pub(super) struct Oracle {
    rows: usize,
    requests: usize,
    devices: Vec<Device>,
    /// Variants that could not run here, and why.
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Device {
    device: String,
    #[serde(flatten)]
    comparison: Comparison,
}

#[derive(Debug, Serialize)]
struct Skipped {
    variant: String,
    why: String,
}

/// Compares devices with the interpreter on the model as it was written.
pub(super) fn verify(
    model: &Model,
    bundle: &Bundle,
    rows: usize,
    bounds: Bounds,
    args: &DeviceArgs,
) -> Result<Oracle, Error> {
    let sizes = run::random_sizes(&bundle.manifest, rows, rows.div_ceil(ROWS_OF_REQUEST));
    let batch = run::random_batch(&bundle.manifest, sizes, 0);
    let meaning = interp::eval::<f64>(&model.graph, &model.weights, &batch, sizes)?;
    let reference: Tensors = meaning.iter().map(|(name, t)| (name.clone(), t.to_host())).collect();
    let compared = |session: &Session| {
        Ok::<_, Error>(Device {
            device: session.report(),
            comparison: compare(&session.run(&batch)?, &reference, None, bounds)?,
        })
    };
    let mut oracle = Oracle {
        rows: sizes.rows,
        requests: sizes.requests,
        devices: vec![compared(&Session::open(bundle, &on(DeviceChoice::Cpu, None))?)?],
        skipped: Vec::new(),
    };
    if args.device == DeviceArg::Cpu {
        return Ok(oracle);
    }
    let query = args.adapter.clone().unwrap_or(AdapterQuery::Best);
    for variant in &bundle.manifest.variants {
        match Session::open(bundle, &on(DeviceChoice::Gpu(query.clone()), Some(variant))) {
            Ok(session) => oracle.devices.push(compared(&session)?),
            Err(e) if can_wait(&e, args) => {
                oracle.skipped.push(Skipped {
                    variant: variant.name(),
                    why: e.to_string(),
                });
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(oracle)
}

/// Whether a variant may be left out: this device cannot run it, and no device was asked for by name.
fn can_wait(e: &SessionError, args: &DeviceArgs) -> bool {
    let named = args.device == DeviceArg::Gpu || args.adapter.is_some();
    let no_device = !matches!(e, SessionError::Run(crate::run::Error::NoVariant { .. }));
    e.exit_code() == 3 && !(named && no_device)
}

fn on(device: DeviceChoice, variant: Option<&Variant>) -> SessionOptions {
    SessionOptions {
        device,
        load: Options {
            variant: variant.map(VariantChoice::of).unwrap_or_default(),
            ..Options::default()
        },
        ..SessionOptions::default()
    }
}

impl Oracle {
    /// An error for the first device beyond the bounds.
    pub(super) fn verdict(&self) -> Result<(), Error> {
        self.devices.iter().try_for_each(|d| d.comparison.verdict(&d.device))
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = words::many(self.rows, "random row", "random rows");
        let requests = words::many(self.requests, "request", "requests");
        writeln!(f, "{rows} of {requests}, compared with the interpreter in f64")?;
        for device in &self.devices {
            writeln!(f, "on {}", device.device)?;
            device.comparison.fmt(f)?;
        }
        self.skipped
            .iter()
            .try_for_each(|Skipped { variant, why }| writeln!(f, "variant {variant} not run: {why}"))
    }
}
