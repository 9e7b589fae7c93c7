//! Candidates, checked and timed.

use std::sync::Arc;
use std::time::Duration;

use super::race::Race;
use super::{Candidate, Clock, Figures, Tuning, UNCHECKED, Verdict};
use crate::bundle::{Bundle, Variant};
use crate::compile::vouch;
use crate::metrics::{Difference, numbers};
use crate::run::{self, Device, Error, Options, Runtime, VariantChoice};
use crate::session::{DeviceChoice, Session, SessionError, SessionOptions};
use crate::tensor::Tensors;

/// A device, a model, and a batch whose outputs are known.
pub(super) struct Tuner<'t> {
    device: &'t Arc<Device>,
    bundle: &'t Bundle,
    load: Options,
    most: Duration,
    batch: Tensors,
    expected: Tensors,
}

/// A variant loaded for measuring alone.
struct Lap<'t> {
    tuner: &'t Tuner<'t>,
    runtime: Runtime,
}

/// How a time is taken: by which clock, of how many batches.
#[derive(Clone, Copy)]
struct Pace {
    clock: Clock,
    batches: u32,
}

/// Of the batch.
const SEED: u64 = 0x7475_6e65;
/// Seconds that a sample of a host's clock takes at least.
const LEAST_SAMPLE: f64 = 0.01;
/// What giving up checks has to gain.
const GAIN_OF_UNCHECKED: f64 = 0.05;
/// Batches of a sample at most.
const MOST_BATCHES: f64 = 64.0;

impl<'t> Tuner<'t> {
    pub(super) fn new(
        device: &'t Arc<Device>,
        bundle: &'t Bundle,
        load: &Options,
        tuning: &Tuning,
    ) -> Result<Self, Error> {
        let sizes = run::random_sizes(&bundle.manifest, tuning.sizes.rows, tuning.sizes.requests);
        let batch = run::random_batch(&bundle.manifest, sizes, SEED);
        let options = SessionOptions {
            device: DeviceChoice::Cpu,
            ..SessionOptions::default()
        };
        let expected = Session::open(bundle, &options).and_then(|session| session.run(&batch));
        Ok(Self {
            device,
            bundle,
            // What is measured shares nothing with what will run.
            load: Options {
                pipelines: None,
                vouched: vouch(bundle).map(Arc::new),
                unchecked: false,
                ..load.clone()
            },
            most: tuning.most,
            expected: expected.map_err(|e| match e {
                SessionError::Run(e) => e,
                e => Error::Malformed(e.to_string()),
            })?,
            batch,
        })
    }

    /// Checks candidates and times those that are right, in the order of the table.
    pub(super) fn figures(&self, candidates: &[&Variant], skipped: Vec<String>) -> Result<(Clock, Figures), Error> {
        let mut list = Vec::new();
        let mut rest = candidates.iter();
        let default = rest.by_ref().find_map(|variant| match self.lap(variant) {
            Ok(Ok(lap)) => Some(Ok((*variant, lap))),
            Ok(Err(verdict)) => {
                list.push(Candidate::new(variant, verdict));
                None
            }
            Err(e) => Some(Err(e)),
        });
        let Some((first, default)) = default.transpose()? else {
            let reasons = list.iter().map(ToString::to_string).chain(skipped);
            return Err(Error::NoVariant {
                adapter: self.device.report().name.clone(),
                reasons: reasons.collect(),
            });
        };
        let (pace, seconds) = default.pace()?;
        list.push(Candidate::new(first, Verdict::Default { seconds }));
        let mut chosen = (first, 1.0);
        // The default under another name: loaded once more, in buffers of its own.
        let control = match rest.len() {
            0 => None,
            _ => self.lap(first)?.ok(),
        };
        for variant in rest {
            let verdict = match (self.lap(variant)?, &control) {
                (Ok(lap), Some(control)) => {
                    let race = self.race(pace, [&default, &lap, control])?;
                    // What was right before it was timed may have been so by luck.
                    match lap.wrong()? {
                        Some(wrong) => wrong,
                        None => {
                            if race.won() && race.ratio < chosen.1 {
                                chosen = (variant, race.ratio);
                            }
                            Verdict::of(&race)
                        }
                    }
                }
                (Ok(_), None) => Verdict::Failed {
                    why: "nothing to compare with: the first variant does not load twice".into(),
                },
                (Err(verdict), _) => verdict,
            };
            list.push(Candidate::new(variant, verdict));
        }
        drop((default, control));
        let (unchecked, won) = self.unchecked(pace, chosen.0)?;
        let figures = Figures {
            chosen: chosen.0.name(),
            unchecked: won,
            candidates: list.into_iter().chain([unchecked]).collect(),
        };
        Ok((pace.clock, figures))
    }

