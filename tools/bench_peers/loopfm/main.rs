//! This project as a peer, through what a user has: the trainer, and sessions on bundles.
//!
//! `WORKLOAD FILE train cpu|gpu`, `WORKLOAD FILE infer BUNDLE cpu` or `.. gpu PROFILE RUNG`, and, to have a bundle first,
//! `WORKLOAD FILE compile BUNDLE f16|f32`, which ends when it is written; with `-` for the file its weights are random.

#[path = "../common/protocol.rs"]
mod protocol;
#[path = "../../../benches/workloads.rs"]
#[allow(dead_code, reason = "the benches use more of it")]
mod workloads;

use std::collections::BTreeMap;
use std::path::Path;

use loopfm::bundle::{Bundle, Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::import::Model;
use loopfm::ir::{Graph, TypeError};
use loopfm::nn;
use loopfm::run::AdapterQuery;
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};
use loopfm::train::{Spec, Trainable, Trainer};
use protocol::{Floats, Given, Peer, serve};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let [workload, file, "compile", bundle, precision] = args[..] {
        let graph = graph(workload);
        let weights = match file {
            "-" => workloads::weights(&graph, &mut workloads::Random(1)),
            file => weights(&graph, &Given::read(file)),
        };
        return write_bundle(workload, &graph, &weights, bundle, precision);
    }
    serve(|workload, given, rest| match rest {
        ["train", device] => Box::new(Training::new(graph(workload), &given, &choice(device))),
        ["infer", bundle, rest @ ..] => Box::new(Inference::new(bundle, &given, rest)),
        other => panic!("{other:?}"),
    });
}

fn choice(device: &str) -> DeviceChoice {
    match device {
        "gpu" => DeviceChoice::Gpu(AdapterQuery::Best),
        "cpu" => DeviceChoice::Cpu,
        other => panic!("no device `{other}`"),
    }
}

/// The first word of a workload's name is the model's.
fn graph(workload: &str) -> Graph {
    let graph = match workload.split('-').next() {
        Some("w1") => workloads::w1(),
        Some("w2") => workloads::w2(),
        Some("tower1") => tower(&[512, 1024, 512, 256, 1]),
        Some("tower2") => tower(&[256, 256, 128, 1]),
        _ => panic!("no workload `{workload}`"),
    };
    graph.expect("the workload is well typed")
}

fn tower(widths: &[usize]) -> Result<Graph, TypeError> {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(widths[0])]))?;
    let logit = workloads::mlp(&mut g, "mlp", x, widths, nn::relu)?;
    g.outputs = vec![("logit".into(), logit)];
    Ok(g)
}

fn host(t: &Floats) -> HostTensor {
    HostTensor::f32(&t.shape, t.data.clone())
}

fn weights(graph: &Graph, given: &Given) -> Tensors {
    let params = graph.params();
    params
        .map(|(_, name, _)| (name.to_owned(), host(&given.floats[name])))
        .collect()
}

/// Inputs of a batch by name and type; whose request a row is goes without saying.
fn batch<'a>(inputs: impl Iterator<Item = (&'a str, DType)>, given: &Given) -> Tensors {
    let tensor = |(name, dtype): (&str, DType)| {
        let file = format!("in.{name}");
        let tensor = match dtype {
            DType::F32 => host(&given.floats[&file]),
            DType::I32 => HostTensor::i32(&given.ints[&file].0, given.ints[&file].1.clone()),
            DType::Bool => {
                let t = &given.floats[&file];
                HostTensor::bool(&t.shape, t.data.iter().map(|x| *x != 0.0).collect())
            }
        };
        (name.to_owned(), tensor)
    };
    inputs
        .filter(|(name, _)| *name != "request_of_row")
        .map(tensor)
        .collect()
}

fn floats(tensors: &Tensors) -> BTreeMap<String, Floats> {
    let floats = tensors.iter().map(|(name, t)| {
        let data = t.as_f32().expect("floats").to_vec();
        let shape = t.shape.clone();
        (name.clone(), Floats { shape, data })
    });
    floats.collect()
}

fn write_bundle(workload: &str, graph: &Graph, weights: &Tensors, path: &str, precision: &str) {
    let precision = match precision {
        "f16" => Precision::F16,
        "f32" => Precision::F32,
        other => panic!("no precision `{other}`"),
    };
    let bundle = compile(workload, graph, weights, &Options::new(precision));
    let bundle = bundle.unwrap_or_else(|e| panic!("{e}"));
    bundle.write(Path::new(path)).unwrap_or_else(|e| panic!("{e}"));
}

struct Training {
    trainer: Trainer,
    batch: Tensors,
}

impl Training {
    fn new(graph: Graph, given: &Given, device: &DeviceChoice) -> Self {
        let mut batch = batch(graph.inputs().map(|(_, name, ty)| (name, ty.dtype)), given);
        batch.insert("label".into(), host(&given.floats["label"]));
        let weights = weights(&graph, given);
        let name = "peer".into();
        let model = Trainable::of_model(&Model { name, graph, weights }).expect("a logit");
        let mut spec = Spec::default();
        spec.data.batch = batch["label"].data.len();
        Self {
            trainer: Trainer::on(model, &spec, device).unwrap_or_else(|e| panic!("{e}")),
            batch,
        }
    }
}

impl Peer for Training {
    fn device(&self) -> String {
        self.trainer.report()
    }

    fn run(&mut self) -> Option<f32> {
        Some(self.trainer.step(&self.batch).unwrap_or_else(|e| panic!("{e}")).loss)
    }

    fn tensors(&mut self) -> BTreeMap<String, Floats> {
        floats(&self.trainer.weights().unwrap_or_else(|e| panic!("{e}")))
    }
}

struct Inference {
    session: Session,
    batch: Tensors,
    outputs: Tensors,
}

impl Inference {
    fn new(bundle: &str, given: &Given, device: &[&str]) -> Self {
        let bundle = Bundle::read(Path::new(bundle)).unwrap_or_else(|e| panic!("{e}"));
        let mut options = SessionOptions {
            device: choice(device[0]),
            ..SessionOptions::default()
        };
        if let [_, profile, rung] = device {
            options.load.variant.profile = Some((*profile).to_owned());
            options.load.variant.rung = Some(match *rung {
                "native" => Rung::Native,
                "packed" => Rung::Packed,
                "f32" => Rung::F32,
                other => panic!("no rung `{other}`"),
            });
        }
        let session = Session::open(&bundle, &options).unwrap_or_else(|e| panic!("{e}"));
        let inputs = session
            .manifest()
            .inputs
            .iter()
            .map(|port| (port.name.as_str(), port.dtype));
        Self {
            batch: batch(inputs, given),
            outputs: Tensors::new(),
            session,
        }
    }
}

impl Peer for Inference {
    fn device(&self) -> String {
        self.session.report()
    }

    fn run(&mut self) -> Option<f32> {
        self.outputs = self.session.run(&self.batch).unwrap_or_else(|e| panic!("{e}"));
        None
    }

    fn tensors(&mut self) -> BTreeMap<String, Floats> {
        floats(&self.outputs)
    }
}
