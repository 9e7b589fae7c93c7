//! Products: normal form, concatenations, factors in weights, work per request.

use loopfm::ir::Graph;
use loopfm::simplify::flops;

use super::{BATCH, SHARED, becomes, check, graph, names};

#[test]
fn a_repeated_weight_is_a_matrix() {
    becomes(
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = param "w" : f32[1, 4, 3]
        %2 = broadcast(%1) : f32[rows, 4, 3]
        %3 = matmul(%0, %2) : f32[rows, 5, 3]"#,
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = param "fold.w.0" : f32[4, 3]
        %2 = matmul(%0, %1) : f32[rows, 5, 3]"#,
    );
}

#[test]
fn a_weight_on_the_left_moves_to_the_right() {
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 4, 5]
        %1 = param "w" : f32[3, 4]
        %2 = broadcast(%1) : f32[rows, 3, 4]
        %3 = matmul(%2, %0) : f32[rows, 3, 5]"#,
    ));
    assert_eq!(names(&after.graph), ["input", "matmul", "param", "permute", "permute"]);
}

#[test]
fn reshapes_around_a_linear_layer_vanish() {
    becomes(
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = reshape(%0) : f32[5*rows, 4]
        %2 = param "w" : f32[4, 3]
        %3 = matmul(%1, %2) : f32[5*rows, 3]
        %4 = exp(%3) : f32[5*rows, 3]
        %5 = reshape(%4) : f32[rows, 5, 3]"#,
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = param "w" : f32[4, 3]
        %2 = matmul(%0, %1) : f32[rows, 5, 3]
        %3 = exp(%2) : f32[rows, 5, 3]"#,
    );
}

#[test]
fn an_outer_product_needs_no_loop() {
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 1]
        %1 = param "w" : f32[1, 3]
        %2 = matmul(%0, %1) : f32[rows, 3]"#,
    ));
    assert_eq!(flops(&after.graph, BATCH), 0);
}

#[test]
fn a_repeated_row_is_multiplied_once() {
    let after = check(&graph(
        r#"%0 = input "q" : f32[rows, 4]
        %1 = reshape(%0) : f32[rows, 1, 4]
        %2 = broadcast(%1) : f32[rows, 50, 4]
        %3 = exp(%2) : f32[rows, 50, 4]
        %4 = param "w" : f32[4, 3]
        %5 = matmul(%3, %4) : f32[rows, 50, 3]"#,
    ));
    assert_eq!(flops(&after.graph, BATCH), 512 * 2 * 4 * 3);
}

/// A history's rows by their scores and summed, with scores `w` from a product of `k`.
fn pooled(k: &str, w: &str, x: &str, rest: &str) -> Graph {
    graph(&format!(
        r#"%0 = input "k" : f32[rows, {k}]
        %1 = input "x" : f32[rows, {x}]
        %2 = param "v" : f32[8, 1]
        %3 = matmul(%0, %2) : f32[rows, {w}]
        {rest}"#
    ))
}

#[test]
fn rows_weighed_by_scores_are_a_product() {
    for product in ["mul(%5, %1)", "mul(%1, %5)"] {
        let before = pooled(
            "5, 8",
            "5, 1",
            "5, 4",
            &format!(
                r#"%4 = sigmoid(%3) : f32[rows, 5, 1]
                %5 = broadcast(%4) : f32[rows, 5, 4]
                %6 = {product} : f32[rows, 5, 4]
                %7 = reduce_sum(%6) {{axes=[1]}} : f32[rows, 1, 4]"#
            ),
        );
        let after = check(&before).graph;
        assert_eq!(names(&after).iter().filter(|n| **n == "matmul").count(), 2, "{after}");
        assert!(!names(&after).contains(&"reduce_sum"), "{after}");
    }
    // By numbers that all heads share, and by those of each head.
    for (k, w, x) in [("1, 5, 8", "1, 5, 1", "3, 5, 4"), ("3, 5, 8", "3, 5, 1", "1, 5, 4")] {
        let before = pooled(
            k,
            w,
            x,
            r#"%4 = broadcast(%3) : f32[rows, 3, 5, 4]
            %5 = broadcast(%1) : f32[rows, 3, 5, 4]
            %6 = mul(%4, %5) : f32[rows, 3, 5, 4]
            %7 = reduce_sum(%6) {axes=[2]} : f32[rows, 3, 1, 4]"#,
        );
        let after = check(&before).graph;
        assert!(!names(&after).contains(&"reduce_sum"), "{after}");
    }
}

#[test]
fn other_sums_of_products_stay() {
    let sum = |mul: &str| {
        format!(
            r#"%4 = broadcast(%3) : f32[rows, 5, 4]
            {mul}"#
        )
    };
    // Rows that are made as they are summed; sums over columns, too.
    let made = r#"%5 = exp(%1) : f32[rows, 5, 4]
        %6 = mul(%4, %5) : f32[rows, 5, 4]
        %7 = reduce_sum(%6) {axes=[1]} : f32[rows, 1, 4]"#;
    let columns = r#"%5 = mul(%4, %1) : f32[rows, 5, 4]
        %6 = reduce_sum(%5) {axes=[1, 2]} : f32[rows, 1, 1]"#;
    let kept = [made, columns].map(|rest| pooled("5, 8", "5, 1", "5, 4", &sum(rest)));
    // Numbers that no product made, constant ones, one for each element.
    let others = [("5, 1", "%0"), ("5, 4", "%0")].map(|(w, from)| {
        let weights = if w == "5, 4" { from } else { "%2" };
        graph(&format!(
            r#"%0 = input "w" : f32[rows, {w}]
            %1 = input "x" : f32[rows, 5, 4]
            %2 = broadcast(%0) : f32[rows, 5, 4]
            %3 = mul({weights}, %1) : f32[rows, 5, 4]
            %4 = reduce_sum(%3) {{axes=[1]}} : f32[rows, 1, 4]"#
        ))
    });
    for g in kept.into_iter().chain(others) {
        let after = check(&g).graph;
        assert!(names(&after).contains(&"reduce_sum"), "{after}");
    }
}