    /// A variant against itself with those kernels unchecked that need no checks, and whether that gains enough; why it was
    /// not tried, where there are none.
    fn unchecked(&self, pace: Pace, variant: &Variant) -> Result<(Candidate, bool), Error> {
        let mut won = false;
        let verdict = match self.checks_all(variant) {
            Some(why) => Verdict::Untried { why },
            None => match (self.lap(variant)?, self.lap(variant)?, self.load(variant, true)?) {
                (Ok(checked), Ok(control), Ok(lap)) => {
                    let race = self.race(pace, [&checked, &lap, &control])?;
                    let wrong = lap.wrong()?;
                    won = wrong.is_none() && race.won() && 1.0 - race.ratio > GAIN_OF_UNCHECKED;
                    wrong.unwrap_or(Verdict::of(&race))
                }
                (Ok(_), Ok(_), Err(verdict)) => verdict,
                _ => Verdict::Untried {
                    why: "with checks it does not load a second time to be compared with".into(),
                },
            },
        };
        let variant = variant.name() + UNCHECKED;
        Ok((Candidate { variant, verdict }, won))
    }

    /// Why all kernels of a variant keep their checks, if they do.
    fn checks_all(&self, variant: &Variant) -> Option<String> {
        let kernels = variant.kernels.len();
        match &self.load.vouched {
            Some(own) if own.kernels(variant) > 0 => None,
            Some(own) if own.generated(variant) => Some(format!(
                "in each of its {kernels} kernels an index or the end of a loop depends on what memory holds"
            )),
            _ => Some("from the bundle's graph this build generates other kernels than the bundle has".into()),
        }
    }

    /// Loads a variant as it is by default and runs the batch; else what is wrong with it.
    fn lap(&self, variant: &Variant) -> Result<Result<Lap<'_>, Verdict>, Error> {
        self.load(variant, false)
    }

    fn load(&self, variant: &Variant, unchecked: bool) -> Result<Result<Lap<'_>, Verdict>, Error> {
        let options = Options {
            variant: VariantChoice::of(variant),
            unchecked,
            ..self.load.clone()
        };
        let runtime = match Runtime::open(Arc::clone(self.device), self.bundle, &options) {
            Ok(runtime) => runtime,
            Err(e) => return Verdict::failed(e).map(Err),
        };
        let lap = Lap { tuner: self, runtime };
        Ok(match lap.wrong()? {
            None => Ok(lap),
            Some(verdict) => Err(verdict),
        })
    }

    fn race(&self, pace: Pace, [default, candidate, control]: [&Lap<'_>; 3]) -> Result<Race, Error> {
        Race::run(
            self.most,
            &mut || default.seconds(pace),
            &mut || candidate.seconds(pace),
            &mut || control.seconds(pace),
        )
    }
}

impl Lap<'_> {
    /// What is wrong with its outputs, if something is.
    fn wrong(&self) -> Result<Option<Verdict>, Error> {
        let outputs = match self.runtime.run(&self.tuner.batch) {
            Ok(outputs) => outputs,
            Err(e) => return Verdict::failed(e).map(Some),
        };
        let most = self.tuner.bundle.manifest.precision.tolerance();
        let wrong = self.tuner.expected.iter().find_map(|(name, expected)| {
            let why = match outputs.get(name) {
                None => format!("no output `{name}`"),
                Some(seen) if seen.shape != expected.shape => {
                    format!("output `{name}` is {:?}, not {:?}", seen.shape, expected.shape)
                }
                Some(seen) => {
                    let error = Difference::of(&numbers(seen), &numbers(expected)).of_max;
                    if error <= most {
                        return None;
                    }
                    format!("output `{name}` has an error of {error:.2e}, at most {most:.0e} is expected")
                }
            };
            Some(Verdict::Wrong { why })
        });
        Ok(wrong)
    }

    /// How to take times, and about how long a batch takes.
    fn pace(&self) -> Result<(Pace, f64), Error> {
        let mut pace = Pace {
            clock: Clock::of(self.runtime.device().report()),
            batches: 1,
        };
        let mut seconds = self.seconds(pace)?;
        if pace.clock == Clock::Device && seconds <= 0.0 {
            // A clock that stands still.
            pace.clock = Clock::Wall;
            seconds = self.seconds(pace)?;
        }
        if pace.clock != Clock::Device {
            pace.batches = (LEAST_SAMPLE / seconds).ceil().clamp(1.0, MOST_BATCHES) as u32;
            seconds = self.seconds(pace)?;
        }
        Ok((pace, seconds))
    }

    /// Seconds of a batch.
    fn seconds(&self, pace: Pace) -> Result<f64, Error> {
        let batch = &self.tuner.batch;
        if pace.clock == Clock::Device {
            return Ok(self.runtime.device_seconds(batch)?.unwrap_or(0.0));
        }
        let batches = pace
            .clock
            .host_seconds(|| (0..pace.batches).try_for_each(|_| self.runtime.run(batch).map(drop)))?;
        Ok(batches / f64::from(pace.batches))
    }
}

impl Candidate {
    fn new(variant: &Variant, verdict: Verdict) -> Self {
        Self {
            variant: variant.name(),
            verdict,
        }
    }
}

impl Verdict {
    fn of(race: &Race) -> Self {
        Self::Timed {
            seconds: race.candidate,
            ratio: race.ratio,
            spread: race.spread,
        }
    }

    /// A failure of the candidate's; the device's own is nobody's.
    fn failed(e: Error) -> Result<Self, Error> {
        match e {
            Error::Lost { .. } | Error::Timeout { .. } => Err(e),
            e => Ok(Self::Failed { why: e.to_string() }),
        }
    }
}
