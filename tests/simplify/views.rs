//! Views, scalar algebra, sinking, folding.

use super::{becomes, check, graph};

const UNCHANGED: &str = r#"%0 = input "x" : f32[rows, 4]"#;

#[test]
fn views_compose() {
    becomes(
        r#"%0 = input "x" : f32[rows, 2, 3]
        %1 = reshape(%0) : f32[rows, 6]
        %2 = reshape(%1) : f32[rows, 3, 2]
        %3 = permute(%2) {perm=[0, 2, 1]} : f32[rows, 2, 3]
        %4 = permute(%3) {perm=[2, 0, 1]} : f32[3, rows, 2]"#,
        r#"%0 = input "x" : f32[rows, 2, 3]
        %1 = reshape(%0) : f32[rows, 3, 2]
        %2 = permute(%1) {perm=[1, 0, 2]} : f32[3, rows, 2]"#,
    );
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = reshape(%0) : f32[rows, 1, 4]
        %2 = permute(%1) {perm=[1, 0, 2]} : f32[1, rows, 4]
        %3 = reshape(%2) : f32[rows, 4]"#,
        UNCHANGED,
    );
    becomes(
        r#"%0 = input "x" : f32[rows, 1, 4]
        %1 = broadcast(%0) : f32[rows, 3, 4]
        %2 = reshape(%1) : f32[rows, 3, 4, 1]
        %3 = broadcast(%2) : f32[rows, 3, 4, 2]"#,
        r#"%0 = input "x" : f32[rows, 1, 4]
        %1 = reshape(%0) : f32[rows, 1, 4, 1]
        %2 = broadcast(%1) : f32[rows, 3, 4, 2]"#,
    );
}

#[test]
fn slices_and_concatenations_cancel() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = slice(%0) {axis=1, start=0, stop=3, step=1} : f32[rows, 3]
        %2 = slice(%0) {axis=1, start=3, stop=4, step=1} : f32[rows, 1]
        %3 = concat(%1, %2) {axis=1} : f32[rows, 4]"#,
        UNCHANGED,
    );
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = input "y" : f32[rows, 3]
        %2 = concat(%1, %0, %1) {axis=1} : f32[rows, 10]
        %3 = slice(%2) {axis=1, start=2, stop=9, step=1} : f32[rows, 7]
        %4 = slice(%3) {axis=1, start=1, stop=5, step=1} : f32[rows, 4]
        %5 = exp(%4) : f32[rows, 4]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = input "y" : f32[rows, 3]
        %2 = exp(%0) : f32[rows, 4]"#,
    );
}

#[test]
fn unused_inputs_stay() {
    let kept = check(&graph(
        r#"%0 = input "unused" : i32[rows]
        %1 = param "unread" : f32[4]
        %2 = input "x" : f32[rows, 4]
        %3 = exp(%2) : f32[rows, 4]
        %4 = neg(%2) : f32[rows, 4]
        %5 = neg(%4) : f32[rows, 4]"#,
    ));
    assert_eq!(kept.graph.len(), 2);
    assert!(kept.weights.is_empty());
}

#[test]
fn constants_fold_into_named_parameters() {
    let folded = check(&graph(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = param "w" : f32[3, 4]
        %2 = permute(%1) {perm=[1, 0]} : f32[4, 3]
        %3 = exp(%2) : f32[4, 3]
        %4 = matmul(%0, %3) : f32[rows, 3]
        %5 = const 2.0 : f32[]
        %6 = sqrt(%5) : f32[]
        %7 = broadcast(%6) : f32[rows, 3]
        %8 = max(%4, %7) : f32[rows, 3]"#,
    ));
    assert_eq!(folded.weights.keys().collect::<Vec<_>>(), ["fold.w.0"]);
    assert_eq!(folded.graph.len(), 6);
}

#[test]
fn a_large_table_read_twice_is_not_copied() {
    let tied = check(&graph(
        r#"%0 = input "id" : i32[rows]
        %1 = param "table" : f32[20000, 4]
        %2 = gather(%1, %0) {axis=0} : f32[rows, 4]
        %3 = permute(%1) {perm=[1, 0]} : f32[4, 20000]
        %4 = matmul(%2, %3) : f32[rows, 20000]"#,
    ));
    assert_eq!(tied.weights.keys().collect::<Vec<_>>(), ["table"]);
}

