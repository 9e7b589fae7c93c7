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

/// Graphs of the other ops, one a line; lines that start with `#` say what comes next.
const GRAPHS: &str = include_str!("ops.txt");

#[test]
fn everything_else() {
    let mut total = Total::default();
    for line in GRAPHS.lines().filter(|line| !line.starts_with('#')) {
        total.check(&line.split("; ").collect::<Vec<_>>());
    }
    total.say("other ops");
}
