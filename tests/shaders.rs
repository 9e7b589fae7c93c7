//! The functions in `shaders/` and the kernels of the models in the repository, as drivers will see them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use loopfm::bundle::{Bundle, Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::fuse::Profile;
use loopfm::wgsl;
use naga::back::spv;

use crate::support::models;

/// Functions that no model of the repository calls, and why they are there.
const UNCALLED: &[(&str, &str)] = &[
    ("idiv_4", "models divide ids one by one; a graph may divide four"),
    ("irem_4", "models hash ids one by one; a graph may hash four"),
    ("ipow_1", "no model raises integers; the op is there"),
    ("ipow_4", "no model raises integers; the op is there"),
    ("power_4", "models raise one element; a graph may raise four"),
    ("rem_4", "models take remainders of one element; a graph may take four"),
];

fn shaders() -> Vec<(String, String)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "wgsl"));
    files.sort();
    let named = |f: &PathBuf| {
        (
            f.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read_to_string(f).unwrap(),
        )
    };
    files.iter().map(named).collect()
}

/// Bundles of the models in the repository for the portable profile.
fn bundles(rungs: &[Rung]) -> Vec<(String, Bundle)> {
    let options = Options {
        profiles: vec![&Profile::PORTABLE],
        rungs: rungs.to_vec(),
        ..Options::new(Precision::F16)
    };
    let files = models::in_repository();
    let of_model = files.iter().filter(|f| f.ends_with("golden.io.safetensors"));
    let bundle = |file: &PathBuf| {
        let golden = models::load(file);
        let m = &golden.model;
        let bundle =
            compile(&m.name, &m.graph, &m.weights, &options).unwrap_or_else(|e| panic!("{}: {e}", golden.name));
        (golden.name, bundle)
    };
    of_model.map(bundle).collect()
}

/// Names of the functions that a text defines, each at the start of a line.
fn functions(wgsl: &str) -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix("fn ")?.split('(').next()?.to_owned());
    wgsl.lines().filter_map(name).collect()
}

#[test]
fn every_shader_file_is_valid_by_itself() {
    let files = shaders();
    assert!(files.len() >= 7, "{} files", files.len());
    for (name, text) in files {
        wgsl::validate(&name, &text).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn every_function_is_called_by_some_kernel() {
    let bundles = bundles(&[Rung::Packed, Rung::Native]);
    let emitted: BTreeSet<String> = bundles
        .iter()
        .flat_map(|(_, b)| b.wgsl.values())
        .flat_map(|t| functions(t))
        .collect();
    let library: BTreeSet<String> = shaders()
        .iter()
        .filter(|(name, _)| ["pack.wgsl", "math.wgsl", "guard.wgsl"].contains(&name.as_str()))
        .flat_map(|(_, text)| functions(text))
        .collect();
    let excused: BTreeSet<String> = UNCALLED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let uncalled: BTreeSet<String> = library.difference(&emitted).cloned().collect();
    assert_eq!(uncalled, excused, "left: called by no kernel; right: excused");
}

#[test]
fn every_kernel_becomes_sound_spirv() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (model, bundle) in bundles(&[Rung::Packed]) {
        for kernel in &bundle.manifest.variants[0].kernels {
            let name = format!("{model} `{}`", kernel.name);
            let (module, info) = wgsl::module(&name, &bundle.wgsl[&kernel.wgsl]).unwrap_or_else(|e| panic!("{e}"));
            let options = spv::Options {
                lang_version: (1, 3),
                ..spv::Options::default()
            };
            let words = spv::write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            let file = folder.path().join(format!("{}.spv", files.len()));
            std::fs::write(&file, words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
            files.push((name, file));
        }
    }
    eprintln!("{} kernels", files.len());
    if Command::new("spirv-val").arg("--version").output().is_err() {
        eprintln!("skipped: spirv-val is not installed");
        return;
    }
    for (name, file) in files {
        let checked = Command::new("spirv-val")
            .args(["--target-env", "vulkan1.1"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            checked.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}
