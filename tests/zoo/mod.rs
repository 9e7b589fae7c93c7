//! The zoo: every architecture at inference against FuxiCTR's answers, in training against itself at inference, and on
//! devices.

mod devices;
mod goldens;
#[cfg(feature = "gpu")]
mod gradients;
mod refusals;
mod sides;
mod split;
mod steps;
mod training;

use loopfm::interp;
use loopfm::ir::{Graph, TensorType, TypeError, Value};
use loopfm::model::{Mode, Network, Spec};
use loopfm::nn;
use loopfm::tensor::{DType, Data, Dim, HostTensor, Shape, Sizes, Tensors};

use crate::support::rng::Rng;

pub(crate) const ARCHITECTURES: [&str; 8] = ["fm", "fmfm", "deepfm", "dcnv2", "din", "dien", "dmr", "dmin"];

/// Two fields, a number and a history, the same for every architecture; further sections follow.
pub(crate) fn spec(architecture: &str, more: &str) -> String {
    let own = match architecture {
        "fm" | "fmfm" => "",
        "dcnv2" => r#""mlp": [6, 5], "cross": {"layers": 2},"#,
        "dien" => r#""mlp": [6, 5], "attention": {"layers": [4]},"#,
        "din" => r#""mlp": [6, 5], "attention": {"layers": [4], "activation": "dice", "softmax": true},"#,
        "dmr" => r#""mlp": [6, 5], "attention": {"layers": [4], "position": 2}, "relevance": {"item_to_item": true},"#,
        "dmin" => r#""mlp": [6, 5], "attention": {"layers": [4]}, "interests": {"heads": 2, "refiner": true},"#,
        _ => r#""mlp": [6, 5],"#,
    };
    let history = match more.contains(r#""history""#) {
        true => "",
        false => r#", "history": {"length": 3, "of": ["item"], "per_request": true}"#,
    };
    format!(
        r#"{{"architecture": "{architecture}", {own} {more}
            "fields": [{{"name": "user", "vocabulary": 7, "width": 4, "per_request": true}},
                       {{"name": "item", "vocabulary": 7, "width": 4}}],
            "dense": [{{"name": "price", "width": 1, "embedding": 4}}]{history}}}"#
    )
}

/// A model in training with the sum of all losses that it has; it puts out that and the next state of its statistics.
fn with_loss(network: &Network) -> Result<(Graph, Value), TypeError> {
    let mut g = network.graph.clone();
    g.outputs.retain(|(name, _)| name.starts_with("next."));
    let rows = Shape(vec![Dim::Rows(1)]);
    let label = g.input("label", DType::F32, rows.clone())?;
    let inv_rows = g.input("step.inv_rows", DType::F32, Shape::default())?;
    let each = nn::bce_with_logits(&mut g, network.logit, label)?;
    let mut losses = vec![(1.0, nn::mean_over_rows(&mut g, each, None, inv_rows)?)];
    if let Some(logit) = network.logit_kd {
        let teacher = g.input("teacher", DType::F32, rows)?;
        let each = nn::distillation(&mut g, logit, teacher, 5.0)?;
        losses.push((0.5, nn::mean_over_rows(&mut g, each, None, inv_rows)?));
    }
    if let Some(each) = network.code.and_then(|code| code.loss) {
        losses.push((1.0, nn::mean_over_rows(&mut g, each, None, inv_rows)?));
    }
    let loss = nn::total(&mut g, &losses)?;
    Ok((g, loss))
}

