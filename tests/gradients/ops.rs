//! Every op, in shapes with and without rows.

use loopfm::ir::{Binary, Graph, Unary};
use loopfm::tensor::{DType, Data, HostTensor, Sizes, Tensors};

use super::check::{Seen, Subject, leaves};
use crate::support::by_hand::graph;
use crate::support::rng::Rng;

/// Rows and requests of every batch here.
pub(super) const SIZES: Sizes = Sizes { rows: 3, requests: 2 };

/// A batch for a graph, its elements by the first letter of an input's name: `p` is positive, `i` is an index below the
/// number that follows, `m` a truth value, any other float is of either sign and not near 0.
pub(super) fn batch(g: &Graph, seed: u64) -> Tensors {
    let mut rng = Rng(seed);
    let draw = |(_, name, ty): (_, &str, &loopfm::ir::TensorType)| {
        let n = ty.shape.numel(SIZES);
        let away = |rng: &mut Rng| (0.1 + 1.4 * rng.unit().abs(), rng.one_in(2));
        let data = match (name.as_bytes()[0], ty.dtype) {
            (b'i', _) => {
                let digits: String = name[1..].chars().take_while(char::is_ascii_digit).collect();
                Data::I32(rng.ids(n, digits.parse().expect("a number of indices")))
            }
            (_, DType::I32) => Data::I32(rng.ids(n, SIZES.requests)),
            (_, DType::Bool) => Data::Bool((0..n).map(|_| rng.one_in(2)).collect()),
            (b'p', DType::F32) => Data::F32((0..n).map(|_| away(&mut rng).0).collect()),
            (_, DType::F32) => {
                let signed = |(x, negative): (f32, bool)| if negative { -x } else { x };
                Data::F32((0..n).map(|_| signed(away(&mut rng))).collect())
            }
        };
        let shape = ty.shape.at(SIZES);
        (name.to_owned(), HostTensor { shape, data })
    };
    g.inputs().map(draw).collect()
}

/// Checks the gradients of a graph by all its float inputs.
pub(super) fn check(g: &Graph, name: &str) -> Seen {
    let batch = batch(g, name.len() as u64);
    let subject = Subject::new(name, g, (&Tensors::new(), &batch, SIZES), leaves(g));
    let seen = subject.check().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(seen.kinks, 0, "{subject}");
    seen
}

/// Cases so far, each a gradient by one input of one graph.
#[derive(Default)]
struct Total {
    cases: usize,
    seen: Seen,
}

impl Total {
    fn check(&mut self, nodes: &[&str]) {
        let g = graph(nodes);
        self.cases += leaves(&g).len();
        self.seen.add(check(&g, &nodes.join("; ")));
    }

    fn say(&self, what: &str) {
        eprintln!("{} gradients of {what}, {:?}", self.cases, self.seen);
    }
}

/// Shapes that pointwise ops are tried on.
const SHAPES: &[&str] = &["[]", "[5]", "[rows]", "[rows, 2]", "[2, 2*rows, 1]"];

#[test]
fn functions_of_one_element() {
    let mut total = Total::default();
    for op in Unary::ALL.iter().filter(|op| **op != Unary::Not) {
        // Logarithms and roots want what is positive.
        let name = match op {
            Unary::Log | Unary::Log1p | Unary::Sqrt | Unary::Rsqrt => "p",
            _ => "x",
        };
        for shape in SHAPES {
            total.check(&[
                &format!("input \"{name}\" : f32{shape}"),
                &format!("{}(%0) : f32{shape}", op.name()),
            ]);
        }
    }
    total.say("functions of one element");
}

#[test]
fn functions_of_two_elements() {
    let mut total = Total::default();
    let of_floats = |op: &&Binary| !op.compares() && !op.is_logic();
    for op in Binary::ALL.iter().filter(of_floats) {
        let first = if *op == Binary::Pow { "p" } else { "x" };
        for shape in SHAPES {
            let node = |name: &str| format!("input \"{name}\" : f32{shape}");
            let result = |args: &str| format!("{}({args}) : f32{shape}", op.name());
            total.check(&[&node(first), &node("y"), &result("%0, %1")]);
            // One operand twice, and by a constant on either side.
            total.check(&[&node("p"), &result("%0, %0")]);
            let constant = ["const 0.75 : f32[]".to_owned(), format!("broadcast(%1) : f32{shape}")];
            let first = node(first);
            let [constant, repeated] = &constant;
            if *shape == "[]" {
                total.check(&[&first, constant, &result("%0, %1")]);
                total.check(&[&first, constant, &result("%1, %0")]);
            } else {
                total.check(&[&first, constant, repeated, &result("%0, %2")]);
                total.check(&[&first, constant, repeated, &result("%2, %0")]);
            }
        }
    }
    total.say("functions of two elements");
}

