//! `inspect`: what a bundle says of itself.

use std::fmt;

use serde::Serialize;

use super::args::InspectArgs;
use super::plan::Plan;
use super::report::{self, Error};
use super::{load, words};
use crate::bundle::StoredTensor;
#[cfg(feature = "data")]
use crate::session;

#[derive(Debug, Serialize)]
struct Report {
    format: u32,
    tool: String,
    root: String,
    #[serde(flatten)]
    plan: Plan,
    #[cfg(feature = "data")]
    features: Option<Features>,
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
        #[cfg(feature = "data")]
        features: session::encoder(&bundle)?.map(|e| Features::of(&e)),
        tensors: bundle.weights.iter().map(tensor).collect(),
    };
    report::print(&report, args.format)
}

/// What makes the inputs of raw rows.
#[cfg(feature = "data")]
#[derive(Debug, Serialize)]
struct Features {
    fitted_rows: u64,
    fitted_days: Option<crate::data::Days>,
    /// Rows of the table of each feature that is an id.
    vocabularies: std::collections::BTreeMap<String, usize>,
}

#[cfg(feature = "data")]
impl Features {
    fn of(encoder: &crate::data::Encoder) -> Self {
        Self {
            fitted_rows: encoder.fitted_rows(),
            fitted_days: encoder.fitted_days(),
            vocabularies: encoder.vocabulary_sizes().into_iter().collect(),
        }
    }
}

#[cfg(feature = "data")]
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "features of raw rows, fitted on {} rows",
            words::count(self.fitted_rows)
        )?;
        match self.fitted_days {
            Some(days) => writeln!(f, " of the days {days}")?,
            None => writeln!(f)?,
        }
        let width = self.vocabularies.keys().map(String::len).max().unwrap_or(0);
        for (name, rows) in &self.vocabularies {
            writeln!(f, "  {name:width$}  {} rows", words::count(*rows as u64))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bundle format {}, made by {}, sound", self.format, self.tool)?;
        writeln!(f, "root {}", self.root)?;
        self.plan.fmt(f)?;
        #[cfg(feature = "data")]
        if let Some(features) = &self.features {
            features.fmt(f)?;
        }
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
