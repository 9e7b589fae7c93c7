//! The functions in `shaders/` and the kernels of the models in the repository, as drivers will see them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use loopfm::bundle::{Bundle, Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::fuse::Profile;
use loopfm::tensor::{HostTensor, Tensors};
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

/// A layer that is multiplied by cooperative matrices.
fn wide() -> Bundle {
    let text = "loopfm 1
%0 = input \"x\" : f32[rows, 64]
%1 = param \"w\" : f32[64, 64]
%2 = matmul(%0, %1) : f32[rows, 64]
return \"y\" = %2
";
    let graph = loopfm::ir::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let weights = Tensors::from([("w".to_owned(), HostTensor::f32(&[64, 64], vec![0.5; 4096]))]);
    let options = Options {
        profiles: vec![&Profile::MATRIX],
        ..Options::new(Precision::F16)
    };
    compile("wide", &graph, &weights, &options).unwrap_or_else(|e| panic!("{e}"))
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
    let wide = wide();
    let emitted: BTreeSet<String> = bundles
        .iter()
        .map(|(_, b)| b)
        .chain([&wide])
        .flat_map(|b| b.wgsl.values())
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

/// Calls all excused functions.
const CALLS: &str = "loopfm 1
%0 = input \"x\" : f32[rows, 8]
%1 = input \"y\" : f32[rows, 8]
%2 = input \"i\" : i32[rows, 8]
%3 = input \"j\" : i32[rows, 8]
%4 = input \"k\" : i32[rows]
%5 = pow(%0, %1) : f32[rows, 8]
%6 = rem(%0, %1) : f32[rows, 8]
%7 = div(%2, %3) : i32[rows, 8]
%8 = rem(%2, %3) : i32[rows, 8]
%9 = pow(%2, %3) : i32[rows, 8]
%10 = pow(%4, %4) : i32[rows]
return \"pow\" = %5, \"rem\" = %6, \"idiv\" = %7, \"irem\" = %8, \"ipow\" = %9, \"one\" = %10
";

#[test]
fn excused_functions_do_what_they_should() {
    let graph = loopfm::ir::parse(CALLS).unwrap();
    let bundle = compile("calls", &graph, &Tensors::new(), &Options::new(Precision::F32)).unwrap();
    let called: BTreeSet<String> = bundle.wgsl.values().flat_map(|t| functions(t)).collect();
    for (name, reason) in UNCALLED {
        assert!(called.contains(*name), "`{name}` ({reason})");
    }
    #[cfg(feature = "gpu")]
    {
        use loopfm::interp::{Rounding, bounds, sizes_of};
        use loopfm::run::{self, Runtime};

        let Some(device) = crate::support::gpu::gpu() else {
            return;
        };
        let floats = |f: fn(f32) -> f32| HostTensor::f32(&[5, 8], (0..40).map(|i| f(i as f32)).collect());
        let ints = |f: fn(i32) -> i32| HostTensor::i32(&[5, 8], (0..40).map(f).collect());
        let batch = Tensors::from([
            ("x".to_owned(), floats(|i| 0.3 + i * 0.07)),
            ("y".to_owned(), floats(|i| 1.55 - i * 0.1)),
            ("i".to_owned(), ints(|i| i - 20)),
            ("j".to_owned(), ints(|i| 1 + i % 5)),
            ("k".to_owned(), HostTensor::i32(&[5], vec![1, 2, 3, 4, 5])),
        ]);
        let sizes = sizes_of(&graph, &batch).unwrap();
        let bounds = bounds(&graph, &Tensors::new(), &batch, sizes, Rounding::GPU).unwrap();
        let runtime = Runtime::open(device, &bundle, &run::Options::default()).unwrap();
        let got = runtime.run(&batch).unwrap();
        crate::support::compare::within(&got, &bounds).unwrap_or_else(|e| panic!("{e}"));
    }
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

/// A tail whose reshape splits lines of 17 columns: four of them past the end are still one vector.
#[test]
fn tails_keep_their_lanes_through_views() {
    for columns in [3, 12, 17, 33] {
        let text = format!(
            "loopfm 1\n\
             %0 = input \"x\" : f32[rows, 63, 7]\n\
             %1 = param \"w\" : f32[7, {columns}]\n\
             %2 = reshape(%0) : f32[rows, 7, 9, 7]\n\
             %3 = matmul(%2, %1) : f32[rows, 7, 9, {columns}]\n\
             %4 = sigmoid(%3) : f32[rows, 7, 9, {columns}]\n\
             return \"y\" = %4\n"
        );
        let graph = loopfm::ir::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let w = HostTensor::f32(&[7, columns], vec![0.5; 7 * columns]);
        let weights = Tensors::from([("w".to_owned(), w)]);
        compile("views", &graph, &weights, &Options::new(Precision::F32)).unwrap_or_else(|e| panic!("{columns}: {e}"));
    }
}
