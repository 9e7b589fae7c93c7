//! The meaning of every op, against values worked out by hand.

use crate::support::by_hand::{b, f, graph, i};
use crate::support::compare::{Tol, close, compare_outputs};
use crate::support::hosts;
use loopfm::interp;
use loopfm::tensor::{HostTensor, Tensors};

/// Evaluates `op` with one input `a`, `b`, .. per tensor, their types as they are.
fn apply(op: &str, ty: &str, inputs: &[&HostTensor]) -> HostTensor {
    let mut nodes = Vec::new();
    let mut batch = Tensors::new();
    for (n, t) in inputs.iter().enumerate() {
        let name = ["a", "b", "c", "d"][n];
        nodes.push(format!("input \"{name}\" : {}{:?}", t.dtype(), t.shape));
        batch.insert(name.into(), (*t).clone());
    }
    let args: Vec<String> = (0..inputs.len()).map(|i| format!("%{i}")).collect();
    let (name, attributes) = op.split_once(' ').unwrap_or((op, ""));
    nodes.push(format!("{name}({}) {attributes} : {ty}", args.join(", ")));
    let g = graph(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
    let sizes = interp::sizes_of(&g, &batch).expect("sizes");
    let y = interp::eval::<f64>(&g, &Tensors::new(), &batch, sizes).expect(op);
    let single = interp::eval::<f32>(&g, &Tensors::new(), &batch, sizes).expect(op);
    let tol = Tol {
        abs: 0.0,
        rel: 1e-6,
        of_max: 1e-6,
    };
    compare_outputs(&hosts(&single), &hosts(&y), tol).unwrap_or_else(|e| panic!("{op} in f32 and f64: {e}"));
    y["y"].to_host()
}

fn expect(op: &str, ty: &str, inputs: &[&HostTensor], want: &HostTensor) {
    let tol = Tol {
        abs: 1e-30,
        rel: 2e-7,
        of_max: 0.0,
    };
    close(&apply(op, ty, inputs), want, tol).unwrap_or_else(|e| panic!("{op}: {e}"));
}

#[test]
fn functions_of_one_float() {
    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;
    let table: &[(&str, [f32; 4], [f32; 4])] = &[
        ("neg", [0.0, -1.5, INF, NAN], [-0.0, 1.5, -INF, NAN]),
        ("abs", [0.0, -1.5, -INF, NAN], [0.0, 1.5, INF, NAN]),
        ("sign", [0.0, -1.5, INF, 1e-30], [0.0, -1.0, 1.0, 1.0]),
        ("floor", [-1.5, 1.5, -0.2, 2.0], [-2.0, 1.0, -1.0, 2.0]),
        ("ceil", [-1.5, 1.5, -0.2, 2.0], [-1.0, 2.0, -0.0, 2.0]),
        ("round", [0.5, 1.5, -2.5, 2.6], [0.0, 2.0, -2.0, 3.0]),
        ("trunc", [-1.5, 1.5, -0.2, 2.0], [-1.0, 1.0, -0.0, 2.0]),
        ("exp", [0.0, 1.0, -INF, INF], [1.0, std::f32::consts::E, 0.0, INF]),
        ("log", [1.0, 0.0, -1.0, INF], [0.0, -INF, NAN, INF]),
        (
            "log1p",
            [0.0, 1e-20, -1.0, 1.0],
            [0.0, 1e-20, -INF, std::f32::consts::LN_2],
        ),
        ("expm1", [0.0, 1e-20, -INF, 1.0], [0.0, 1e-20, -1.0, 1.718_281_8]),
        ("sqrt", [0.0, 4.0, -1.0, INF], [0.0, 2.0, NAN, INF]),
        ("rsqrt", [0.0, 4.0, -1.0, INF], [INF, 0.5, NAN, 0.0]),
        ("recip", [0.0, 4.0, -0.5, INF], [INF, 0.25, -2.0, 0.0]),
        ("sin", [0.0, 1.0, -1.0, INF], [0.0, 0.841_471, -0.841_471, NAN]),
        ("cos", [0.0, 1.0, -1.0, INF], [1.0, 0.540_302_3, 0.540_302_3, NAN]),
        ("tanh", [0.0, 0.5, -100.0, INF], [0.0, 0.462_117_17, -1.0, 1.0]),
        ("sigmoid", [0.0, 2.0, -100.0, INF], [0.5, 0.880_797_1, 3.783_5e-44, 1.0]),
        ("erf", [0.0, 0.5, -1.0, 7.0], [0.0, 0.520_499_9, -0.842_700_8, 1.0]),
        (
            "erf",
            [1e-20, 2.0, 3.5, NAN],
            [1.128_379_2e-20, 0.995_322_3, 0.999_999_3, NAN],
        ),
    ];
    for (op, x, y) in table {
        expect(op, "f32[4]", &[&f(&[4], x)], &f(&[4], y));
    }
}

#[test]
fn functions_of_one_integer_or_truth_value() {
    let x = i(&[4], &[0, -3, 7, i32::MIN]);
    expect("neg", "i32[4]", &[&x], &i(&[4], &[0, 3, -7, i32::MIN]));
    expect("abs", "i32[4]", &[&x], &i(&[4], &[0, 3, 7, i32::MIN]));
    expect("sign", "i32[4]", &[&x], &i(&[4], &[0, -1, 1, -1]));
    expect("not", "bool[2]", &[&b(&[2], &[0, 1])], &b(&[2], &[1, 0]));
}

#[test]
fn functions_of_two_floats() {
    const NAN: f32 = f32::NAN;
    let (x, y) = ([7.0, -7.0, 7.0, NAN], [2.0, 2.0, -2.0, 1.0]);
    let table: &[(&str, [f32; 4])] = &[
        ("add", [9.0, -5.0, 5.0, NAN]),
        ("sub", [5.0, -9.0, 9.0, NAN]),
        ("mul", [14.0, -14.0, -14.0, NAN]),
        ("div", [3.5, -3.5, -3.5, NAN]),
        ("pow", [49.0, 49.0, 1.0 / 49.0, NAN]),
        ("max", [7.0, 2.0, 7.0, NAN]),
        ("min", [2.0, -7.0, -2.0, NAN]),
        ("rem", [1.0, 1.0, -1.0, NAN]),
    ];
    for (op, want) in table {
        expect(op, "f32[4]", &[&f(&[4], &x), &f(&[4], &y)], &f(&[4], want));
    }
    // NaN on the right too.
    for op in ["max", "min"] {
        expect(op, "f32[1]", &[&f(&[1], &[1.0]), &f(&[1], &[NAN])], &f(&[1], &[NAN]));
    }
}

#[test]
fn functions_of_two_integers() {
    let (x, y) = ([7, -7, 7, i32::MIN, 5], [2, 2, -2, -1, 0]);
    let table: &[(&str, [i32; 5])] = &[
        ("add", [9, -5, 5, i32::MAX, 5]),
        ("sub", [5, -9, 9, i32::MIN + 1, 5]),
        ("mul", [14, -14, -14, i32::MIN, 0]),
        ("div", [3, -3, -3, i32::MIN, 5]),
        ("pow", [49, 49, 0, 0, 1]),
        ("max", [7, 2, 7, -1, 5]),
        ("min", [2, -7, -2, i32::MIN, 0]),
        ("rem", [1, 1, -1, 0, 0]),
    ];
    for (op, want) in table {
        expect(op, "i32[5]", &[&i(&[5], &x), &i(&[5], &y)], &i(&[5], want));
    }
    let (x, y) = (i(&[4], &[1, -1, -1, 0]), i(&[4], &[-3, -3, -2, -1]));
    expect("pow", "i32[4]", &[&x, &y], &i(&[4], &[1, -1, 1, 0]));
}

#[test]
fn comparisons_and_logic() {
    let table: &[(&str, [u8; 4])] = &[
        ("eq", [0, 1, 0, 0]),
        ("ne", [1, 0, 1, 1]),
        ("lt", [1, 0, 0, 0]),
        ("le", [1, 1, 0, 0]),
        ("gt", [0, 0, 1, 0]),
        ("ge", [0, 1, 1, 0]),
    ];
    let (x, y) = ([1.0, 2.0, 3.0, f32::NAN], [2.0; 4]);
    for (op, want) in table {
        expect(op, "bool[4]", &[&f(&[4], &x), &f(&[4], &y)], &b(&[4], want));
        let (x, y) = (i(&[3], &[1, 2, 3]), i(&[3], &[2; 3]));
        expect(op, "bool[3]", &[&x, &y], &b(&[3], &want[..3]));
    }
    let (x, y) = (b(&[4], &[0, 0, 1, 1]), b(&[4], &[0, 1, 0, 1]));
    let logic = [
        ("and", [0, 0, 0, 1]),
        ("or", [0, 1, 1, 1]),
        ("xor", [0, 1, 1, 0]),
        ("eq", [1, 0, 0, 1]),
    ];
    for (op, want) in logic {
        expect(op, "bool[4]", &[&x, &y], &b(&[4], &want));
    }
}

#[test]
fn select_and_cast() {
    let c = b(&[2], &[1, 0]);
    expect(
        "select",
        "f32[2]",
        &[&c, &f(&[2], &[1.0, 2.0]), &f(&[2], &[3.0, 4.0])],
        &f(&[2], &[1.0, 4.0]),
    );
    expect(
        "select",
        "i32[2]",
        &[&c, &i(&[2], &[1, 2]), &i(&[2], &[3, 4])],
        &i(&[2], &[1, 4]),
    );
    expect(
        "select",
        "bool[2]",
        &[&c, &b(&[2], &[0, 0]), &b(&[2], &[1, 1])],
        &b(&[2], &[0, 1]),
    );
    let x = f(&[5], &[1.9, -1.9, 0.0, 1e20, f32::NAN]);
    expect("cast", "i32[5]", &[&x], &i(&[5], &[1, -1, 0, i32::MAX, 0]));
    expect("cast", "bool[5]", &[&x], &b(&[5], &[1, 1, 0, 1, 1]));
    expect("cast", "f32[2]", &[&i(&[2], &[-3, 7])], &f(&[2], &[-3.0, 7.0]));
    expect("cast", "bool[2]", &[&i(&[2], &[-3, 0])], &b(&[2], &[1, 0]));
    expect("cast", "f32[2]", &[&c], &f(&[2], &[1.0, 0.0]));
    expect("cast", "i32[2]", &[&c], &i(&[2], &[1, 0]));
}

#[test]
fn elements_move() {
    let x = f(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    expect(
        "broadcast",
        "f32[2, 3]",
        &[&f(&[2, 1], &[1.0, 2.0])],
        &f(&[2, 3], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]),
    );
    expect(
        "broadcast",
        "f32[2, 2]",
        &[&f(&[2], &[1.0, 2.0])],
        &f(&[2, 2], &[1.0, 2.0, 1.0, 2.0]),
    );
    expect("broadcast", "i32[2, 2]", &[&i(&[], &[3])], &i(&[2, 2], &[3; 4]));
    expect(
        "reshape",
        "f32[3, 2]",
        &[&x],
        &f(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    );
    expect(
        "permute {perm=[1, 0]}",
        "f32[3, 2]",
        &[&x],
        &f(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
    );
    // perm is not its own inverse: result axis i is operand axis perm[i].
    let y = i(&[1, 2, 3], &[1, 2, 3, 4, 5, 6]);
    expect(
        "permute {perm=[2, 0, 1]}",
        "i32[3, 1, 2]",
        &[&y],
        &i(&[3, 1, 2], &[1, 4, 2, 5, 3, 6]),
    );
    let slice = "slice {axis=1, start=0, stop=3, step=2}";
    expect(slice, "f32[2, 2]", &[&x], &f(&[2, 2], &[1.0, 3.0, 4.0, 6.0]));
    let slice = "slice {axis=0, start=1, stop=2, step=1}";
    expect(slice, "f32[1, 3]", &[&x], &f(&[1, 3], &[4.0, 5.0, 6.0]));
    let y = f(&[2, 1], &[7.0, 8.0]);
    expect(
        "concat {axis=1}",
        "f32[2, 4]",
        &[&x, &y],
        &f(&[2, 4], &[1.0, 2.0, 3.0, 7.0, 4.0, 5.0, 6.0, 8.0]),
    );
    let (one, two) = (b(&[1], &[1]), b(&[2], &[0, 1]));
    expect("concat {axis=0}", "bool[3]", &[&one, &two], &b(&[3], &[1, 0, 1]));
    expect(
        "gather {axis=0}",
        "f32[2, 3]",
        &[&x, &i(&[2], &[1, 1])],
        &f(&[2, 3], &[4.0, 5.0, 6.0, 4.0, 5.0, 6.0]),
    );
    let at = i(&[2, 1], &[2, 0]);
    expect(
        "gather {axis=1}",
        "f32[2, 2, 1]",
        &[&x, &at],
        &f(&[2, 2, 1], &[3.0, 1.0, 6.0, 4.0]),
    );
    expect(
        "take_along {axis=1}",
        "f32[2, 2]",
        &[&x, &i(&[2, 2], &[0, 2, 1, 1])],
        &f(&[2, 2], &[1.0, 3.0, 5.0, 5.0]),
    );
    expect(
        "take_along {axis=0}",
        "f32[1, 3]",
        &[&x, &i(&[1, 3], &[1, 0, 1])],
        &f(&[1, 3], &[4.0, 2.0, 6.0]),
    );
}

#[test]
fn products() {
    let (x, w) = (
        f(&[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        f(&[2, 3], &[1.0, 0.0, -1.0, 2.0, 1.0, 0.0]),
    );
    let y = f(&[2, 3], &[5.0, 2.0, -1.0, 11.0, 4.0, -3.0]);
    expect("matmul", "f32[2, 3]", &[&x, &w], &y);
    // A matrix shared by all leading axes, and one for each.
    let x3 = f(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
    expect(
        "matmul",
        "f32[2, 1, 3]",
        &[&x3, &w],
        &f(&[2, 1, 3], &[5.0, 2.0, -1.0, 11.0, 4.0, -3.0]),
    );
    let own = f(&[2, 2, 1], &[1.0, 1.0, -1.0, 2.0]);
    expect("matmul", "f32[2, 1, 1]", &[&x3, &own], &f(&[2, 1, 1], &[3.0, 5.0]));
}

#[test]
fn folds_and_sums() {
    let x = f(&[2, 3], &[1.0, 5.0, 3.0, 4.0, 2.0, 6.0]);
    expect("reduce_sum {axes=[1]}", "f32[2, 1]", &[&x], &f(&[2, 1], &[9.0, 12.0]));
    expect("reduce_sum {axes=[0, 1]}", "f32[1, 1]", &[&x], &f(&[1, 1], &[21.0]));
    expect(
        "reduce_max {axes=[0]}",
        "f32[1, 3]",
        &[&x],
        &f(&[1, 3], &[4.0, 5.0, 6.0]),
    );
    expect("reduce_min {axes=[1]}", "f32[2, 1]", &[&x], &f(&[2, 1], &[1.0, 2.0]));
    let nan = f(&[3], &[1.0, f32::NAN, 2.0]);
    expect("reduce_max {axes=[0]}", "f32[1]", &[&nan], &f(&[1], &[f32::NAN]));
    expect("reduce_min {axes=[0]}", "f32[1]", &[&nan], &f(&[1], &[f32::NAN]));
    expect(
        "reduce_sum {axes=[0]}",
        "i32[1]",
        &[&i(&[2], &[i32::MAX, 1])],
        &i(&[1], &[i32::MIN]),
    );
    expect(
        "reduce_max {axes=[0]}",
        "i32[1]",
        &[&i(&[2], &[-5, -9])],
        &i(&[1], &[-5]),
    );
    expect(
        "cumsum {axis=1}",
        "f32[2, 3]",
        &[&x],
        &f(&[2, 3], &[1.0, 6.0, 9.0, 4.0, 6.0, 12.0]),
    );
    expect(
        "cumsum {axis=0}",
        "f32[2, 3]",
        &[&x],
        &f(&[2, 3], &[1.0, 5.0, 3.0, 5.0, 7.0, 9.0]),
    );
}

#[test]
fn gru_follows_pytorch() {
    // Two steps, one hidden unit, worked out from the definition.
    let (x, h0) = (f(&[1, 2, 3], &[0.1, -0.2, 0.3, -0.4, 0.5, -0.6]), f(&[1, 1], &[0.25]));
    let (w, bias) = (f(&[1, 3], &[0.5, -1.0, 2.0]), f(&[3], &[0.01, 0.02, 0.03]));
    let s = |x: f64| 1.0 / (1.0 + (-x).exp());
    let step = |x: [f64; 3], h: f64| {
        let r = s(x[0] + 0.5 * h + 0.01);
        let z = s(x[1] - h + 0.02);
        let n = (x[2] + r * (2.0 * h + 0.03)).tanh();
        (1.0 - z) * n + z * h
    };
    let first = step([0.1, -0.2, 0.3], 0.25);
    let second = step([-0.4, 0.5, -0.6], first);
    expect(
        "gru",
        "f32[1, 2, 1]",
        &[&x, &h0, &w, &bias],
        &f(&[1, 2, 1], &[first as f32, second as f32]),
    );
}
