//! Any graph keeps its meaning.

use super::{compared, graph};
use crate::support::graphs::{Case, dcn, din, for_random, mlp};

fn check(case: &Case) -> Result<(), String> {
    compared(&case.graph, &case.weights, &case.batch, case.sizes).map(|_| ())
}

#[test]
fn random_graphs_keep_their_meaning() {
    for_random(200, check);
}

#[test]
fn random_models_keep_their_meaning() {
    for seed in 0..30 {
        for case in [dcn(seed), din(seed), mlp(seed)] {
            check(&case).unwrap_or_else(|e| panic!("{e}\n{case}"));
        }
    }
}

#[test]
fn a_fixed_input_is_refused() {
    let g = graph(r#"%0 = input "x" : f32[4]"#);
    let refused = loopfm::simplify::simplify(&g, &Default::default()).expect_err("no batch");
    assert!(refused.to_string().contains("input `x` is f32[4]"), "{refused}");
}
