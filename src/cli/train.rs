//! `train`: a specification and data become a model.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::args::{DeviceArg, TrainArgs};
use super::report::{self, Error};
use super::words;
use crate::train::{Event, Fit, Outcome, Spec, Split, Trainable, Trainer};

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    outcome: Outcome,
    device: &'static str,
    seconds: f64,
}

/// Trains, with a bar on the terminal, and reports what came out.
pub(super) fn train(args: &TrainArgs) -> Result<(), Error> {
    if args.device == DeviceArg::Gpu {
        return Err(Error::Device(
            "training runs on the CPU alone in this version".to_owned(),
        ));
    }
    let spec = Spec::read(&args.spec)?;
    let out = args.out.clone().unwrap_or_else(|| folder(&args.spec));
    let mut trainer = Trainer::new(Trainable::of_spec(&spec)?, &spec)?;
    let (train, valid) = (Split::files(&args.train), Split::files(&args.valid));
    let fit = Fit {
        train: &train,
        valid: (!args.valid.is_empty()).then_some(&valid),
        out: &out,
        resume: args.resume,
    };
    let start = Instant::now();
    let bar = Bar::new(args.format.json);
    let outcome = trainer.fit(&fit, &mut |event| bar.tell(event));
    bar.bar.finish_and_clear();
    let report = Report {
        outcome: outcome?,
        device: "cpu",
        seconds: start.elapsed().as_secs_f64(),
    };
    report::print(&report, args.format)
}

/// Named for the specification, in the current folder.
fn folder(spec: &Path) -> PathBuf {
    PathBuf::from(spec.file_stem().unwrap_or_default()).with_extension("run")
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
            Event::Start { rows, done } => {
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
