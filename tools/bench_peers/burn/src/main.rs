//! burn on wgpu, `train` and `infer`. Fusion and autotune are on, as by default.

#[path = "../../common/protocol.rs"]
mod protocol;
mod models;

use std::collections::BTreeMap;

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, DeviceKind, Tensor};
use models::{Host, Model, Tower, W1, W2, floats, tensor};
use protocol::{Floats, Given, Peer, serve};

fn main() {
    serve(|workload, given, rest| {
        let train = rest == ["train"];
        match workload.split('-').next() {
            Some("w1") => make::<W1>(given, train),
            Some("w2") => make::<W2>(given, train),
            Some("tower1" | "tower2") => make::<Tower>(given, train),
            _ => panic!("no workload `{workload}`"),
        }
    });
}

fn make<M: Model + 'static>(given: Given, train: bool) -> Box<dyn Peer> {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let device = if train { device.autodiff() } else { device };
    let model = M::new(&given, &device);
    let host = Host {
        ids: given.ints.get("in.ids").cloned(),
        floats: given.floats,
    };
    if train {
        let optimiser = AdamConfig::new().with_epsilon(1e-8).init();
        let model = Some(model);
        Box::new(Training { model, optimiser, host, device })
    } else {
        let outputs = BTreeMap::new();
        Box::new(Inference { model, outputs, host, device })
    }
}

fn describe(device: &Device) -> String {
    device.identity().map_or("unknown".into(), |id| format!("{}, {}", id.name, id.fingerprint))
}

struct Training<M> {
    model: Option<M>,
    optimiser: ModuleOptimizer,
    host: Host,
    device: Device,
}

impl<M: Model> Peer for Training<M> {
    fn device(&self) -> String {
        describe(&self.device)
    }

    fn run(&mut self) -> Option<f32> {
        let model = self.model.take().expect("between steps there is a model");
        let outputs = model.outputs(&self.host, &self.device);
        let (_, logit) = outputs.into_iter().next_back().expect("a logit");
        let logit = logit.squeeze_dim::<1>(1);
        let label: Tensor<1> = tensor(&self.host.floats["label"], &self.device);
        // Stable at any logit.
        let loss = (relu(logit.clone()) - logit.clone() * label + (-logit.abs()).exp().log1p()).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optimiser.step(1e-3, model, gradients));
        let loss = loss.into_data().try_to_vec::<f32>().expect("a float")[0];
        // Steps are lazy: the update belongs to this one.
        self.device.sync().expect("a device");
        Some(loss)
    }

    fn tensors(&mut self) -> BTreeMap<String, Floats> {
        let mut all = BTreeMap::new();
        self.model.as_ref().expect("a model").collect(&mut all);
        all
    }
}

struct Inference<M> {
    model: M,
    outputs: BTreeMap<String, Floats>,
    host: Host,
    device: Device,
}

impl<M: Model> Peer for Inference<M> {
    fn device(&self) -> String {
        describe(&self.device)
    }

    fn run(&mut self) -> Option<f32> {
        let outputs = self.model.outputs(&self.host, &self.device);
        let served = outputs.into_iter().map(|(name, x)| match M::PROBABILITY {
            true => ("prob".to_owned(), floats(sigmoid(x))),
            false => (name.to_owned(), floats(x)),
        });
        self.outputs = served.collect();
        None
    }

    fn tensors(&mut self) -> BTreeMap<String, Floats> {
        self.outputs.clone()
    }
}
