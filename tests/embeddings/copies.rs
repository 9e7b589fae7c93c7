//! Batches from a log that is mapped.

use std::fs;
use std::sync::Arc;

use loopfm::embeddings::{Gatherer, Log, Sorted, Storage, Writer};
use loopfm::history::{Events as Of, Rule, slices};

use super::{Events, WIDTH, header};

const T: usize = 4;

#[test]
fn batches_hold_what_the_log_holds_of_the_past() {
    let centres = std::array::from_fn(|i| i as f32 / 8.0 - 1.0);
    for storage in [
        Storage::F32,
        Storage::F16,
        Storage::Int8 { scale: 0.01 },
        Storage::Int4,
        Storage::KMeans4 { centres },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let header = header(storage);
        let mut writer = Writer::open(&folder.path().join("log"), &header).unwrap();
        for rows in [0..90, 90..91, 91..200] {
            Events::new(rows).append(&mut writer, &header).unwrap();
        }
        let log = Log::open(&folder.path().join("log")).unwrap();
        let (columns, codes) = log.read().unwrap();
        let events = Of {
            key: &columns.key,
            time: &columns.time,
            ingest: columns.ingest.as_deref(),
            keep: None,
        };
        // Late events are forgotten before earlier ones: some histories are no run of the order.
        let rule = Rule {
            delay: 0,
            retention: Some(300),
            max_len: 6,
        };
        let histories = slices(&events, (&columns.key, &columns.time), &rule).unwrap();
        assert!(histories.order.len() > histories.events);
        let path = folder.path().join("sorted");
        let sorted = Sorted::build(&path, &log, &histories.order).unwrap();
        let whole = fs::read(&path).unwrap();
        for held in [1, 100, 777] {
            Sorted::build_within(&path, &log, &histories.order, held).unwrap();
            assert!(fs::read(&path).unwrap() == whole, "{held} bytes at a time");
        }
        assert!(sorted.is_of(&log));
        let spans: Vec<[u32; 2]> = histories.slices.iter().map(|s| [s.start, s.len]).collect();
        let rows: Vec<usize> = (0..200).rev().chain([7, 7]).collect();
        let values = header.storage.decode(&codes, WIDTH);
        let sorted = Arc::new(sorted);
        for width in [1, 3, WIDTH] {
            let gatherer = Gatherer::new(sorted.clone(), spans.clone(), T, width).unwrap();
            // Whatever stood in the buffers is gone.
            let (mut made, mut mask) = (vec![f32::NAN; rows.len() * T * width], vec![true; rows.len() * T]);
            gatherer.gather(&rows, &mut made, &mut mask);
            let side = gatherer.side("long_view", &rows).unwrap();
            assert!(gatherer.side("other", &rows).is_none());
            for (i, row) in rows.iter().enumerate() {
                let past = histories.of(*row);
                let past = &past[past.len().saturating_sub(T)..];
                for t in 0..T {
                    let event = past.get(t).map(|e| *e as usize);
                    let expected = event.map_or(vec![0.0; width], |e| values[e * WIDTH..][..width].to_vec());
                    assert_eq!(made[(i * T + t) * width..][..width], expected);
                    assert_eq!(mask[i * T + t], event.is_some());
                    assert_eq!(side[i * T + t], event.map_or(0, |e| columns.side[0].1[e]));
                }
            }
        }
        Events::new(200..210).append(&mut writer, &header).unwrap();
        assert!(!sorted.is_of(&Log::open(&folder.path().join("log")).unwrap()));
        let beyond = Sorted::build(&path, &log, &[0, 200]).unwrap_err().to_string();
        assert_eq!(beyond, "the order reaches row 200, there are 200");
        let n = sorted.rows();
        let beyond = Gatherer::new(sorted, vec![[0, 1], [n as u32, 1]], T, 1)
            .unwrap_err()
            .to_string();
        assert_eq!(
            beyond,
            format!("the history of row 1 reaches row {}, there are {n}", n + 1)
        );
    }
}

#[test]
fn copies_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let header = header(Storage::Int4);
    let mut writer = Writer::open(&folder.path().join("log"), &header).unwrap();
    Events::new(0..20).append(&mut writer, &header).unwrap();
    let log = Log::open(&folder.path().join("log")).unwrap();
    let path = folder.path().join("sorted");
    Sorted::build(&path, &log, &[3, 1, 1]).unwrap();
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert_eq!(Sorted::open(&path).unwrap_err().exit_code(), 5);
    }
    // A damaged segment is named even so.
    fs::write(folder.path().join("log/segment-000000.parquet"), "x").unwrap();
    let e = Sorted::build(&path, &log, &[0]).unwrap_err();
    assert!(
        e.exit_code() == 5 && e.to_string().contains("segment-000000.parquet"),
        "{e}"
    );
}
