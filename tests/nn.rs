//! Composites against their formulas written out in loops.

use loopfm::interp;
use loopfm::ir::{Graph, Value};
use loopfm::nn::{self, Built};
use loopfm::tensor::{HostTensor, Shape, Sizes, Tensors};

use crate::support::rng::Rng;

/// A composite on these tensors, in f64; its shape and elements.
fn run(tensors: &[&HostTensor], build: impl FnOnce(&mut Graph, &[Value]) -> Built) -> (Vec<usize>, Vec<f64>) {
    let mut g = Graph::new();
    let mut batch = Tensors::new();
    let mut values = Vec::new();
    for (i, t) in tensors.iter().enumerate() {
        let name = format!("t{i}");
        values.push(g.input(&name, t.dtype(), Shape::fixed(&t.shape)).expect("an input"));
        batch.insert(name, (*t).clone());
    }
    let y = build(&mut g, &values).expect("types fit");
    g.outputs = vec![("y".to_owned(), y)];
    let outputs = interp::eval::<f64>(&g, &Tensors::new(), &batch, Sizes::ONE).expect("it runs");
    (outputs["y"].shape.clone(), outputs["y"].floats().to_vec())
}

fn random(rng: &mut Rng, shape: &[usize]) -> HostTensor {
    HostTensor::f32(shape, rng.floats(shape.iter().product(), 1.0))
}

