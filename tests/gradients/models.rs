//! Exported models, composites, random graphs, and gradients of gradients.

use loopfm::grad::grad;
use loopfm::interp;
use loopfm::ir::{Binary, Fold, Graph, TypeError, Unary, Value};
use loopfm::nn::{self, Built, Projections};
use loopfm::tensor::{DType, Dim, HostTensor, Shape};

use super::check::{Seen, Subject, leaves};
use super::ops;
use crate::support::graphs::for_random;
use crate::support::hosts;
use crate::support::models::{self, Golden};
use crate::support::rng::Rng;
use crate::support::terms::compare_gradients;

#[test]
fn exported_models() {
    let (mut cases, mut seen) = (0, Seen::default());
    for file in models::in_repository() {
        let Golden { name, model, batch, .. } = models::load(&file);
        let sizes = interp::sizes_of(&model.graph, &batch).unwrap_or_else(|e| panic!("{name}: {e}"));
        let wrt = leaves(&model.graph);
        cases += wrt.len();
        let subject = Subject::new(&name, &model.graph, (&model.weights, &batch, sizes), wrt);
        seen.add(subject.check().unwrap_or_else(|e| panic!("{e}")));
    }
    // One model takes ids as floats: its loss jumps along that input.
    assert!(seen.kinks <= 8, "{seen:?}");
    eprintln!("{cases} gradients of models, {seen:?}");
}

#[test]
fn random_graphs() {
    let (cases, total) = (std::cell::Cell::new(0), std::cell::Cell::new(Seen::default()));
    for_random(60, |case| {
        // Outputs, and a value from somewhere inside.
        let mut g = case.graph.clone();
        let floats: Vec<Value> = g
            .iter()
            .filter(|(_, n)| n.ty.dtype == DType::F32)
            .map(|(v, _)| v)
            .collect();
        let inside = Rng(g.len() as u64).pick(&floats);
        g.outputs.retain(|(_, v)| floats.contains(v));
        g.outputs.push(("inside".into(), inside));
        let subject = Subject::new(&case.name, &g, (&case.weights, &case.batch, case.sizes), leaves(&g));
        let seen = subject.check()?;
        cases.set(cases.get() + subject.wrt.len());
        let mut sum = total.get();
        sum.add(seen);
        total.set(sum);
        Ok(())
    });
    let seen = total.get();
    assert!(seen.kinks * 20 <= seen.compared, "{seen:?}");
    eprintln!("{} gradients of random graphs, {seen:?}", cases.get());
}

