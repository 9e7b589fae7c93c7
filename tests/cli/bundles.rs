//! What commands do when all is well.

use std::fs;
use std::process::{Command, Stdio};

use super::{Ran, changed_batch, command, compiled, golden, graph, json, listed, loopfm, repository};

#[test]
fn one_command_compiles_runs_and_compares() {
    let folder = tempfile::tempdir().unwrap();
    let model = repository("models/kuairand-din/model.safetensors");
    let golden = repository("models/kuairand-din/golden.io.safetensors");
    let done = Command::new(env!("CARGO_BIN_EXE_loopfm-compile"))
        .arg(model)
        .arg("--golden")
        .arg(golden)
        .arg("--json")
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // A file that is just `model` is named for its folder.
    assert_eq!(listed(folder.path()), ["kuairand-din.loopfm"]);
    let report = json(&String::from_utf8(done.stdout).unwrap());
    assert_eq!(report["model"], "kuairand-din");
    let variants = report["variants"].as_array().unwrap();
    assert!(variants.iter().any(|v| v["variant"] == "discrete/native"));
    let outputs = report["goldens"]["goldens"][0]["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 3);
    for output in outputs.iter().filter(|o| o["output"] != "hidden") {
        assert!(output["of_max"].as_f64().unwrap() < 5e-3, "{output}");
        assert!(
            output["labels"]["auc"]["difference"].as_f64().unwrap().abs() < 1e-3,
            "{output}"
        );
    }
    let prob = outputs.iter().find(|o| o["output"] == "prob").unwrap();
    assert!(prob["labels"]["log_loss"]["difference"].as_f64().unwrap().abs() < 1e-4);
}

#[test]
fn equal_models_are_equal_bytes() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [a, b] = [a, b].map(|folder| fs::read(compiled(folder.path(), "dcnv2")).unwrap());
    assert!(a == b, "two runs of one compiler differ");
}

#[test]
fn the_plan_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("x.loopfm");
    let text = loopfm!(
        "compile",
        graph("din"),
        "-o",
        bundle,
        "--profile",
        "portable",
        "--precision",
        "f32"
    )
    .ok();
    for line in [
        "model din, f32",
        "0 to 29 in tables.user.weight",
        "variant portable/f32: 1 dispatch;",
        "compiled in ",
    ] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
    let seen = loopfm!("inspect", bundle).ok();
    assert!(seen.contains("bundle format 1, made by loopfm "), "{seen}");
    let seen = json(&loopfm!("inspect", bundle, "--json").ok());
    assert_eq!(seen["precision"], "f32");
    assert_eq!(seen["root"].as_str().unwrap().len(), 64);
    assert!(seen["tensors"].as_array().unwrap().iter().all(|t| t["dtype"] == "F32"));
}

#[test]
fn a_batch_runs_and_its_outputs_are_the_golden_ones() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let out = folder.path().join("out.safetensors");
    let plain = changed_batch(folder.path(), "din", |_| {});
    for input in [golden("din"), plain] {
        let text = loopfm!("run", bundle, "--input", input, "-o", out, "--device", "cpu", "--json").ok();
        let report = json(&text);
        assert_eq!(report["place"]["device"], "cpu");
        let (seen, _) = loopfm::import::read_tensors(&out).unwrap();
        let (want, _) = loopfm::import::read_tensors(&golden("din")).unwrap();
        let (seen, want) = (&seen["prob"], &want["out.prob"]);
        assert_eq!(seen.shape, want.shape);
        let pairs = seen.as_f32().unwrap().iter().zip(want.as_f32().unwrap());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-3), "{pairs:?}");
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn bundles_and_models_verify() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "dcnv2");
    for args in [&[][..], &["--device", "cpu"]] {
        let text = Ran::of(command(&[&"verify", &bundle, &"--golden", &golden("dcnv2")]).args(args)).ok();
        assert!(text.starts_with("device: ") && text.contains("last_hidden"), "{text}");
    }
    let text = loopfm!(
        "verify",
        graph("dcnv2"),
        "--golden",
        golden("dcnv2"),
        "--precision",
        "f32",
        "--json"
    )
    .ok();
    let report = json(&text);
    assert_eq!(report["goldens"][0]["bounds"]["max_error"], 2e-5);
}

