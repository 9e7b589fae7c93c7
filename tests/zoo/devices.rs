//! Inference of every model: how many dispatches it takes, and that devices agree with the interpreter.

use loopfm::bundle::{Bundle, Precision};
use loopfm::compile::{Options, compile};
use loopfm::interp::{self, Rounding};
use loopfm::model::Mode;
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::{Sizes, Tensors};

use super::{ADDITIONS, ARCHITECTURES, batch, network, spec, weights};
use crate::support::compare::within;

const SIZES: Sizes = Sizes { rows: 5, requests: 2 };

/// A model at inference with its own parameters alone.
struct Model {
    name: String,
    graph: loopfm::ir::Graph,
    weights: Tensors,
    batch: Tensors,
}

fn models() -> impl Iterator<Item = Model> {
    let all = ARCHITECTURES
        .into_iter()
        .flat_map(|a| ADDITIONS.map(|(name, more)| (a, name, more)));
    all.map(|(architecture, name, more)| {
        let network = network(&spec(architecture, more), Mode::Eval);
        let all = weights(&network, 11);
        let own = network
            .graph
            .params()
            .map(|(_, name, _)| (name.to_owned(), all[name].clone()));
        let weights = own.collect();
        Model {
            name: format!("{architecture} {name}"),
            weights,
            batch: batch(&network.graph, SIZES, 12),
            graph: network.graph,
        }
    })
}

fn compiled(m: &Model, precision: Precision) -> Bundle {
    compile("model", &m.graph, &m.weights, &Options::new(precision))
        .unwrap_or_else(|e| panic!("{}: {e}\n{}", m.name, m.graph))
}

fn bounds(m: &Model, rounding: Rounding) -> indexmap::IndexMap<String, interp::Bound> {
    interp::bounds(&m.graph, &m.weights, &m.batch, SIZES, rounding).unwrap_or_else(|e| panic!("{}: {e}", m.name))
}

#[test]
fn models_take_few_dispatches() {
    for m in models() {
        let bundle = compiled(&m, Precision::F16);
        for variant in &bundle.manifest.variants {
            let dispatches = variant.kernels.len();
            eprintln!("{}, {}: {dispatches} dispatches", m.name, variant.name());
            // Kernels of the software profile have fewer steps: they compile while somebody waits.
            let most = if variant.needs.software { 18 } else { 9 };
            assert!(dispatches <= most, "{}, {}: {dispatches}", m.name, variant.name());
        }
    }
}

/// Models of the public benchmark's sizes, tables cut short, with what a foundation model left.
#[cfg(feature = "train")]
fn public() -> Vec<Model> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let model = |architecture: &&str| {
        let text = std::fs::read_to_string(folder.join(architecture).join("model.toml")).unwrap();
        let line = |line: &str| match line.split_once("vocabulary = ") {
            Some((before, after)) => format!("{before}vocabulary = 50{}\n", &after[after.find(',').unwrap()..]),
            None => format!(
                "{}\n",
                line.strip_prefix("# ")
                    .filter(|l| l.starts_with("loopfm ="))
                    .unwrap_or(line)
            ),
        };
        let text: String = text.lines().map(line).collect();
        let spec = loopfm::model::Spec::from_toml(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let network = spec.build(Mode::Eval).unwrap();
        let weights = network.init(1);
        Model {
            name: (*architecture).to_owned(),
            batch: Tensors::new(),
            graph: network.graph,
            weights,
        }
    };
    ARCHITECTURES.iter().map(model).collect()
}

#[cfg(feature = "train")]
#[test]
fn public_sizes_follow_the_rule_of_dispatches() {
    use loopfm::bundle::Rung;
    use loopfm::fuse::Profile;

    for m in public() {
        assert!(m.graph.inputs().any(|(_, name, _)| name == "loopfm"), "{}", m.name);
        for profile in Profile::ALL {
            let options = Options {
                profiles: vec![profile],
                rungs: vec![Rung::Packed],
                ..Options::new(Precision::F16)
            };
            let bundle = compile("model", &m.graph, &m.weights, &options).unwrap_or_else(|e| panic!("{}: {e}", m.name));
            let (n, rule) = (
                bundle.manifest.variants[0].kernels.len(),
                crate::plan::rule(&m.graph, &bundle, profile),
            );
            let flops = &bundle.manifest.flops;
            eprintln!(
                "{} {}: {n} dispatches, the rule says {rule}; {flops:?}",
                m.name, profile.name
            );
            assert!(
                n <= rule,
                "{} {}: {n} dispatches, the rule says {rule}",
                m.name,
                profile.name
            );
        }
    }
}

#[test]
fn models_run_on_the_cpu() {
    for m in models() {
        let options = SessionOptions {
            device: DeviceChoice::Cpu,
            ..SessionOptions::default()
        };
        let session =
            Session::open(&compiled(&m, Precision::F32), &options).unwrap_or_else(|e| panic!("{}: {e}", m.name));
        let got = session.run(&m.batch).unwrap_or_else(|e| panic!("{}: {e}", m.name));
        within(&got, &bounds(&m, Rounding::GPU)).unwrap_or_else(|e| panic!("{}: {e}", m.name));
    }
}

#[cfg(feature = "gpu")]
#[test]
fn models_run_on_the_gpu() {
    use loopfm::bundle::Rung;
    use loopfm::run::{self, Runtime, VariantChoice};

    let Some(device) = crate::support::gpu::gpu() else {
        return;
    };
    // A software driver compiles kernels slowly: every architecture, and what sections add once.
    let chosen = |m: &Model| m.name.ends_with("plain") || ["fm dmin", "deepfm autoencoder"].contains(&m.name.as_str());
    for m in models().filter(chosen) {
        for (precision, rungs, rounding) in [
            (Precision::F32, &[Rung::F32][..], Rounding::GPU),
            (
                Precision::F16,
                &[Rung::Packed, Rung::Native][..],
                Rounding::GPU_F16_WEIGHTS,
            ),
        ] {
            let bundle = compiled(&m, precision);
            let bounds = bounds(&m, rounding);
            for rung in rungs.iter().filter(|r| **r != Rung::Native || device.report().f16) {
                let options = run::Options {
                    variant: VariantChoice {
                        rung: Some(*rung),
                        profile: None,
                    },
                    ..run::Options::default()
                };
                let runtime = Runtime::open(device.clone(), &bundle, &options);
                let got = runtime
                    .and_then(|r| r.run(&m.batch))
                    .unwrap_or_else(|e| panic!("{} {rung:?}: {e}", m.name));
                within(&got, &bounds).unwrap_or_else(|e| panic!("{} {rung:?}: {e}", m.name));
            }
        }
    }
}
