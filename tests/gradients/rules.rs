//! What `grad` refuses, how lean its result is, and which way it turns at kinks.

use loopfm::grad::{Error, grad};
use loopfm::interp;
use loopfm::ir::{Graph, Op, Value};
use loopfm::tensor::{HostTensor, Tensors};

use super::check::leaves;
use super::ops::SIZES;
use crate::support::by_hand::{f, graph};

/// The gradients of the graph's only output by its float inputs.
fn grads(nodes: &[&str]) -> (Graph, Vec<Value>) {
    let mut g = graph(nodes);
    let (loss, wrt) = (g.outputs[0].1, leaves(&g));
    let gradients = grad(&mut g, loss, &wrt).unwrap_or_else(|e| panic!("{e}\n{g}"));
    (g, gradients)
}

fn error(nodes: &[&str]) -> Error {
    let mut g = graph(nodes);
    let (loss, wrt) = (g.outputs[0].1, g.inputs().map(|(v, ..)| v).collect::<Vec<_>>());
    grad(&mut g, loss, &wrt).expect_err("no gradient")
}

/// How many nodes that a gradient needs have this name.
fn count(g: &Graph, gradients: &[Value], op: &str) -> usize {
    let mut g = g.clone();
    g.outputs = gradients.iter().map(|v| (v.to_string(), *v)).collect();
    let live = g.live();
    g.iter().filter(|(v, n)| live[v.index()] && n.op.name() == op).count()
}

#[test]
fn what_has_no_gradient_is_refused_by_name() {
    let x = "input \"x\" : f32[rows, 2]";
    assert_eq!(error(&[x]).to_string(), "the loss %0 is f32[rows, 2], not one float");
    let whole = error(&["input \"x\" : i32[1]"]);
    assert_eq!(whole.to_string(), "the loss %0 is i32[1], not one float");
    let ids = error(&["input \"i\" : i32[2]", "const 1.0 : f32[]"]);
    assert_eq!(ids.to_string(), "%0 is i32[2]: only floats have a gradient");
    let second = error(&[
        "input \"x\" : f32[1, 3]",
        "input \"h\" : f32[1]",
        "input \"w\" : f32[1, 3]",
        "input \"b\" : f32[3]",
        "gru(%0, %1, %2, %3) : f32[1, 1]",
        "gru_grad(%0, %1, %2, %3, %4, %4) : f32[1, 5] @ \"twice\"",
        "reduce_sum(%5) {axes=[1]} : f32[1, 1]",
    ]);
    assert_eq!(
        second.to_string(),
        "%5 `gru_grad` of `twice` is a gradient itself and has none"
    );
}

#[test]
fn what_the_loss_does_not_depend_on_gets_zeros() {
    let detached = [
        "input \"x\" : f32[rows]",
        "detach(%0) : f32[rows]",
        "floor(%0) : f32[rows]",
        "add(%1, %2) : f32[rows]",
        "reduce_sum(%3) {axes=[0]} : f32[1]",
    ];
    let (g, gradients) = grads(&detached);
    assert_eq!(g.op(gradients[0]), &Op::Broadcast);
    assert_eq!(g.shape(gradients[0]).to_string(), "[rows]");
    assert_eq!(g.len(), detached.len() + 4, "only 1 and 0 and their shapes\n{g}");
    // The loss itself.
    let (g, gradients) = grads(&["input \"x\" : f32[1]"]);
    assert_eq!(g.op(g.args(gradients[0])[0]), &Op::Const(loopfm::ir::Scalar::F32(1.0)));
}

#[test]
fn lookups_in_one_table_are_one_scatter_and_slices_one_concatenation() {
    let shared = [
        "input \"table\" : f32[9, 2]",
        "input \"one\" : i32[rows]",
        "input \"many\" : i32[rows, 3]",
        "gather(%0, %1) {axis=0} : f32[rows, 2]",
        "gather(%0, %2) {axis=0} : f32[rows, 3, 2]",
        "reduce_sum(%4) {axes=[1]} : f32[rows, 1, 2]",
        "reshape(%5) : f32[rows, 2]",
        "mul(%3, %6) : f32[rows, 2]",
        "reduce_sum(%7) {axes=[0, 1]} : f32[1, 1]",
    ];
    let (g, gradients) = grads(&shared);
    assert_eq!(count(&g, &gradients, "scatter_add"), 1, "{g}");
    let gates = [
        "input \"x\" : f32[rows, 6]",
        "slice(%0) {axis=1, start=0, stop=2, step=1} : f32[rows, 2]",
        "slice(%0) {axis=1, start=2, stop=4, step=1} : f32[rows, 2]",
        "slice(%0) {axis=1, start=4, stop=6, step=1} : f32[rows, 2]",
        "mul(%1, %2) : f32[rows, 2]",
        "mul(%4, %3) : f32[rows, 2]",
        "reduce_sum(%5) {axes=[0, 1]} : f32[1, 1]",
    ];
    let (g, gradients) = grads(&gates);
    assert_eq!(g.op(gradients[0]), &Op::Concat(1), "{g}");
    assert_eq!(
        (count(&g, &gradients, "concat"), count(&g, &gradients, "add")),
        (1, 0),
        "{g}"
    );
}

