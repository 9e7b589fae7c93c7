//! Commands that are killed at random moments, and commands that run out of disk: nothing is lost, nothing is there twice, and what
//! comes out in the end is what an uninterrupted run leaves.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loopfm::pipeline::{Spec, Variant};

use super::command;
use crate::loops::{Folder, LOOP, rows};
use crate::support::rng::Rng;

/// Kills what `start` starts, milliseconds after, until so many were hit; whenever one comes to its end, `whole` looks at what it
/// left and clears it. How many ends there were.
fn kill(most: usize, after: Range<usize>, mut start: impl FnMut() -> Command, mut whole: impl FnMut()) -> usize {
    let (mut rng, mut kills, mut ends) = (Rng(19), 0, 0);
    let spawn = |mut command: Command| -> Child {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().expect("the command was built")
    };
    while kills < most {
        let mut run = spawn(start());
        std::thread::sleep(Duration::from_millis(rng.between(after.start, after.end) as u64));
        if let Some(status) = run.try_wait().unwrap() {
            assert!(status.success(), "{status} after {kills} kills");
            whole();
            ends += 1;
            continue;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        kills += 1;
    }
    assert!(spawn(start()).wait().unwrap().success());
    whole();
    ends + 1
}

/// A bundle of a foundation model, and a log of twenty times as many rows as it was made from.
pub(super) fn fm(times: i64) -> (Folder, PathBuf, PathBuf) {
    let folder = Folder::new(&rows());
    let fixed = LOOP.replace("prequential", "fixed");
    let fixed = fixed.replace("20220602..20220605", "20220604..20220605");
    folder.write("loop.toml", &fixed.replace("20220601..20220605", "20220601..20220603"));
    let spec = Spec {
        variants: vec![Variant::Vm],
        ..folder.spec()
    };
    folder.run(&spec);
    let bundle = folder.path().join("fm.loopfm");
    let model = folder.path().join("out/runs/fm-1.model.safetensors");
    super::Ran::of(&mut command(&[&"compile", &model, &"-o", &bundle])).ok();
    let one = fs::read_to_string(folder.path().join("log.csv")).unwrap();
    let (head, rows) = one.split_once('\n').unwrap();
    let mut all = format!("{head}\n");
    for again in 0..times {
        for row in rows.lines() {
            let mut cells: Vec<String> = row.split(',').map(str::to_owned).collect();
            cells[3] = (cells[3].parse::<i64>().unwrap() + 86_400 * 8 * again).to_string();
            all += &(cells.join(",") + "\n");
        }
    }
    let log = folder.write("long.csv", &all);
    (folder, bundle, log)
}

pub(super) fn extract(bundle: &Path, log: &Path, out: &Path) -> Command {
    let mut run = command(&[&"extract", &bundle, &"--log", &log, &"--out", &out, &"--device", &"cpu"]);
    run.args([
        "--storage",
        "kmeans4",
        "--segment",
        "400",
        "--allow-leak",
        "to be killed",
    ]);
    run
}

/// Files of a folder but for the lock, by name.
pub(super) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = crate::embeddings::files(dir);
    all.retain(|(name, _)| name != "lock");
    all
}

/// Runs a command to its end; how many milliseconds that takes, six at least.
fn uninterrupted(run: &mut Command) -> usize {
    let start = Instant::now();
    super::Ran::of(run).ok();
    (start.elapsed().as_millis() as usize).max(6)
}

fn extractions(kills: usize) {
    let (folder, bundle, log) = fm(20);
    let (whole, out) = (folder.path().join("whole"), folder.path().join("killed"));
    let run = uninterrupted(&mut extract(&bundle, &log, &whole));
    let expected = files(&whole);
    assert_eq!(expected.len(), 121);
    let mut partial = 0;
    let segments = || fs::read_dir(&out).map_or(0, |dir| dir.count().saturating_sub(2));
    let ends = kill(
        kills,
        5..run,
        || {
            partial += usize::from((1..120).contains(&segments()));
            extract(&bundle, &log, &out)
        },
        || {
            let seen = files(&out);
            let differs = seen.iter().zip(&expected).find(|(a, b)| a != b).map(|(a, _)| &a.0);
            assert!(seen == expected, "{} files, {differs:?} differs", seen.len());
            fs::remove_dir_all(&out).unwrap();
        },
    );
    eprintln!("extract: {kills} kills, {partial} of them in the middle of work, {ends} whole logs");
    assert!(
        kills < 100 || partial * 3 > kills,
        "{partial} of {kills} kills in the middle of work: too few to mean anything"
    );
}