/// Target attention's first layer on `[q, k, q - k, q k]`, with or without a history per request.
fn attention(history: &str) -> Graph {
    graph(&format!(
        r#"%0 = input "q" : f32[rows, 8]
        {history}
        %4 = reshape(%0) : f32[rows, 1, 8]
        %5 = broadcast(%4) : f32[rows, 50, 8]
        %6 = sub(%5, %3) : f32[rows, 50, 8]
        %7 = mul(%5, %3) : f32[rows, 50, 8]
        %8 = concat(%5, %3, %6, %7) {{axis=2}} : f32[rows, 50, 32]
        %9 = param "w" : f32[32, 8]
        %10 = matmul(%8, %9) : f32[rows, 50, 8]
        %11 = param "b" : f32[8]
        %12 = broadcast(%11) : f32[rows, 50, 8]
        %13 = add(%10, %12) : f32[rows, 50, 8]"#
    ))
}

const OWN: &str = r#"%1 = input "k" : f32[rows, 50, 8]
        %2 = const 1.0 : f32[]
        %3 = exp(%1) : f32[rows, 50, 8]"#;

const PER_REQUEST: &str = r#"%1 = input "k" : f32[requests, 50, 8]
        %2 = input "request_of_row" : i32[rows]
        %3 = gather(%1, %2) {axis=0} : f32[rows, 50, 8]"#;

#[test]
fn target_attention_takes_one_product_per_position() {
    for history in [OWN, PER_REQUEST] {
        let before = attention(history);
        let after = check(&before).graph;
        for sizes in [BATCH, SHARED] {
            let rows = sizes.rows as u64;
            // As written [50, 32] x [32, 8]; then [50, 8] x [8, 8] and q [8] x [8, 8].
            assert_eq!(flops(&before, sizes), rows * 50 * 2 * 32 * 8);
            assert_eq!(flops(&after, sizes), rows * (50 + 1) * 2 * 8 * 8, "{after}");
        }
        // The bias is added to q's part, once per row.
        let bias = after
            .iter()
            .find(|(v, n)| n.op.name() == "add" && after.shape(*v).rank() == 2);
        assert!(bias.is_some(), "{after}");
    }
}

#[test]
fn a_concatenation_in_one_space_stays() {
    let g = r#"%0 = input "x" : f32[rows, 4]
        %1 = input "y" : f32[rows, 2]
        %2 = concat(%0, %1) {axis=1} : f32[rows, 6]
        %3 = param "w" : f32[6, 3]
        %4 = matmul(%2, %3) : f32[rows, 3]"#;
    becomes(g, g);
}

#[test]
fn parts_of_the_request_are_multiplied_per_request() {
    let after = check(&graph(
        r#"%0 = input "user" : f32[requests, 64]
        %1 = input "request_of_row" : i32[rows]
        %2 = gather(%0, %1) {axis=0} : f32[rows, 64]
        %3 = input "item" : f32[rows, 64]
        %4 = concat(%2, %3) {axis=1} : f32[rows, 128]
        %5 = param "w" : f32[128, 32]
        %6 = matmul(%4, %5) : f32[rows, 32]"#,
    ));
    assert_eq!(flops(&after.graph, SHARED), (500 + 1) * 2 * 64 * 32, "{}", after.graph);
    assert_eq!(flops(&after.graph, BATCH), 512 * 2 * 128 * 32);
}

#[test]
fn a_user_tower_runs_per_request() {
    let after = check(&graph(
        r#"%0 = input "id" : i32[requests]
        %1 = input "request_of_row" : i32[rows]
        %2 = gather(%0, %1) {axis=0} : i32[rows]
        %3 = param "table" : f32[9, 64]
        %4 = gather(%3, %2) {axis=0} : f32[rows, 64]
        %5 = param "w" : f32[64, 32]
        %6 = matmul(%4, %5) : f32[rows, 32]
        %7 = tanh(%6) : f32[rows, 32]
        %8 = input "item" : f32[rows, 32]
        %9 = mul(%7, %8) : f32[rows, 32]
        %10 = reduce_sum(%9) {axes=[1]} : f32[rows, 1]"#,
    ));
    assert_eq!(
        flops(&after.graph, SHARED),
        2 * 64 * 32 + 500 * 2 * 32,
        "{}",
        after.graph
    );
    // The activation crosses, not what it is made of.
    let text = after.graph.to_string();
    assert!(text.contains("tanh") && text.contains(": f32[requests, 32]"), "{text}");
}

#[test]
fn a_lookup_of_the_request_stays_with_the_rows() {
    let g = r#"%0 = input "id" : i32[requests]
        %1 = input "request_of_row" : i32[rows]
        %2 = gather(%0, %1) {axis=0} : i32[rows]
        %3 = param "table" : f32[9, 64]
        %4 = gather(%3, %2) {axis=0} : f32[rows, 64]
        %5 = exp(%4) : f32[rows, 64]"#;
    becomes(g, g);
}
