//! Logs that were interrupted, damaged, or belong to others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loopfm::embeddings::{Error, Header, Log, Storage, Writer};

use super::{CHILD, Events, Files, ROWS, SEGMENTS, child, files, finish, header, prefix};

const MANIFEST: &str = "manifest.jsonl";

fn whole(dir: &Path) -> Files {
    finish(dir).unwrap();
    files(dir)
}

/// A folder with these files.
fn lay(dir: &Path, files: &[(String, Vec<u8>)]) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Every state that a writer can be ended in: a temporary file, a segment without its line, a line cut at any byte.
#[test]
fn every_interruption_is_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let expected = whole(&folder.path().join("whole"));
    let dir = folder.path().join("log");
    let manifest = &expected.iter().find(|(name, _)| name == MANIFEST).unwrap().1;
    let ends: Vec<usize> = manifest
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(i, _)| i + 1)
        .collect();
    let segment = |n: usize| {
        expected
            .iter()
            .find(|(name, _)| *name == format!("segment-{n:06}.parquet"))
            .unwrap()
            .clone()
    };
    // A new log, before its first line.
    lay(&dir, &[(format!(".{MANIFEST}.12-0.tmp"), manifest[..20].to_vec())]);
    finish(&dir).unwrap();
    assert!(files(&dir) == expected);
    let last = SEGMENTS as usize - 1;
    let (before, after) = (ends[last], ends[last + 1]);
    let mut states = vec![
        (before, None, Some(0)),
        (before, None, Some(100)),
        (before, Some(last), None),
    ];
    states.extend((before..after).map(|cut| (cut, Some(last), None)));
    for (cut, renamed, temporary) in states {
        let mut there: Vec<_> = (0..last).chain(renamed).map(segment).collect();
        there.push((MANIFEST.to_owned(), manifest[..cut].to_vec()));
        there.push(("lock".to_owned(), b"process 1 on old since long ago".to_vec()));
        if let Some(bytes) = temporary {
            there.push((".segment-000007.parquet.12-0.tmp".to_owned(), vec![0; bytes]));
        }
        lay(&dir, &there);
        assert_eq!(prefix(&dir), last, "cut at {cut}");
        finish(&dir).unwrap();
        assert!(files(&dir) == expected, "cut at {cut}, {temporary:?}");
    }
}

#[test]
fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let good = whole(&dir);
    let named = |name: &str| good.iter().position(|(n, _)| n == name).unwrap();
    let (manifest, segment) = (named(MANIFEST), named("segment-000002.parquet"));
    let opened = |change: &dyn Fn(&mut Files)| {
        let mut files = good.clone();
        change(&mut files);
        lay(&dir, &files);
        Log::open(&dir).and_then(|log| log.read().map(|_| log))
    };
    for at in (0..good[segment].1.len()).step_by(97) {
        let e = opened(&|files| files[segment].1[at] ^= 4).unwrap_err();
        assert!(
            e.exit_code() == 5 && e.to_string().contains("segment-000002.parquet`: BLAKE3"),
            "{e}"
        );
    }
    for at in (0..good[manifest].1.len() - 1).step_by(7) {
        let e = opened(&|files| files[manifest].1[at] ^= 1).unwrap_err();
        assert!(
            e.exit_code() == 5 && e.to_string().contains(&format!("{MANIFEST}`, line ")),
            "{at}: {e}"
        );
    }
    let short = opened(&|files| files[segment].1.truncate(500)).unwrap_err();
    assert!(
        short.exit_code() == 5 && short.to_string().contains("500 bytes, the manifest says"),
        "{short}"
    );
    let missing = opened(&|files| drop(files.remove(segment))).unwrap_err();
    assert!(
        missing.exit_code() == 5
            && missing
                .to_string()
                .ends_with("is missing, the manifest has it committed"),
        "{missing}"
    );
    // A line left out.
    let line = |bytes: &[u8], n: usize| bytes.split_inclusive(|b| *b == b'\n').nth(n).unwrap().len();
    let skipped = opened(&|files| {
        let bytes = &mut files[manifest].1;
        let start: usize = (0..3).map(|n| line(bytes, n)).sum();
        bytes.drain(start..start + line(bytes, 3));
    });
    let e = skipped.unwrap_err();
    assert!(e.exit_code() == 5 && e.to_string().contains("line 4: checksum"), "{e}");
    let format = opened(&|files| {
        let text = String::from_utf8(files[manifest].1.clone()).unwrap();
        let json = text.lines().next().unwrap()[17..].replace("\"loopfm.log\":1", "\"loopfm.log\":9");
        let digits = &blake3::hash(json.as_bytes()).to_hex()[..16];
        files[manifest].1 = format!("{digits} {json}\n").into_bytes();
    });
    let e = format.unwrap_err();
    assert!(
        e.exit_code() == 6 && e.to_string().ends_with("is a log of format 9, this build reads 1"),
        "{e}"
    );
    // A writer refuses too, and leaves everything as it is: a manifest that has lost lines would have it remove segments.
    let mut lost = good.clone();
    let keep: usize = (0..3).map(|n| line(&good[manifest].1, n)).sum();
    lost[manifest].1.truncate(keep);
    lay(&dir, &lost);
    let e = finish(&dir).unwrap_err();
    assert!(
        e.exit_code() == 5 && e.to_string().contains("knows of 2 segments: lines of it are lost"),
        "{e}"
    );
    assert!(files(&dir) == lost);
    let none = Log::open(folder.path()).unwrap_err();
    assert_eq!(
        (
            none.exit_code(),
            none.to_string()
                .ends_with("is no log of embeddings: it has no `manifest.jsonl`")
        ),
        (1, true)
    );
}