/// Graphs of the other ops.
const NODES: &[&[&str]] = &[
    &[
        "input \"m\" : bool[rows, 2]",
        "input \"x\" : f32[rows, 2]",
        "input \"y\" : f32[rows, 2]",
        "select(%0, %1, %2) : f32[rows, 2]",
    ],
    &[
        "input \"m\" : bool[]",
        "input \"x\" : f32[]",
        "input \"y\" : f32[]",
        "select(%0, %1, %2) : f32[]",
    ],
    &[
        "input \"m\" : bool[4]",
        "input \"x\" : f32[4]",
        "select(%0, %1, %1) : f32[4]",
    ],
    &[
        "input \"m\" : bool[rows]",
        "input \"x\" : f32[rows]",
        "neg(%1) : f32[rows]",
        "select(%0, %1, %2) : f32[rows]",
    ],
    &[
        "input \"m\" : bool[2, rows]",
        "input \"x\" : f32[2, rows]",
        "const 1.0 : f32[]",
        "broadcast(%2) : f32[2, rows]",
        "select(%0, %3, %1) : f32[2, rows]",
    ],
    // Casts: to a float from one; through an integer or a truth value nothing comes back.
    &["input \"x\" : f32[rows]", "cast(%0) : f32[rows]"],
    &[
        "input \"x\" : f32[rows]",
        "cast(%0) : i32[rows]",
        "cast(%1) : f32[rows]",
        "mul(%0, %2) : f32[rows]",
    ],
    &[
        "input \"x\" : f32[3]",
        "cast(%0) : bool[3]",
        "cast(%1) : f32[3]",
        "mul(%0, %2) : f32[3]",
    ],
    &[
        "input \"x\" : f32[rows, 2]",
        "input \"y\" : f32[rows, 2]",
        "gt(%0, %1) : bool[rows, 2]",
        "cast(%2) : f32[rows, 2]",
        "mul(%0, %3) : f32[rows, 2]",
    ],
    // Broadcasts: of missing axes, of extent 1, of both, to rows.
    &["input \"x\" : f32[]", "broadcast(%0) : f32[rows, 2]"],
    &["input \"x\" : f32[2]", "broadcast(%0) : f32[rows, 2]"],
    &["input \"x\" : f32[1, 2]", "broadcast(%0) : f32[rows, 2]"],
    &["input \"x\" : f32[rows, 1]", "broadcast(%0) : f32[rows, 4]"],
    &["input \"x\" : f32[3, 1, 2]", "broadcast(%0) : f32[rows, 3, 4, 2]"],
    &["input \"x\" : f32[1]", "broadcast(%0) : f32[1, 1]"],
    &["input \"x\" : f32[1, 1]", "broadcast(%0) : f32[2, 1]"],
    // Reshapes.
    &["input \"x\" : f32[rows, 6]", "reshape(%0) : f32[rows, 2, 3]"],
    &["input \"x\" : f32[rows, 2, 3]", "reshape(%0) : f32[6*rows]"],
    &["input \"x\" : f32[2, rows]", "reshape(%0) : f32[2*rows]"],
    &["input \"x\" : f32[1, 1]", "reshape(%0) : f32[]"],
    &["input \"x\" : f32[2*rows, 3]", "reshape(%0) : f32[rows, 1, 6]"],
    // Permutations, one of them not its own inverse.
    &["input \"x\" : f32[rows, 2]", "permute(%0) {perm=[1, 0]} : f32[2, rows]"],
    &[
        "input \"x\" : f32[rows, 2, 3]",
        "permute(%0) {perm=[2, 0, 1]} : f32[3, rows, 2]",
    ],
    &["input \"x\" : f32[2, 3]", "permute(%0) {perm=[1, 0]} : f32[3, 2]"],
    &["input \"x\" : f32[4]", "permute(%0) {perm=[0]} : f32[4]"],
    &[
        "input \"x\" : f32[1, 2, 3, rows]",
        "permute(%0) {perm=[3, 1, 0, 2]} : f32[rows, 2, 1, 3]",
    ],
    // Slices: at either end, inside, in steps, of everything, several of one value.
    &[
        "input \"x\" : f32[rows, 5]",
        "slice(%0) {axis=1, start=0, stop=2, step=1} : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 5]",
        "slice(%0) {axis=1, start=2, stop=4, step=1} : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[7, rows]",
        "slice(%0) {axis=0, start=1, stop=7, step=2} : f32[3, rows]",
    ],
    &[
        "input \"x\" : f32[7, 2]",
        "slice(%0) {axis=0, start=0, stop=7, step=3} : f32[3, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 5]",
        "slice(%0) {axis=1, start=1, stop=3, step=1000} : f32[rows, 1]",
    ],
    &[
        "input \"x\" : f32[4]",
        "slice(%0) {axis=0, start=0, stop=4, step=1} : f32[4]",
    ],
    &[
        "input \"x\" : f32[rows, 4]",
        "slice(%0) {axis=1, start=0, stop=2, step=1} : f32[rows, 2]",
        "slice(%0) {axis=1, start=2, stop=4, step=1} : f32[rows, 2]",
        "mul(%1, %2) : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 5]",
        "slice(%0) {axis=1, start=0, stop=3, step=1} : f32[rows, 3]",
        "slice(%0) {axis=1, start=2, stop=5, step=1} : f32[rows, 3]",
        "mul(%1, %2) : f32[rows, 3]",
    ],
    &[
        "input \"x\" : f32[3, 3]",
        "slice(%0) {axis=0, start=0, stop=1, step=1} : f32[1, 3]",
        "slice(%0) {axis=1, start=1, stop=2, step=1} : f32[3, 1]",
        "matmul(%1, %2) : f32[1, 1]",
    ],
    // Concatenations, one of them of a value with itself.
    &[
        "input \"x\" : f32[rows, 2]",
        "input \"y\" : f32[rows, 3]",
        "concat(%0, %1) {axis=1} : f32[rows, 5]",
    ],
    &[
        "input \"x\" : f32[2, rows]",
        "input \"y\" : f32[1, rows]",
        "input \"z\" : f32[2, rows]",
        "concat(%0, %1, %2) {axis=0} : f32[5, rows]",
    ],
    &["input \"x\" : f32[3]", "concat(%0, %0) {axis=0} : f32[6]"],
    &["input \"x\" : f32[1, 2]", "concat(%0) {axis=0} : f32[1, 2]"],
    &[
        "input \"x\" : f32[rows, 1]",
        "input \"i3\" : i32[rows, 2]",
        "cast(%1) : f32[rows, 2]",
        "concat(%0, %2) {axis=1} : f32[rows, 3]",
    ],
    // Lookups: by rows, by positions, along another axis, in the rows' own values, of requests, several in one table.
    &[
        "input \"x\" : f32[4, 2]",
        "input \"i4\" : i32[rows]",
        "gather(%0, %1) {axis=0} : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[4, 2]",
        "input \"i4\" : i32[rows, 3]",
        "gather(%0, %1) {axis=0} : f32[rows, 3, 2]",
    ],
    &[
        "input \"x\" : f32[2, 4]",
        "input \"i4\" : i32[3]",
        "gather(%0, %1) {axis=1} : f32[2, 3]",
    ],
    &[
        "input \"x\" : f32[rows, 4, 2]",
        "input \"i4\" : i32[2, 2]",
        "gather(%0, %1) {axis=1} : f32[rows, 2, 2, 2]",
    ],
    &[
        "input \"x\" : f32[4]",
        "input \"i4\" : i32[]",
        "gather(%0, %1) {axis=0} : f32[]",
    ],
    &[
        "input \"x\" : f32[requests, 2]",
        "input \"request_of_row\" : i32[rows]",
        "gather(%0, %1) {axis=0} : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[4, 2]",
        "input \"i4a\" : i32[rows]",
        "input \"i4b\" : i32[rows, 3]",
        "gather(%0, %1) {axis=0} : f32[rows, 2]",
        "gather(%0, %2) {axis=0} : f32[rows, 3, 2]",
        "reshape(%3) : f32[rows, 1, 2]",
        "concat(%4, %5) {axis=1} : f32[rows, 4, 2]",
        "tanh(%6) : f32[rows, 4, 2]",
    ],
    &[
        "input \"x\" : f32[4]",
        "input \"i4a\" : i32[2*rows]",
        "input \"i4b\" : i32[2]",
        "gather(%0, %1) {axis=0} : f32[2*rows]",
        "gather(%0, %2) {axis=0} : f32[2]",
        "reshape(%3) : f32[rows, 2]",
        "broadcast(%4) : f32[rows, 2]",
        "mul(%5, %6) : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[4, 2]",
        "input \"i4a\" : i32[requests]",
        "input \"i4b\" : i32[rows]",
        "gather(%0, %1) {axis=0} : f32[requests, 2]",
        "gather(%0, %2) {axis=0} : f32[rows, 2]",
        "input \"request_of_row\" : i32[rows]",
        "gather(%3, %5) {axis=0} : f32[rows, 2]",
        "mul(%4, %6) : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 4]",
        "input \"i4\" : i32[rows, 2]",
        "take_along(%0, %1) {axis=1} : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[3, rows]",
        "input \"i3\" : i32[5, rows]",
        "take_along(%0, %1) {axis=0} : f32[5, rows]",
    ],
    &[
        "input \"x\" : f32[rows, 3, 2]",
        "input \"i3\" : i32[rows, 2, 2]",
        "take_along(%0, %1) {axis=1} : f32[rows, 2, 2]",
    ],
    &[
        "input \"x\" : f32[4]",
        "input \"i4\" : i32[4]",
        "take_along(%0, %1) {axis=0} : f32[4]",
    ],
    &[
        "input \"x\" : f32[2, 1]",
        "input \"i1\" : i32[2, 2]",
        "take_along(%0, %1) {axis=1} : f32[2, 2]",
    ],
    // Sums into a table, into the rows' own values, into requests.
    &[
        "input \"x\" : f32[rows, 2]",
        "input \"i4\" : i32[rows]",
        "scatter_add(%0, %1) {axis=0} : f32[4, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 3, 2]",
        "input \"i4\" : i32[rows, 3]",
        "scatter_add(%0, %1) {axis=0} : f32[4, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 2]",
        "input \"i3\" : i32[2]",
        "scatter_add(%0, %1) {axis=1} : f32[rows, 3]",
    ],
    &[
        "input \"x\" : f32[rows, 2]",
        "input \"request_of_row\" : i32[rows]",
        "scatter_add(%0, %1) {axis=0} : f32[requests, 2]",
    ],
    &[
        "input \"x\" : f32[2]",
        "input \"i3\" : i32[2]",
        "scatter_add(%0, %1) {axis=0} : f32[3]",
    ],
    // Products: matrices, a shared matrix, one of each row's own, rows inside, on the left, as columns.
    &[
        "input \"x\" : f32[2, 3]",
        "input \"y\" : f32[3, 2]",
        "matmul(%0, %1) : f32[2, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 3]",
        "input \"y\" : f32[3, 2]",
        "matmul(%0, %1) : f32[rows, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 2, 3]",
        "input \"y\" : f32[3, 2]",
        "matmul(%0, %1) : f32[rows, 2, 2]",
    ],
    &[
        "input \"x\" : f32[2, 2*rows, 1, 3]",
        "input \"y\" : f32[3, 2]",
        "matmul(%0, %1) : f32[2, 2*rows, 1, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 2, 3]",
        "input \"y\" : f32[rows, 3, 1]",
        "matmul(%0, %1) : f32[rows, 2, 1]",
    ],
    &[
        "input \"x\" : f32[rows, 2, 1, 2]",
        "input \"y\" : f32[rows, 2, 2, 2]",
        "matmul(%0, %1) : f32[rows, 2, 1, 2]",
    ],
    &[
        "input \"x\" : f32[2, rows]",
        "input \"y\" : f32[rows, 2]",
        "matmul(%0, %1) : f32[2, 2]",
    ],
    &[
        "input \"x\" : f32[2, 2, 2*rows]",
        "input \"y\" : f32[2*rows, 2]",
        "matmul(%0, %1) : f32[2, 2, 2]",
    ],
    &[
        "input \"x\" : f32[2, 1, rows]",
        "input \"y\" : f32[2, rows, 2]",
        "matmul(%0, %1) : f32[2, 1, 2]",
    ],
    &[
        "input \"x\" : f32[2, 3]",
        "input \"y\" : f32[3, rows]",
        "matmul(%0, %1) : f32[2, rows]",
    ],
    &[
        "input \"x\" : f32[rows, 2]",
        "permute(%0) {perm=[1, 0]} : f32[2, rows]",
        "matmul(%1, %0) : f32[2, 2]",
    ],
    // Folds: of the last axis, the first, two, rows, of one element.
    &["input \"x\" : f32[rows, 3]", "reduce_sum(%0) {axes=[1]} : f32[rows, 1]"],
    &["input \"x\" : f32[rows, 3]", "reduce_sum(%0) {axes=[0]} : f32[1, 3]"],
    &[
        "input \"x\" : f32[2, rows, 3]",
        "reduce_sum(%0) {axes=[0, 2]} : f32[1, rows, 1]",
    ],
    &[
        "input \"x\" : f32[2, rows, 3]",
        "reduce_sum(%0) {axes=[0, 1, 2]} : f32[1, 1, 1]",
    ],
    &["input \"x\" : f32[4]", "reduce_sum(%0) {axes=[0]} : f32[1]"],
    &["input \"x\" : f32[rows, 3]", "reduce_max(%0) {axes=[1]} : f32[rows, 1]"],
    &["input \"x\" : f32[3, rows]", "reduce_max(%0) {axes=[0]} : f32[1, rows]"],
    &[
        "input \"x\" : f32[2, rows, 3]",
        "reduce_max(%0) {axes=[0, 2]} : f32[1, rows, 1]",
    ],
    &["input \"x\" : f32[6]", "reduce_max(%0) {axes=[0]} : f32[1]"],
    &["input \"x\" : f32[rows, 1]", "reduce_max(%0) {axes=[1]} : f32[rows, 1]"],
    &["input \"x\" : f32[rows, 3]", "reduce_min(%0) {axes=[1]} : f32[rows, 1]"],
    &["input \"x\" : f32[3, rows]", "reduce_min(%0) {axes=[0]} : f32[1, rows]"],
    &[
        "input \"x\" : f32[2, rows, 3]",
        "reduce_min(%0) {axes=[0, 2]} : f32[1, rows, 1]",
    ],
    &["input \"x\" : f32[6]", "reduce_min(%0) {axes=[0]} : f32[1]"],
    &["input \"x\" : f32[rows, 1]", "reduce_min(%0) {axes=[1]} : f32[rows, 1]"],
    &["input \"x\" : f32[rows, 3]", "cumsum(%0) {axis=1} : f32[rows, 3]"],
    &["input \"x\" : f32[3, rows]", "cumsum(%0) {axis=0} : f32[3, rows]"],
    &["input \"x\" : f32[rows, 3, 2]", "cumsum(%0) {axis=1} : f32[rows, 3, 2]"],
    &["input \"x\" : f32[1]", "cumsum(%0) {axis=0} : f32[1]"],
    &["input \"x\" : f32[2, 4]", "cumsum(%0) {axis=1} : f32[2, 4]"],
    // Recurrences: several steps and units, one step, without outer axes, with two; then with attention.
    &[
        "input \"x\" : f32[rows, 3, 6]",
        "input \"h\" : f32[rows, 2]",
        "input \"w\" : f32[2, 6]",
        "input \"b\" : f32[6]",
        "gru(%0, %1, %2, %3) : f32[rows, 3, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 1, 3]",
        "input \"h\" : f32[rows, 1]",
        "input \"w\" : f32[1, 3]",
        "input \"b\" : f32[3]",
        "gru(%0, %1, %2, %3) : f32[rows, 1, 1]",
    ],
    &[
        "input \"x\" : f32[4, 3]",
        "input \"h\" : f32[1]",
        "input \"w\" : f32[1, 3]",
        "input \"b\" : f32[3]",
        "gru(%0, %1, %2, %3) : f32[4, 1]",
    ],
    &[
        "input \"x\" : f32[2, rows, 2, 6]",
        "input \"h\" : f32[2, rows, 2]",
        "input \"w\" : f32[2, 6]",
        "input \"b\" : f32[6]",
        "gru(%0, %1, %2, %3) : f32[2, rows, 2, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 3, 6]",
        "input \"h\" : f32[rows, 2]",
        "input \"w\" : f32[2, 6]",
        "input \"b\" : f32[6]",
        "input \"a\" : f32[rows, 3]",
        "gru(%0, %1, %2, %3, %4) : f32[rows, 3, 2]",
    ],
    &[
        "input \"x\" : f32[rows, 1, 3]",
        "input \"h\" : f32[rows, 1]",
        "input \"w\" : f32[1, 3]",
        "input \"b\" : f32[3]",
        "input \"a\" : f32[rows, 1]",
        "gru(%0, %1, %2, %3, %4) : f32[rows, 1, 1]",
    ],
    &[
        "input \"x\" : f32[4, 3]",
        "input \"h\" : f32[1]",
        "input \"w\" : f32[1, 3]",
        "input \"b\" : f32[3]",
        "input \"a\" : f32[4]",
        "gru(%0, %1, %2, %3, %4) : f32[4, 1]",
    ],
];

#[test]
fn everything_else() {
    let mut total = Total::default();
    NODES.iter().for_each(|nodes| total.check(nodes));
    total.say("other ops");
}
