//! Steps of models whose products were split before gradients were taken: the same gradients for fewer operations.

use loopfm::grad::grad;
use loopfm::interp::eval_values;
use loopfm::ir::{Graph, Value};
use loopfm::model::Mode;
use loopfm::optim::{Optimiser, step};
use loopfm::simplify::{flops, split};
use loopfm::tensor::{DType, HostTensor, Sizes, Tensors};

use super::{ADDITIONS, ARCHITECTURES, batch, close, network, scalars, spec, weights, with_loss};

const ROWS: usize = 5;
const SIZES: Sizes = Sizes {
    rows: ROWS,
    requests: ROWS,
};

/// The gradients of a loss by all float parameters, by name, in `f64`.
fn gradients(mut g: Graph, loss: Value, weights: &Tensors, given: &Tensors) -> Vec<(String, Vec<f64>)> {
    let trained = g.params().filter(|(_, _, ty)| ty.dtype == DType::F32);
    let (wrt, mut names): (Vec<Value>, Vec<String>) = trained.map(|(v, name, _)| (v, name.to_owned())).unzip();
    let mut wanted = grad(&mut g, loss, &wrt).unwrap_or_else(|e| panic!("{e}"));
    wanted.push(loss);
    names.push("loss".into());
    let values = eval_values::<f64>(&g, weights, given, SIZES, &wanted).unwrap_or_else(|e| panic!("{e}"));
    let mut all: Vec<_> = names
        .into_iter()
        .zip(values.iter().map(|t| t.floats().to_vec()))
        .collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// Whether algebra changed the step of a model, after checking that its gradients stay and that no step got dearer.
fn changes(name: &str, config: &str) -> bool {
    let train = network(config, Mode::Train);
    let (g, loss) = with_loss(&train).unwrap_or_else(|e| panic!("{e}"));
    let weights = weights(&train, 5);
    let mut given = batch(&train.graph, SIZES, 6);
    scalars(&mut given, ROWS, 1);
    let numbers = |f: &dyn Fn(usize) -> f32| HostTensor::f32(&[ROWS], (0..ROWS).map(f).collect());
    given.insert("label".into(), numbers(&|i| f32::from(u8::from(i % 3 == 0))));
    given.insert("teacher".into(), numbers(&|i| i as f32 / ROWS as f32));
    given.retain(|name, _| g.inputs().any(|(_, n, _)| n == name));
    let mut written = g.clone();
    written.outputs.insert(0, ("loss".into(), loss));
    let cheaper = split(&written).unwrap_or_else(|e| panic!("{name}: {e}"));
    if cheaper != written {
        let want = gradients(written.clone(), loss, &weights, &given);
        let got = gradients(cheaper.clone(), cheaper.outputs[0].1, &weights, &given);
        assert_eq!(got.len(), want.len(), "{name}");
        for ((tensor, got), (other, want)) in got.iter().zip(&want) {
            assert_eq!(tensor, other, "{name}");
            close(&format!("{name}: `{tensor}`"), got, want, 1e-9);
        }
    }
    // What the optimiser is given, by what it would have been.
    let size = Sizes {
        rows: 512,
        requests: 512,
    };
    let cost = |step: &Graph| flops(step, size);
    let own = step(g, loss, &Optimiser::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let names = |g: &Graph| {
        let mut names: Vec<String> = g.params().map(|(_, n, _)| n.to_owned()).collect();
        names.sort();
        names
    };
    assert!(names(&written).iter().all(|n| names(&own.graph).contains(n)), "{name}");
    let of = |g: &Graph| {
        let mut g = g.clone();
        let (loss, params): (Value, Vec<Value>) = (g.outputs[0].1, g.params().map(|(v, ..)| v).collect());
        let floats: Vec<Value> = params.into_iter().filter(|v| g.ty(*v).dtype == DType::F32).collect();
        let gradients = grad(&mut g, loss, &floats).unwrap_or_else(|e| panic!("{e}"));
        g.outputs.extend(gradients.into_iter().map(|v| (format!("of {v}"), v)));
        cost(&g)
    };
    let (before, after) = (of(&written), of(&cheaper));
    if after < before {
        eprintln!("{name}: {:.1} -> {:.1} MFLOP", before as f64 / 1e6, after as f64 / 1e6);
        // Updates included.
        assert!(cost(&own.graph) < before, "{name}: {} of {before}", cost(&own.graph));
    }
    after < before
}

#[test]
fn gradients_stay_and_steps_get_no_dearer() {
    let mut changed = Vec::new();
    for architecture in ARCHITECTURES {
        let (_, sides) = ADDITIONS.into_iter().find(|(name, _)| *name == "sides").expect("there");
        let din = r#""loopfm": {"length": 4, "width": 8, "encoder": "din", "layers": [3]},"#;
        let dice = match architecture {
            "fm" | "fmfm" => "",
            _ => r#""activation": "dice", "batch_norm": "once", "dropout": 0.2,"#,
        };
        for (what, more) in [("plain", ""), ("sides", sides), ("history", din), ("dice", dice)] {
            let name = format!("{architecture}, {what}");
            if changes(&name, &spec(architecture, more)) {
                changed.push(name);
            }
        }
    }
    eprintln!("{changed:?}");
    for name in ["din, plain", "din, dice", "din, sides", "fm, history"] {
        assert!(changed.iter().any(|n| n == name), "{name}: {changed:?}");
    }
}
