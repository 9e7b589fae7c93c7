//! `run`: a batch goes through a bundle.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::args::RunArgs;
use super::device::{self, Place};
use super::report::{self, Error};
#[cfg(feature = "data")]
use super::rows;
use super::{batch, load, words};
use crate::bundle::Bundle;
use crate::metrics::numbers;
use crate::run::Batch;
use crate::tensor::{HostTensor, Tensors};

#[derive(Debug, Serialize)]
struct Report {
    place: Place,
    run_seconds: f64,
    outputs: Vec<Output>,
    written: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    /// Absent when there is no element.
    min: Option<f64>,
    mean: Option<f64>,
    max: Option<f64>,
}

/// Runs a batch; outputs are summed up, and written where asked.
pub(super) fn run(args: &RunArgs) -> Result<(), Error> {
    let (bundle, batch) = read(args, load::bundle(&args.bundle)?)?;
    let sizes = Batch::check(&bundle.manifest, &batch).map(|batch| batch.sizes)?;
    let (session, place) = device::open_tuned(&bundle, &args.device, &args.tune, sizes)?;
    let start = Instant::now();
    let outputs = session.run(&batch)?;
    let run_seconds = start.elapsed().as_secs_f64();
    if let Some(path) = &args.output {
        batch::write(path, &outputs)?;
    }
    let report = Report {
        place,
        run_seconds,
        outputs: outputs.iter().map(|(name, t)| Output::new(name, t)).collect(),
        written: args.output.clone(),
    };
    report::print(&report, args.format)
}

/// The batch that the arguments name, and the bundle that takes it.
fn read(args: &RunArgs, bundle: Bundle) -> Result<(Bundle, Tensors), Error> {
    if let Some(input) = &args.input {
        return Ok((bundle, batch::read(input)?));
    }
    #[cfg(feature = "data")]
    return rows::read(args, bundle);
    #[cfg(not(feature = "data"))]
    Err(Error::Usage(format!(
        "--input: a batch for `{}`",
        bundle.manifest.model
    )))
}

impl Output {
    fn new(name: &str, t: &HostTensor) -> Self {
        let values = numbers(t);
        let some = |x: f64| (!values.is_empty()).then_some(x);
        Self {
            name: name.to_owned(),
            dtype: t.dtype().name(),
            shape: t.shape.clone(),
            min: some(values.iter().copied().fold(f64::INFINITY, f64::min)),
            mean: some(values.iter().sum::<f64>() / values.len() as f64),
            max: some(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        writeln!(f, "ran in {}", words::seconds(self.run_seconds))?;
        let width = self.outputs.iter().map(|o| o.name.len()).max().unwrap_or(0);
        for o in &self.outputs {
            write!(f, "  {:width$}  {}{:?}", o.name, o.dtype, o.shape)?;
            if let (Some(min), Some(mean), Some(max)) = (o.min, o.mean, o.max) {
                write!(f, "  min {min:.6}, mean {mean:.6}, max {max:.6}")?;
            }
            writeln!(f)?;
        }
        match &self.written {
            Some(path) => writeln!(f, "written: {}", path.display()),
            None => Ok(()),
        }
    }
}
