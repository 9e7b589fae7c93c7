//! What the interpreter takes and refuses, and that random graphs mean the same in every precision.

use crate::support::by_hand::{f, graph, i};
use crate::support::compare::compare_outputs;
use crate::support::{graphs, hosts, tensors};
use loopfm::interp::{self, EvalError, Tensor};
use loopfm::ir::{Binary, Graph, Op, Unary};
use loopfm::tensor::{Sizes, Tensors};

#[test]
fn leaves() {
    let g = graph(&["iota : i32[4]"]);
    let y = interp::eval::<f32>(&g, &Tensors::new(), &Tensors::new(), Sizes::ONE).expect("iota");
    assert_eq!(y["y"].ints(), [0, 1, 2, 3]);
    let g = graph(&[
        "const 0.5 : f32[]",
        "param \"w\" : f32[2]",
        "broadcast(%0) : f32[2]",
        "mul(%1, %2) : f32[2]",
    ]);
    let weights = tensors([("w", f(&[2], &[4.0, 6.0]))]);
    let y = interp::eval::<f64>(&g, &weights, &Tensors::new(), Sizes::ONE).expect("weights");
    assert_eq!(y["y"].floats(), [2.0, 3.0]);
}

#[test]
fn random_graphs_reach_every_op() {
    let mut seen = std::collections::BTreeSet::new();
    let mut attention = 0;
    for seed in 0..400 {
        let case = graphs::random(seed, graphs::ops(seed));
        let live = case.graph.live();
        attention += case
            .graph
            .iter()
            .filter(|(_, n)| n.args.len() == 5 && n.op == Op::Gru)
            .count();
        seen.extend(
            case.graph
                .iter()
                .filter(|(v, _)| live[v.index()])
                .map(|(_, n)| n.op.name()),
        );
    }
    let names = Unary::ALL
        .iter()
        .map(|op| op.name())
        .chain(Binary::ALL.iter().map(|op| op.name()));
    let others = "input param const iota select cast broadcast reshape permute slice concat gather take_along matmul \
                  reduce_sum reduce_max reduce_min cumsum gru";
    let missing: Vec<&str> = names
        .chain(others.split_whitespace())
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(attention > 0, "no gru with attention");
}

#[test]
fn models_mean_the_same_in_f32_and_f64() {
    for seed in 0..20 {
        for case in [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)] {
            let single =
                interp::eval::<f32>(&case.graph, &case.weights, &case.batch, case.sizes).expect("a valid batch");
            let compared = compare_outputs(&hosts(&single), &case.meaning(), graphs::CONDITION);
            compared.unwrap_or_else(|e| panic!("{e}\n{case}"));
        }
    }
}

const REQUESTS: &[&str] = &[
    "input \"x\" : f32[rows, 1]",
    "input \"u\" : f32[requests, 1]",
    "input \"request_of_row\" : i32[rows]",
    "gather(%1, %2) {axis=0} : f32[rows, 1]",
    "add(%0, %3) : f32[rows, 1]",
];

fn run(g: &Graph, batch: &Tensors) -> Result<Tensor<f64>, EvalError> {
    let sizes = interp::sizes_of(g, batch)?;
    Ok(interp::eval(g, &Tensors::new(), batch, sizes)?
        .swap_remove("y")
        .expect("an output"))
}

#[test]
fn request_of_row_is_implied_by_one_request_or_one_per_row() {
    let g = graph(REQUESTS);
    let x = f(&[3, 1], &[1.0, 2.0, 3.0]);
    let one = tensors([("x", x.clone()), ("u", f(&[1, 1], &[10.0]))]);
    assert_eq!(run(&g, &one).expect("one request").floats(), [11.0, 12.0, 13.0]);
    let each = tensors([("x", x.clone()), ("u", f(&[3, 1], &[10.0, 20.0, 30.0]))]);
    assert_eq!(run(&g, &each).expect("one each").floats(), [11.0, 22.0, 33.0]);
    let mut two = tensors([("x", x), ("u", f(&[2, 1], &[10.0, 20.0]))]);
    assert_eq!(run(&g, &two), Err(EvalError::RequestOfRow { rows: 3, requests: 2 }));
    two.insert("request_of_row".into(), i(&[3], &[1, 0, 1]));
    assert_eq!(run(&g, &two).expect("given").floats(), [21.0, 12.0, 23.0]);
    two.insert("request_of_row".into(), i(&[3], &[1, 0, 2]));
    let said = run(&g, &two).expect_err("request 2 of 2").to_string();
    assert_eq!(
        said,
        "row 2: index 2 of input `request_of_row` is outside 0..2 of input `u`"
    );
}