/// Sections that go with every architecture, by what they add.
pub(crate) const ADDITIONS: [(&str, &str); 9] = [
    ("plain", ""),
    ("mean", r#""loopfm": {"length": 4, "width": 8, "encoder": "mean"},"#),
    (
        "sum",
        r#""loopfm": {"length": 4, "width": 8, "encoder": "sum", "per_request": true},"#,
    ),
    (
        "din",
        r#""loopfm": {"length": 4, "width": 8, "encoder": "din", "layers": [3]},"#,
    ),
    (
        "dmin",
        r#""loopfm": {"length": 4, "width": 8, "layers": [3], "target": ["item", "user"]},"#,
    ),
    (
        "sides",
        r#""history": {"length": 3, "of": ["item"], "per_request": true,
            "side": [{"name": "liked", "vocabulary": 7, "width": 4}]},
           "loopfm": {"length": 4, "width": 8, "layers": [3], "side": [{"name": "liked", "vocabulary": 7, "width": 4}]},"#,
    ),
    ("kd", r#""kd": {"gradient_scale": 5.0},"#),
    (
        "autoencoder",
        r#""autoencoder": {"of": ["hidden"], "layers": [5], "width": 3, "prefixes": [1]},"#,
    ),
    (
        "shares",
        r#""loopfm": {"length": 4, "width": 8, "encoder": "din", "layers": [3], "softmax": true},"#,
    ),
];

pub(crate) fn network(config: &str, mode: Mode) -> Network {
    let built = Spec::from_json(config).and_then(|spec| spec.build(mode));
    built.unwrap_or_else(|e| panic!("{e}\n{config}"))
}

/// Weights as after some training: fresh ones, stirred; variances are positive.
pub(crate) fn weights(network: &Network, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let mut weights = network.init(seed);
    for (name, tensor) in &mut weights {
        let Data::F32(x) = &mut tensor.data else {
            panic!("`{name}` holds floats")
        };
        for x in x {
            *x += 0.3 * rng.unit();
            if name.ends_with("running_var") {
                *x = 0.5 + x.abs();
            }
        }
    }
    weights
}

/// Random values for every input of the batch; scalars of a step are left to the caller.
pub(crate) fn batch(graph: &Graph, sizes: Sizes, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let random = |(_, name, ty): (_, &str, &TensorType)| {
        let shape = ty.shape.at(sizes);
        let n = shape.iter().product();
        let data = match ty.dtype {
            DType::F32 => Data::F32(rng.floats(n, 1.0)),
            DType::I32 if name == "request_of_row" => Data::I32(rng.ids(n, sizes.requests)),
            DType::I32 => Data::I32(rng.ids(n, 7)),
            DType::Bool => Data::Bool((0..n).map(|_| !rng.one_in(3)).collect()),
        };
        (name.to_owned(), HostTensor { shape, data })
    };
    let inputs = graph.inputs().filter(|(_, name, _)| !name.starts_with("step."));
    inputs.map(random).collect()
}

/// The scalars of a step.
pub(crate) fn scalars(batch: &mut Tensors, rows: usize, seed: i32) {
    batch.insert("step.inv_rows".into(), HostTensor::f32(&[], vec![1.0 / rows as f32]));
    batch.insert("step.seed".into(), HostTensor::i32(&[], vec![seed]));
}

pub(crate) fn run(graph: &Graph, weights: &Tensors, batch: &Tensors, sizes: Sizes) -> Vec<(String, Vec<f64>)> {
    let declared = |t: &Tensors, known: Vec<&str>| -> Tensors {
        let kept = t.iter().filter(|(name, _)| known.contains(&name.as_str()));
        kept.map(|(name, t)| (name.clone(), t.clone())).collect()
    };
    let weights = declared(weights, graph.params().map(|(_, name, _)| name).collect());
    let batch = declared(batch, graph.inputs().map(|(_, name, _)| name).collect());
    let outputs = interp::eval::<f64>(graph, &weights, &batch, sizes).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    outputs
        .iter()
        .map(|(name, t)| (name.clone(), t.floats().to_vec()))
        .collect()
}

pub(crate) fn close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let apart = (g - w).abs();
        assert!(apart <= tolerance * (1.0 + w.abs()), "{what} [{i}]: got {g}, want {w}");
    }
}
