//! `extract`: what a foundation model leaves of a log.

use std::fmt;
use std::path::{Path, PathBuf};

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::args::ExtractArgs;
use super::device::{self, Place};
use super::report::{self, Error};
use super::{load, words};
use crate::data::{BATCH, LogFiles};
use crate::extract::{self, Extracted, Extraction, Options};
use crate::run::random_sizes;

#[derive(Debug, Serialize)]
struct Report {
    place: Option<Place>,
    #[serde(flatten)]
    extracted: Extracted,
    out: PathBuf,
}

/// Extracts, with a bar on the terminal, and reports rates.
pub(super) fn extract(args: &ExtractArgs) -> Result<(), Error> {
    let bundle = load::bundle(&args.bundle)?;
    let tables = args.tables.clone().unwrap_or_else(|| beside(&args.log));
    let features = extract::encoder(&bundle)?.features().clone().in_folder(tables);
    let log = LogFiles::open(&features, &args.log).map_err(extract::Error::from)?;
    let options = Options {
        days: args.days,
        layers: args.layers.clone(),
        storage: args.storage,
        segment: args.segment as usize,
        cutoff: args.cutoff,
        leak: args.allow_leak.clone(),
    };
    let rows = log.rows().map_or(BATCH, |rows| rows.clamp(1, BATCH as u64) as usize);
    let sizes = random_sizes(&bundle.manifest, rows, rows);
    let fitting = device::options(&bundle, &args.device)?;
    let mut place = None;
    let extraction = Extraction::open_by(&bundle, &fitting, &log, &options, &args.out, |bundle| {
        let (session, at) = device::open_tuned(bundle, &args.device, &args.tune, sizes)?;
        place = Some(at);
        Ok::<_, Error>(session)
    })?;
    let bar = bar(args.format.json);
    let extracted = extraction.run(&|p| {
        if let Some(of) = p.of {
            bar.set_length(of);
        }
        bar.set_position(p.rows);
    });
    bar.finish_and_clear();
    report::print(
        &Report {
            place,
            extracted: extracted?,
            out: args.out.clone(),
        },
        args.format,
    )
}

fn beside(log: &[PathBuf]) -> PathBuf {
    log.first()
        .and_then(|path| path.parent())
        .unwrap_or(Path::new(""))
        .to_path_buf()
}

fn bar(hidden: bool) -> ProgressBar {
    let target = match hidden {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {human_pos} rows  {per_sec}  {eta} left");
    let bar = ProgressBar::with_draw_target(Some(0), target);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = &self.extracted;
        self.place.iter().try_for_each(|place| place.fmt(f))?;
        let (rows, took) = (words::count(x.rows), words::seconds(x.seconds));
        writeln!(
            f,
            "{rows} rows in {took}: {} rows/s",
            words::count(x.rows_per_second as u64)
        )?;
        if let Some(kernel) = x.kernel_rows_per_second {
            let share = 100.0 * x.rows_per_second / kernel;
            writeln!(
                f,
                "the model alone: {} rows/s; the extraction reaches {share:.0} % of it",
                words::count(kernel as u64)
            )?;
        }
        let b = &x.busy;
        let busy = [
            ("reading", b.reading),
            ("encoding", b.encoding),
            ("the model", b.running),
            ("writing", b.writing),
        ];
        let busy = busy.map(|(what, took)| format!("{what} {}", words::seconds(took)));
        writeln!(f, "threads were busy with: {}", busy.join(", "))?;
        if x.found > 0 {
            writeln!(f, "{} rows were there already", words::count(x.found))?;
        }
        if let Some(leak) = &x.leak {
            writeln!(f, "events that the model has learnt from are allowed: {leak}")?;
        }
        writeln!(
            f,
            "written: {}, {} numbers in {} bytes an impression, by FM {}",
            self.out.display(),
            x.width,
            x.bytes_per_impression,
            x.fm
        )
    }
}