#[test]
fn other_models_and_forms_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    finish(folder.path()).unwrap();
    let refused = |header: Header| Writer::open(folder.path(), &header).unwrap_err();
    let same = || header(Storage::Int4);
    let e = refused(Header {
        fm: "0".repeat(64),
        ..same()
    });
    let both = format!(
        "holds embeddings of FM {}, these are of FM {}: write them to another folder",
        "f".repeat(64),
        "0".repeat(64)
    );
    assert!(e.exit_code() == 6 && e.to_string().ends_with(&both), "{e}");
    let form = |header: Header| {
        let e = refused(header);
        assert_eq!(e.exit_code(), 1);
        e.to_string().split_once("`: ").unwrap().1.to_owned()
    };
    assert_eq!(
        form(Header { width: 6, ..same() }),
        "the width is 5 in this log, 6 here: write to another folder"
    );
    assert!(
        form(header(Storage::F16)).starts_with(r#"the storage is {"dtype":"int4"} in this log, {"dtype":"f16"} here"#)
    );
    assert!(form(Header { cutoff: None, ..same() }).starts_with("the cut-off is 999 in this log, null here"));
    assert!(form(Header { score: false, ..same() }).starts_with("having scores is true in this log, false here"));
    assert!(
        form(Header {
            prequential: true,
            ..same()
        })
        .starts_with("being prequential is false in this log")
    );
    assert_eq!(prefix(folder.path()), SEGMENTS as usize);
}

#[test]
fn one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = Writer::open(folder.path(), &header(Storage::Int4)).unwrap();
    let e = Writer::open(folder.path(), &header(Storage::Int4)).unwrap_err();
    let text = e.to_string();
    assert!(matches!(e, Error::Locked { .. }) && e.exit_code() == 8);
    assert!(
        text.contains(&format!("is locked by process {} on ", std::process::id())) && text.ends_with(" UTC"),
        "{text}"
    );
    // Neither does another process write; readers are free.
    let other = child("embeddings::kills::writes", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(!other.unwrap().success());
    assert_eq!(Log::open(folder.path()).unwrap().rows(), 0);
    drop(first);
    finish(folder.path()).unwrap();
}

/// The child's work: it may write files of a few thousand bytes only, and must find that out in good order.
#[test]
fn fills_the_disk() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let header = header(Storage::Int4);
    let mut writer = Writer::open(&dir, &header).unwrap();
    let first = writer.last_row().map_or(0, |row| row / 3 + 1);
    let e = Events::new(first..first + 5_000)
        .append(&mut writer, &header)
        .unwrap_err();
    assert!(matches!(e, Error::Write { .. }) && e.exit_code() == 4, "{e}");
    assert!(e.to_string().contains("bytes cannot be written: "), "{e}");
    assert!(matches!(
        Events::new(first..first + ROWS).append(&mut writer, &header),
        Err(Error::Failed)
    ));
    drop(writer);
    assert_eq!(prefix(&dir) as u64 * ROWS, first);
    assert!(!files(&dir).iter().any(|(name, _)| name.ends_with(".tmp")));
}

#[cfg(unix)]
#[test]
fn a_full_disk_costs_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let expected = whole(&folder.path().join("whole"));
    let dir = folder.path().join("log");
    let header = header(Storage::Int4);
    let mut writer = Writer::open(&dir, &header).unwrap();
    for segment in 0..2 {
        Events::new(segment * ROWS..(segment + 1) * ROWS)
            .append(&mut writer, &header)
            .unwrap();
    }
    drop(writer);
    let mut limited = Command::new("sh");
    // Blocks of 512 or 1024 bytes, as the shell likes.
    limited
        .args(["-c", r#"trap "" XFSZ; ulimit -f 20; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap());
    limited
        .args(["--exact", "embeddings::faults::fills_the_disk"])
        .env(CHILD, &dir);
    let out = limited.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    finish(&dir).unwrap();
    assert!(files(&dir) == expected);
}
