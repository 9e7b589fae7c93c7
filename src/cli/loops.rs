//! `loop` and `demo`: a declared experiment becomes a table and a report.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::args::{DemoArgs, LoopArgs};
use super::report::{self, Error};
use super::words;
use crate::metrics::Bootstrap;
use crate::pipeline::{self, Options, Progress, Spec};

#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip)]
    table: String,
    report: PathBuf,
    seconds: f64,
}

/// Trains all that is declared, with a bar on the terminal, and reports what came out.
pub(super) fn run(args: &LoopArgs) -> Result<(), Error> {
    let mut spec = Spec::read(&args.spec)?;
    if let Some(seeds) = args.seeds {
        spec.seeds = (0..u64::from(seeds)).collect();
    }
    if !args.variants.is_empty() {
        spec.variants = args.variants.iter().map(|v| v.0).collect();
        spec.check()?;
    }
    let folder = args.spec.parent().map(PathBuf::from).unwrap_or_default();
    let options = Options {
        data: args.data.clone().unwrap_or(folder),
        out: args.out.clone(),
        threads: args.threads.map_or_else(cores, |n| n as usize),
        log: args.log,
    };
    let report = experiment(&spec, &options, args.format.json)?;
    report::print(&report, args.format)
}

/// Where the sample is in the repository.
const SAMPLE: &str = "models/kuairand-loop/sample";

/// The loop on the sample of the repository.
pub(super) fn demo(args: &DemoArgs) -> Result<(), Error> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => sample()?,
    };
    let spec = Spec::read(&data.join("loop.toml"))?;
    let options = Options {
        data,
        out: args.out.clone(),
        threads: args.threads.map_or_else(cores, |n| n as usize),
        log: false,
    };
    let report = experiment(&spec, &options, args.format.json)?;
    report::print(&report, args.format)
}

/// The sample in the folder that is worked in or one above it, else in one above the program.
fn sample() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let above = here.iter().chain(&program).flat_map(|p: &PathBuf| p.ancestors());
    let mut found = above
        .map(|p: &Path| p.join(SAMPLE))
        .filter(|p| p.join("loop.toml").is_file());
    found.next().ok_or_else(|| {
        Error::Refused(format!(
            "no `{SAMPLE}` here or above: the sample is in the repository, `--data` names its folder"
        ))
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn experiment(spec: &Spec, options: &Options, quiet: bool) -> Result<Report, Error> {
    let start = Instant::now();
    let bar = bar(quiet);
    let finished = pipeline::run(spec, options, &|event| tell(&bar, event));
    bar.finish_and_clear();
    let found = finished?.report(spec, &Bootstrap::default())?;
    found.write(&options.out).map_err(|source| pipeline::Error::Io {
        path: options.out.clone(),
        source,
    })?;
    Ok(Report {
        table: found.to_markdown(),
        report: options.out.join("report.html"),
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn bar(hidden: bool) -> ProgressBar {
    let target = match hidden {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} trainings  {msg}  {elapsed}, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(0), target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn tell(bar: &ProgressBar, event: &Progress<'_>) {
    match event {
        Progress::Log { rows, jobs } => {
            bar.set_length(*jobs as u64);
            bar.set_message(format!("{} impressions", words::count(*rows as u64)));
        }
        Progress::Done { what, seed, took } => {
            let took = took.map_or("finished before".to_owned(), |t| words::seconds(t.as_secs_f64()));
            bar.set_message(format!("{what}, seed {seed}: {took}"));
            bar.inc(1);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table.trim_end())?;
        writeln!(f)?;
        writeln!(
            f,
            "written: {} in {}",
            self.report.display(),
            words::seconds(self.seconds)
        )
    }
}
