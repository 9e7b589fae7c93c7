//! `bench`: throughput and latency, in the words of trtexec.
//!
//! Latency is a batch's whole way as its caller waits for it: check, H2D, enqueue, compute, D2H. H2D and D2H are the host
//! copying into and out of memory that the device shares; compute is the wait for the device, whose own copies and
//! kernels it spans. Parts of a batch above a session's capacity overlap, and so do these times then.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::args::BenchArgs;
use super::device::{self, Place};
#[cfg(feature = "gpu")]
use super::kernel_times::KernelTimes;
use super::report::{self, Error};
use super::stats::Stats;
use super::{batch, load, words};
use crate::bundle::Manifest;
use crate::container::write_atomically;
use crate::run::{self, Batch};
use crate::session::Session;
use crate::tensor::{Sizes, Tensors};

/// Seconds of each part of a batch's way.
type Times = Vec<(&'static str, f64)>;

#[derive(Debug, Serialize)]
struct Report {
    place: Place,
    rows: usize,
    requests: usize,
    batches: usize,
    measured_seconds: f64,
    batches_per_second: f64,
    rows_per_second: f64,
    /// In seconds, by part.
    times: Vec<Part>,
    /// Where the device's time goes; absent where it cannot tell, or was not asked.
    #[cfg(feature = "gpu")]
    profile: Option<KernelTimes>,
    notes: Vec<String>,
    exported: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Part {
    part: &'static str,
    #[serde(flatten)]
    stats: Stats,
}

/// Runs one batch again and again.
pub(super) fn bench(args: &BenchArgs) -> Result<(), Error> {
    let bundle = load::bundle(&args.bundle)?;
    let (batch, sizes) = input(args, &bundle.manifest)?;
    let (session, place) = device::open_tuned(&bundle, &args.device, &args.tune, sizes)?;
    for _ in 0..args.warmup {
        session.run(&batch)?;
    }
    let start = Instant::now();
    let mut all: Vec<Times> = Vec::new();
    while all.len() < args.iterations as usize || start.elapsed().as_secs_f64() < args.duration {
        all.push(timed(&session, &batch)?);
    }
    let measured = start.elapsed().as_secs_f64();
    let mut notes = Vec::new();
    #[cfg(feature = "gpu")]
    let profile = match args.profile {
        true => profile(args, &session, &bundle.manifest, (&batch, sizes), &mut notes)?,
        false => None,
    };
    #[cfg(not(feature = "gpu"))]
    if args.profile {
        notes.push(NO_KERNELS.into());
    }
    let times = stats(&all);
    let median = |part: &str| times.iter().find(|t| t.part == part).map(|t| t.stats.p50);
    if median("enqueue") > median("compute") {
        notes.push("enqueue takes longer than compute: the host holds the device up; larger batches would help".into());
    }
    if let Some(path) = &args.export {
        export(path, &all)?;
    }
    let per_second = all.len() as f64 / measured;
    let report = Report {
        place,
        rows: sizes.rows,
        requests: sizes.requests,
        batches: all.len(),
        measured_seconds: measured,
        batches_per_second: per_second,
        rows_per_second: per_second * sizes.rows as f64,
        times,
        #[cfg(feature = "gpu")]
        profile,
        notes,
        exported: args.export.clone(),
    };
    report::print(&report, args.format)
}

fn input(args: &BenchArgs, manifest: &Manifest) -> Result<(Tensors, Sizes), Error> {
    let batch = match &args.input {
        Some(path) => batch::read(path)?,
        None => {
            let sizes = run::random_sizes(manifest, args.rows as usize, args.requests as usize);
            run::random_batch(manifest, sizes, args.seed)
        }
    };
    let sizes = Batch::check(manifest, &batch)?.sizes;
    Ok((batch, sizes))
}

/// Runs a batch; how long each part took.
fn timed(session: &Session, batch: &Tensors) -> Result<Times, Error> {
    let start = Instant::now();
    let parts = parts(session, batch)?;
    let latency = ("latency", start.elapsed().as_secs_f64());
    Ok([latency].into_iter().chain(parts).collect())
}

#[cfg(feature = "gpu")]
fn parts(session: &Session, batch: &Tensors) -> Result<Times, Error> {
    let Some(runtime) = session.runtime() else {
        session.run(batch)?;
        return Ok(Times::new());
    };
    let (_, t) = runtime.run_timed(batch)?;
    let parts = [
        ("check", t.check),
        ("H2D", t.upload),
        ("enqueue", t.enqueue),
        ("compute", t.wait),
        ("D2H", t.readback),
    ];
    Ok(parts.into_iter().map(|(part, d)| (part, d.as_secs_f64())).collect())
}

#[cfg(not(feature = "gpu"))]
fn parts(session: &Session, batch: &Tensors) -> Result<Times, Error> {
    session.run(batch)?;
    Ok(Times::new())
}

fn stats(all: &[Times]) -> Vec<Part> {
    let parts = all.first().map_or(&[][..], Vec::as_slice).iter().enumerate();
    let part = |(i, (part, _)): (usize, &(&'static str, f64))| {
        let stats = Stats::of(all.iter().map(|times| times[i].1))?;
        Some(Part { part, stats })
    };
    parts.filter_map(part).collect()
}

const NO_KERNELS: &str = "--profile: the CPU executor has no kernels to time";

#[cfg(feature = "gpu")]
fn profile(
    args: &BenchArgs,
    session: &Session,
    manifest: &Manifest,
    (batch, sizes): (&Tensors, Sizes),
    notes: &mut Vec<String>,
) -> Result<Option<KernelTimes>, Error> {
    let Some(runtime) = session.runtime() else {
        notes.push(NO_KERNELS.into());
        return Ok(None);
    };
    let times = KernelTimes::measure(runtime, manifest, batch, sizes)?;
    match (&times, &args.roofline) {
        (None, _) => notes.push("--profile: the device has no timestamps".into()),
        (Some(times), Some(path)) => {
            let report = runtime.report();
            times.draw(path, &format!("{} on {}", manifest.model, report.adapter.name))?;
        }
        (Some(_), None) => {}
    }
    Ok(times)
}

fn export(path: &Path, all: &[Times]) -> Result<(), Error> {
    let all: Vec<BTreeMap<&str, f64>> = all.iter().map(|times| times.iter().copied().collect()).collect();
    let text = serde_json::to_string_pretty(&all).map_err(|e| Error::Bug(e.to_string()))? + "\n";
    write_atomically(path, |file| file.write_all(text.as_bytes())).map_err(|e| Error::io(path, e))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        let batches = words::many(self.batches, "batch", "batches");
        let rows = words::many(self.rows, "row", "rows");
        let requests = words::many(self.requests, "request", "requests");
        let took = words::seconds(self.measured_seconds);
        writeln!(f, "{batches} of {rows} and {requests} in {took}")?;
        let rows = words::count(self.rows_per_second as u64);
        writeln!(f, "throughput: {rows} rows/s, {:.1} batches/s", self.batches_per_second)?;
        let columns = ["min", "mean", "p50", "p90", "p95", "p99", "max"];
        let head: String = columns.iter().map(|c| format!("  {c:>9}")).collect();
        writeln!(f, "{:8}{head}", "")?;
        for Part { part, stats: s } in &self.times {
            let times = [s.min, s.mean, s.p50, s.p90, s.p95, s.p99, s.max];
            let row: String = times.iter().map(|t| format!("  {:>9}", words::seconds(*t))).collect();
            writeln!(f, "{part:8}{row}")?;
        }
        #[cfg(feature = "gpu")]
        self.profile.iter().try_for_each(|p| p.fmt(f))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        match &self.exported {
            Some(path) => writeln!(f, "written: {}", path.display()),
            None => Ok(()),
        }
    }
}