#[test]
fn an_empty_batch_has_empty_outputs() {
    let g = graph(REQUESTS);
    let batch = tensors([("x", f(&[0, 1], &[])), ("u", f(&[1, 1], &[1.0]))]);
    assert_eq!(run(&g, &batch).expect("no rows").shape, [0, 1]);
}

#[test]
fn batches_that_do_not_fit() {
    let g = graph(REQUESTS);
    let x = f(&[3, 1], &[0.0; 3]);
    let u = f(&[1, 1], &[0.0]);
    let fault = |batch: &Tensors| run(&g, batch).expect_err("a fault").to_string();
    assert_eq!(
        fault(&tensors([("x", x.clone())])),
        "input `u` is missing from the batch"
    );
    let extra = tensors([("x", x.clone()), ("u", u.clone()), ("z", x.clone())]);
    assert_eq!(
        fault(&extra),
        "the batch has `z`, the graph has no such input: `x`, `u`, `request_of_row`"
    );
    let wide = tensors([("x", f(&[3, 2], &[0.0; 6])), ("u", u.clone())]);
    assert_eq!(
        fault(&wide),
        "input `x` is f32[3, 2], the graph takes f32[rows, 1] = [3, 1]"
    );
    let flat = tensors([("x", f(&[3], &[0.0; 3])), ("u", u.clone())]);
    assert_eq!(fault(&flat), "input `x` is f32[3], the graph takes f32[rows, 1]");
    let ids = tensors([("x", i(&[3, 1], &[0; 3])), ("u", u.clone())]);
    assert_eq!(
        fault(&ids),
        "input `x` is i32[3, 1], the graph takes f32[rows, 1] = [3, 1]"
    );
    let differ = tensors([("x", x), ("u", u), ("request_of_row", i(&[2], &[0, 0]))]);
    assert_eq!(fault(&differ), "input `request_of_row` holds 2 rows, `x` holds 3");
}

#[test]
fn an_index_outside_its_table_names_row_and_value() {
    let g = graph(&[
        "input \"ids\" : i32[rows, 2]",
        "param \"emb\" : f32[5, 1]",
        "slice(%0) {axis=1, start=1, stop=2, step=1} : i32[rows, 1]",
        "gather(%1, %2) {axis=0} : f32[rows, 1, 1]",
    ]);
    let weights = tensors([("emb", f(&[5, 1], &[0.0; 5]))]);
    for (id, ok) in [(4, true), (5, false), (-1, false), (i32::MIN, false)] {
        let batch = tensors([("ids", i(&[3, 2], &[9, 0, 9, id, 9, 0]))]);
        let sizes = interp::sizes_of(&g, &batch).expect("sizes");
        match interp::eval::<f32>(&g, &weights, &batch, sizes) {
            Ok(_) => assert!(ok, "{id} is inside"),
            Err(e) => assert_eq!(
                e.to_string(),
                format!("row 1: index {id} of input `ids` is outside 0..5 of parameter `emb`"),
                "{ok}"
            ),
        }
    }
}

#[test]
fn weights_that_do_not_fit() {
    let g = graph(&["param \"w\" : f32[2]"]);
    let eval = |weights: &Tensors| interp::eval::<f32>(&g, weights, &Tensors::new(), Sizes::ONE);
    let missing = eval(&Tensors::new()).expect_err("no weights");
    assert_eq!(missing.to_string(), "parameter `w` has no weights");
    let wide = eval(&tensors([("w", f(&[3], &[0.0; 3]))])).expect_err("too wide");
    assert_eq!(wide.to_string(), "weights of `w` are f32[3], the graph takes f32[2]");
}

#[test]
fn values_that_no_input_reaches_need_no_batch() {
    let g = graph(&[
        "input \"x\" : f32[rows, 2]",
        "param \"w\" : f32[2]",
        "exp(%1) : f32[2]",
        "broadcast(%2) : f32[rows, 2]",
        "mul(%0, %3) : f32[rows, 2]",
    ]);
    let weights = tensors([("w", f(&[2], &[0.0, 1.0]))]);
    let nodes: Vec<_> = g.iter().map(|(v, _)| v).collect();
    let wanted = [nodes[2], nodes[1]];
    let values = interp::eval_values::<f32>(&g, &weights, &Tensors::new(), Sizes::ONE, &wanted).expect("no input");
    assert_eq!(values[0].floats(), [1.0, std::f32::consts::E]);
    assert_eq!(values[1].floats(), [0.0, 1.0]);
    let all = interp::eval_values::<f32>(&g, &weights, &Tensors::new(), Sizes::ONE, &nodes);
    assert_eq!(all, Err(EvalError::MissingInput { input: "x".into() }));
}
