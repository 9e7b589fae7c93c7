//! Every model of the zoo, in training, by every tensor that is trained or read.

use loopfm::ir::Value;
use loopfm::model::Mode;
use loopfm::tensor::Sizes;

use super::check::{Seen, Subject, leaves};
use crate::zoo::{ADDITIONS, ARCHITECTURES, batch, network, scalars, spec, weights};

const SIZES: Sizes = Sizes { rows: 4, requests: 4 };

fn checked(name: &str, config: &str) -> Seen {
    let mut train = network(config, Mode::Train);
    let (weights, mut batch) = (weights(&train, 5), batch(&train.graph, SIZES, 6));
    scalars(&mut batch, SIZES.rows, 1);
    let mut wrt = leaves(&train.graph);
    // An autoencoder is behind a detached layer: only its own tensors move its loss and gradients alike.
    if let Some(loss) = train.code.and_then(|code| code.loss) {
        train.graph.outputs = vec![("loss".to_owned(), loss)];
        let own = |v: &Value| {
            train
                .graph
                .params()
                .any(|(p, name, _)| p == *v && name.starts_with("autoencoder."))
        };
        wrt.retain(own);
    }
    let subject = Subject::new(name, &train.graph, (&weights, &batch, SIZES), wrt);
    subject.check().unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn models_of_the_zoo() {
    let mut seen = Seen::default();
    for architecture in ARCHITECTURES {
        let more = match architecture {
            "fm" => r#""kd": {}, "loopfm": {"length": 3, "width": 4, "layers": [3]},"#,
            "fmfm" => {
                r#""interaction": "matrixed", "loopfm": {"length": 3, "width": 4, "encoder": "din", "layers": [3]},"#
            }
            "deepfm" => r#""batch_norm": "each", "activation": "dice", "kd": {},"#,
            "dcnv2" => {
                r#""loopfm": {"length": 3, "width": 4, "encoder": "sum"}, "activation": "prelu", "dropout": 0.2,"#
            }
            "din" => r#""batch_norm": "once", "activation": "gelu","#,
            "dien" => r#""loopfm": {"length": 3, "width": 4, "encoder": "mean"}, "activation": "silu","#,
            _ => r#""activation": "tanh", "dropout": 0.2,"#,
        };
        let one = checked(architecture, &spec(architecture, more));
        eprintln!("{architecture}: {one:?}");
        seen.add(one);
    }
    for architecture in ARCHITECTURES {
        let (_, sides) = ADDITIONS
            .into_iter()
            .find(|(name, _)| *name == "sides")
            .expect("it is there");
        seen.add(checked(
            &format!("{architecture} with sides"),
            &spec(architecture, sides),
        ));
    }
    seen.add(checked(
        "bilinear",
        &spec("dien", "").replace(r#""layers": [4]"#, r#""score": "bilinear", "softmax": false"#),
    ));
    let code = r#""autoencoder": {"of": ["x0", "hidden"], "layers": [5], "width": 3, "prefixes": [1, 2]},"#;
    seen.add(checked("autoencoder", &spec("deepfm", code)));
    eprintln!("{seen:?}");
    // Kinks are where a number lies within a step of zero: rare.
    assert!(seen.compared > 1000 && seen.kinks * 50 < seen.compared, "{seen:?}");
}

/// The loss of an autoencoder leaves no trace in the model: gradients are equal to the last bit.
#[test]
fn an_autoencoder_moves_nothing_but_itself() {
    use loopfm::grad::grad;
    use loopfm::interp;
    use loopfm::ir::{Binary, Fold};
    use loopfm::tensor::Shape;

    let code = r#""autoencoder": {"of": ["mlp.0"], "layers": [5], "width": 3},"#;
    let with = network(&spec("dmin", code), Mode::Train);
    let own: Vec<Value> = with
        .graph
        .params()
        .filter(|(_, n, _)| !n.starts_with("autoencoder."))
        .map(|(v, ..)| v)
        .collect();
    let (weights, mut batch) = (weights(&with, 5), batch(&with.graph, SIZES, 6));
    scalars(&mut batch, SIZES.rows, 1);
    let gradients = |auxiliary: bool| {
        let mut g = with.graph.clone();
        let mut loss = g.reduce(Fold::Sum, with.logit, &[0]).unwrap();
        if let Some(extra) = with.code.and_then(|code| code.loss).filter(|_| auxiliary) {
            let sum = g.reduce(Fold::Sum, extra, &[0, 1]).unwrap();
            let sum = g.reshape(sum, &Shape::fixed(&[1])).unwrap();
            loss = g.binary(Binary::Add, loss, sum).unwrap();
        }
        let gradients = grad(&mut g, loss, &own).unwrap();
        let values = interp::eval_values::<f32>(&g, &weights, &batch, SIZES, &gradients).unwrap();
        values
            .iter()
            .map(|v| v.floats().iter().map(|x| x.to_bits()).collect::<Vec<u32>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(gradients(true), gradients(false));
}
