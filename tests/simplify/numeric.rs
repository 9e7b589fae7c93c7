//! Numeric features beside what they are concatenated with.

use super::{becomes, check, graph, names};

#[test]
fn an_embedded_number_leaves_the_product() {
    becomes(
        r#"%0 = input "x" : f32[rows, 4]
        %1 = exp(%0) : f32[rows, 4]
        %2 = input "seconds" : f32[rows]
        %3 = reshape(%2) : f32[rows, 1]
        %4 = broadcast(%3) : f32[rows, 3]
        %5 = param "scale" : f32[3]
        %6 = broadcast(%5) : f32[rows, 3]
        %7 = mul(%4, %6) : f32[rows, 3]
        %8 = concat(%7, %1) {axis=1} : f32[rows, 7]
        %9 = param "w" : f32[7, 2]
        %10 = matmul(%8, %9) : f32[rows, 2]"#,
        r#"%0 = input "x" : f32[rows, 4]
        %1 = exp(%0) : f32[rows, 4]
        %2 = input "seconds" : f32[rows]
        %3 = reshape(%2) : f32[rows, 1]
        %4 = param "fold.scale.0" : f32[2]
        %5 = broadcast(%3) : f32[rows, 2]
        %6 = broadcast(%4) : f32[rows, 2]
        %7 = mul(%5, %6) : f32[rows, 2]
        %8 = param "fold.w.0" : f32[4, 2]
        %9 = matmul(%1, %8) : f32[rows, 2]
        %10 = add(%9, %7) : f32[rows, 2]"#,
    );
}

#[test]
fn a_column_of_an_input_leaves_the_product_with_its_normalisation() {
    let after = check(&graph(
        r#"%0 = input "x" : f32[rows, 5]
        %1 = slice(%0) {axis=1, start=0, stop=4, step=1} : f32[rows, 4]
        %2 = exp(%1) : f32[rows, 4]
        %3 = slice(%0) {axis=1, start=4, stop=5, step=1} : f32[rows, 1]
        %4 = concat(%2, %3) {axis=1} : f32[rows, 5]
        %5 = param "w" : f32[5, 4]
        %6 = matmul(%4, %5) : f32[rows, 4]
        %7 = param "deviation" : f32[4]
        %8 = broadcast(%7) : f32[rows, 4]
        %9 = mul(%6, %8) : f32[rows, 4]
        %10 = tanh(%9) : f32[rows, 4]"#,
    ));
    let muls = names(&after.graph).iter().filter(|n| **n == "mul").count();
    assert_eq!(muls, 1, "the feature's, none of the normalisation\n{}", after.graph);
    assert!(after.weights.values().any(|w| w.shape == [4, 4]), "{}", after.graph);
}

#[test]
fn many_numbers_are_a_matrix() {
    let columns: Vec<String> = (0..5).map(|i| format!("%{}", i + 2)).collect();
    let slices: Vec<String> = (0..5)
        .map(|i| {
            let at = (2 * i, 2 * i + 1);
            format!(
                "%{} = slice(%1) {{axis=1, start={}, stop={}, step=1}} : f32[rows, 1]",
                i + 2,
                at.0,
                at.1
            )
        })
        .collect();
    let after = check(&graph(&format!(
        "%0 = input \"x\" : f32[rows, 4]\n%1 = input \"numbers\" : f32[rows, 9]\n{}\n\
         %7 = exp(%0) : f32[rows, 4]\n%8 = concat({}, %7) {{axis=1}} : f32[rows, 9]\n\
         %9 = param \"w\" : f32[9, 2]\n%10 = matmul(%8, %9) : f32[rows, 2]",
        slices.join("\n"),
        columns.join(", ")
    )));
    assert!(after.weights.contains_key("w"), "{}", after.graph);
}
