//! Golden files: a batch, the answers to it, perhaps labels; and how far other answers are from them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::BoundArgs;
use super::batch::with_prefix;
use super::report::Error;
use crate::bundle::Precision;
use crate::import;
use crate::metrics::{Difference, auc, log_loss, numbers};
use crate::tensor::{HostTensor, Tensors};

/// Fewer rows than this tell little about an AUC.
const ROWS_FOR_AUC: usize = 20_000;

/// A batch and its answers.
pub(super) struct Golden {
    pub(super) path: PathBuf,
    pub(super) batch: Tensors,
    answers: Tensors,
    labels: Option<Vec<bool>>,
}

/// What is tolerated.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Bounds {
    pub(super) max_error: f64,
    pub(super) max_abs: Option<f64>,
    pub(super) max_auc_difference: Option<f64>,
}

/// How answers compare.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) outputs: Vec<Compared>,
    pub(super) bounds: Bounds,
}

/// How one output compares.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    output: String,
    values: usize,
    #[serde(flatten)]
    difference: Difference,
    labels: Option<Labelled>,
    within_bounds: bool,
}

/// How well an output predicts labels, and the reference.
#[derive(Debug, Serialize)]
struct Labelled {
    rows: usize,
    auc: Pair,
    log_loss: Option<Pair>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Pair {
    seen: f64,
    reference: f64,
    difference: f64,
}

impl Pair {
    fn of(metric: impl Fn(&[f64]) -> Option<f64>, seen: &[f64], reference: &[f64]) -> Option<Self> {
        let (seen, reference) = (metric(seen)?, metric(reference)?);
        Some(Self {
            seen,
            reference,
            difference: seen - reference,
        })
    }
}

impl Golden {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let (tensors, _) = import::read_tensors(path)?;
        let [batch, answers] = ["in.", "out."].map(|prefix| with_prefix(&tensors, prefix));
        if answers.is_empty() {
            return Err(Error::Refused(format!(
                "`{}` has no tensors `out.NAME`",
                path.display()
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            batch,
            answers,
            labels: tensors
                .get("label")
                .map(|t| numbers(t).iter().map(|x| *x > 0.5).collect()),
        })
    }

    /// Compares answers with the golden ones.
    pub(super) fn compare(&self, seen: &Tensors, bounds: Bounds) -> Result<Comparison, Error> {
        let refuse = |why: &str| Error::Refused(format!("`{}`: {why}", self.path.display()));
        let compared = compare(seen, &self.answers, self.labels.as_deref(), bounds).map_err(|e| match e {
            Error::Refused(why) => refuse(&why),
            e => e,
        })?;
        if bounds.max_auc_difference.is_some() && compared.outputs.iter().all(|o| o.labels.is_none()) {
            return Err(refuse(
                "no output has an AUC to bound: no tensor `label` of two classes fits one",
            ));
        }
        Ok(compared)
    }
}

impl Bounds {
    /// As typed, else what the precision lets expect.
    pub(super) fn new(args: &BoundArgs, precision: Precision) -> Self {
        Self {
            max_error: args.max_error.unwrap_or(precision.tolerance()),
            max_abs: args.max_abs,
            max_auc_difference: args.max_auc_difference,
        }
    }

    fn allow(&self, d: &Difference, labels: Option<&Labelled>) -> bool {
        d.of_max <= self.max_error
            && self.max_abs.is_none_or(|most| d.max_abs <= most)
            && match (self.max_auc_difference, labels) {
                (Some(most), Some(l)) => l.auc.difference.abs() <= most,
                (Some(_) | None, _) => true,
            }
    }
}

/// Compares tensors by name: all of `reference` must be there.
pub(super) fn compare(
    seen: &Tensors,
    reference: &Tensors,
    labels: Option<&[bool]>,
    bounds: Bounds,
) -> Result<Comparison, Error> {
    let one = |(name, want): (&String, &HostTensor)| {
        let refuse = |what: String| Error::Refused(format!("output `{name}` {what}"));
        let Some(got) = seen.get(name) else {
            let there: Vec<String> = seen.keys().map(|n| format!("`{n}`")).collect();
            return Err(refuse(format!("is none of the model's: {}", there.join(", "))));
        };
        if got.shape != want.shape {
            return Err(refuse(format!("is {:?}, the reference is {:?}", got.shape, want.shape)));
        }
        Ok(Compared::new(name, &numbers(got), &numbers(want), labels, bounds))
    };
    Ok(Comparison {
        outputs: reference.iter().map(one).collect::<Result<_, _>>()?,
        bounds,
    })
}

impl Compared {
    fn new(name: &str, seen: &[f64], reference: &[f64], labels: Option<&[bool]>, bounds: Bounds) -> Self {
        let difference = Difference::of(seen, reference);
        // An output with one value a row ranks rows.
        let labels = labels.filter(|l| l.len() == seen.len()).and_then(|labels| {
            Some(Labelled {
                rows: labels.len(),
                auc: Pair::of(|x| auc(x, labels), seen, reference)?,
                log_loss: Pair::of(|x| log_loss(x, labels), seen, reference),
            })
        });
        Self {
            output: name.to_owned(),
            values: seen.len(),
            within_bounds: bounds.allow(&difference, labels.as_ref()),
            difference,
            labels,
        }
    }
}

impl Comparison {
    /// An error that names the outputs beyond the bounds, if there are any.
    pub(super) fn verdict(&self, of: &str) -> Result<(), Error> {
        let beyond = self.outputs.iter().filter(|o| !o.within_bounds);
        let beyond: Vec<String> = beyond
            .map(|o| {
                format!(
                    "`{}` (error {:.2e}, at most {:.2e})",
                    o.output, o.difference.of_max, self.bounds.max_error
                )
            })
            .collect();
        match beyond.is_empty() {
            true => Ok(()),
            false => Err(Error::Refused(format!(
                "{of}: outputs beyond bounds: {}",
                beyond.join(", ")
            ))),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.outputs.iter().map(|o| o.output.len()).max().unwrap_or(0).max(6);
        writeln!(
            f,
            "  {:width$}  {:>9}  {:>9}  {:>9}  {:>9}  {:>11}",
            "output", "values", "max abs", "of max", "mean", "cosine"
        )?;
        for o in &self.outputs {
            let Difference {
                max_abs,
                of_max,
                mean,
                cosine,
            } = o.difference;
            let verdict = if o.within_bounds { "" } else { "  beyond bounds" };
            writeln!(
                f,
                "  {:width$}  {:>9}  {max_abs:>9.2e}  {of_max:>9.2e}  {mean:>9.1e}  {cosine:>11.9}{verdict}",
                o.output, o.values
            )?;
        }
        for (output, l) in self
            .outputs
            .iter()
            .filter_map(|o| Some((&o.output, o.labels.as_ref()?)))
        {
            write!(f, "  {output}: AUC {}", l.auc)?;
            if let Some(loss) = l.log_loss {
                write!(f, "; log loss {loss}")?;
            }
            let few = if l.rows < ROWS_FOR_AUC { ", few for an AUC" } else { "" };
            writeln!(f, "; {} rows{few}", l.rows)?;
        }
        Ok(())
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.6}, reference {:.6} ({:+.1e})",
            self.seen, self.reference, self.difference
        )
    }
}
