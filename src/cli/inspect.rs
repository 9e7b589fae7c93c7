//! `inspect`: what a bundle says of itself.

use std::fmt;

use serde::Serialize;

use super::args::InspectArgs;
use super::plan::Plan;
use super::report::{self, Error};
use super::{load, words};
use crate::bundle::StoredTensor;

#[derive(Debug, Serialize)]
struct Report {
    format: u32,
    tool: String,
    root: String,
    #[serde(flatten)]
    plan: Plan,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: usize,
}

/// Reads and verifies a bundle and reports it.
pub(super) fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let bundle = load::bundle(&args.bundle)?;
    let tensor = |(name, t): (&String, &StoredTensor)| Tensor {
        name: name.clone(),
        dtype: t.storage.name(),
        shape: t.shape.clone(),
        bytes: t.bytes.len(),
    };
    let report = Report {
        format: bundle.manifest.format,
        tool: bundle.manifest.tool.clone(),
        root: bundle.root()?,
        plan: Plan::of(&bundle),
        tensors: bundle.weights.iter().map(tensor).collect(),
    };
    report::print(&report, args.format)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bundle format {}, made by {}, sound", self.format, self.tool)?;
        writeln!(f, "root {}", self.root)?;
        self.plan.fmt(f)?;
        writeln!(f, "tensors")?;
        let width = self.tensors.iter().map(|t| t.name.len()).max().unwrap_or(0);
        for t in &self.tensors {
            let shape = format!("{:?}", t.shape);
            let bytes = words::bytes(t.bytes as u64);
            writeln!(f, "  {:width$}  {:4} {shape:14} {bytes}", t.name, t.dtype)?;
        }
        Ok(())
    }
}
