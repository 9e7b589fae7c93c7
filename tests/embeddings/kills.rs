//! A writer killed two hundred times.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{CHILD, SEGMENTS, child, files, finish, prefix};
use crate::support::rng::Rng;

const TEST: &str = "embeddings::kills::writes";

/// The child's work.
#[test]
fn writes() {
    if let Some(dir) = std::env::var_os(CHILD) {
        finish(&PathBuf::from(dir)).unwrap();
    }
}

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, log) = (folder.path().join("whole"), folder.path().join("log"));
    let start = Instant::now();
    assert!(child(TEST, &whole).stdout(Stdio::null()).status().unwrap().success());
    let run = start.elapsed().min(Duration::from_secs(1));
    let expected = files(&whole);
    let rng = &mut Rng(7);
    let (mut kills, mut partial, mut committed) = (0, 0, 0);
    while kills < 200 {
        let mut writer = child(TEST, &log).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(run * rng.below(100) as u32 / 100);
        if writer.try_wait().unwrap().is_none() {
            writer.kill().unwrap();
            kills += 1;
        }
        writer.wait().unwrap();
        let seen = if log.exists() { prefix(&log) } else { 0 };
        assert!(seen >= committed, "{seen} segments, {committed} were committed before");
        partial += usize::from(seen > committed && seen < SEGMENTS as usize);
        committed = seen;
        if committed == SEGMENTS as usize {
            finish(&log).unwrap();
            assert_eq!(files(&log), expected, "after {kills} kills");
            std::fs::remove_dir_all(&log).unwrap();
            committed = 0;
        }
    }
    finish(&log).unwrap();
    assert!(files(&log) == expected);
    assert!(
        partial > 10,
        "{partial} kills in the middle of work: too few to mean anything"
    );
}