fn trainings(kills: usize) {
    let (folder, spec, train, valid) = super::train::prepared(&super::train::SPEC.replace("epochs = 6", "epochs = 20"));
    let prepare = |out: &Path| {
        let mut run = command(&[&"train", &spec, &"--train", &train, &"--valid", &valid, &"--out", &out]);
        if out.join("checkpoint.safetensors").exists() {
            run.arg("--resume");
        } else if out.exists() {
            // Killed before there was anything to go on from.
            fs::remove_dir_all(out).unwrap();
        }
        run
    };
    let (whole, out) = (folder.path().join("whole"), folder.path().join("killed"));
    let run = uninterrupted(&mut prepare(&whole));
    let ends = kill(
        kills,
        5..run,
        || prepare(&out),
        || {
            super::train::same_run(&whole, &out);
            fs::remove_dir_all(&out).unwrap();
        },
    );
    eprintln!("train: {kills} kills, {ends} whole runs");
}

#[test]
fn killed_extractions_lose_nothing() {
    extractions(5);
}

#[test]
#[ignore = "minutes: two hundred kills each"]
fn two_hundred_kills() {
    extractions(200);
    trainings(200);
}

/// A file system of its own, taken away in the end.
struct Disk(PathBuf);

impl Disk {
    /// `None` where nothing may be mounted, which is said.
    fn new(dir: &Path, size: &str) -> Option<Self> {
        fs::create_dir(dir).unwrap();
        let disk = Self(dir.to_path_buf());
        match disk.mount(&format!("size={size}")) {
            true => Some(disk),
            false => {
                eprintln!("skipped: no file system can be mounted here");
                None
            }
        }
    }

    fn mount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0);
        mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_gone_on_from() {
    let (folder, bundle, log) = fm(2);
    let disk = folder.path().join("disk");
    let Some(mounted) = Disk::new(&disk, "64k") else { return };
    let (whole, out) = (folder.path().join("whole"), disk.join("embeddings"));
    super::Ran::of(&mut extract(&bundle, &log, &whole)).ok();
    let said = super::Ran::of(&mut extract(&bundle, &log, &out)).fails(4);
    assert!(
        said.contains("bytes cannot be written: No space left on device"),
        "{said}"
    );
    assert!(said.contains("disk/embeddings/"), "{said}");
    let there = files(&out);
    assert!(
        there.len() > 1 && there.len() < files(&whole).len(),
        "{} files",
        there.len()
    );
    assert!(there.iter().all(|(name, _)| !name.ends_with(".tmp")), "{said}");
    // Nothing changes while the disk is full; with space made the rest is written.
    super::Ran::of(&mut extract(&bundle, &log, &out)).fails(4);
    assert!(files(&out) == there);
    assert!(mounted.mount("remount,size=16m"));
    super::Ran::of(&mut extract(&bundle, &log, &out)).ok();
    assert!(files(&out) == files(&whole));
}

#[cfg(feature = "gpu")]
#[test]
fn what_extracts_may_be_tuned() {
    if crate::support::gpu::gpu().is_none() {
        return;
    }
    let (folder, bundle, log) = fm(1);
    let tuned = |out: &str, storage: &str| {
        let out = folder.path().join(out);
        let kept = format!("--tune={}", folder.path().join("kept").display());
        let mut run = command(&[&"extract", &bundle, &"--log", &log, &"--out", &out, &kept, &"--json"]);
        let more = ["--variant", "portable", "--allow-leak", "to be tuned"];
        let said = super::Ran::of(run.args(["--storage", storage]).args(more)).ok();
        let report: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
        assert!(report["rows"].as_u64() > Some(0), "{report}");
        assert_eq!(
            report["place"]["tuned"]["figures"]["chosen"],
            report["place"]["variant"]
        );
        report["place"]["tuned"].clone()
    };
    let plain = tuned("plain", "f32");
    // A CSV does not say how many rows it has: as many as are read at once.
    assert_eq!(plain["subject"]["rows"], 8192, "{plain}");
    assert_eq!(tuned("again", "f32")["from_file"], true);
    // Codes are made by another model, with kernels of its own.
    let codes = tuned("codes", "int8");
    assert_eq!(codes["from_file"], false, "{codes}");
    assert_ne!(codes["subject"]["candidates"], plain["subject"]["candidates"]);
}