#[test]
fn random_rows_agree_with_the_interpreter() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["din_request", "features"] {
        let bundle = folder.path().join(name);
        let text = loopfm!("compile", graph(name), "-o", bundle, "--verify", "9", "--json").ok();
        let devices = json(&text)["verified"]["devices"].as_array().unwrap().clone();
        assert_eq!(devices[0]["device"], "CPU executor (as asked)");
        for output in devices.iter().flat_map(|d| d["outputs"].as_array().unwrap()) {
            assert_eq!(output["within_bounds"], true, "{name}: {output}");
        }
    }
}

#[test]
fn bench_speaks_as_trtexec() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din_request");
    let export = folder.path().join("times.json");
    let sizes = [
        "--rows",
        "100",
        "--requests",
        "7",
        "--duration",
        "0",
        "--iterations",
        "5",
    ];
    let mut bench = command(&[&"bench", &bundle, &"--device", &"cpu", &"--export", &export]);
    let text = Ran::of(bench.args(sizes)).ok();
    for line in ["throughput: ", "p99", "latency", "5 batches of 100 rows and 7 requests"] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
    let times = json(&fs::read_to_string(export).unwrap());
    assert_eq!(times.as_array().unwrap().len(), 5);
    assert!(times[0]["latency"].as_f64().unwrap() > 0.0);
}

