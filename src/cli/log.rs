//! `log`: what a log of embeddings holds. Arguments and work in one place.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde::Serialize;

use super::args::FormatArgs;
use super::report::{self, Error};
use crate::embeddings::{Committed, Header, Log};

/// The log of embeddings that a foundation model left of past events.
#[derive(Debug, Parser)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say whose embeddings a log holds, in what form, and how many.
    Inspect {
        /// Folder of the log.
        log: PathBuf,
        /// Read every segment and compare it with its checksum.
        #[arg(long)]
        verify: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// What a log holds.
#[derive(Debug, Serialize)]
struct Inspected {
    header: Header,
    fingerprint: String,
    rows: usize,
    bytes: u64,
    bytes_per_embedding: usize,
    verified: bool,
    segments: Vec<Committed>,
}

pub(super) fn log(args: &LogArgs) -> Result<(), Error> {
    let Verb::Inspect { log, verify, format } = &args.verb;
    let log = Log::open(log)?;
    if *verify {
        log.columns()?;
        let mut codes = Vec::new();
        for segment in log.segments() {
            codes.clear();
            log.codes(segment, &mut codes)?;
        }
    }
    let header = log.header().clone();
    let inspected = Inspected {
        fingerprint: log.fingerprint(),
        rows: log.rows(),
        bytes: log.segments().iter().map(|segment| segment.bytes).sum(),
        bytes_per_embedding: header.storage.row_bytes(header.width),
        verified: *verify,
        segments: log.segments().to_vec(),
        header,
    };
    report::print(&inspected, *format)
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let h = &self.header;
        writeln!(f, "FM        {}", self.fingerprint)?;
        let cutoff = h.cutoff.map_or("none".to_owned(), |t| format!("{t} ms"));
        writeln!(
            f,
            "cut-off   {cutoff}{}",
            if h.prequential {
                ", of the first; prequential"
            } else {
                ""
            }
        )?;
        if let Some(words) = &h.leak {
            writeln!(f, "LEAKS     {words}")?;
        }
        writeln!(
            f,
            "embedding {} x {}, {} bytes",
            h.width,
            h.storage.name(),
            self.bytes_per_embedding
        )?;
        let beside = [("ingest", h.ingest), ("score", h.score)]
            .into_iter()
            .filter(|(_, has)| *has);
        let beside: Vec<&str> = beside
            .map(|(name, _)| name)
            .chain(h.side.iter().map(String::as_str))
            .collect();
        writeln!(
            f,
            "beside    {}",
            if beside.is_empty() {
                "nothing".to_owned()
            } else {
                beside.join(", ")
            }
        )?;
        let verified = if self.verified {
            ", each as it was committed"
        } else {
            ""
        };
        writeln!(
            f,
            "events    {} in {} segments{verified}, {} bytes",
            self.rows,
            self.segments.len(),
            self.bytes
        )?;
        for s in &self.segments {
            let (number, rows) = (s.segment, s.rows);
            writeln!(
                f,
                "  {number:>6} {rows:>9} events, rows {}..={}, ms {}..={}",
                s.row[0], s.row[1], s.time[0], s.time[1]
            )?;
        }
        Ok(())
    }
}
