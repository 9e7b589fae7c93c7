//! `history` and `log`.

use std::fs;

use loopfm::embeddings::{Header, Segment, Storage, Writer};
use loopfm::recall::State;

use super::{json, loopfm};

/// Appends events of two keys, one every ten milliseconds.
fn append(dir: &std::path::Path, rows: std::ops::Range<u64>) {
    let header = Header {
        fm: "a".repeat(64),
        cutoff: Some(0),
        width: 4,
        storage: Storage::Int4,
        ingest: false,
        score: false,
        side: Vec::new(),
        prequential: false,
        leak: None,
    };
    let row: Vec<u64> = rows.collect();
    let key: Vec<u64> = row.iter().map(|r| r % 2 + 1).collect();
    let time: Vec<i64> = row.iter().map(|r| 1_000 + 10 * *r as i64).collect();
    let codes: Vec<u8> = row.iter().flat_map(|r| [*r as u8, 1]).collect();
    let segment = Segment {
        key: &key,
        time: &time,
        ingest: None,
        row: &row,
        score: None,
        side: &[],
        codes: &codes,
    };
    Writer::open(dir, &header).unwrap().append(&segment).unwrap();
}

#[test]
fn logs_are_inspected_and_histories_audited() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    append(&log, 0..30);
    append(&log, 30..50);
    let text = loopfm!("log", "inspect", log, "--verify").ok();
    assert!(
        text.contains("embedding 4 x int4, 2 bytes")
            && text.contains("events    50 in 2 segments, each as it was committed"),
        "{text}"
    );
    assert_eq!(json(&loopfm!("log", "inspect", log, "--json").ok())["rows"], 50);
    let text = loopfm!("history", "audit", log, "--max-len", "5").ok();
    assert!(
        text.contains("max(time of event - time of row) = -20 ms < 0; the farthest is -100 ms"),
        "{text}"
    );
    let delayed = json(
        &loopfm!(
            "history",
            "audit",
            log,
            "--delay",
            "40ms",
            "--retention",
            "1s",
            "--json"
        )
        .ok(),
    );
    assert_eq!((&delayed["nearest"], &delayed["queries"]), (&(-60).into(), &50.into()));
    let built = folder.path().join("histories.safetensors");
    loopfm!("history", "build", log, "-o", built).ok();
    let bytes = fs::read(&built).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("start").unwrap().shape(), [50]);
    let usage = loopfm!("history", "audit", log, "--delay", "5 weeks");
    assert_eq!(usage.code, 2);
    let none = loopfm!("log", "inspect", folder.path()).fails(1);
    assert!(
        none.ends_with("is no log of embeddings: it has no `manifest.jsonl`"),
        "{none}"
    );
    fs::write(log.join("segment-000001.parquet"), "torn").unwrap();
    let damaged = loopfm!("log", "inspect", log, "--verify").fails(5);
    assert!(
        damaged.contains("segment-000001.parquet`: 4 bytes, the manifest says"),
        "{damaged}"
    );
}

#[test]
fn states_go_on_from_the_day_before() {
    let folder = tempfile::tempdir().unwrap();
    let (log, once, daily) = (
        folder.path().join("log"),
        folder.path().join("once"),
        folder.path().join("daily"),
    );
    append(&log, 0..30);
    let first = json(&loopfm!("history", "state", log, "--max-len", "5", "-o", daily, "--json").ok());
    assert_eq!(
        (&first["pushed"], &first["events"], &first["last_row"]),
        (&30.into(), &11.into(), &29.into())
    );
    append(&log, 30..50);
    let second = json(
        &loopfm!(
            "history",
            "state",
            log,
            "--max-len",
            "5",
            "--from",
            daily,
            "-o",
            daily,
            "--json"
        )
        .ok(),
    );
    assert_eq!(second["pushed"], 20);
    loopfm!("history", "state", log, "--max-len", "5", "-o", once).ok();
    assert!(
        fs::read(&once).unwrap() == fs::read(&daily).unwrap(),
        "a day at a time, or all at once"
    );
    let state = State::load(&daily).unwrap();
    let past: Vec<u64> = state
        .ring()
        .history(1, 2_000)
        .unwrap()
        .map(|past| u64::from(past.payload[0]))
        .collect();
    assert_eq!(past, [40, 42, 44, 46, 48]);
    let other = loopfm!("history", "state", log, "--max-len", "6", "--from", daily, "-o", once).fails(6);
    assert!(other.contains("max_len: 5") && other.contains("max_len: 6"), "{other}");
}