/// A graph of inputs of these types, and what is built of them.
fn composite(inputs: &[&str], build: impl FnOnce(&mut Graph, &[Value]) -> Built) -> Graph {
    let nodes: Vec<String> = inputs
        .iter()
        .map(|input| {
            let (name, ty) = input.split_once(':').expect("a name and a type");
            format!("input \"{name}\" : {ty}")
        })
        .collect();
    let mut g = crate::support::by_hand::graph(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
    let inputs: Vec<Value> = g.inputs().map(|(v, ..)| v).collect();
    let y = build(&mut g, &inputs).expect("types fit");
    g.outputs = vec![("y".into(), y)];
    g
}

/// Composites, by name.
pub(super) fn composites() -> Vec<(&'static str, Graph)> {
    let x = "x:f32[rows, 4]";
    let statistics = ["mean:f32[4]", "pvar:f32[4]"];
    let sequence = ["k:f32[rows, 3, 2]", "mask:bool[rows, 3]"];
    let attention = ["win:f32[12, 4]", "bin:f32[12]", "out:f32[4, 4]", "outb:f32[4]"];
    let projections = |v: &[Value]| Projections {
        in_weight: v[0],
        in_bias: v[1],
        out_weight: v[2],
        out_bias: v[3],
    };
    let score = |g: &mut Graph, pairs: Value, w: Value| {
        let w = g.reshape(w, &Shape::fixed(&[8, 1]))?;
        let y = g.matmul(pairs, w)?;
        g.unary(Unary::Tanh, y)
    };
    let all = |parts: &[&[&'static str]]| parts.concat();
    vec![
        (
            "linear",
            composite(&["x:f32[rows, 2, 3]", "w:f32[2, 3]", "b:f32[2]"], |g, v| {
                nn::linear(g, v[0], v[1], Some(v[2]))
            }),
        ),
        (
            "linear without bias",
            composite(&["x:f32[rows, 3]", "w:f32[2, 3]"], |g, v| {
                nn::linear(g, v[0], v[1], None)
            }),
        ),
        (
            "mlp",
            composite(
                &["x:f32[rows, 3]", "v:f32[4, 3]", "a:f32[4]", "w:f32[1, 4]", "b:f32[1]"],
                |g, v| {
                    nn::mlp(g, v[0], &[(v[1], Some(v[2])), (v[3], Some(v[4]))], |g, _, x| {
                        nn::silu(g, x)
                    })
                },
            ),
        ),
        ("relu", composite(&[x], |g, v| nn::relu(g, v[0]))),
        ("prelu", composite(&[x, "a:f32[4]"], |g, v| nn::prelu(g, v[0], v[1]))),
        (
            "prelu of one",
            composite(&[x, "a:f32[1]"], |g, v| nn::prelu(g, v[0], v[1])),
        ),
        ("silu", composite(&[x], |g, v| nn::silu(g, v[0]))),
        ("gelu", composite(&[x], |g, v| nn::gelu(g, v[0]))),
        (
            "batch_norm",
            composite(&all(&[&[x], &statistics, &["w:f32[4]", "b:f32[4]"]]), |g, v| {
                nn::batch_norm(g, v[0], v[1], v[2], Some((v[3], v[4])), 1e-5)
            }),
        ),
        (
            "layer_norm",
            composite(&[x, "w:f32[4]", "b:f32[4]"], |g, v| {
                nn::layer_norm(g, v[0], Some((v[1], v[2])), 1e-5)
            }),
        ),
        (
            "layer_norm alone",
            composite(&["x:f32[rows, 2, 4]"], |g, v| nn::layer_norm(g, v[0], None, 1e-5)),
        ),
        (
            "dice",
            composite(&all(&[&[x, "a:f32[4]"], &statistics]), |g, v| {
                nn::dice(g, v[0], v[1], v[2], v[3], 1e-8)
            }),
        ),
        (
            "dice_of_rows",
            composite(&[x, "a:f32[1]"], |g, v| nn::dice_of_rows(g, v[0], v[1], 1e-8)),
        ),
        (
            "embeddings",
            composite(
                &["t:f32[5, 2]", "u:f32[3, 4]", "i5:i32[rows]", "i3:i32[rows]"],
                |g, v| nn::embeddings(g, &[(v[0], v[2]), (v[1], v[3]), (v[0], v[3])]),
            ),
        ),
        ("softmax", composite(&[x], |g, v| nn::softmax(g, v[0], 1))),
        (
            "softmax of positions",
            composite(&["x:f32[rows, 3, 2]"], |g, v| nn::softmax(g, v[0], 1)),
        ),
        (
            "masked_softmax",
            composite(&[x, "mask:bool[rows, 4]"], |g, v| nn::masked_softmax(g, v[0], v[1], 1)),
        ),
        ("masked_sum", composite(&sequence, |g, v| nn::masked_sum(g, v[0], v[1]))),
        (
            "masked_mean",
            composite(&sequence, |g, v| nn::masked_mean(g, v[0], v[1])),
        ),
        (
            "target_attention",
            composite(&all(&[&["q:f32[rows, 2]", "w:f32[8]"], &sequence]), |g, v| {
                nn::target_attention(g, v[0], v[2], v[3], false, |g, pairs| score(g, pairs, v[1]))
            }),
        ),
        (
            "target_attention with softmax",
            composite(&all(&[&["q:f32[rows, 2]", "w:f32[8]"], &sequence]), |g, v| {
                nn::target_attention(g, v[0], v[2], v[3], true, |g, pairs| score(g, pairs, v[1]))
            }),
        ),
        (
            "multi_head_attention",
            composite(
                &all(&[
                    &["q:f32[rows, 2, 4]", "k:f32[rows, 3, 4]", "mask:bool[rows, 3]"],
                    &attention,
                ]),
                |g, v| nn::multi_head_attention(g, v[0], v[1], Some(v[2]), projections(&v[3..]), 2),
            ),
        ),
        (
            "self attention",
            composite(&all(&[&["q:f32[rows, 2, 4]"], &attention]), |g, v| {
                nn::multi_head_attention(g, v[0], v[0], None, projections(&v[1..]), 2)
            }),
        ),
        (
            "bce_with_logits",
            composite(&["z:f32[rows]", "py:f32[rows]"], |g, v| {
                nn::bce_with_logits(g, v[0], v[1])
            }),
        ),
        (
            "distillation",
            composite(&["z:f32[rows, 1]", "pt:f32[rows, 1]"], |g, v| {
                nn::distillation(g, v[0], v[1], 0.5)
            }),
        ),
        ("mse", composite(&[x, "y:f32[rows, 4]"], |g, v| nn::mse(g, v[0], v[1]))),
        (
            "gru",
            composite(
                &[
                    "x:f32[rows, 3, 2]",
                    "w:f32[6, 2]",
                    "b:f32[6]",
                    "u:f32[6, 2]",
                    "c:f32[6]",
                ],
                |g, v| nn::gru(g, v[0], (v[1], v[2]), (v[3], v[4])),
            ),
        ),
    ]
}

#[test]
fn every_composite() {
    let (mut cases, mut seen) = (0, Seen::default());
    for (name, g) in composites() {
        cases += leaves(&g).len();
        seen.add(ops::check(&g, name));
    }
    eprintln!("{cases} gradients of composites, {seen:?}");
}

#[test]
fn softmax_passes_nothing_through_its_maximum() {
    for (name, mut g) in composites().into_iter().filter(|(name, _)| name.contains("softmax")) {
        let (forward, y) = (g.len(), g.outputs[0].1);
        let axes: Vec<usize> = (0..g.shape(y).rank()).collect();
        let built = (|| -> Result<Value, TypeError> {
            let square = g.binary(Binary::Mul, y, y)?;
            let sum = g.reduce(Fold::Sum, square, &axes)?;
            g.reshape(sum, &Shape::default())
        })();
        let wrt = leaves(&g);
        grad(&mut g, built.expect("types fit"), &wrt).expect("a gradient");
        let mut backward = g.iter().skip(forward);
        assert!(backward.all(|(_, n)| n.op.name() != "eq"), "{name}\n{g}");
    }
}

#[test]
fn gradients_have_gradients() {
    let shape = Shape(vec![Dim::Rows(1), Dim::Fixed(3)]);
    let mut g = composite(&["x:f32[rows, 3]", "w:f32[2, 3]", "b:f32[2]"], |g, v| {
        let y = nn::linear(g, v[0], v[1], Some(v[2]))?;
        let y = g.unary(Unary::Tanh, y)?;
        let y = nn::softmax(g, y, 1)?;
        let y = g.binary(Binary::Mul, y, y)?;
        let sum = g.reduce(Fold::Sum, y, &[0, 1])?;
        g.reshape(sum, &Shape::default())
    });
    let (loss, wrt) = (g.outputs[0].1, leaves(&g));
    let gradients = grad(&mut g, loss, &wrt).expect("a gradient");
    assert_eq!(*g.shape(gradients[0]), shape);
    g.outputs = gradients
        .iter()
        .enumerate()
        .map(|(i, v)| (format!("g{i}"), *v))
        .collect();
    ops::check(&g, "gradients of a softmax layer");
}

#[test]
fn single_precision_is_enough() {
    let (mut worst, mut loose): (f64, Vec<String>) = (0.0, Vec::new());
    for file in models::in_repository() {
        let Golden { name, model, batch, .. } = models::load(&file);
        let sizes = interp::sizes_of(&model.graph, &batch).unwrap_or_else(|e| panic!("{name}: {e}"));
        let wrt = leaves(&model.graph);
        let subject = Subject::new(&name, &model.graph, (&model.weights, &batch, sizes), wrt);
        let mut g = subject.backward.clone();
        let named = subject.wrt.iter().zip(&subject.gradients);
        g.outputs = named.map(|(x, dx)| (format!("gradient by {x}"), *dx)).collect();
        let on = (&subject.weights, &subject.batch, sizes);
        let single = interp::eval::<f32>(&g, on.0, on.1, on.2).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut single = hosts(&single);
        let share = compare_gradients(&single, &g, on).unwrap_or_else(|e| panic!("{name}: {e}"));
        worst = worst.max(share);
        // One part in a thousand is too much, except where nearly all terms cancel.
        for t in single.values_mut() {
            *t = HostTensor::f32(&t.shape, t.as_f32().unwrap().iter().map(|x| x * 1.001).collect());
        }
        if compare_gradients(&single, &g, on).is_ok() {
            loose.push(name);
        }
    }
    assert!(loose.len() <= 3, "{loose:?}");
    eprintln!("gradients in f32 take {worst:.3} of what is allowed; loose: {loose:?}");
}
