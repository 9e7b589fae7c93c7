//! The workloads' models. Weights have the names that the bench gives them.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{prelu, relu};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::protocol::{Floats, Given, turned};

/// Inputs of a workload, as the host has them.
pub(crate) struct Host {
    pub(crate) floats: BTreeMap<String, Floats>,
    pub(crate) ids: Option<(Vec<usize>, Vec<i32>)>,
}

/// A workload's model.
pub(crate) trait Model: Module + Clone {
    /// Whether a sigmoid of its logit is served.
    const PROBABILITY: bool = false;
    fn new(given: &Given, device: &Device) -> Self;
    /// Inputs uploaded, outputs by name, the logit last.
    fn outputs(&self, host: &Host, device: &Device) -> Vec<(&'static str, Tensor<2>)>;
    /// Weights by name.
    fn collect(&self, into: &mut BTreeMap<String, Floats>);
}

#[derive(Module, Debug)]
pub(crate) struct Tower {
    mlp: Vec<Linear>,
}

impl Model for Tower {
    fn new(given: &Given, device: &Device) -> Self {
        let mlp = linears(given, "mlp", device);
        Self { mlp }
    }

    fn outputs(&self, host: &Host, device: &Device) -> Vec<(&'static str, Tensor<2>)> {
        vec![("logit", mlp(&self.mlp, tensor(&host.floats["in.x"], device)))]
    }

    fn collect(&self, into: &mut BTreeMap<String, Floats>) {
        collect("mlp", &self.mlp, into);
    }
}

#[derive(Module, Debug)]
pub(crate) struct W1 {
    table: Param<Tensor<2>>,
    cross: Vec<Linear>,
    deep: Vec<Linear>,
    emb: Linear,
    logit: Linear,
}

impl Model for W1 {
    fn new(given: &Given, device: &Device) -> Self {
        let one = |name: &str| linear(given, name, device).expect("a layer");
        Self {
            table: Param::from_tensor(tensor(&given.floats["table"], device)),
            cross: linears(given, "cross", device),
            deep: linears(given, "deep", device),
            emb: one("emb"),
            logit: one("logit"),
        }
    }

    fn outputs(&self, host: &Host, device: &Device) -> Vec<(&'static str, Tensor<2>)> {
        let fields = fields(&self.table, host, device);
        let mut cross = fields.clone();
        for layer in &self.cross {
            cross = fields.clone() * layer.forward(cross.clone()) + cross;
        }
        let deep = relu(mlp(&self.deep, fields));
        let emb = self.emb.forward(Tensor::cat(vec![cross, deep], 1));
        vec![("emb", emb.clone()), ("logit", self.logit.forward(emb))]
    }

    fn collect(&self, into: &mut BTreeMap<String, Floats>) {
        into.insert("table".into(), floats(self.table.val()));
        collect("cross", &self.cross, into);
        collect("deep", &self.deep, into);
        collect_layer("emb", &self.emb, into);
        collect_layer("logit", &self.logit, into);
    }
}

#[derive(Module, Debug)]
pub(crate) struct W2 {
    table: Param<Tensor<2>>,
    attention: Vec<Linear>,
    alpha: Vec<Param<Tensor<1>>>,
    mlp: Vec<Linear>,
}

impl Model for W2 {
    const PROBABILITY: bool = true;

    fn new(given: &Given, device: &Device) -> Self {
        let alpha = |i: usize| Param::from_tensor(tensor(&given.floats[&format!("att.alpha.{i}")], device));
        Self {
            table: Param::from_tensor(tensor(&given.floats["table"], device)),
            attention: linears(given, "att", device),
            alpha: (0..2).map(alpha).collect(),
            mlp: linears(given, "mlp", device),
        }
    }

    fn outputs(&self, host: &Host, device: &Device) -> Vec<(&'static str, Tensor<2>)> {
        let fields = fields(&self.table, host, device);
        let candidate: Tensor<2> = tensor(&host.floats["in.cand"], device);
        let rows = candidate.dims()[0];
        // One user's history stands once.
        let history: Tensor<3> = tensor(&host.floats["in.hist"], device);
        let [_, past, width] = history.dims();
        let history = history.expand([rows, past, width]);
        let mask: Tensor<2> = tensor(&host.floats["in.mask"], device);
        let query = candidate.clone().unsqueeze_dim::<3>(1).expand([rows, past, width]);
        let pairs = vec![
            query.clone(),
            history.clone(),
            query.clone() - history.clone(),
            query * history.clone(),
        ];
        let mut x = Tensor::cat(pairs, 2);
        for (layer, alpha) in self.attention.iter().zip(&self.alpha) {
            x = prelu(layer.forward(x), alpha.val());
        }
        let score = self.attention[2].forward(x).squeeze_dim::<2>(2) * mask;
        let pooled = score.unsqueeze_dim::<3>(1).matmul(history).squeeze_dim::<2>(1);
        vec![("logit", mlp(&self.mlp, Tensor::cat(vec![fields, pooled, candidate], 1)))]
    }

    fn collect(&self, into: &mut BTreeMap<String, Floats>) {
        into.insert("table".into(), floats(self.table.val()));
        for (i, alpha) in self.alpha.iter().enumerate() {
            into.insert(format!("att.alpha.{i}"), floats(alpha.val()));
        }
        collect("att", &self.attention, into);
        collect("mlp", &self.mlp, into);
    }
}

/// Uploads.
pub(crate) fn tensor<const D: usize>(t: &Floats, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(t.data.clone(), t.shape.clone()), device)
}

/// Downloads.
pub(crate) fn floats<const D: usize>(t: Tensor<D>) -> Floats {
    let shape = t.dims().to_vec();
    let data = t.into_data().try_to_vec().expect("floats");
    Floats { shape, data }
}

fn linear(given: &Given, name: &str, device: &Device) -> Option<Linear> {
    let weight = turned(given.floats.get(&format!("{name}.weight"))?);
    let bias = &given.floats[&format!("{name}.bias")];
    Some(Linear {
        weight: Param::from_tensor(tensor(&weight, device)),
        bias: Some(Param::from_tensor(tensor(bias, device))),
    })
}

fn linears(given: &Given, prefix: &str, device: &Device) -> Vec<Linear> {
    (0..).map_while(|i| linear(given, &format!("{prefix}.{i}"), device)).collect()
}

fn mlp(layers: &[Linear], mut x: Tensor<2>) -> Tensor<2> {
    for (i, layer) in layers.iter().enumerate() {
        x = if i == 0 { x } else { relu(x) };
        x = layer.forward(x);
    }
    x
}

/// Looked up rows of all fields, side by side.
fn fields(table: &Param<Tensor<2>>, host: &Host, device: &Device) -> Tensor<2> {
    let (shape, ids) = host.ids.clone().expect("ids");
    let rows = shape[0];
    let ids: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids, shape), device);
    embedding(table.val(), ids).reshape([rows as i32, -1])
}

fn collect(prefix: &str, layers: &[Linear], into: &mut BTreeMap<String, Floats>) {
    for (i, layer) in layers.iter().enumerate() {
        collect_layer(&format!("{prefix}.{i}"), layer, into);
    }
}

fn collect_layer(name: &str, layer: &Linear, into: &mut BTreeMap<String, Floats>) {
    into.insert(format!("{name}.weight"), turned(&floats(layer.weight.val())));
    let bias = layer.bias.as_ref().expect("a bias").val();
    into.insert(format!("{name}.bias"), floats(bias));
}
