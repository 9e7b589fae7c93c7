//! Sibling products and what follows them alike.

use std::fmt::Write;

use super::{Simplified, becomes, check, graph, names};

fn products(after: &Simplified) -> usize {
    names(&after.graph).iter().filter(|n| **n == "matmul").count()
}

/// `n` chains `tanh(x V) C` with a shared bias and gate, joined by a last line that names them all.
fn experts(n: usize, rank: usize, last: impl Fn(&[usize]) -> String) -> String {
    let mut text = format!(
        "%0 = input \"x\" : f32[rows, 8]\n%1 = param \"b\" : f32[8]\n%2 = broadcast(%1) : f32[rows, 8]\n\
         %3 = input \"g\" : f32[rows, {n}]\n"
    );
    let mut ends = Vec::new();
    for e in 0..n {
        let at: Vec<usize> = (0..7).map(|i| 4 + 7 * e + i).collect();
        let [v, xv, t, c, tc, s, y] = at[..] else {
            unreachable!()
        };
        let _ = writeln!(
            text,
            "%{v} = param \"v{e}\" : f32[8, {rank}]\n\
             %{xv} = matmul(%0, %{v}) : f32[rows, {rank}]\n\
             %{t} = tanh(%{xv}) : f32[rows, {rank}]\n\
             %{c} = param \"c{e}\" : f32[{rank}, 8]\n\
             %{tc} = matmul(%{t}, %{c}) : f32[rows, 8]\n\
             %{s} = add(%{tc}, %2) : f32[rows, 8]\n\
             %{y} = mul(%{s}, %0) : f32[rows, 8]"
        );
        ends.push(y);
    }
    text + &last(&ends)
}

fn joined(ends: &[usize], axis: usize, to: &str) -> String {
    let ids: Vec<String> = ends.iter().map(|e| format!("%{e}")).collect();
    let next = ends[ends.len() - 1] + 1;
    format!("%{next} = concat({}) {{axis={axis}}} : f32[{to}]", ids.join(", "))
}

#[test]
fn chains_of_small_products_are_one_chain() {
    // Ranks whose columns lie side by side, and ranks whose do not fill words.
    for rank in [4, 3, 1] {
        let after = check(&graph(&experts(3, rank, |ends| joined(ends, 1, "rows, 24"))));
        assert_eq!(products(&after), 2 - usize::from(rank == 1), "{}", after.graph);
        let tanh = names(&after.graph).iter().filter(|n| **n == "tanh").count();
        assert_eq!(tanh, 1, "{}", after.graph);
        assert!(after.weights.contains_key("fold.v0.0"), "{:?}", after.weights.keys());
    }
}

#[test]
fn columns_of_siblings_are_columns_of_one_product() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = param "w0" : f32[4, 1]
        %2 = matmul(%0, %1) : f32[rows, 1]
        %3 = param "w1" : f32[4, 1]
        %4 = matmul(%0, %3) : f32[rows, 1]
        %5 = concat(%2, %4) {axis=1} : f32[rows, 2]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = param "fold.w0.0" : f32[4, 2]
        %2 = matmul(%0, %1) : f32[rows, 2]"#,
    );
}

#[test]
fn chains_of_inner_rows_are_one_chain() {
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 5, 8]
        %1 = param "v0" : f32[8, 4]
        %2 = matmul(%0, %1) : f32[rows, 5, 4]
        %3 = exp(%2) : f32[rows, 5, 4]
        %4 = param "c0" : f32[4, 8]
        %5 = matmul(%3, %4) : f32[rows, 5, 8]
        %6 = param "v1" : f32[8, 4]
        %7 = matmul(%0, %6) : f32[rows, 5, 4]
        %8 = exp(%7) : f32[rows, 5, 4]
        %9 = param "c1" : f32[4, 8]
        %10 = matmul(%8, %9) : f32[rows, 5, 8]
        %11 = reduce_max(%5) {axes=[1]} : f32[rows, 1, 8]
        %12 = reduce_max(%10) {axes=[1]} : f32[rows, 1, 8]
        %13 = concat(%11, %12) {axis=2} : f32[rows, 1, 16]"#,
    ));
    assert_eq!(products(&after), 2, "{}", after.graph);
    let folds = names(&after.graph).iter().filter(|n| **n == "reduce_max").count();
    assert_eq!(folds, 1, "{}", after.graph);
}

#[test]
fn a_product_keeps_the_arithmetic_that_it_finishes_with() {
    // The second layers end in different inputs: they stay apart, and the first ones are still one.
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 8]
        %1 = input "y" : f32[rows, 8]
        %2 = param "v0" : f32[8, 4]
        %3 = matmul(%0, %2) : f32[rows, 4]
        %4 = exp(%3) : f32[rows, 4]
        %5 = param "c0" : f32[4, 8]
        %6 = matmul(%4, %5) : f32[rows, 8]
        %7 = mul(%6, %0) : f32[rows, 8]
        %8 = param "v1" : f32[8, 4]
        %9 = matmul(%0, %8) : f32[rows, 4]
        %10 = exp(%9) : f32[rows, 4]
        %11 = param "c1" : f32[4, 8]
        %12 = matmul(%10, %11) : f32[rows, 8]
        %13 = mul(%12, %1) : f32[rows, 8]
        %14 = concat(%7, %13) {axis=1} : f32[rows, 16]"#,
    ));
    assert_eq!(products(&after), 3, "{}", after.graph);
}

#[test]
fn products_with_different_ends_stay() {
    let g = r#"%0 = input "x" : f32[rows, 4]
        %1 = param "w0" : f32[4, 8]
        %2 = matmul(%0, %1) : f32[rows, 8]
        %3 = exp(%2) : f32[rows, 8]
        %4 = param "w1" : f32[4, 8]
        %5 = matmul(%0, %4) : f32[rows, 8]
        %6 = tanh(%5) : f32[rows, 8]
        %7 = concat(%3, %6) {axis=1} : f32[rows, 16]"#;
    becomes(g, g);
}

#[test]
fn large_products_stay() {
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 256]
        %1 = param "w0" : f32[256, 256]
        %2 = matmul(%0, %1) : f32[rows, 256]
        %3 = param "w1" : f32[256, 256]
        %4 = matmul(%0, %3) : f32[rows, 256]
        %5 = concat(%2, %4) {axis=1} : f32[rows, 512]"#,
    ));
    assert_eq!(products(&after), 2, "{}", after.graph);
}

#[test]
fn a_mixture_of_rows_is_a_fold_over_what_is_mixed() {
    let gates = |ends: &[usize]| {
        let next = ends[ends.len() - 1] + 1;
        let mut text = String::new();
        for (i, e) in ends.iter().enumerate() {
            let _ = writeln!(text, "%{} = reshape(%{e}) : f32[rows, 8, 1]", next + i);
        }
        let columns: Vec<usize> = (next..next + ends.len()).collect();
        let (g, y) = (next + ends.len() + 1, next + ends.len() + 2);
        text + &joined(&columns, 2, &format!("rows, 8, {}", ends.len()))
            + &format!(
                "\n%{g} = reshape(%3) : f32[rows, 3, 1]\n%{y} = matmul(%{}, %{g}) : f32[rows, 8, 1]",
                g - 1
            )
    };
    let after = check(&graph(&experts(3, 4, gates)));
    assert_eq!(products(&after), 2, "{}", after.graph);
    assert!(names(&after.graph).contains(&"reduce_sum"), "{}", after.graph);
}
