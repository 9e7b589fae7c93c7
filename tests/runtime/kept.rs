//! What outlives a process, what a device is measured to do.

use std::fs;

use loopfm::run::Options;

use super::open;
use crate::support::gpu::gpu;
use crate::support::tiny::{self, batch, expected};

#[test]
fn compiled_kernels_are_kept_for_the_next_process() {
    let Some(device) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let options = Options {
        pipelines: Some(kept.clone()),
        ..Options::default()
    };
    let batch = batch(70, 3, |r| r % 3);
    let note = || {
        let runtime = open(device.clone(), &tiny::bundle(), &options);
        assert_eq!(runtime.run(&batch).expect("runs"), expected(&batch));
        runtime.report().pipelines.clone().expect("a note")
    };
    let first = note();
    if first.ends_with("the driver gives none out") {
        return;
    }
    let files: Vec<_> = fs::read_dir(&kept).unwrap().map(|f| f.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(first, format!("compiled kernels kept in `{}`", file.display()));
    note();
    let whole = fs::read(file).unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..7], &[]] {
        fs::write(file, damaged).unwrap();
        let said = note();
        assert!(said.contains(": damaged; made anew"), "{said}");
        assert_eq!(fs::read(file).unwrap().len(), whole.len());
    }
    fs::remove_dir_all(&kept).unwrap();
    fs::write(&kept, "a file where a folder should be").unwrap();
    let said = note();
    assert!(said.contains("compiled kernels not kept: "), "{said}");
}

#[test]
fn a_device_does_so_much_at_most() {
    let Some(device) = gpu() else { return };
    let limits = device.measure_limits().unwrap_or_else(|e| panic!("{e}"));
    // A slow core does a thousandth of the least of these a cycle; nothing built does more than the greatest.
    assert!((1e8..1e15).contains(&limits.flops), "{limits:?}");
    assert!((1e7..1e14).contains(&limits.bytes), "{limits:?}");
}
