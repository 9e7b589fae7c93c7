//! Losses against their formulas, against PyTorch's values, and where they must send no gradient.

use loopfm::interp;
use loopfm::ir::{Graph, Op, Value};
use loopfm::nn::{self, Built};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};

use crate::support::rng::Rng;

const LOGITS: [f32; 8] = [-100.0, -20.0, -1.5, 0.0, 0.3, 2.0, 30.0, 90.0];

/// A loss of columns `f32[rows, ..]`, in f64.
fn run(columns: &[HostTensor], build: impl FnOnce(&mut Graph, &[Value]) -> Built) -> Vec<f64> {
    let mut g = Graph::new();
    let mut batch = Tensors::new();
    let mut values = Vec::new();
    for (i, t) in columns.iter().enumerate() {
        let mut dims = vec![Dim::Rows(1)];
        dims.extend(t.shape[1..].iter().map(|n| Dim::Fixed(*n)));
        values.push(g.input(&format!("t{i}"), DType::F32, Shape(dims)).expect("an input"));
        batch.insert(format!("t{i}"), t.clone());
    }
    let y = build(&mut g, &values).expect("types fit");
    g.outputs = vec![("y".to_owned(), y)];
    let rows = columns[0].shape[0];
    let out = interp::eval::<f64>(&g, &Tensors::new(), &batch, Sizes { rows, requests: 1 }).expect("it runs");
    out["y"].floats().to_vec()
}

fn column(x: &[f32]) -> HostTensor {
    HostTensor::f32(&[x.len()], x.to_vec())
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= 1e-7 * w.abs() + 1e-30, "got {got:?}, want {want:?}");
    }
}

#[test]
fn logistic_loss_is_exact_at_any_logit() {
    let labels = [0.0, 1.0, 0.0, 1.0, 0.25, 0.75, 0.0, 1.0];
    let pytorch = [
        0.0,
        20.000000002061153,
        0.20141327798275244,
        std::f64::consts::LN_2,
        0.7793552444685271,
        0.6269280110429725,
        30.000000000000092,
        8.194012623990515e-40,
    ];
    close(
        &run(&[column(&LOGITS), column(&labels)], |g, v| {
            nn::bce_with_logits(g, v[0], v[1])
        }),
        &pytorch,
    );
    // In f32, too, nothing overflows.
    let far = run(&[column(&[-3e38, 3e38]), column(&[1.0, 1.0])], |g, v| {
        nn::bce_with_logits(g, v[0], v[1])
    });
    close(&far, &[f64::from(3e38f32), 0.0]);
}

#[test]
fn labels_take_the_shape_of_logits() {
    let logits = HostTensor::f32(&[2, 1], vec![0.0, 1.0]);
    let loss = run(&[logits, column(&[0.5, 0.0])], |g, v| {
        nn::bce_with_logits(g, v[0], v[1])
    });
    close(&loss, &[2f64.ln(), 1f64.exp().ln_1p()]);
}

#[test]
fn distillation_lifts_labels_and_caps_them() {
    let teacher = [0.015625, 0.125, 0.1875, 0.25, 0.5, 1.0, 0.0, 0.15625];
    let loss = run(&[column(&LOGITS), column(&teacher)], |g, v| {
        nn::distillation(g, v[0], v[1], 5.0)
    });
    let pytorch = [
        7.8125,
        12.500000002061153,
        1.6076632779827524,
        std::f64::consts::LN_2,
        0.5543552393954866,
        0.1269280110429725,
        30.000000000000092,
        19.6875,
    ];
    close(&loss, &pytorch);
}

#[test]
fn a_scaled_gradient_leaves_the_value_as_it_is() {
    let mut rng = Rng(3);
    let x: Vec<f32> = rng.floats(64, 10.0);
    let mut g = Graph::new();
    let v = g.input("x", DType::F32, Shape(vec![Dim::Rows(1)])).expect("an input");
    let y = nn::scale_gradient(&mut g, v, 4.7).expect("types fit");
    g.outputs = vec![("y".to_owned(), y)];
    let batch = Tensors::from([("x".to_owned(), column(&x))]);
    let out = interp::eval::<f32>(&g, &Tensors::new(), &batch, Sizes { rows: 64, requests: 1 }).expect("it runs");
    // To the bit, in f32.
    assert_eq!(out["y"].floats(), x);
}

#[test]
fn means_over_rows() {
    let losses = HostTensor::f32(&[3, 1], vec![1.0, 2.0, 6.0]);
    let inv_rows = |g: &mut Graph| g.constant_f32(1.0 / 3.0);
    let mean = |g: &mut Graph, v: &[Value]| {
        let n = inv_rows(g)?;
        nn::mean_over_rows(g, v[0], v.get(1).copied(), n)
    };
    close(
        &run(std::slice::from_ref(&losses), mean),
        &[9.0 * f64::from(1f32 / 3.0)],
    );
    let weighted = run(&[losses, column(&[0.0, 1.0, 0.5])], mean);
    close(&weighted, &[5.0 * f64::from(1f32 / 3.0)]);
    let total = run(&[column(&[1.0, 2.0])], |g, v| nn::total(g, &[(1.0, v[0]), (0.5, v[0])]));
    close(&total, &[1.5, 3.0]);
}

#[test]
fn an_autoencoder_stands_behind_a_stop() {
    let mut rng = Rng(4);
    let x = HostTensor::f32(&[2, 3], rng.floats(6, 1.0));
    let build = |g: &mut Graph, v: Value, prefixes: &[usize]| {
        let halved = |g: &mut Graph, x: Value| {
            let half = g.constant_f32(0.5)?;
            g.binary(loopfm::ir::Binary::Mul, x, half)
        };
        // The decoder of a prefix puts zeros behind it.
        let decode = |g: &mut Graph, k: usize, z: Value| match 3 - k {
            0 => Ok(z),
            rest => {
                let zero = g.constant_f32(0.0)?;
                let zeros = g.broadcast(zero, &Shape(vec![Dim::Rows(1), Dim::Fixed(rest)]))?;
                g.concat(&[z, zeros], 1)
            }
        };
        nn::autoencoder(g, v, halved, decode, prefixes)
    };
    let of = x
        .as_f32()
        .expect("floats")
        .iter()
        .map(|x| f64::from(*x))
        .collect::<Vec<_>>();
    let whole: Vec<f64> = of
        .chunks(3)
        .map(|r| r.iter().map(|x| x * x / 4.0).sum::<f64>() / 3.0)
        .collect();
    close(
        &run(std::slice::from_ref(&x), |g, v| Ok(build(g, v[0], &[])?.1)),
        &whole,
    );
    let short = of
        .chunks(3)
        .map(|r| (r[0] * r[0] / 4.0 + r[1] * r[1] + r[2] * r[2]) / 3.0);
    let both: Vec<f64> = short.zip(&whole).map(|(a, b)| a + b).collect();
    close(&run(&[x], |g, v| Ok(build(g, v[0], &[1, 3])?.1)), &both);
    // Nothing of the loss reaches the hidden layer but through `detach`.
    let mut g = Graph::new();
    let v = g
        .input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(3)]))
        .expect("an input");
    build(&mut g, v, &[1, 3]).expect("types fit");
    let readers: Vec<&Op> = g.users()[v.index()].iter().map(|u| g.op(*u)).collect();
    assert_eq!(readers, [&Op::Detach]);
}
