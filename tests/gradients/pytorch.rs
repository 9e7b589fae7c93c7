//! Gradients against PyTorch's, of models and of DIEN's recurrence; `tools/export/tests/make_gradients.py` wrote them.

use std::path::Path;

use loopfm::grad::grad;
use loopfm::import;
use loopfm::interp;
use loopfm::ir::{Binary, Fold, Graph, Op, TypeError, Unary, Value};
use loopfm::nn;
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

use crate::support::compare::{Tol, compare_outputs};
use crate::support::models;

/// PyTorch computes in f32.
const TOL: Tol = Tol {
    abs: 1e-7,
    rel: 0.0,
    of_max: 2e-5,
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Tensors of a file of gradients.
fn read(name: &str) -> Tensors {
    let path = Path::new(DATA).join("gradients").join(format!("{name}.safetensors"));
    import::read_tensors(&path).unwrap_or_else(|e| panic!("{e}")).0
}

/// Those whose name starts so, without that.
fn named(tensors: &Tensors, prefix: &str) -> Tensors {
    let rest = |(name, t): (&String, &HostTensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
    tensors.iter().filter_map(rest).collect()
}

/// A loss and its gradients by values of these names, against those of a file.
fn compare(
    mut g: Graph,
    loss: Value,
    wrt: &[(String, Value)],
    (weights, batch): (&Tensors, &Tensors),
    want: &Tensors,
) -> Result<(), String> {
    let values: Vec<Value> = wrt.iter().map(|(_, v)| *v).collect();
    let gradients = grad(&mut g, loss, &values).map_err(|e| e.to_string())?;
    g.outputs = wrt.iter().map(|(name, _)| name.clone()).zip(gradients).collect();
    let sizes = interp::sizes_of(&g, batch).map_err(|e| e.to_string())?;
    let got = interp::eval::<f64>(&g, weights, batch, sizes).map_err(|e| e.to_string())?;
    compare_outputs(&crate::support::hosts(&got), want, TOL)
}

/// The mean binary cross entropy of probabilities.
fn cross_entropy(g: &mut Graph, prob: Value, rows: usize) -> Result<Value, TypeError> {
    let flat = Shape(vec![Dim::Rows(1)]);
    let prob = g.reshape(prob, &flat)?;
    let label = g.input("label", DType::F32, flat)?;
    let one = g.constant_f32(1.0)?;
    let (other, unlabelled) = (g.binary(Binary::Sub, one, prob)?, g.binary(Binary::Sub, one, label)?);
    let (hit, miss) = (g.unary(Unary::Log, prob)?, g.unary(Unary::Log, other)?);
    let (hit, miss) = (
        g.binary(Binary::Mul, hit, label)?,
        g.binary(Binary::Mul, miss, unlabelled)?,
    );
    let both = g.binary(Binary::Add, hit, miss)?;
    let sum = g.reduce(Fold::Sum, both, &[0])?;
    let share = g.constant_f32(-1.0 / rows as f32)?;
    let mean = g.binary(Binary::Mul, sum, share)?;
    g.reshape(mean, &Shape::default())
}

#[test]
fn models_follow_pytorch() {
    let mut faults = Vec::new();
    for name in ["dcnv2", "deepfm", "dien", "din_softmax", "dmin", "gru", "w2"] {
        let golden = models::load(&Path::new(DATA).join("graphs").join(name).join("golden.io.safetensors"));
        let (mut g, mut batch) = (golden.model.graph, golden.batch);
        let want = named(&read(name), "grad.");
        let rows = golden.want[0].shape[0];
        let prob = g.outputs[0].1;
        let loss = cross_entropy(&mut g, prob, rows).unwrap_or_else(|e| panic!("{name}: {e}"));
        let labels = (0..rows).map(|row| (row % 2) as f32).collect();
        batch.insert("label".into(), HostTensor::f32(&[rows], labels));
        let params = g.params().map(|(v, param, _)| (param.to_owned(), v));
        let wrt: Vec<(String, Value)> = params.filter(|(param, _)| want.contains_key(param)).collect();
        assert_eq!(wrt.len(), want.len(), "{name}: {:?}", want.keys());
        let compared = compare(g, loss, &wrt, (&golden.model.weights, &batch), &want);
        faults.extend(compared.err().map(|e| format!("{name}: {e}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn attention_gated_recurrence_follows_pytorch() {
    let file = read("augru");
    let mut g = Graph::new();
    let mut wrt = Vec::new();
    for (name, t) in named(&file, "in.") {
        let mut shape = Shape::fixed(&t.shape);
        if name == "x" || name == "a" {
            shape.0[0] = Dim::Rows(1);
        }
        let v = g.input(&name, DType::F32, shape).expect("an input");
        wrt.push((name, v));
    }
    let of = |name: &str| wrt.iter().find(|(n, _)| n == name).expect("an input of the file").1;
    let loss = (|| {
        let x = nn::linear(&mut g, of("x"), of("w_ih"), Some(of("b_ih")))?;
        let w = g.permute(of("w_hh"), &[1, 0])?;
        let zero = g.constant_f32(0.0)?;
        let first = g.broadcast(zero, &Shape(vec![Dim::Rows(1), Dim::Fixed(4)]))?;
        let states = g.apply(Op::Gru, &[x, first, w, of("b_hh"), of("a")])?;
        g.outputs.push(("out".into(), states));
        let weight = g.input("weight", DType::F32, g.shape(states).clone())?;
        let weighted = g.binary(Binary::Mul, states, weight)?;
        let sum = g.reduce(Fold::Sum, weighted, &[0, 1, 2])?;
        g.reshape(sum, &Shape::default())
    })()
    .unwrap_or_else(|e: TypeError| panic!("{e}"));
    let mut batch = named(&file, "in.");
    batch.insert("weight".into(), file["weight"].clone());
    let sizes = interp::sizes_of(&g, &batch).expect("five rows");
    let got = interp::eval::<f64>(&g, &Tensors::new(), &batch, sizes).expect("a valid batch");
    let states: Tensors = [("out".to_owned(), file["out"].clone())].into_iter().collect();
    compare_outputs(&crate::support::hosts(&got), &states, TOL).unwrap_or_else(|e| panic!("{e}"));
    let compared = compare(g, loss, &wrt, (&Tensors::new(), &batch), &named(&file, "grad."));
    compared.unwrap_or_else(|e| panic!("{e}"));
}
