//! Row-locality: what keeps rows apart and what is refused.

use loopfm::ir::rows::{RowInfo, RowSpace, analyse};
use loopfm::ir::{Graph, parse};

fn graph(lines: &[&str]) -> Graph {
    let last = lines.len() - 1;
    let mut text = String::from("loopfm 1\n");
    for (i, line) in lines.iter().enumerate() {
        text += &format!("%{i} = {line}\n");
    }
    text += &format!("return \"y\" = %{last}\n");
    parse(&text).expect(&text)
}

fn last(lines: &[&str]) -> RowInfo {
    *analyse(&graph(lines)).expect("row-local").last().expect("a node")
}

fn refused(lines: &[&str]) -> String {
    analyse(&graph(lines)).expect_err("mixes rows").to_string()
}

fn info(space: RowSpace, axis: impl Into<Option<usize>>, factor: usize) -> RowInfo {
    RowInfo {
        space,
        axis: axis.into(),
        factor,
    }
}

#[test]
fn layouts_follow_the_axis() {
    let x = r#"input "x" : f32[rows, 4, 3]"#;
    let rows = RowSpace::Rows;
    assert_eq!(last(&[x]), info(rows, 0, 1));
    assert_eq!(last(&[x, "reshape(%0) : f32[12*rows]"]), info(rows, 0, 12));
    assert_eq!(
        last(&[x, "permute(%0) {perm=[1, 2, 0]} : f32[4, 3, rows]"]),
        info(rows, 2, 1)
    );
    let swapped = "permute(%0) {perm=[1, 0, 2]} : f32[4, rows, 3]";
    assert_eq!(last(&[x, swapped, "reshape(%1) : f32[2, 2, 3*rows]"]), info(rows, 2, 3));
}

#[test]
fn a_repeated_constant_is_constant() {
    let b = [r#"param "b" : f32[3]"#, "broadcast(%0) : f32[rows, 3]"];
    assert_eq!(last(&b), info(RowSpace::Const, 0, 1));
    assert_eq!(last(&b[..1]), info(RowSpace::Const, None, 1));
}

#[test]
fn requests_reach_rows_through_their_index_alone() {
    let x = r#"input "x" : f32[requests, 3]"#;
    let by = r#"input "request_of_row" : i32[rows]"#;
    let take = "gather(%0, %1) {axis=0} : f32[rows, 3]";
    assert_eq!(last(&[x, by, take]), info(RowSpace::Rows, 0, 1));
    let other = r#"input "neighbour" : i32[rows]"#;
    assert!(refused(&[x, other, take]).contains("only `request_of_row` may"));
    let own = r#"input "x" : f32[rows, 3]"#;
    assert!(refused(&[own, by, take]).contains("picks along axis 0 of [rows, 3]"));
}

#[test]
fn mixing_is_refused_with_node_and_scope() {
    let x = r#"input "x" : f32[rows, 4]"#;
    let torn = refused(&[
        x,
        "permute(%0) {perm=[1, 0]} : f32[4, rows]",
        r#"reshape(%1) : f32[rows, 4] @ "mix""#,
    ]);
    assert_eq!(torn, "%2 `reshape` of `mix`: [4, rows] to [rows, 4] tears rows apart");
    let columns = refused(&[
        r#"param "w" : f32[2, 4]"#,
        x,
        "permute(%1) {perm=[1, 0]} : f32[4, rows]",
        "matmul(%0, %2) : f32[2, rows]",
    ]);
    assert!(columns.contains("[4, rows] has rows as its columns"), "{columns}");
}