#[test]
fn a_flattened_concatenation_is_flat() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = input "y" : f32[rows, 2, 4]
        %2 = reshape(%0) : f32[rows, 1, 4]
        %3 = concat(%2, %1) {axis=1} : f32[rows, 3, 4]
        %4 = reshape(%3) : f32[rows, 12]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = input "y" : f32[rows, 2, 4]
        %2 = reshape(%1) : f32[rows, 8]
        %3 = concat(%0, %2) {axis=1} : f32[rows, 12]"#,
    );
}

#[test]
fn views_sink_below_arithmetic() {
    // A permuted history, normalised by its own mean over the features, and back.
    becomes(
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = permute(%0) {perm=[0, 2, 1]} : f32[rows, 4, 5]
        %2 = reduce_sum(%1) {axes=[1]} : f32[rows, 1, 5]
        %3 = broadcast(%2) : f32[rows, 4, 5]
        %4 = sub(%1, %3) : f32[rows, 4, 5]
        %5 = tanh(%4) : f32[rows, 4, 5]
        %6 = permute(%5) {perm=[0, 2, 1]} : f32[rows, 5, 4]"#,
        r#"%0 = input "x" : f32[rows, 5, 4]
        %1 = reduce_sum(%0) {axes=[2]} : f32[rows, 5, 1]
        %2 = broadcast(%1) : f32[rows, 5, 4]
        %3 = sub(%0, %2) : f32[rows, 5, 4]
        %4 = tanh(%3) : f32[rows, 5, 4]"#,
    );
}

#[test]
fn a_fold_of_what_repeats_is_no_loop() {
    becomes(
        r#"%0 = input "x" : f32[rows, 1, 4]
        %1 = broadcast(%0) : f32[rows, 5, 4]
        %2 = reduce_sum(%1) {axes=[1]} : f32[rows, 1, 4]"#,
        r#"%0 = input "x" : f32[rows, 1, 4]
        %1 = const 5.0 : f32[]
        %2 = broadcast(%1) : f32[rows, 1, 4]
        %3 = mul(%0, %2) : f32[rows, 1, 4]"#,
    );
    becomes(
        r#"%0 = input "x" : f32[rows, 1, 4]
        %1 = broadcast(%0) : f32[rows, 5, 4]
        %2 = reduce_max(%1) {axes=[1]} : f32[rows, 1, 4]
        %3 = exp(%2) : f32[rows, 1, 4]"#,
        r#"%0 = input "x" : f32[rows, 1, 4]
        %1 = exp(%0) : f32[rows, 1, 4]"#,
    );
}

#[test]
fn positions_looked_up_in_a_table_are_a_parameter() {
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 3, 4]
        %1 = iota : i32[3]
        %2 = broadcast(%1) : i32[rows, 3]
        %3 = param "positions" : f32[9, 4]
        %4 = gather(%3, %2) {axis=0} : f32[rows, 3, 4]
        %5 = add(%0, %4) : f32[rows, 3, 4]"#,
    ));
    assert_eq!(after.weights.keys().collect::<Vec<_>>(), ["fold.positions.0"]);
}

#[test]
fn scalars_cancel() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = const 0.0 : f32[]
        %2 = broadcast(%1) : f32[rows, 4]
        %3 = const 1.0 : f32[]
        %4 = broadcast(%3) : f32[rows, 4]
        %5 = add(%2, %0) : f32[rows, 4]
        %6 = mul(%5, %4) : f32[rows, 4]
        %7 = div(%6, %4) : f32[rows, 4]
        %8 = neg(%7) : f32[rows, 4]
        %9 = sub(%2, %8) : f32[rows, 4]
        %10 = lt(%1, %3) : bool[]
        %11 = broadcast(%10) : bool[rows, 4]
        %12 = select(%11, %9, %8) : f32[rows, 4]
        %13 = const 2.0 : f32[]
        %14 = broadcast(%13) : f32[rows, 4]
        %15 = pow(%12, %14) : f32[rows, 4]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = mul(%0, %0) : f32[rows, 4]"#,
    );
}

#[test]
fn one_division_serves_all_that_share_it() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = reduce_sum(%0) {axes=[1]} : f32[rows, 1]
        %2 = broadcast(%1) : f32[rows, 4]
        %3 = div(%0, %2) : f32[rows, 4]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = reduce_sum(%0) {axes=[1]} : f32[rows, 1]
        %2 = recip(%1) : f32[rows, 1]
        %3 = broadcast(%2) : f32[rows, 4]
        %4 = mul(%0, %3) : f32[rows, 4]"#,
    );
}
