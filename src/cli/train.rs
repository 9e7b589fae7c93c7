//! `train`: a specification and data become a model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::args::TrainArgs;
use super::device;
use super::report::{self, Error};
use super::words;
#[cfg(feature = "data")]
use crate::bundle::FEATURES;
use crate::import;
#[cfg(feature = "data")]
use crate::train::RawData;
use crate::train::{Event, Fit, Outcome, Spec, Split, Trainable, Trainer};

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    outcome: Outcome,
    /// Where steps ran, and why there.
    device: String,
    /// Where they ran before, if elsewhere.
    before: Option<String>,
    seconds: f64,
}

/// Trains, with a bar on the terminal, and reports what came out.
pub(super) fn train(args: &TrainArgs) -> Result<(), Error> {
    let choice = device::wanted(args.device, args.adapter.as_ref())?;
    let mut spec = Spec::read(&args.spec)?;
    let out = args.out.clone().unwrap_or_else(|| folder(&args.spec));
    let data = Data::open(&mut spec, args, &out)?;
    let mut trainer = Trainer::on(Trainable::of_spec(&spec)?, &spec, &choice)?;
    for (key, text) in data.notes {
        trainer.carry(&key, text);
    }
    let fit = Fit {
        train: &data.train,
        valid: data.valid.as_ref(),
        out: &out,
        resume: args.resume,
    };
    let start = Instant::now();
    let bar = Bar::new(args.format.json);
    let mut before = None;
    let outcome = trainer.fit(&fit, &mut |event| {
        if let Event::Start {
            before: Some(other), ..
        } = event
        {
            before = Some(other.clone());
        }
        bar.tell(event);
    });
    bar.bar.finish_and_clear();
    let report = Report {
        outcome: outcome?,
        device: trainer.report(),
        before,
        seconds: start.elapsed().as_secs_f64(),
    };
    report::print(&report, args.format)
}

/// What a run reads, and what its model's file will say of that.
struct Data {
    train: Split,
    valid: Option<Split>,
    notes: BTreeMap<String, String>,
}

impl Data {
    fn open(spec: &mut Spec, args: &TrainArgs, out: &Path) -> Result<Self, Error> {
        // A model that is trained on keeps what its file says.
        let mut notes = match spec.model_file() {
            Some(file) => import::notes(&file)?,
            None => BTreeMap::new(),
        };
        #[cfg(feature = "data")]
        if let Some(raw) = RawData::open(spec, &args.train, &args.valid, out, args.resume)? {
            raw.save(out)?;
            notes.insert(FEATURES.to_owned(), raw.encoder.to_json());
            return Ok(Self {
                train: raw.train,
                valid: raw.valid,
                notes,
            });
        }
        #[cfg(not(feature = "data"))]
        if let Some(features) = &spec.data.features {
            let out = out.display();
            return Err(Error::Refused(format!(
                "`{features}` for `{out}`: this build reads no logs (feature `data`)"
            )));
        }
        notes.extend(said(&args.train)?);
        Ok(Self {
            train: Split::files(&args.train),
            valid: (!args.valid.is_empty()).then(|| Split::files(&args.valid)),
            notes,
        })
    }
}

/// What files of columns say beside them, whose embeddings they hold for instance: the model's file will say it too, so that
/// whoever serves it knows which ones it takes.
fn said(files: &[PathBuf]) -> Result<BTreeMap<String, String>, Error> {
    let mut all: BTreeMap<String, (String, &Path)> = BTreeMap::new();
    for file in files.iter().filter(|f| f.extension().is_none_or(|e| e != "parquet")) {
        for (key, text) in import::notes(file)? {
            match all.get(&key) {
                Some((before, other)) if *before != text => {
                    return Err(Error::Mismatch(format!(
                        "`{}` says `{key}` is {text}, `{}` says {before}: no model learns from both",
                        file.display(),
                        other.display()
                    )));
                }
                _ => drop(all.insert(key, (text, file))),
            }
        }
    }
    Ok(all.into_iter().map(|(key, (text, _))| (key, text)).collect())
}

/// Named for the specification, in the current folder.
fn folder(spec: &Path) -> PathBuf {
    PathBuf::from(spec.file_stem().unwrap_or_default()).with_extension("run")
}

/// Where steps run.
fn on(device: &str, before: Option<&str>) -> String {
    let before = before.map_or_else(String::new, |other| {
        format!("; the checkpoint is of {other}: from here on numbers round otherwise than there")
    });
    format!("device: {device}{before}")
}

/// Rows done, loss, AUC so far, speed and the time that is left; nothing where no one watches.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new(hidden: bool) -> Self {
        let target = match hidden {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}  {per_sec:.0} rows, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(0), target);
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Start {
                rows,
                done,
                device,
                before,
            } => {
                self.bar.println(on(device, before.as_deref()));
                self.bar.set_length(*rows);
                self.bar.set_position(*done);
                self.bar.reset_eta();
            }
            Event::Step(line) => {
                let auc = line.auc.map_or(String::new(), |auc| format!(", AUC {auc:.4}"));
                self.bar.set_position(line.rows);
                self.bar
                    .set_message(format!("step {}, loss {:.4}{auc}", line.step, line.loss));
            }
            Event::Validation(v) => {
                let best = if v.best { ", the best so far" } else { "" };
                self.bar.println(format!(
                    "step {}: validation AUC {:.4}, log loss {:.4}{best}",
                    v.step, v.auc, v.log_loss
                ));
            }
            Event::Note { text } => self.bar.suspend(|| eprintln!("loopfm: {text}")),
            Event::Checkpoint { .. } => {}
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            model,
            steps,
            rows,
            best,
            auc,
        } = &self.outcome;
        writeln!(f, "{}", on(&self.device, self.before.as_deref()))?;
        let took = words::seconds(self.seconds);
        writeln!(
            f,
            "{} steps, {} rows in {took}",
            words::count(*steps),
            words::count(*rows)
        )?;
        if let Some(auc) = auc {
            writeln!(f, "training: AUC {auc:.4} of rows before they were trained on")?;
        }
        if let Some(best) = best {
            let (step, auc, loss) = (words::count(best.step), best.auc, best.log_loss);
            writeln!(
                f,
                "best validation, after step {step}: AUC {auc:.4}, log loss {loss:.4}"
            )?;
        }
        writeln!(f, "written: {}", model.display())
    }
}
