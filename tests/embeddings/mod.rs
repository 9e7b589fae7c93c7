//! Logs of embeddings: what is stored, what survives, what is refused.

mod copies;
mod faults;
mod kills;
mod logs;
mod storage;

use std::path::Path;
use std::process::Command;

use loopfm::embeddings::{Error, Header, Log, Segment, Storage, Writer};

use crate::support::rng::Rng;

pub(crate) const WIDTH: usize = 5;

/// Events, each column a function of the row number alone.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) key: Vec<u64>,
    pub(crate) time: Vec<i64>,
    pub(crate) ingest: Vec<i64>,
    pub(crate) row: Vec<u64>,
    pub(crate) score: Vec<f32>,
    pub(crate) side: Vec<Vec<i32>>,
    pub(crate) values: Vec<f32>,
}

impl Events {
    pub(crate) fn new(rows: std::ops::Range<u64>) -> Self {
        let mut events = Self {
            side: vec![Vec::new()],
            ..Self::default()
        };
        for row in rows {
            let rng = &mut Rng(row);
            events.key.push(rng.below(7) as u64 + 1);
            events.time.push(1_000 + 10 * row as i64);
            events.ingest.push(1_000 + 10 * row as i64 + rng.below(50) as i64);
            events.row.push(3 * row);
            events.score.push(rng.unit());
            events.side[0].push(rng.below(2) as i32);
            events.values.extend(rng.floats(WIDTH, 1.0));
        }
        events
    }

    pub(crate) fn append(&self, writer: &mut Writer, header: &Header) -> Result<(), Error> {
        let mut codes = Vec::new();
        header.storage.encode(&self.values, WIDTH, &mut codes)?;
        writer.append(&Segment {
            key: &self.key,
            time: &self.time,
            ingest: header.ingest.then_some(&self.ingest),
            row: &self.row,
            score: header.score.then_some(&self.score),
            side: &self.side[..header.side.len()],
            codes: &codes,
        })
    }
}

pub(crate) fn header(storage: Storage) -> Header {
    Header {
        fm: "f".repeat(64),
        cutoff: Some(999),
        width: WIDTH,
        storage,
        ingest: true,
        score: true,
        side: vec!["long_view".to_owned()],
        prequential: false,
        leak: None,
    }
}

/// Segments of a whole log, and events of each.
pub(crate) const SEGMENTS: u64 = 8;
pub(crate) const ROWS: u64 = 40;

/// Writes what a log still lacks.
pub(crate) fn finish(dir: &Path) -> Result<(), Error> {
    let header = header(Storage::Int4);
    let mut writer = Writer::open(dir, &header)?;
    let done = writer.last_row().map_or(0, |row| row / 3 + 1);
    assert_eq!(done % ROWS, 0, "segments are whole");
    for segment in done / ROWS..SEGMENTS {
        Events::new(segment * ROWS..(segment + 1) * ROWS).append(&mut writer, &header)?;
    }
    Ok(())
}

/// Files by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The files of a log, all that an interrupted run must leave as an uninterrupted one does.
pub(crate) fn files(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let file = |entry: std::fs::DirEntry| {
        (
            entry.file_name().into_string().unwrap(),
            std::fs::read(entry.path()).unwrap(),
        )
    };
    let mut files: Files = entries.map(file).collect();
    files.sort();
    files
}

/// Whether a log holds the first of the events that it should hold; how many segments of them.
pub(crate) fn prefix(dir: &Path) -> usize {
    let log = match Log::open(dir) {
        Err(Error::NotOne { .. }) => return 0,
        log => log.unwrap(),
    };
    let (columns, codes) = log.read().unwrap();
    let expected = Events::new(0..log.segments().len() as u64 * ROWS);
    assert_eq!((&columns.key, &columns.row), (&expected.key, &expected.row));
    let mut encoded = Vec::new();
    log.header()
        .storage
        .encode(&expected.values, WIDTH, &mut encoded)
        .unwrap();
    assert_eq!(codes, encoded);
    log.segments().len()
}

/// This binary, running one test alone on a folder that a variable names.
pub(crate) fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, dir);
    command
}

/// Names the folder of a child; elsewhere its tests do nothing.
pub(crate) const CHILD: &str = "LOOPFM_TEST_CHILD";
