//! Which of a bundle's variants is the fastest here: measured, where the table of profiles is a guess.
//!
//! A tuner is only as good as what it does not believe. Each candidate is loaded apart, with buffers and pipelines of its
//! own; its whole outputs are compared with the CPU executor's before its time counts, and after; its time is compared with
//! the default's in turn with the default's own under another name. The one that is chosen then races itself without checks
//! of indices, in kernels that need none. Whoever is not faster by more than these two differ
//! is not chosen, and without figures that can be trusted the table's choice stays.

mod clock;
mod kept;
mod measure;
#[cfg(test)]
mod played;
mod race;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::clock::Clock;
pub use self::kept::Subject;
use self::measure::Tuner;
use crate::bundle::Bundle;
use crate::compile::vouch;
use crate::run::{Device, Error, Options, Runtime, VariantChoice};
use crate::session::{Session, SessionError, SessionOptions};
use crate::tensor::Sizes;

/// How to tune.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Rows and requests of the batches that will come.
    pub sizes: Sizes,
    /// Folder in which figures are kept for the next process, by adapter, driver, model and size of batches; it may be
    /// emptied at any time.
    pub folder: Option<PathBuf>,
    /// How long a candidate is measured, unless the fewest rounds that tell take longer.
    pub most: Duration,
}

impl Tuning {
    /// For batches of so many rows and requests, three seconds a candidate, nothing kept.
    #[must_use]
    pub fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            folder: None,
            most: Duration::from_secs(3),
        }
    }
}

/// What a tuner found, and what it did about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuned {
    /// What the figures are true of.
    pub subject: Subject,
    /// Whose time they are.
    pub clock: Clock,
    /// The figures.
    pub figures: Figures,
    /// Whether they were measured before, by another process.
    pub from_file: bool,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// Times of variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// The variant to run.
    pub chosen: String,
    /// Whether those of its kernels run without checks of their indices that decide all of them themselves.
    pub unchecked: bool,
    /// All, in the order of the table; at the end the chosen one without checks, or why that was not tried.
    pub candidates: Vec<Candidate>,
}

/// A variant and what is thought of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub variant: String,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What came of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The first one in the table that is right: what others are compared with.
    Default {
        /// Median of a batch.
        seconds: f64,
    },
    /// Right, and timed.
    Timed {
        /// Median of a batch.
        seconds: f64,
        /// Its time over the default's: median over rounds.
        ratio: f64,
        /// How far that is from 1 for the default itself: what means nothing.
        spread: f64,
    },
    /// Its outputs are others than the model's.
    Wrong {
        /// How.
        why: String,
    },
    /// It does not load or run.
    Failed {
        /// Why.
        why: String,
    },
    /// It is no candidate.
    Untried {
        /// Why.
        why: String,
    },
}

/// Opens a session as [`Session::open`] does, with the variant that is fastest on the device and right. What ran before
/// on this device for such batches is not measured again. On the CPU executor there is nothing to choose. Variants that
/// multiply cooperative matrices are candidates where [`crate::run::DeviceOptions::matrices`] asks for them.
///
/// # Errors
/// As [`Session::open`]; [`Error::NoVariant`] where no variant's outputs are right.
pub fn open(
    bundle: &Bundle,
    options: &SessionOptions,
    tuning: &Tuning,
) -> Result<(Session, Option<Tuned>), SessionError> {
    let mut tuned = None;
    let session = Session::open_choosing(bundle, options, &mut |device| {
        let found = tune(device, bundle, &options.load, tuning)?;
        let mut variants = bundle.manifest.variants.iter();
        let chosen = variants.find(|v| v.name() == found.figures.chosen);
        let unchecked = chosen.is_some() && found.figures.unchecked;
        tuned = Some(found);
        let squares = chosen.is_some_and(|v| v.needs.matrix.is_some());
        let vouched = (unchecked || squares).then(|| vouch(bundle)).flatten();
        Ok(Options {
            vouched: vouched.map(Arc::new),
            unchecked,
            variant: chosen.map_or_else(|| options.load.variant.clone(), VariantChoice::of),
            ..options.load.clone()
        })
    })?;
    // A device that failed once it was tuned is not the one that runs.
    let tuned = tuned.filter(|_| session.runtime().is_some());
    Ok((session, tuned))
}

/// Finds the variant to load.
fn tune(device: &Arc<Device>, bundle: &Bundle, load: &Options, tuning: &Tuning) -> Result<Tuned, Error> {
    let (candidates, skipped) = Runtime::candidates(device.report(), bundle, &load.variant);
    let subject = Subject::new(device.report(), bundle, &candidates, tuning.sizes);
    let path = tuning.folder.as_ref().map(|folder| subject.path(folder));
    let mut tuned = Tuned {
        subject,
        clock: Clock::of(device.report()),
        figures: Figures {
            chosen: candidates.first().map(|v| v.name()).unwrap_or_default(),
            unchecked: false,
            candidates: Vec::new(),
        },
        from_file: false,
        notes: Vec::new(),
    };
    if let Some(path) = &path {
        match kept::read(path, &tuned.subject) {
            Ok(Some((clock, figures))) if candidates.iter().any(|v| v.name() == figures.chosen) => {
                (tuned.clock, tuned.figures, tuned.from_file) = (clock, figures, true);
                tuned.notes.push(format!("measured before: `{}`", path.display()));
                return Ok(tuned);
            }
            Ok(_) => {}
            Err(why) => tuned.notes.push(why),
        }
    }
    let found = Tuner::new(device, bundle, load, tuning).and_then(|tuner| tuner.figures(&candidates, skipped));
    match found {
        Ok((clock, figures)) => {
            tuned.notes.push(match &path {
                Some(path) => kept::write(path, &tuned.subject, clock, &figures),
                None => "not kept: no folder was given".to_owned(),
            });
            (tuned.clock, tuned.figures) = (clock, figures);
        }
        // Without a variant that is right, or without a device, there is nothing to fall back to.
        Err(e @ (Error::NoVariant { .. } | Error::Lost { .. } | Error::Timeout { .. })) => return Err(e),
        Err(e) => tuned.notes.push(format!("not tuned: {e}")),
    }
    Ok(tuned)
}

/// What is added to the name of a variant some of whose kernels run unchecked.
const UNCHECKED: &str = ", unchecked";

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.variant)?;
        let ms = |seconds: f64| seconds * 1e3;
        match &self.verdict {
            Verdict::Default { seconds } => write!(f, "{:.3} ms, first in the table", ms(*seconds)),
            Verdict::Timed { seconds, ratio, spread } => write!(
                f,
                "{:.3} ms, {ratio:.3} times the first's, which is up to {spread:.3} off itself",
                ms(*seconds)
            ),
            Verdict::Wrong { why } => write!(f, "wrong, never chosen: {why}"),
            Verdict::Failed { why } => write!(f, "does not run: {why}"),
            Verdict::Untried { why } => write!(f, "not tried: {why}"),
        }
    }
}

impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { rows, requests, .. } = self.subject;
        write!(
            f,
            "tuned for up to {rows} rows of {requests} requests, {}: {}{} chosen",
            self.clock.name(),
            self.figures.chosen,
            if self.figures.unchecked { UNCHECKED } else { "" }
        )?;
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))?;
        let mut candidates = self.figures.candidates.iter();
        candidates.try_for_each(|candidate| write!(f, "\n  {candidate}"))
    }
}