#[test]
fn only_what_lies_between_is_walked() {
    let mut g = graph(&[
        "input \"x\" : f32[rows, 4]",
        "param \"w\" : f32[4, 1]",
        "exp(%0) : f32[rows, 4]",
        "matmul(%2, %1) : f32[rows, 1]",
        "reduce_sum(%3) {axes=[0, 1]} : f32[1, 1]",
    ]);
    let (loss, w) = (g.outputs[0].1, leaves(&g)[1]);
    let gradients = grad(&mut g, loss, &[w]).expect("a gradient");
    assert_eq!(count(&g, &gradients, "matmul"), 1, "only the weight's\n{g}");
    assert_eq!(count(&g, &gradients, "mul"), 0, "{g}");
}

#[test]
fn nodes_keep_the_scope_of_what_they_differentiate() {
    let (g, gradients) = grads(&[
        "input \"x\" : f32[rows, 2] @ \"in\"",
        "tanh(%0) : f32[rows, 2] @ \"act\"",
        "reduce_sum(%1) {axes=[0, 1]} : f32[1, 1] @ \"loss\"",
    ]);
    assert_eq!(g.scope_of(gradients[0]), "act");
}

#[test]
fn kinks_are_pytorchs() {
    // Of the sum of `op` at these values: the gradient by the first input.
    let at = |op: &[&str], x: &HostTensor, want: &[f64]| {
        let n = x.shape[0];
        let mut nodes = vec![format!("input \"x\" : f32[{n}]")];
        nodes.extend(op.iter().map(|node| node.replace("[n]", &format!("[{n}]"))));
        let last = nodes.len() - 1;
        if !nodes[last].contains("[1]") {
            nodes.push(format!("reduce_sum(%{last}) {{axes=[0]}} : f32[1]"));
        }
        let (g, gradients) = grads(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
        let batch = [("x".to_owned(), x.clone())].into_iter().collect();
        let y = interp::eval_values::<f64>(&g, &Tensors::new(), &batch, SIZES, &gradients[..1]).expect("a gradient");
        assert_eq!(y[0].floats(), want, "{g}");
    };
    let x = f(&[3], &[-1.0, 0.0, 2.0]);
    at(&["abs(%0) : f32[n]"], &x, &[-1.0, 0.0, 1.0]);
    let by = |c: &str, op: &str| {
        [
            format!("const {c} : f32[]"),
            "broadcast(%1) : f32[n]".into(),
            format!("{op}(%0, %2) : f32[n]"),
        ]
    };
    let by = |c: &str, op: &str, want: &[f64]| at(&by(c, op).each_ref().map(String::as_str), &x, want);
    by("0.0", "max", &[0.0, 0.0, 1.0]);
    by("0.0", "min", &[1.0, 1.0, 0.0]);
    by("2.0", "min", &[1.0, 1.0, 1.0]);
    by("-1.0", "max", &[1.0, 1.0, 1.0]);
    at(&["neg(%0) : f32[n]", "max(%0, %1) : f32[n]"], &x, &[-1.0, 0.0, 1.0]);
    by("0.0", "pow", &[0.0, 0.0, 0.0]);
    by("2.0", "pow", &[-2.0, 0.0, 4.0]);
    at(
        &["reduce_max(%0) {axes=[0]} : f32[1]"],
        &f(&[4], &[3.0, 1.0, 3.0, 2.0]),
        &[0.5, 0.0, 0.5, 0.0],
    );
    at(
        &["reduce_min(%0) {axes=[0]} : f32[1]"],
        &f(&[3], &[1.0, 1.0, 1.0]),
        &[1.0 / 3.0; 3],
    );
}
