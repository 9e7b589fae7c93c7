//! Writing and reading logs.

use std::fs::File;

use loopfm::embeddings::{Header, Log, Segment, Storage, Writer};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Events, WIDTH, header};

#[test]
fn a_log_is_what_was_appended() {
    let centres = std::array::from_fn(|i| i as f32 / 8.0 - 1.0);
    let all = [
        Storage::F32,
        Storage::F16,
        Storage::Int8 { scale: 0.01 },
        Storage::Int4,
        Storage::KMeans4 { centres },
    ];
    for (n, storage) in all.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        // With all columns, and with none that can be left out.
        let full = n % 2 == 0;
        let header = Header {
            ingest: full,
            score: full,
            side: if full { vec!["long_view".to_owned()] } else { Vec::new() },
            ..header(storage)
        };
        let mut writer = Writer::open(folder.path(), &header).unwrap();
        for rows in [0..1, 1..1, 1..70, 70..100] {
            Events::new(rows).append(&mut writer, &header).unwrap();
        }
        assert_eq!(writer.committed().len(), 3, "an empty segment is none");
        assert_eq!(writer.last_row(), Some(297));
        drop(writer);
        let log = Log::open(folder.path()).unwrap();
        assert_eq!(
            (log.header(), log.rows(), log.fingerprint()),
            (&header, 100, header.fm.clone())
        );
        let (columns, codes) = log.read().unwrap();
        let events = Events::new(0..100);
        assert_eq!(
            (&columns.key, &columns.time, &columns.row),
            (&events.key, &events.time, &events.row)
        );
        assert_eq!(columns.ingest, full.then_some(events.ingest));
        assert_eq!(columns.score, full.then_some(events.score));
        assert_eq!(
            columns.side.iter().map(|(_, side)| side).collect::<Vec<_>>(),
            events.side.iter().filter(|_| full).collect::<Vec<_>>()
        );
        let mut expected = Vec::new();
        header.storage.encode(&events.values, WIDTH, &mut expected).unwrap();
        assert_eq!(codes, expected);
    }
}

/// Other tools know from the file alone what it holds.
#[test]
fn segments_are_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let header = header(Storage::F16);
    let mut writer = Writer::open(folder.path(), &header).unwrap();
    Events::new(0..10).append(&mut writer, &header).unwrap();
    let file = File::open(folder.path().join("segment-000000.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let fields: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .map(|f| format!("{} {}", f.name(), f.data_type()))
        .collect();
    assert_eq!(
        fields,
        [
            "key UInt64",
            "time Timestamp(ms, \"UTC\")",
            "ingest Timestamp(ms, \"UTC\")",
            "row UInt64",
            "score Float32",
            "side.long_view Int32",
            "embedding FixedSizeBinary(10)"
        ]
    );
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| metadata.iter().find(|kv| kv.key == key).unwrap().value.clone().unwrap();
    assert_eq!(
        ["loopfm.dtype", "loopfm.dim", "loopfm.cutoff"].map(value),
        ["f16", "5", "999"]
    );
    assert_eq!(value("loopfm.fm"), header.fm);
    assert_eq!(value("loopfm.storage"), r#"{"dtype":"f16"}"#);
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let header = header(Storage::Int4);
    let mut writer = Writer::open(folder.path(), &header).unwrap();
    let events = Events::new(0..4);
    let codes = [0; 12];
    let good = Segment {
        key: &events.key,
        time: &events.time,
        ingest: Some(&events.ingest),
        row: &events.row,
        score: Some(&events.score),
        side: &events.side,
        codes: &codes,
    };
    let mut refused = |segment: Segment<'_>| writer.append(&segment).unwrap_err().to_string();
    assert_eq!(
        refused(Segment { time: &[1], ..good }),
        "column `time` has 1 rows, it must have 4"
    );
    assert_eq!(
        refused(Segment { ingest: None, ..good }),
        "column `ingest` has 0 rows, it must have 4"
    );
    assert_eq!(
        refused(Segment { side: &[], ..good }),
        "column `side` has 0 columns, it must have 1"
    );
    assert_eq!(
        refused(Segment {
            codes: &[0; 11],
            ..good
        }),
        "column `embedding` has 11 bytes, it must have 12"
    );
    assert_eq!(
        refused(Segment {
            row: &[1, 2, 2, 3],
            ..good
        }),
        "row 2 comes after row 2: rows of a log ascend"
    );
    let leak = refused(Segment {
        time: &[1000, 999, 1001, 1002],
        ..good
    });
    assert!(
        leak.starts_with("row 3 is of time 999, and the FM was trained on events up to 999 (ms)"),
        "{leak}"
    );
    writer.append(&good).unwrap();
    assert_eq!(
        writer.append(&good).unwrap_err().to_string(),
        "row 0 comes after row 9: rows of a log ascend"
    );
}

#[test]
fn leaks_need_words_that_stay() {
    let folder = tempfile::tempdir().unwrap();
    let leaking = Header {
        cutoff: Some(5_000),
        leak: Some("a control on purpose".to_owned()),
        ..header(Storage::Int4)
    };
    let mut writer = Writer::open(folder.path(), &leaking).unwrap();
    Events::new(0..4).append(&mut writer, &leaking).unwrap();
    assert_eq!(
        Log::open(folder.path()).unwrap().header().leak.as_deref(),
        Some("a control on purpose")
    );
}

#[test]
fn several_models_only_where_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = Header {
        prequential: true,
        ..header(Storage::Int4)
    };
    for day in 0..3u32 {
        header.fm = day.to_string().repeat(64);
        header.cutoff = Some(999 + 100 * i64::from(day));
        let mut writer = Writer::open(folder.path(), &header).unwrap();
        Events::new(u64::from(day) * 10..u64::from(day) * 10 + 10)
            .append(&mut writer, &header)
            .unwrap();
    }
    let log = Log::open(folder.path()).unwrap();
    let fms: Vec<&str> = log.segments().iter().map(|s| &s.fm[..1]).collect();
    assert_eq!(fms, ["0", "1", "2"]);
    assert!(log.segments().iter().all(|s| s.fm != log.fingerprint()));
}
