//! Affine chains and the products beside them.

use super::{becomes, check, graph, names};

/// Nodes of batch normalisation of `%{x}` over the last axis, from `%{from}` on.
fn batch_norm(x: usize, from: usize, dims: &str) -> String {
    let [mean, var, gain, bias, eps, epss, vareps, root] = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| from + i);
    let at = |i: usize| from + 8 + i;
    format!(
        r#"%{mean} = param "mean" : f32[3]
        %{var} = param "var" : f32[3]
        %{gain} = param "gain" : f32[3]
        %{bias} = param "bias" : f32[3]
        %{eps} = const 1e-5 : f32[]
        %{epss} = broadcast(%{eps}) : f32[3]
        %{vareps} = add(%{var}, %{epss}) : f32[3]
        %{root} = rsqrt(%{vareps}) : f32[3]
        %{} = broadcast(%{mean}) : f32[{dims}]
        %{} = sub(%{x}, %{}) : f32[{dims}]
        %{} = broadcast(%{root}) : f32[{dims}]
        %{} = mul(%{}, %{}) : f32[{dims}]
        %{} = broadcast(%{gain}) : f32[{dims}]
        %{} = mul(%{}, %{}) : f32[{dims}]
        %{} = broadcast(%{bias}) : f32[{dims}]
        %{} = add(%{}, %{}) : f32[{dims}]"#,
        at(0),
        at(1),
        at(0),
        at(2),
        at(3),
        at(1),
        at(2),
        at(4),
        at(5),
        at(3),
        at(4),
        at(6),
        at(7),
        at(5),
        at(6),
    )
}

const LINEAR: &str = r#"%0 = input "x" : f32[rows, 4]
        %1 = param "w" : f32[4, 3]
        %2 = param "b" : f32[3]
        %3 = matmul(%0, %1) : f32[rows, 3]
        %4 = broadcast(%2) : f32[rows, 3]
        %5 = add(%3, %4) : f32[rows, 3]"#;

const FOLDED: &str = r#"%0 = input "x" : f32[rows, 4]
        %1 = param "fold.b.0" : f32[3]
        %2 = param "fold.w.0" : f32[4, 3]
        %3 = matmul(%0, %2) : f32[rows, 3]
        %4 = broadcast(%1) : f32[rows, 3]
        %5 = add(%3, %4) : f32[rows, 3]"#;

#[test]
fn batch_norm_after_a_linear_layer_vanishes() {
    becomes(&format!("{LINEAR}\n{}", batch_norm(5, 6, "rows, 3")), FOLDED);
}

#[test]
fn batch_norm_over_channels_of_a_sequence_vanishes() {
    let g = r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = param "w" : f32[4, 3]
        %2 = param "s" : f32[3]
        %3 = matmul(%0, %1) : f32[rows, 5, 3]
        %4 = permute(%3) {perm=[0, 2, 1]} : f32[rows, 3, 5]
        %5 = reshape(%2) : f32[3, 1]
        %6 = broadcast(%5) : f32[rows, 3, 5]
        %7 = mul(%4, %6) : f32[rows, 3, 5]
        %8 = add(%7, %6) : f32[rows, 3, 5]
        %9 = permute(%8) {perm=[0, 2, 1]} : f32[rows, 5, 3]
        %10 = reshape(%9) : f32[5*rows, 3]"#;
    let after = check(&graph(g)).graph;
    let expected = ["add", "broadcast", "input", "matmul", "param", "param", "reshape"];
    assert_eq!(names(&after), expected, "{after}");
}

#[test]
fn a_gate_beside_its_value_is_one_multiply_add() {
    // Dice: sigmoid(norm(y)) * y.
    let norm = batch_norm(5, 6, "rows, 3");
    let g = format!("{LINEAR}\n{norm}\n%22 = sigmoid(%21) : f32[rows, 3]\n%23 = mul(%22, %5) : f32[rows, 3]");
    let after = check(&graph(&g));
    let w = after.weights.get("w");
    assert!(w.is_some(), "the un-normalised path keeps its weight\n{}", after.graph);
    let muls = after.graph.iter().filter(|(_, n)| n.op.name() == "mul").count();
    assert_eq!(muls, 2, "one for the gate, one for the product\n{}", after.graph);
}

#[test]
fn an_affine_input_goes_into_the_weight() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = param "s" : f32[4]
        %2 = param "t" : f32[4]
        %3 = broadcast(%1) : f32[rows, 4]
        %4 = broadcast(%2) : f32[rows, 4]
        %5 = sub(%0, %4) : f32[rows, 4]
        %6 = mul(%5, %3) : f32[rows, 4]
        %7 = param "w" : f32[4, 3]
        %8 = matmul(%6, %7) : f32[rows, 3]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = param "fold.s.0" : f32[4, 3]
        %2 = matmul(%0, %1) : f32[rows, 3]
        %3 = param "fold.s.1" : f32[1, 3]
        %4 = broadcast(%3) : f32[rows, 3]
        %5 = add(%2, %4) : f32[rows, 3]"#,
    );
}

#[test]
fn an_affine_value_that_is_read_twice_stays() {
    let g = graph(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = param "s" : f32[4]
        %2 = broadcast(%1) : f32[rows, 4]
        %3 = mul(%0, %2) : f32[rows, 4]
        %4 = param "w" : f32[4, 4]
        %5 = matmul(%3, %4) : f32[rows, 4]
        %6 = mul(%5, %3) : f32[rows, 4]"#,
    );
    assert!(check(&g).weights.contains_key("w"));
}

#[test]
fn a_score_scale_goes_into_the_projection() {
    let g = graph(
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = param "wq" : f32[4, 4]
        %2 = matmul(%0, %1) : f32[rows, 5, 4]
        %3 = permute(%0) {perm=[0, 2, 1]} : f32[rows, 4, 5]
        %4 = matmul(%2, %3) : f32[rows, 5, 5]
        %5 = const 2.0 : f32[]
        %6 = broadcast(%5) : f32[rows, 5, 5]
        %7 = div(%4, %6) : f32[rows, 5, 5]"#,
    );
    let after = check(&g).graph;
    let expected = ["input", "matmul", "matmul", "param", "permute"];
    assert_eq!(names(&after), expected, "{after}");
}

#[test]
fn a_divisor_that_may_vanish_stays() {
    let mut weights = loopfm::tensor::Tensors::new();
    let g = graph(
        r#"%0 = input "x" : f32[rows, 2]
        %1 = param "d" : f32[2]
        %2 = broadcast(%1) : f32[rows, 2]
        %3 = div(%0, %2) : f32[rows, 2]
        %4 = mul(%3, %2) : f32[rows, 2]"#,
    );
    weights.insert("d".into(), loopfm::tensor::HostTensor::f32(&[2], vec![0.0, 1.0]));
    let (after, _) = loopfm::simplify::simplify(&g, &weights).expect("simplifies");
    assert!(after.iter().any(|(_, n)| n.op.name() == "div"), "{after}");
}
