//! `history`: what was known of the past at each event of a log of embeddings. Arguments and work in one place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use super::args::FormatArgs;
use super::report::{self, Error};
use crate::container::{Dtype, View, canonical_order, head, write_atomically};
use crate::embeddings::{Columns, Log};
use crate::history::{Audit, Events, Histories, Rule, audit, slices};
use crate::recall::State;

/// Point-in-time histories over a log of embeddings.
#[derive(Debug, Parser)]
pub(super) struct HistoryArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Prove that no history holds what could not be known: the greatest time difference, counts, lengths, gaps.
    Audit {
        #[command(flatten)]
        of: OfArgs,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Write the history of every event of the log: `order u32`, and `start u32[n]`, `len u32[n]` into it.
    Build {
        #[command(flatten)]
        of: OfArgs,
        /// File to write.
        #[arg(short, long, value_name = "OUT.safetensors")]
        output: PathBuf,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Write what later histories need of the log, embeddings included; from yesterday's state and what was appended since.
    /// `loopfm run --past` takes it.
    State {
        #[command(flatten)]
        of: OfArgs,
        /// Of events that their side `label` calls positive alone, for models whose histories hold no others.
        #[arg(long)]
        positives: bool,
        /// State to go on from.
        #[arg(long, value_name = "STATE")]
        from: Option<PathBuf>,
        /// State to write; may be the one to go on from.
        #[arg(short, long, value_name = "STATE")]
        output: PathBuf,
        #[command(flatten)]
        format: FormatArgs,
    },
}

#[derive(Debug, Args)]
struct OfArgs {
    /// Folder of the log of embeddings.
    log: PathBuf,
    /// Most events of a history, the newest.
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_len: usize,
    /// How long until an event can be used: a number and ms, s, min, h or d.
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "0ms")]
    delay: i64,
    /// How long an event is remembered [default: for ever].
    #[arg(long, value_name = "SPAN", value_parser = span)]
    retention: Option<i64>,
}

/// Milliseconds of `90s`, `10min`, `6h`, `30d`.
fn span(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a number and ms, s, min, h or d, such as 30d".to_owned()),
    };
    let number: i64 = digits.parse().map_err(|e| format!("{e}"))?;
    number.checked_mul(unit).ok_or_else(|| "too long".to_owned())
}

impl OfArgs {
    fn rule(&self) -> Rule {
        Rule {
            delay: self.delay,
            retention: self.retention,
            max_len: self.max_len,
        }
    }

    fn columns(&self) -> Result<(Log, Columns), Error> {
        let log = Log::open(&self.log)?;
        let columns = log.columns()?;
        Ok((log, columns))
    }
}

pub(super) fn history(args: &HistoryArgs) -> Result<(), Error> {
    match &args.verb {
        Verb::Audit { of, format } => report::print(&audited(&of.columns()?.1, &of.rule())?.1, *format),
        Verb::Build { of, output, format } => {
            let (histories, audit) = audited(&of.columns()?.1, &of.rule())?;
            write(output, &histories)?;
            report::print(&audit, *format)
        }
        Verb::State {
            of,
            positives,
            from,
            output,
            format,
        } => report::print(&state(of, *positives, from.as_deref(), output)?, *format),
    }
}

/// Histories of a log's own events; none is handed out that was not looked at.
fn audited(columns: &Columns, rule: &Rule) -> Result<(Histories, Audit), Error> {
    let events = Events {
        key: &columns.key,
        time: &columns.time,
        ingest: columns.ingest.as_deref(),
        keep: None,
    };
    let queries = (&columns.key[..], &columns.time[..]);
    let histories = slices(&events, queries, rule)?;
    let audit = audit(&events, &histories, queries, rule)?;
    Ok((histories, audit))
}

fn write(path: &Path, histories: &Histories) -> Result<(), Error> {
    let bytes = |words: &mut dyn Iterator<Item = u32>| words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let order = bytes(&mut histories.order.iter().copied());
    let start = bytes(&mut histories.slices.iter().map(|s| s.start));
    let len = bytes(&mut histories.slices.iter().map(|s| s.len));
    let (entries, rows) = ([histories.order.len()], [histories.slices.len()]);
    let view = |name, shape, bytes| View {
        name,
        dtype: Dtype::U32,
        shape,
        bytes,
    };
    let mut views = [
        view("order", &entries[..], &order[..]),
        view("start", &rows, &start),
        view("len", &rows, &len),
    ];
    canonical_order(&mut views);
    let metadata = BTreeMap::from([("loopfm.histories".to_owned(), "1".to_owned())]);
    let head = head(&metadata, &views).map_err(|e| Error::Refused(format!("`{}`: {e}", path.display())))?;
    write_atomically(path, |file| {
        file.write_all(&head)?;
        views.iter().try_for_each(|v| file.write_all(v.bytes))
    })
    .map_err(|e| Error::io(path, e))
}

/// What a state holds.
#[derive(Debug, Serialize)]
struct Summary {
    events: usize,
    keys: usize,
    /// Events that were pushed now.
    pushed: usize,
    last_row: Option<u64>,
    fm: String,
}

/// Pushes what the log has after the state to go on from.
fn state(of: &OfArgs, positives: bool, from: Option<&Path>, output: &Path) -> Result<Summary, Error> {
    let (log, rule) = (Log::open(&of.log)?, of.rule());
    let mut state = match from {
        None => State::new(&log, rule, positives)?,
        Some(path) => {
            let state = State::load(path)?;
            let (seen, kept) = (state.ring().rule(), state.kept());
            if (*seen, kept.positives) != (rule, positives) {
                let why = format!(
                    "`{}` is of {seen:?}, positives alone: {}; here it is {rule:?}, {positives}",
                    path.display(),
                    kept.positives,
                );
                return Err(Error::Mismatch(why));
            }
            state
        }
    };
    let pushed = state.append(&log)?;
    state.save(output)?;
    let (events, keys) = state.ring().len();
    Ok(Summary {
        events,
        keys,
        pushed,
        last_row: state.ring().last_row(),
        fm: state.kept().fm.clone(),
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "pushed {} events; {} events of {} keys are kept",
            self.pushed, self.events, self.keys
        )?;
        writeln!(
            f,
            "last row {}",
            self.last_row.map_or("none".to_owned(), |row| row.to_string())
        )?;
        writeln!(f, "FM       {}", self.fm)
    }
}
