//! Foundation models that read histories of raw events are extracted with as they were trained: from the log's own past.

use loopfm::bundle::NOTE_HISTORY;
use loopfm::data::Days;
use loopfm::embeddings::{Form, Log};
use loopfm::extract::{Error, Options};
use loopfm::pipeline::{Finished, Spec, Variant};

use super::log::{Folder, LOOP, Row, rows};
use super::serving::{bundle, extracted, extracted_of, files};

/// A foundation model of three days that knows what users saw and what came of it.
fn trained(rows: &[Row]) -> (Folder, Finished) {
    let folder = Folder::new(rows);
    let fixed = LOOP.replace("prequential", "fixed");
    let fixed = fixed.replace("20220602..20220605", "20220604..20220605");
    let fixed = fixed.replace("20220601..20220605", "20220601..20220603");
    let history =
        r#"history = { length = 5, of = ["item", "kind"], side = [{ name = "label", vocabulary = 3, width = 2 }] }"#;
    let fm = "autoencoder = { of = [\"hidden\"]";
    folder.write("loop.toml", &fixed.replacen(fm, &format!("{history}\n{fm}"), 1));
    let spec = Spec {
        variants: vec![Variant::Vm],
        ..folder.spec()
    };
    let finished = folder.run(&spec);
    (folder, finished)
}

fn options(first: i32) -> Options {
    Options {
        days: Some(Days { first, last: 20220608 }),
        segment: 400,
        storage: Form::F32,
        ..Options::default()
    }
}

#[test]
fn histories_come_from_the_log() {
    let (folder, finished) = trained(&rows());
    let fm = bundle(&folder, "fm-1");
    assert!(fm.manifest.inputs.iter().any(|p| p.name == "hist_label"));
    let done = extracted(&folder, &fm, "whole", &options(20220604)).unwrap();
    assert_eq!((done.rows, done.width), (1500, 4));
    let read = |name: &str| {
        let log = Log::open(&folder.path().join(name)).unwrap();
        let (columns, codes) = log.read().unwrap();
        (columns, log.header().storage.decode(&codes, 4))
    };
    let (columns, values) = read("whole");
    let taught = &finished.fm[0];
    assert_eq!(columns.row, (900..2400).collect::<Vec<u64>>());
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Weights of bundles are halves.
    assert!(far(&values, &taught.embeddings[4 * 900..]) < 5e-3);
    assert!(far(&columns.score.unwrap(), &taught.score[900..]) < 5e-3);
    // Without its past a row is embedded otherwise.
    let alone = Folder::new(&rows()[900..]);
    alone.write(
        "log.csv",
        &std::fs::read_to_string(alone.path().join("log.csv")).unwrap(),
    );
    extracted(&alone, &fm, "alone", &options(20220604)).unwrap();
    let log = Log::open(&alone.path().join("alone")).unwrap();
    let without = log.header().storage.decode(&log.read().unwrap().1, 4);
    assert!(far(&without, &values) > 0.05);

    // Later days alone are embedded no differently, nor are those after an interruption.
    extracted(&folder, &fm, "late", &options(20220607)).unwrap();
    let (late, late_values) = read("late");
    assert_eq!(late.row, (1800..2400).collect::<Vec<u64>>());
    assert_eq!(late_values, values[4 * 900..]);
    let dir = folder.path().join("whole");
    let whole = files(&dir);
    let manifest = std::fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
    let lines: Vec<&str> = manifest.split_inclusive('\n').collect();
    std::fs::write(dir.join("manifest.jsonl"), lines[..3].concat()).unwrap();
    std::fs::remove_file(dir.join("segment-000003.parquet")).unwrap();
    let again = extracted(&folder, &fm, "whole", &options(20220604)).unwrap();
    assert_eq!((again.rows, again.found), (700, 800));
    assert!(files(&dir) == whole);
}

#[test]
fn what_has_no_past_is_refused() {
    let (folder, _) = trained(&rows());
    let mut fm = bundle(&folder, "fm-1");
    let refused = |fm: &_, out: &str| extracted(&folder, fm, out, &options(20220604)).unwrap_err();
    let text = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.pop().unwrap();
    // A row that comes long after its time: no batch of rows sorts it away.
    let many = format!("{}\n{}\n{last}\n", lines.join("\n"), [lines[2399]; 9000].join("\n"));
    let late = many.replace(last, lines[1000]);
    folder.write("log.csv", &late);
    let e = refused(&fm, "late");
    assert!(
        matches!(e, Error::Late { row: 11_399, .. }) && e.exit_code() == 1,
        "{e}"
    );
    folder.write("log.csv", &text.replace(",long,", ",short,"));
    let e = refused(&fm, "label");
    assert!(e.to_string().contains("`hist_label`") && e.exit_code() == 1, "{e}");
    folder.write("log.csv", &text);
    let note = fm.notes.remove(NOTE_HISTORY).unwrap();
    let e = refused(&fm, "note");
    assert!(matches!(e, Error::Note { note: NOTE_HISTORY, .. }), "{e}");
    fm.notes.insert(NOTE_HISTORY.to_owned(), note);
    let port = fm.manifest.inputs.iter_mut().find(|p| p.name == "hist_kind").unwrap();
    port.name = "hist_price".to_owned();
    let e = refused(&fm, "price");
    assert!(e.to_string().contains("`hist_price`"), "{e}");
}

#[test]
fn a_thread_that_fails_lets_the_others_go() {
    let (folder, _) = trained(&rows());
    let fm = bundle(&folder, "fm-1");
    let text = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let (head, lines) = text.split_once('\n').unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let part = |i: usize, rows: &[&str]| {
        folder.write(&format!("part-{i:02}.csv"), &[&[head], rows, &[""]].concat().join("\n"))
    };
    // The second file comes after its time. Until that is found out, files of one row are read and fill the queue.
    let last = lines[lines.len() - 1];
    let mut files = vec![part(0, &[last]), part(1, &[lines[1000]; 8000])];
    files.extend((2..22).map(|i| part(i, &[last])));
    let (answer, answered) = std::sync::mpsc::channel();
    // Threads that wait for each other would never end: only a clock can tell.
    std::thread::spawn(move || {
        let extracted = extracted_of(&folder, &fm, "late", &options(20220604), &files);
        answer.send(extracted).unwrap();
    });
    let wait = std::time::Duration::from_secs(60);
    let e = answered
        .recv_timeout(wait)
        .expect("it ends within a minute")
        .unwrap_err();
    assert!(matches!(e, Error::Late { row: 1, .. }), "{e}");
}
