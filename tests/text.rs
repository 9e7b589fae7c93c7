//! The text form: exact on random graphs, and a line and a reason for every text that is no graph.

use crate::support::graphs::{self, for_random};
use crate::support::rng::Rng;
use loopfm::interp;
use loopfm::ir::{self, rows};
use loopfm::tensor::{Sizes, Tensors};

#[test]
fn random_graphs_are_row_local_and_read_back_as_written() {
    for_random(60, |case| {
        ir::verify(&case.graph).map_err(|e| e.to_string())?;
        rows::analyse(&case.graph).map_err(|e| e.to_string())?;
        let text = case.graph.to_string();
        let read = ir::parse(&text).map_err(|e| e.to_string())?;
        if read == case.graph && read.to_string() == text {
            Ok(())
        } else {
            Err(format!("reads back as\n{read}"))
        }
    });
    for seed in 0..4 {
        for case in [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)] {
            rows::analyse(&case.graph).unwrap_or_else(|e| panic!("{e}\n{case}"));
            assert_eq!(ir::parse(&case.graph.to_string()).as_ref(), Ok(&case.graph), "{case}");
        }
    }
}

/// Lines between the header and a `return` of the last node, and what is said of them.
const HOSTILE: &[(&[&str], &str)] = &[
    (&["x"], "line 2: expected `%` before `x`"),
    (&["%1 = iota : i32[2]"], "line 2: expected %0, found %1"),
    (&["%0 iota : i32[2]"], "line 2: expected `=` before `iota : i32[2]`"),
    (&["%0 = "], "line 2: expected a name before ``"),
    (
        &["%99999999999999999999 = iota : i32[2]"],
        "line 2: expected a number before `99999999999999999999= iota : i32[2]`",
    ),
    (&["%0 = iota : i32[2] x"], "line 2: `x` is left over"),
    (&["%0 = iota : f16[2]"], "line 2: unknown element type `f16`"),
    (&["%0 = iota : i32[n]"], "line 2: `n` is no extent"),
    (&["%0 = iota : i32[-1]"], "line 2: `` is no extent"),
    (&["%0 = iota : i32[2"], "line 2: expected `,` before ``"),
    (&["%0 = iota : i32[,2]"], "line 2: `` is no extent"),
    (
        &["%0 = iota : i32[rows]"],
        "line 2: `iota` of (): is i32 of rank 1 and fixed extent",
    ),
    (&["%0 = iota"], "line 2: expected `:` before ``"),
    (&["%0 = input \"x\" : f32[1*rows]"], "line 2: `1*rows` is no extent"),
    (
        &["%0 = input \"x\" : f32[rows, requests]"],
        "line 2: `input` of (): f32[rows, requests] has more than one symbolic extent",
    ),
    (
        &["%0 = input x : f32[2]"],
        "line 2: expected a string before `x : f32[2]`",
    ),
    (
        &["%0 = input \"x : f32[2]"],
        "line 2: expected a string before `\"x : f32[2]`",
    ),
    (
        &["%0 = input \"x\" : f32[2]", "%1 = param \"x\" : f32[2]"],
        "line 3: `x` is defined twice",
    ),
    (
        &["%0 = param \"w\" : f32[rows]"],
        "line 2: `param` of (): a parameter has fixed extents",
    ),
    (
        &["%0 = const 1.5 : i32[]"],
        "line 2: `1.5` is no constant of type `i32[]`",
    ),
    (
        &["%0 = const 2147483648 : i32[]"],
        "line 2: `2147483648` is no constant of type `i32[]`",
    ),
    (
        &["%0 = const 1 : bool[]"],
        "line 2: `1` is no constant of type `bool[]`",
    ),
    (&["%0 = const 1.0"], "line 2: a constant has a value and a type"),
    (
        &["%0 = const 1.0 : f32[1]"],
        "line 2: `const` of (): declared f32[1], is f32[]",
    ),
    (&["%0 = neg(%0) : f32[]"], "line 2: %0 is not defined yet"),
    (
        &["%0 = neg(%1) : f32[]", "%1 = const 1.0 : f32[]"],
        "line 2: %1 is not defined yet",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = frobnicate(%0) : f32[]"],
        "line 3: unknown op `frobnicate`",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = neg(%0 : f32[]"],
        "line 3: expected `,` before `: f32[]`",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = neg %0 : f32[]"],
        "line 3: expected `(` before `%0 : f32[]`",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = neg() : f32[]"],
        "line 3: `neg` of (): takes 1 operands, got 0",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = add(%0) : f32[]"],
        "line 3: `add` of (f32[]): takes 2 operands, got 1",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = neg(%0) : i32[]"],
        "line 3: `neg` of (f32[]): declared i32[], is f32[]",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = const 1.0 : f32[]"],
        "line 3: %1 repeats %0",
    ),
    (
        &["%0 = const 1.0 : f32[]", "%1 = concat() {axis=0} : f32[]"],
        "line 3: `concat` of (): takes 1 operands, got 0",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = slice(%0) : i32[4]"],
        "line 3: expected `{` before `: i32[4]`",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = slice(%0) {start=0} : i32[4]"],
        "line 3: expected `axis` before `start=0} : i32[4]`",
    ),
    (
        &[
            "%0 = iota : i32[4]",
            "%1 = slice(%0) {axis=0, start=0, stop=5, step=1} : i32[5]",
        ],
        "line 3: `slice` of (i32[4]): 0..5 step 1 of 4",
    ),
    (
        &[
            "%0 = iota : i32[4]",
            "%1 = slice(%0) {axis=0, start=0, stop=4, step=0} : i32[4]",
        ],
        "line 3: `slice` of (i32[4]): 0..4 step 0 of 4",
    ),
    (
        &[
            "%0 = iota : i32[4]",
            "%1 = slice(%0) {axis=1, start=0, stop=4, step=1} : i32[4]",
        ],
        "line 3: `slice` of (i32[4]): i32[4] has no axis 1",
    ),
    (
        &[
            "%0 = iota : i32[4]",
            "%1 = slice(%0) {axis=0, start=0, stop=4, step=1 : i32[4]",
        ],
        "line 3: expected `}` before `: i32[4]`",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = permute(%0) {perm=[0, 0]} : i32[4]"],
        "line 3: `permute` of (i32[4]): [0, 0] is no permutation of its axes",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = permute(%0) {perm=0} : i32[4]"],
        "line 3: expected `[` before `0} : i32[4]`",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = reduce_sum(%0) {axes=[]} : i32[1]"],
        "line 3: `reduce_sum` of (i32[4]): axes [] must ascend",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = reduce_mean(%0) {axes=[0]} : i32[1]"],
        "line 3: unknown op `reduce_mean`",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = reshape(%0) : i32[3]"],
        "line 3: `reshape` of (i32[4]): does not hold the elements of i32[3]",
    ),
    (
        &["%0 = iota : i32[4]", "%1 = broadcast(%0) : i32[4, 1]"],
        "line 3: `broadcast` of (i32[4]): does not broadcast to i32[4, 1]",
    ),
    (
        &["%0 = iota : i32[4] @ scope"],
        "line 2: expected a string before `scope`",
    ),
    (
        &["%0 = iota : i32[4]", "return \"y\" = %0"],
        "line 4: text after `return`",
    ),
];

#[test]
fn a_text_that_is_no_graph_is_refused_with_line_and_reason() {
    for (lines, want) in HOSTILE {
        let text = format!("loopfm 1\n{}\nreturn \"y\" = %{}\n", lines.join("\n"), lines.len() - 1);
        let said = ir::parse(&text).map(|g| g.to_string()).expect_err(&text).to_string();
        assert_eq!(said, format!("graph text, {want}"), "{text}");
    }
}

#[test]
fn no_text_overflows() {
    let x = "%0 = input \"x\" : f32";
    for (first, second, want) in [
        (
            "[4294967296, 4294967296]",
            "%1 = iota : i32[1]",
            "more than 2147483648 elements",
        ),
        (
            "[4294967296, 4294967296, 0]",
            "%1 = iota : i32[1]",
            "more than 2147483648 elements",
        ),
        (
            "[18446744073709551615*rows]",
            "%1 = iota : i32[1]",
            "more than 2147483648 elements",
        ),
        (
            "[2]",
            "%1 = reshape(%0) : f32[9223372036854775808, 2]",
            "more than 2147483648 elements",
        ),
        (
            "[2]",
            "%1 = broadcast(%0) : f32[2147483648, 2]",
            "more than 2147483648 elements",
        ),
        (
            "[2]",
            "%1 = gather(%0, %0) {axis=18446744073709551615} : f32[2]",
            "has no axis",
        ),
        (
            "[2]",
            "%1 = slice(%0) {axis=0, start=0, stop=2, step=18446744073709551615} : f32[1]",
            "0..2 step",
        ),
    ] {
        let text = format!("loopfm 1\n{x}{first}\n{second}\nreturn \"y\" = %0\n");
        let said = ir::parse(&text).expect_err(&text).to_string();
        assert!(said.contains(want), "{said}");
    }
    // A stride beyond the axis takes its first element.
    let text = "loopfm 1\n%0 = iota : i32[2]\n\
        %1 = slice(%0) {axis=0, start=0, stop=2, step=2147483648} : i32[1]\nreturn \"y\" = %1\n";
    let graph = ir::parse(text).expect(text);
    let y = interp::eval::<f32>(&graph, &Tensors::new(), &Tensors::new(), Sizes::ONE).expect(text);
    assert_eq!(y["y"].ints(), [0]);
}

#[test]
fn a_text_without_its_first_or_last_line_is_refused() {
    let table = [
        ("", "line 1: expected `loopfm 1`, found ``"),
        ("loopfm 2\nreturn", "line 1: expected `loopfm 1`, found `loopfm 2`"),
        ("loopfm 1", "line 1: no `return` line"),
        ("loopfm 1\n%0 = iota : i32[4]\n", "line 2: no `return` line"),
        ("loopfm 1\nreturn\n", "line 2: expected a string before ``"),
        ("loopfm 1\nreturn \"y\"\n", "line 2: expected `=` before ``"),
        ("loopfm 1\nreturn \"y\" = %0\n", "line 2: %0 is not defined yet"),
        (
            "loopfm 1\n%0 = iota : i32[4]\nreturn \"y\" = %0, \"y\" = %0\n",
            "line 3: output `y` is returned twice",
        ),
        (
            "loopfm 1\n%0 = iota : i32[4]\nreturn \"y\" = %0,\n",
            "line 3: expected a string before ``",
        ),
    ];
    for (text, want) in table {
        let said = ir::parse(text).map(|g| g.to_string()).expect_err(text).to_string();
        assert_eq!(said, format!("graph text, {want}"), "{text}");
    }
}

#[test]
fn names_and_constants_survive() {
    let text = "loopfm 1\n\
        %0 = input \"a \\\"b\\\"\\n\\u0000 = %1 : \u{e9}\" : f32[rows, 2] @ \"x.0 @ \\\"y\\\"\"\n\
        %1 = const 1e-9 : f32[]\n%2 = const -inf : f32[]\n%3 = const NaN : f32[]\n%4 = const -0.0 : f32[]\n\
        %5 = const 3.4028235e38 : f32[]\n%6 = const -2147483648 : i32[]\n%7 = const false : bool[]\n\
        %8 = const 1e-45 : f32[]\n%9 = const 0.0 : f32[]\n\
        return \"a \\\"b\\\"\" = %0\n";
    let graph = ir::parse(text).expect(text);
    assert_eq!(graph.to_string(), text);
    // Any decimal float is read; the shortest is written.
    let long = "loopfm 1\n%0 = const 0.1000000014901161 : f32[]\nreturn \"y\" = %0\n";
    assert!(ir::parse(long).expect(long).to_string().contains("const 0.1 : f32[]"));
}

#[test]
fn mangled_texts_are_read_or_refused() {
    let mut rng = Rng(7);
    for seed in 0..40 {
        let text = graphs::random(seed, 6).graph.to_string();
        for _ in 0..50 {
            let mut bytes = text.clone().into_bytes();
            let at = rng.below(bytes.len());
            match rng.below(4) {
                0 => bytes[at] = rng.pick(b"%=(){}[],:@\"\\\n09arx*- "),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, rng.pick(b"%=(){}[],:@\"\\\n09arx*- ")),
                _ => bytes.truncate(at),
            }
            // Whatever is read is a graph: it is written and read again as the same.
            if let Ok(graph) = ir::parse(&String::from_utf8_lossy(&bytes)) {
                assert_eq!(ir::parse(&graph.to_string()).as_ref(), Ok(&graph), "{graph}");
            }
        }
    }
}
