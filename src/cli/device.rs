//! From flags to a session, and what is said of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::{DeviceArg, DeviceArgs, TuneArgs};
use super::report::Error;
use super::words;
use crate::bundle::Bundle;
use crate::compile::vouch;
use crate::fuse::Profile;
use crate::run::{AdapterQuery, DeviceOptions, Options, VariantChoice};
use crate::session::{DeviceChoice, Session, SessionOptions};
use crate::tensor::Sizes;
#[cfg(feature = "gpu")]
use crate::tune::{self, Tuned, Tuning};

/// Where something ran, and why there.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    /// `gpu` or `cpu`.
    pub(super) device: &'static str,
    pub(super) adapter: Option<String>,
    pub(super) variant: Option<String>,
    /// All of it in words.
    pub(super) report: String,
    pub(super) open_seconds: f64,
    /// How the variant was chosen, if it was measured.
    #[cfg(feature = "gpu")]
    pub(super) tuned: Option<Tuned>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "device: {}; opened in {}",
            self.report,
            words::seconds(self.open_seconds)
        )?;
        #[cfg(feature = "gpu")]
        if let Some(tuned) = &self.tuned {
            writeln!(f, "{tuned}")?;
        }
        Ok(())
    }
}

/// How a session is opened as the flags say.
pub(super) fn options(bundle: &Bundle, args: &DeviceArgs) -> Result<SessionOptions, Error> {
    let matrices = asks_for_matrices(args);
    Ok(SessionOptions {
        device: choice(args)?,
        load: Options {
            variant: variant(bundle, args)?,
            pipelines: args.pipelines.clone(),
            vouched: matrices.then(|| vouch(bundle)).flatten().map(Arc::new),
            ..Options::default()
        },
        gpu: DeviceOptions {
            matrices,
            ..DeviceOptions::default()
        },
    })
}

/// Whether the set of kernels that is asked for by name multiplies cooperative matrices.
fn asks_for_matrices(args: &DeviceArgs) -> bool {
    let profile = args.variant.as_ref().and_then(|v| v.0.profile.as_deref());
    Profile::ON_REQUEST.iter().any(|p| profile == Some(p.name))
}

/// Opens a session as the flags say.
pub(super) fn open(bundle: &Bundle, args: &DeviceArgs) -> Result<(Session, Place), Error> {
    let options = options(bundle, args)?;
    let start = Instant::now();
    let session = Session::open(bundle, &options)?;
    let place = place(&session, start.elapsed());
    Ok((session, place))
}

/// The same, with the set of kernels that is fastest on batches of these sizes, if that is to be measured.
#[cfg(feature = "gpu")]
pub(super) fn open_tuned(
    bundle: &Bundle,
    args: &DeviceArgs,
    tune: &TuneArgs,
    sizes: Sizes,
) -> Result<(Session, Place), Error> {
    let Some(folder) = &tune.tune else {
        return open(bundle, args);
    };
    let tuning = Tuning {
        folder: folder.clone().or_else(|| args.pipelines.clone()),
        ..Tuning::new(sizes)
    };
    let mut options = options(bundle, args)?;
    options.gpu.matrices = true;
    let start = Instant::now();
    let (session, tuned) = tune::open(bundle, &options, &tuning)?;
    let mut place = place(&session, start.elapsed());
    if tuned.is_none() {
        place.report += "; nothing to tune";
    }
    place.tuned = tuned;
    Ok((session, place))
}

/// Opens a session as the flags say.
#[cfg(not(feature = "gpu"))]
pub(super) fn open_tuned(
    bundle: &Bundle,
    args: &DeviceArgs,
    _: &TuneArgs,
    _: Sizes,
) -> Result<(Session, Place), Error> {
    open(bundle, args)
}

/// A set of kernels is a GPU asked for.
fn choice(args: &DeviceArgs) -> Result<DeviceChoice, Error> {
    let best = AdapterQuery::Best;
    let implied = args.variant.as_ref().map(|_| &best);
    wanted(args.device, args.adapter.as_ref().or(implied))
}

/// A GPU named is a GPU asked for.
pub(super) fn wanted(device: DeviceArg, adapter: Option<&AdapterQuery>) -> Result<DeviceChoice, Error> {
    match (device, adapter) {
        (DeviceArg::Cpu, Some(_)) => Err(Error::Usage(
            "--adapter and --variant are for GPUs, not for --device cpu".into(),
        )),
        (DeviceArg::Cpu, None) => Ok(DeviceChoice::Cpu),
        (DeviceArg::Auto, None) => Ok(DeviceChoice::Auto),
        (DeviceArg::Gpu, None) => Ok(DeviceChoice::Gpu(AdapterQuery::Best)),
        (DeviceArg::Auto | DeviceArg::Gpu, Some(adapter)) => Ok(DeviceChoice::Gpu(adapter.clone())),
    }
}

fn variant(bundle: &Bundle, args: &DeviceArgs) -> Result<VariantChoice, Error> {
    let Some(choice) = args.variant.as_ref().map(|v| v.0.clone()) else {
        return Ok(VariantChoice::default());
    };
    let variants = &bundle.manifest.variants;
    let fits = |v: &crate::bundle::Variant| {
        choice.profile.as_ref().is_none_or(|p| *p == v.profile) && choice.rung.is_none_or(|r| r == v.rung)
    };
    if variants.iter().any(fits) {
        return Ok(choice);
    }
    let there: Vec<String> = variants.iter().map(crate::bundle::Variant::name).collect();
    Err(Error::Usage(format!(
        "--variant: the bundle has no such variant; it has {}",
        there.join(", ")
    )))
}

#[cfg(feature = "gpu")]
pub(super) fn place(session: &Session, took: Duration) -> Place {
    let gpu = session.runtime().map(crate::run::Runtime::report);
    Place {
        device: if gpu.is_some() { "gpu" } else { "cpu" },
        adapter: gpu.map(|r| r.adapter.name.clone()),
        variant: gpu.map(|r| format!("{}/{}", r.profile, r.rung.name())),
        report: session.report(),
        open_seconds: took.as_secs_f64(),
        tuned: None,
    }
}

#[cfg(not(feature = "gpu"))]
pub(super) fn place(session: &Session, took: Duration) -> Place {
    Place {
        device: "cpu",
        adapter: None,
        variant: None,
        report: session.report(),
        open_seconds: took.as_secs_f64(),
    }
}
