//! What is known of past events and of no candidate.

use loopfm::model::Mode;
use loopfm::tensor::{HostTensor, Sizes, Tensors};

use super::{ADDITIONS, ARCHITECTURES, batch, network, run, spec, weights};

const SIZES: Sizes = Sizes { rows: 6, requests: 6 };

fn sides() -> &'static str {
    ADDITIONS
        .into_iter()
        .find(|(name, _)| *name == "sides")
        .expect("it is there")
        .1
}

/// A batch whose requests are its rows, with two events in each history, the second and the last.
fn given(graph: &loopfm::ir::Graph) -> Tensors {
    let mut given = batch(graph, SIZES, 6);
    given.insert("request_of_row".into(), HostTensor::i32(&[6], (0..6).collect()));
    for (name, length) in [("hist_mask", 3), ("loopfm_mask", 4)] {
        let seen = (0..6 * length).map(|i| i % length == 1 || i % length == length - 1);
        given.insert(name.into(), HostTensor::bool(&[6, length], seen.collect()));
    }
    given
}

#[test]
fn every_model_reads_them_where_there_is_an_event() {
    for architecture in ARCHITECTURES {
        let network = network(&spec(architecture, sides()), Mode::Eval);
        let (weights, given) = (weights(&network, 5), given(&network.graph));
        let logits = |given: &Tensors| run(&network.graph, &weights, given, SIZES)[1].1.clone();
        let first = logits(&given);
        for (input, length) in [("hist_liked", 3), ("loopfm_liked", 4)] {
            let with = |at: usize| {
                let mut ids = given[input].as_i32().unwrap().to_vec();
                ids.iter_mut()
                    .skip(at)
                    .step_by(length)
                    .for_each(|id| *id = (*id + 3) % 7);
                let mut changed = given.clone();
                changed.insert(input.into(), HostTensor::i32(&[6, length], ids));
                logits(&changed)
            };
            for (event, padding) in [(1, 0), (length - 1, 0)] {
                let moved = first.iter().zip(with(event)).any(|(a, b)| (a - b).abs() > 1e-9);
                assert!(moved, "{architecture}: `{input}` of event {event} does nothing");
                assert_eq!(first, with(padding), "{architecture}: `{input}` of padding");
            }
        }
    }
}

#[test]
fn names_and_shapes() {
    let of = |architecture: &str| -> Vec<(String, Vec<usize>)> {
        let (with, plain) = (spec(architecture, sides()), spec(architecture, ADDITIONS[4].1));
        let (with, plain) = (network(&with, Mode::Eval), network(&plain, Mode::Eval));
        let new = with
            .parameters
            .iter()
            .filter(|(name, _)| !plain.parameters.contains_key(*name));
        new.map(|(name, p)| (name.clone(), p.shape.clone())).collect()
    };
    let table = |name: &str, width| (format!("{name}.weight"), vec![7, width]);
    let tables = || vec![table("embedding.hist_liked", 4), table("embedding.loopfm_liked", 4)];
    let all = |more: Vec<(String, Vec<usize>)>| {
        let mut all = tables();
        all.extend(more);
        all.sort();
        all
    };
    for (architecture, more) in [
        ("fm", vec![table("linear.hist_liked", 4 - 3)]),
        ("dcnv2", vec![]),
        ("din", vec![("side.target".to_owned(), vec![4])]),
        (
            "dmr",
            vec![
                ("side.target".to_owned(), vec![4]),
                ("relevance.side.target".to_owned(), vec![4]),
            ],
        ),
    ] {
        let mut got = of(architecture);
        got.sort();
        assert_eq!(got, all(more), "{architecture}");
    }
}

#[test]
fn without_them_models_are_as_they_were() {
    for architecture in ARCHITECTURES {
        let plain = r#""loopfm": {"length": 4, "width": 8, "layers": [3]},"#;
        let empty = r#""history": {"length": 3, "of": ["item"], "per_request": true, "side": []},
            "loopfm": {"length": 4, "width": 8, "layers": [3], "side": []},"#;
        for mode in [Mode::Eval, Mode::Train] {
            let (plain, empty) = (
                network(&spec(architecture, plain), mode),
                network(&spec(architecture, empty), mode),
            );
            assert_eq!(plain.graph, empty.graph, "{architecture}");
            assert_eq!(plain.parameters, empty.parameters, "{architecture}");
        }
    }
}