fn of(t: &HostTensor) -> Vec<f64> {
    t.as_f32().expect("floats").iter().map(|x| f64::from(*x)).collect()
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        // Constants of a graph, epsilons among them, are f32.
        assert!(
            (g - w).abs() <= 1e-6 * (1.0 + w.abs()),
            "element {i}: got {g}, want {w}"
        );
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x W^T + b` of `rows` rows.
fn linear(x: &[f64], w: &HostTensor, b: &HostTensor) -> Vec<f64> {
    let (out, inner) = (w.shape[0], w.shape[1]);
    let (w, b) = (of(w), of(b));
    let dot = |row: &[f64], o: usize| -> f64 { (0..inner).map(|i| row[i] * w[o * inner + i]).sum() };
    x.chunks(inner)
        .flat_map(|row| (0..out).map(|o| dot(row, o) + b[o]).collect::<Vec<_>>())
        .collect()
}

#[test]
fn linear_layers_follow_pytorch() {
    let mut rng = Rng(1);
    let (x, w, b) = (
        random(&mut rng, &[2, 3, 4]),
        random(&mut rng, &[5, 4]),
        random(&mut rng, &[5]),
    );
    let (w2, b2) = (random(&mut rng, &[2, 5]), random(&mut rng, &[2]));
    let (shape, y) = run(&[&x, &w, &b], |g, v| nn::linear(g, v[0], v[1], Some(v[2])));
    assert_eq!(shape, [2, 3, 5]);
    close(&y, &linear(&of(&x), &w, &b));
    let (_, y) = run(&[&x, &w, &b, &w2, &b2], |g, v| {
        nn::mlp(g, v[0], &[(v[1], Some(v[2])), (v[3], Some(v[4]))], |g, _, x| {
            nn::relu(g, x)
        })
    });
    let hidden: Vec<f64> = linear(&of(&x), &w, &b).iter().map(|x| x.max(0.0)).collect();
    close(&y, &linear(&hidden, &w2, &b2));
}

#[test]
fn activations_are_their_formulas() {
    let mut rng = Rng(2);
    let (x, alpha) = (random(&mut rng, &[7, 6]), random(&mut rng, &[6]));
    let (mean, var) = (
        random(&mut rng, &[6]),
        HostTensor::f32(&[6], vec![0.5, 1.0, 2.0, 0.1, 3.0, 0.01]),
    );
    let (xs, alphas, means, vars) = (of(&x), of(&alpha), of(&mean), of(&var));
    let each =
        |f: &dyn Fn(f64, usize) -> f64| -> Vec<f64> { xs.iter().enumerate().map(|(i, x)| f(*x, i % 6)).collect() };
    let (_, y) = run(&[&x, &alpha], |g, v| nn::prelu(g, v[0], v[1]));
    close(&y, &each(&|x, c| if x > 0.0 { x } else { alphas[c] * x }));
    let (_, y) = run(&[&x], |g, v| nn::silu(g, v[0]));
    close(&y, &each(&|x, _| x * sigmoid(x)));
    let (_, y) = run(&[&HostTensor::f32(&[3], vec![-1.0, 0.0, 2.0])], |g, v| {
        nn::gelu(g, v[0])
    });
    close(&y, &[-0.158_655_253_931, 0.0, 1.954_499_736_104]);
    let (_, y) = run(&[&x, &alpha, &mean, &var], |g, v| {
        nn::dice(g, v[0], v[1], v[2], v[3], 1e-9)
    });
    close(
        &y,
        &each(&|x, c| {
            let p = sigmoid((x - means[c]) / (vars[c] + 1e-9).sqrt());
            p * x + (1.0 - p) * alphas[c] * x
        }),
    );
    let (_, y) = run(&[&x, &alpha], |g, v| nn::dice_of_rows(g, v[0], v[1], 1e-3));
    let want = xs.chunks(6).flat_map(|row| {
        let mean = row.iter().sum::<f64>() / 6.0;
        let sum: f64 = row.iter().map(|x| (x - mean).powi(2) + 1e-3).sum();
        let gate = move |(c, x): (usize, &f64)| (c, *x, sigmoid((x - mean) / sum.sqrt()));
        row.iter()
            .enumerate()
            .map(gate)
            .map(|(c, x, p)| p * x + (1.0 - p) * alphas[c] * x)
            .collect::<Vec<_>>()
    });
    close(&y, &want.collect::<Vec<_>>());
}

#[test]
fn normalisations_are_their_formulas() {
    let mut rng = Rng(3);
    let x = random(&mut rng, &[4, 5]);
    let [w, b, mean] = [0; 3].map(|_| random(&mut rng, &[5]));
    let var = HostTensor::f32(&[5], vec![0.5, 1.0, 2.0, 0.1, 3.0]);
    let (xs, ws, bs, means, vars) = (of(&x), of(&w), of(&b), of(&mean), of(&var));
    let (_, y) = run(&[&x, &mean, &var, &w, &b], |g, v| {
        nn::batch_norm(g, v[0], v[1], v[2], Some((v[3], v[4])), 1e-5)
    });
    let normal = |(i, x): (usize, &f64)| (x - means[i % 5]) / (vars[i % 5] + 1e-5).sqrt() * ws[i % 5] + bs[i % 5];
    close(&y, &xs.iter().enumerate().map(normal).collect::<Vec<_>>());
    let (_, y) = run(&[&x, &w, &b], |g, v| nn::layer_norm(g, v[0], Some((v[1], v[2])), 1e-5));
    let want = xs.chunks(5).flat_map(|row| {
        let mean = row.iter().sum::<f64>() / 5.0;
        let var = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0;
        (0..5)
            .map(|c| (row[c] - mean) / (var + 1e-5).sqrt() * ws[c] + bs[c])
            .collect::<Vec<_>>()
    });
    close(&y, &want.collect::<Vec<_>>());
}

/// Softmax of the entries that count, zeros elsewhere.
fn masked(row: &[f64], mask: &[bool]) -> Vec<f64> {
    let kept = || row.iter().zip(mask).filter(|(_, m)| **m).map(|(x, _)| *x);
    let max = kept().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = kept().map(|x| (x - max).exp()).sum();
    row.iter()
        .zip(mask)
        .map(|(x, m)| if *m { (x - max).exp() / sum } else { 0.0 })
        .collect()
}

#[test]
fn masks_hide_and_empty_rows_are_zero() {
    let x = HostTensor::f32(
        &[3, 4],
        vec![1.0, 2.0, 3.0, 4.0, -300.0, 80.0, 1e30, 5.0, 1.0, 2.0, 3.0, 4.0],
    );
    let rows = [[true; 4], [true, true, false, true], [false; 4]];
    let mask = HostTensor::bool(&[3, 4], rows.concat());
    let xs = of(&x);
    let (_, y) = run(&[&x, &mask], |g, v| nn::masked_softmax(g, v[0], v[1], 1));
    let want: Vec<f64> = xs.chunks(4).zip(&rows).flat_map(|(row, m)| masked(row, m)).collect();
    close(&y, &want);
    assert!(y[8..].iter().all(|x| *x == 0.0), "no key, no weight");
    let (_, y) = run(&[&x], |g, v| nn::softmax(g, v[0], 1));
    close(&y[..4], &masked(&xs[..4], &[true; 4]));

    let sequence = HostTensor::f32(&[3, 4, 1], x.as_f32().expect("floats").to_vec());
    let (shape, y) = run(&[&sequence, &mask], |g, v| nn::masked_sum(g, v[0], v[1]));
    assert_eq!(shape, [3, 1]);
    close(&y, &[10.0, -215.0, 0.0]);
    let (_, y) = run(&[&sequence, &mask], |g, v| nn::masked_mean(g, v[0], v[1]));
    close(&y, &[2.5, -215.0 / 3.0, 0.0]);
}

#[test]
fn target_attention_is_deep_interest() {
    let mut rng = Rng(5);
    let (q, k) = (random(&mut rng, &[2, 3]), random(&mut rng, &[2, 4, 3]));
    let (w, b) = (random(&mut rng, &[1, 12]), random(&mut rng, &[1]));
    let rows = [[true, false, true, true], [false; 4]];
    let mask = HostTensor::bool(&[2, 4], rows.concat());
    let (qs, ks) = (of(&q), of(&k));
    for softmax in [false, true] {
        let (shape, y) = run(&[&q, &k, &mask, &w, &b], |g, v| {
            nn::target_attention(g, v[0], v[1], v[2], softmax, |g, x| nn::linear(g, x, v[3], Some(v[4])))
        });
        assert_eq!(shape, [2, 3]);
        let mut want = Vec::new();
        for (n, counts) in rows.iter().enumerate() {
            let key = |t: usize| &ks[(n * 4 + t) * 3..][..3];
            let query = &qs[n * 3..][..3];
            let score = |t: usize| {
                let [difference, product] = [|q: f64, k: f64| q - k, |q: f64, k: f64| q * k]
                    .map(|f| query.iter().zip(key(t)).map(|(q, k)| f(*q, *k)).collect::<Vec<_>>());
                linear(&[query, key(t), &difference, &product].concat(), &w, &b)[0]
            };
            let scores: Vec<f64> = (0..4).map(score).collect();
            let weights = if softmax {
                masked(&scores, counts)
            } else {
                scores
                    .iter()
                    .zip(counts)
                    .map(|(s, m)| if *m { *s } else { 0.0 })
                    .collect()
            };
            want.extend((0..3).map(|d| (0..4).map(|t| weights[t] * key(t)[d]).sum::<f64>()));
        }
        close(&y, &want);
    }
}

#[test]
fn multi_head_attention_is_torchs() {
    let mut rng = Rng(6);
    let (n, s, t, e, heads) = (2, 2, 3, 4, 2);
    let (q, k) = (random(&mut rng, &[n, s, e]), random(&mut rng, &[n, t, e]));
    let (in_w, in_b) = (random(&mut rng, &[3 * e, e]), random(&mut rng, &[3 * e]));
    let (out_w, out_b) = (random(&mut rng, &[e, e]), random(&mut rng, &[e]));
    let rows = [[true, true, true], [true, false, true]];
    let mask = HostTensor::bool(&[n, t], rows.concat());
    let (_, y) = run(&[&q, &k, &mask, &in_w, &in_b, &out_w, &out_b], |g, v| {
        let p = nn::Projections {
            in_weight: v[3],
            in_bias: v[4],
            out_weight: v[5],
            out_bias: v[6],
        };
        nn::multi_head_attention(g, v[0], v[1], Some(v[2]), p, heads)
    });
    let part = |x: &HostTensor, i: usize| {
        let w = HostTensor::f32(&[e, e], in_w.as_f32().expect("floats")[i * e * e..][..e * e].to_vec());
        let b = HostTensor::f32(&[e], in_b.as_f32().expect("floats")[i * e..][..e].to_vec());
        linear(&of(x), &w, &b)
    };
    let (qs, ks, vs) = (part(&q, 0), part(&k, 1), part(&k, 2));
    let d = e / heads;
    let mut mixed = vec![0.0; n * s * e];
    for (b, counts) in rows.iter().enumerate() {
        for i in 0..s {
            for c in 0..e {
                let head = c / d * d..c / d * d + d;
                let dot = |j: usize| {
                    head.clone()
                        .map(|c| qs[(b * s + i) * e + c] * ks[(b * t + j) * e + c])
                        .sum::<f64>()
                };
                let scores: Vec<f64> = (0..t).map(|j| dot(j) / (d as f64).sqrt()).collect();
                let weights = masked(&scores, counts);
                mixed[(b * s + i) * e + c] = (0..t).map(|j| weights[j] * vs[(b * t + j) * e + c]).sum();
            }
        }
    }
    close(&y, &linear(&mixed, &out_w, &out_b));
}

#[test]
fn gru_starts_from_zeros() {
    let mut rng = Rng(7);
    let (t, inner, h) = (3, 2, 2);
    let x = random(&mut rng, &[1, t, inner]);
    let (wi, bi) = (random(&mut rng, &[3 * h, inner]), random(&mut rng, &[3 * h]));
    let (wh, bh) = (random(&mut rng, &[3 * h, h]), random(&mut rng, &[3 * h]));
    let (shape, y) = run(&[&x, &wi, &bi, &wh, &bh], |g, v| {
        nn::gru(g, v[0], (v[1], v[2]), (v[3], v[4]))
    });
    assert_eq!(shape, [1, t, h]);
    let mut state = vec![0.0; h];
    let mut want = Vec::new();
    for step in of(&x).chunks(inner) {
        let (a, b) = (linear(step, &wi, &bi), linear(&state, &wh, &bh));
        for c in 0..h {
            let (r, z) = (sigmoid(a[c] + b[c]), sigmoid(a[h + c] + b[h + c]));
            let new = (a[2 * h + c] + r * b[2 * h + c]).tanh();
            state[c] = (1.0 - z) * new + z * state[c];
        }
        want.extend(&state);
    }
    close(&y, &want);
}

#[test]
fn lookups_lie_side_by_side() {
    let (a, b) = (
        HostTensor::f32(&[2, 1], vec![1.0, 2.0]),
        HostTensor::f32(&[2, 2], vec![3.0, 4.0, 5.0, 6.0]),
    );
    let ids = HostTensor::i32(&[2], vec![1, 0]);
    let (shape, y) = run(&[&a, &b, &ids], |g, v| nn::embeddings(g, &[(v[0], v[2]), (v[1], v[2])]));
    assert_eq!(shape, [2, 3]);
    close(&y, &[2.0, 5.0, 6.0, 1.0, 3.0, 4.0]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut g = Graph::new();
    let x = g
        .input("x", loopfm::tensor::DType::F32, Shape::fixed(&[2, 3]))
        .expect("an input");
    let scalar = g.constant_f32(1.0).expect("a constant");
    let narrow = g.slice(x, 1, 0, 2).expect("a part");
    assert!(nn::linear(&mut g, x, narrow, None).is_err());
    assert!(nn::linear(&mut g, x, scalar, None).is_err());
    assert!(nn::layer_norm(&mut g, scalar, None, 1e-5).is_err());
    assert!(nn::masked_sum(&mut g, scalar, scalar).is_err());
    assert!(nn::pairs(&mut g, x, scalar).is_err());
    assert!(nn::embeddings(&mut g, &[]).is_err());
    assert!(nn::gru(&mut g, scalar, (x, x), (x, x)).is_err());
    let p = nn::Projections {
        in_weight: x,
        in_bias: x,
        out_weight: x,
        out_bias: x,
    };
    assert!(nn::multi_head_attention(&mut g, x, scalar, None, p, 0).is_err());
}
