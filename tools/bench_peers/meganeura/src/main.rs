//! meganeura on the dense towers, `train` and `infer`. Wider models it cannot express: no batched attention, no mask.

#[path = "../../common/protocol.rs"]
mod protocol;

use std::collections::BTreeMap;

use meganeura::{Graph, Session};
use protocol::{Floats, Given, Peer, serve, turned};

struct Tower {
    session: Session,
    x: Vec<f32>,
    /// Of a training step.
    label: Option<Vec<f32>>,
    shapes: BTreeMap<String, Vec<usize>>,
    logits: Vec<f32>,
}

fn main() {
    serve(|workload, given, rest| {
        assert!(workload.starts_with("tower"), "meganeura does not express `{workload}`");
        Box::new(Tower::new(&given, rest == ["train"]))
    });
}

impl Tower {
    fn new(given: &Given, train: bool) -> Self {
        let x = &given.floats["in.x"];
        let rows = x.shape[0];
        let mut g = Graph::new();
        let mut h = g.input("x", &x.shape);
        let layers = (0..).take_while(|i| given.floats.contains_key(&format!("mlp.{i}.weight")));
        for i in layers {
            let weight = &given.floats[&format!("mlp.{i}.weight")];
            let w = g.parameter(&format!("mlp.{i}.weight"), &[weight.shape[1], weight.shape[0]]);
            let b = g.parameter(&format!("mlp.{i}.bias"), &[weight.shape[0]]);
            h = if i == 0 { h } else { g.relu(h) };
            h = g.matmul(h, w);
            h = g.bias_add(h, b);
        }
        if train {
            let target = g.input("label", &[rows, 1]);
            let p = g.sigmoid(h);
            let loss = g.bce_loss(p, target);
            g.set_outputs(vec![loss]);
        } else {
            g.set_outputs(vec![h]);
        }
        let mut session = if train { meganeura::build_session(&g) } else { meganeura::build_inference_session(&g) };
        let mut shapes = BTreeMap::new();
        for (name, t) in given.floats.iter().filter(|(name, _)| name.starts_with("mlp.")) {
            let own = if t.shape.len() == 2 { turned(t) } else { t.clone() };
            session.set_parameter(name, &own.data);
            shapes.insert(name.clone(), own.shape);
        }
        if train {
            session.set_adam(1e-3, 0.9, 0.999, 1e-8);
        }
        Self {
            session,
            x: x.data.clone(),
            label: train.then(|| given.floats["label"].data.clone()),
            shapes,
            logits: vec![0.0; rows],
        }
    }
}

impl Peer for Tower {
    fn device(&self) -> String {
        let info = self.session.device_information();
        format!("{}, {}", info.device_name, info.driver_info)
    }

    fn run(&mut self) -> Option<f32> {
        self.session.set_input("x", &self.x);
        if let Some(label) = &self.label {
            self.session.set_input("label", label);
        }
        self.session.step();
        self.session.wait();
        if self.label.is_some() {
            return Some(self.session.read_loss());
        }
        self.logits = self.session.read_output(self.logits.len());
        None
    }

    fn tensors(&mut self) -> BTreeMap<String, Floats> {
        if self.label.is_none() {
            let shape = vec![self.logits.len(), 1];
            let data = self.logits.clone();
            return BTreeMap::from([("logit".into(), Floats { shape, data })]);
        }
        let read = |(name, shape): (&String, &Vec<usize>)| {
            let mut data = vec![0.0; shape.iter().product()];
            self.session.read_param(name, &mut data);
            let shape = shape.clone();
            let t = Floats { shape, data };
            (name.clone(), if t.shape.len() == 2 { turned(&t) } else { t })
        };
        self.shapes.iter().map(read).collect()
    }
}