#[cfg(feature = "gpu")]
#[test]
fn kernels_stand_below_the_roof_of_their_device() {
    use crate::support::gpu::gpu;
    let Some(device) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "dcnv2");
    let (picture, kept) = (folder.path().join("roof.svg"), folder.path().join("kept"));
    let mut bench = command(&[&"bench", &bundle, &"--device", &"gpu", &"--roofline", &picture]);
    bench.args(["--profile", "--json", "--duration", "0", "--iterations", "2"]);
    let report = json(&Ran::of(bench.arg("--pipelines").arg(&kept)).ok());
    assert!(
        report["place"]["report"]
            .as_str()
            .unwrap()
            .contains("compiled kernels "),
        "{report}"
    );
    if !device.report().timestamps {
        assert_eq!(report["profile"], serde_json::Value::Null);
        return;
    }
    let kernels = report["profile"]["kernels"].as_array().unwrap();
    assert!(!kernels.is_empty());
    let drawn = fs::read_to_string(picture).unwrap();
    for kernel in kernels {
        let share = kernel["share_of_limit"].as_f64().unwrap();
        assert!(share > 0.0 && share < 1.5, "{kernel}");
        assert!(drawn.contains(kernel["name"].as_str().unwrap()), "{kernel}");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn what_was_tuned_is_kept() {
    if crate::support::gpu::gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (bundle, kept) = (compiled(folder.path(), "dcnv2"), folder.path().join("kept"));
    let mut bench = command(&[
        &"bench",
        &bundle,
        &"--tune",
        &"--variant",
        &"portable",
        &"--pipelines",
        &kept,
    ]);
    let text = Ran::of(bench.args(["--duration", "0", "--iterations", "2"])).ok();
    for line in [
        "tuned for up to 1024 rows of 1 requests, ",
        " chosen; kept in `",
        "first in the table",
    ] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
    let tune = format!("--tune={}", kept.display());
    let mut bench = command(&[&"bench", &bundle, &tune, &"--variant", &"portable", &"--json"]);
    let report = json(&Ran::of(bench.args(["--duration", "0", "--iterations", "2"])).ok());
    let tuned = &report["place"]["tuned"];
    assert_eq!(tuned["from_file"], true, "{report}");
    assert_eq!(tuned["figures"]["chosen"], report["place"]["variant"], "{report}");
    let mut run = command(&[
        &"run",
        &bundle,
        &"--tune",
        &"--device",
        &"cpu",
        &"--input",
        &golden("dcnv2"),
    ]);
    assert!(Ran::of(run.arg("--json")).ok().contains("nothing to tune"));
    // What is verified is what would run, by the figures of batches as large as the golden's.
    let mut verify = command(&[
        &"verify",
        &bundle,
        &tune,
        &"--variant",
        &"portable",
        &"--golden",
        &golden("dcnv2"),
    ]);
    let report = json(&Ran::of(verify.arg("--json")).ok());
    let (tuned, place) = (&report["place"]["tuned"], &report["place"]);
    assert_eq!(tuned["figures"]["chosen"], place["variant"], "{report}");
    assert_eq!(tuned["from_file"], false, "{report}");
    assert!(tuned["subject"]["rows"].as_u64() < Some(1024), "{report}");
}

#[cfg(feature = "gpu")]
#[test]
fn adapters_are_listed() {
    let list = json(&loopfm!("adapters", "--json").ok());
    for (i, adapter) in list["adapters"].as_array().unwrap().iter().enumerate() {
        assert_eq!(adapter["index"], i);
        assert!(adapter["storage_buffers"].as_u64().unwrap() >= 4, "{adapter}");
    }
}

#[test]
fn stages_and_languages_as_files() {
    let folder = tempfile::tempdir().unwrap();
    let [bundle, emit, dump] = ["x.loopfm", "emit", "dump"].map(|n| folder.path().join(n));
    loopfm!(
        "compile",
        graph("autoint"),
        "-o",
        bundle,
        "--emit",
        emit,
        "--dump",
        dump
    )
    .ok();
    // The folder appears whole; nothing is left beside it.
    assert_eq!(listed(folder.path()), ["dump", "emit", "x.loopfm"]);
    assert!(dump.join("00-model.ir").is_file() && dump.join("02-simplified.ir").is_file());
    let variants = [
        "discrete-native",
        "discrete-packed",
        "integrated-native",
        "portable-native",
        "portable-packed",
        "software-packed",
    ];
    let mut expected = vec!["README", "graph.ir", "manifest.json", "weights.safetensors"];
    expected.extend(variants);
    expected.sort();
    assert_eq!(listed(&emit), expected);
    let readme = fs::read_to_string(emit.join("README")).unwrap();
    let graph = fs::read_to_string(emit.join("graph.ir")).unwrap();
    assert!(loopfm::ir::parse(&graph).is_ok());
    let has_spirv_val = Command::new("spirv-val").arg("--version").output().is_ok();
    if !has_spirv_val {
        eprintln!("skipped: spirv-val is not installed");
    }
    for variant in variants {
        let files = listed(&emit.join(variant));
        let kernels = files.iter().filter_map(|f| f.strip_suffix(".wgsl")).collect::<Vec<_>>();
        assert!(!kernels.is_empty());
        for kernel in kernels {
            for ending in ["spv", "metal", "hlsl", "glsl"] {
                let file = format!("{kernel}.{ending}");
                let told = readme.contains(&format!("{variant}/{file}: "));
                assert_ne!(
                    files.contains(&file),
                    told,
                    "{variant}/{file} is there or the README says why not"
                );
            }
            let spv = emit.join(variant).join(format!("{kernel}.spv"));
            if has_spirv_val && spv.exists() {
                let checked = Command::new("spirv-val")
                    .args(["--target-env", "vulkan1.1"])
                    .arg(&spv)
                    .output()
                    .unwrap();
                assert!(checked.status.success(), "{}: {checked:?}", spv.display());
            }
        }
    }
    // Everywhere, in one language at least that needs no f16.
    assert!(!readme.contains("portable-packed/"), "{readme}");
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = compiled(folder.path(), "din");
    let mut child = command(&[&"inspect", &bundle]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn versions() {
    let version = concat!("loopfm ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(loopfm!("--version").ok(), version);
    assert!(loopfm!("--help").ok().contains("Exit codes: 0 done, 1 "));
}
