//! Candidates, checked and timed.

use std::sync::Arc;
use std::time::Duration;

use super::race::Race;
use super::{Candidate, Clock, Figures, Tuning, UNCHECKED, Verdict};
use crate::bundle::{Bundle, Variant, Vouched};
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
        let unchecked = self.unchecked(pace, chosen.0)?;
        let figures = Figures {
            chosen: chosen.0.name(),
            unchecked: unchecked.as_ref().is_some_and(|(_, won)| *won),
            candidates: list.into_iter().chain(unchecked.map(|(one, _)| one)).collect(),
        };
        Ok((pace.clock, figures))
    }

    /// A variant against itself with those kernels unchecked that need no checks, if there are any.
    fn unchecked(&self, pace: Pace, variant: &Variant) -> Result<Option<(Candidate, bool)>, Error> {
        let Some(own) = vouch(self.bundle).filter(|own| own.kernels(variant) > 0) else {
            return Ok(None);
        };
        let (Ok(checked), Ok(control)) = (self.lap(variant)?, self.lap(variant)?) else {
            return Ok(None);
        };
        let mut won = false;
        let verdict = match self.load(variant, Some(Arc::new(own)))? {
            Err(verdict) => verdict,
            Ok(lap) => {
                let race = self.race(pace, [&checked, &lap, &control])?;
                let wrong = lap.wrong()?;
                won = wrong.is_none() && race.won() && 1.0 - race.ratio > GAIN_OF_UNCHECKED;
                wrong.unwrap_or(Verdict::of(&race))
            }
        };
        let variant = variant.name() + UNCHECKED;
        Ok(Some((Candidate { variant, verdict }, won)))
    }

    /// Loads a variant as it is by default and runs the batch; else what is wrong with it.
    fn lap(&self, variant: &Variant) -> Result<Result<Lap<'_>, Verdict>, Error> {
        self.load(variant, None)
    }

    fn load(&self, variant: &Variant, unchecked: Option<Arc<Vouched>>) -> Result<Result<Lap<'_>, Verdict>, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Precision, Rung};
    use crate::compile::{self, compile};
    use crate::fuse::Profile;
    use crate::run::{AdapterQuery, DeviceOptions};
    use crate::tensor::{HostTensor, Sizes};

    const GRAPH: &str = "loopfm 1
%0 = input \"x\" : f32[rows, 64]
%1 = param \"w\" : f32[64, 64]
%2 = matmul(%0, %1) : f32[rows, 64]
return \"y\" = %2
";

    #[test]
    fn variants_whose_self_test_fails_are_passed_over() {
        let Ok(mut device) = Device::open(&AdapterQuery::Best, &DeviceOptions::default()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        if !device.report().f16 {
            eprintln!("skipped: no f16");
            return;
        }
        let graph = crate::ir::parse(GRAPH).expect("a sound graph");
        let weights = Tensors::from([("w".to_owned(), HostTensor::f32(&[64, 64], vec![0.25; 4096]))]);
        let options = compile::Options {
            profiles: vec![&Profile::MATRIX, &Profile::PORTABLE],
            rungs: vec![Rung::Native],
            ..compile::Options::new(Precision::F16)
        };
        let bundle = compile("wide", &graph, &weights, &options).expect("it compiles");
        let failed = Error::SelfTest {
            what: "a product of 16x16 matrices".into(),
            seen: "1".into(),
            expected: "2".into(),
        };
        device.play_matrices(16, Err(failed.clone()));
        let device = Arc::new(device);
        let runtime = Runtime::open(Arc::clone(&device), &bundle, &Options::default()).expect("the plain variant runs");
        assert_eq!(runtime.report().profile, "portable");
        assert_eq!(runtime.report().skipped, [format!("matrix/native skipped: {failed}")]);
        let (candidates, _) = Runtime::candidates(device.report(), &bundle, &VariantChoice::default());
        assert_eq!(candidates.len(), 2);
        let tuning = Tuning::new(Sizes { rows: 64, requests: 1 });
        let tuner = Tuner::new(&device, &bundle, &Options::default(), &tuning).expect("the CPU runs it");
        let (_, figures) = tuner.figures(&candidates, Vec::new()).expect("one variant is right");
        assert_eq!(figures.chosen, "portable/native");
        assert_eq!(
            figures.candidates[0].verdict,
            Verdict::Failed {
                why: failed.to_string()
            }
        );
    }
}
