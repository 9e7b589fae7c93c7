//! The ops that only a training step has: their meaning by hand, their text, and that inference refuses them by name.

use crate::support::by_hand::{f, graph, i};
use crate::support::compare::{Tol, close};
use crate::support::tensors;
use loopfm::cpu;
use loopfm::fuse::{Fusion, Profile, partition};
use loopfm::interp::{self, EvalError, Tensor};
use loopfm::ir::rows::analyse;
use loopfm::ir::{Graph, parse};
use loopfm::random::{philox, uniform};
use loopfm::simplify::simplify;
use loopfm::tensor::{HostTensor, Sizes, Tensors};

fn run(g: &Graph, batch: &Tensors) -> Result<Tensor<f64>, EvalError> {
    let sizes = interp::sizes_of(g, batch)?;
    Ok(interp::eval(g, &Tensors::new(), batch, sizes)?
        .swap_remove("y")
        .expect("an output"))
}

fn expect(nodes: &[&str], batch: Tensors, want: &HostTensor) {
    let tol = Tol {
        abs: 1e-7,
        rel: 2e-7,
        of_max: 0.0,
    };
    let g = graph(nodes);
    assert_eq!(parse(&g.to_string()), Ok(g.clone()), "reads back");
    let y = run(&g, &batch).unwrap_or_else(|e| panic!("{e}\n{g}"));
    close(&y.to_host(), want, tol).unwrap_or_else(|e| panic!("{e}\n{g}"));
}

fn refused(nodes: &[&str]) -> String {
    let numbered: String = nodes.iter().enumerate().map(|(i, n)| format!("%{i} = {n}\n")).collect();
    let text = format!("loopfm 1\n{numbered}return \"y\" = %0\n");
    parse(&text).expect_err(&text).why
}

const X: &str = "input \"x\" : f32[rows, 2]";

fn three_rows() -> Tensors {
    tensors([("x", f(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))])
}

#[test]
fn sums_over_rows() {
    expect(
        &[X, "reduce_sum(%0) {axes=[0]} : f32[1, 2]"],
        three_rows(),
        &f(&[1, 2], &[9.0, 12.0]),
    );
    expect(
        &[X, "reduce_sum(%0) {axes=[0, 1]} : f32[1, 1]"],
        three_rows(),
        &f(&[1, 1], &[21.0]),
    );
    let product = [
        X,
        "permute(%0) {perm=[1, 0]} : f32[2, rows]",
        "matmul(%1, %0) : f32[2, 2]",
    ];
    expect(&product, three_rows(), &f(&[2, 2], &[35.0, 44.0, 44.0, 56.0]));
    // No rows: nothing to add.
    let none = tensors([("x", f(&[0, 2], &[]))]);
    expect(&product, none, &f(&[2, 2], &[0.0; 4]));
    let largest = refused(&[X, "reduce_max(%0) {axes=[0]} : f32[1, 2]"]);
    assert!(
        largest.ends_with("axis 0 of f32[rows, 2] is rows: rows must stay apart"),
        "{largest}"
    );
    let other = refused(&[
        X,
        "reshape(%0) : f32[2*rows, 1]",
        "permute(%1) {perm=[1, 0]} : f32[1, 2*rows]",
        "matmul(%2, %0) : f32[1, 2]",
    ]);
    assert!(other.ends_with("inner extents 2*rows and rows differ"), "{other}");
}

#[test]
fn scatter_add_is_the_transpose_of_gather() {
    let ids = "input \"ids\" : i32[rows]";
    let into_table = [X, ids, "scatter_add(%0, %1) {axis=0} : f32[4, 2]"];
    let batch = |ids: &[i32]| {
        let mut batch = three_rows();
        batch.insert("ids".into(), i(&[3], ids));
        batch
    };
    expect(
        &into_table,
        batch(&[2, 0, 2]),
        &f(&[4, 2], &[3.0, 4.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0]),
    );
    let outside = run(&graph(&into_table), &batch(&[2, 4, 0])).expect_err("an index outside");
    let text = "row 1: index 4 of input `ids` is outside 0..4 of `scatter_add` to f32[4, 2]";
    assert_eq!(outside.to_string(), text);
    // Along an axis of every row.
    let own = [X, "const 1 : i32[]", "scatter_add(%0, %1) {axis=1} : f32[rows, 3, 2]"];
    let spread = [
        0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0,
    ];
    expect(&own, three_rows(), &f(&[3, 3, 2], &spread));
    let pairs = [
        "input \"u\" : f32[rows, 2, 2]",
        "input \"ids\" : i32[2, 2]",
        "scatter_add(%0, %1) {axis=1} : f32[rows, 3]",
    ];
    let batch = tensors([
        ("u", f(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0])),
        ("ids", i(&[2, 2], &[2, 0, 2, 2])),
    ]);
    expect(&pairs, batch, &f(&[1, 3], &[2.0, 0.0, 8.0]));
    let wrong = refused(&[X, ids, "scatter_add(%0, %1) {axis=0} : f32[4, 3]"]);
    assert!(wrong.ends_with("adds [rows, 3] to f32[4, 3]"), "{wrong}");
}

#[test]
fn gru_with_attention_follows_dien() {
    // Two steps, one hidden unit, worked out from FuxiCTR's definition: h' = h + a u (n - h).
    let x = ["input \"x\" : f32[rows, 2, 3]", "input \"h0\" : f32[rows, 1]"];
    let w = [
        "input \"w\" : f32[1, 3]",
        "input \"b\" : f32[3]",
        "input \"a\" : f32[rows, 2]",
    ];
    let gru = "gru(%0, %1, %2, %3, %4) : f32[rows, 2, 1]";
    let batch = tensors([
        ("x", f(&[1, 2, 3], &[0.1, -0.2, 0.3, -0.4, 0.5, -0.6])),
        ("h0", f(&[1, 1], &[0.25])),
        ("w", f(&[1, 3], &[0.5, -1.0, 2.0])),
        ("b", f(&[3], &[0.01, 0.02, 0.03])),
        ("a", f(&[1, 2], &[0.75, 0.5])),
    ]);
    let s = |x: f64| 1.0 / (1.0 + (-x).exp());
    let step = |x: [f64; 3], h: f64, a: f64| {
        let r = s(x[0] + 0.5 * h + 0.01);
        let u = s(x[1] - h + 0.02);
        let n = (x[2] + r * (2.0 * h + 0.03)).tanh();
        h + a * u * (n - h)
    };
    let first = step([0.1, -0.2, 0.3], 0.25, 0.75);
    let second = step([-0.4, 0.5, -0.6], first, 0.5);
    let nodes = [&x[..], &w[..], &[gru]].concat();
    expect(&nodes, batch, &f(&[1, 2, 1], &[first as f32, second as f32]));
    let short = refused(&[x[0], x[1], w[0], w[1], "input \"a\" : f32[rows]", gru]);
    assert!(short.ends_with("the attention is [rows, 2]"), "{short}");
}

#[test]
fn random_numbers_are_philox() {
    // Known answers of Random123.
    assert_eq!(
        philox([0; 4], [0; 2]),
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
    );
    assert_eq!(
        philox([u32::MAX; 4], [u32::MAX; 2]),
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    );
    assert_eq!(
        philox(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0]
        ),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
    let scale = 1.0 / (1 << 24) as f32;
    assert_eq!(uniform(0, 0, 0), (0x6627_e8d5_u32 >> 8) as f32 * scale);
    assert_eq!(uniform(0, 0, 3), (0x9b00_dbd8_u32 >> 8) as f32 * scale);

    let nodes = [
        "input \"seed\" : i32[]",
        X,
        "uniform(%0) {stream=7} : f32[rows, 2]",
        "add(%1, %2) : f32[rows, 2]",
    ];
    let mut batch = tensors([("x", f(&[3, 2], &[0.0; 6]))]);
    batch.insert("seed".into(), i(&[], &[-5]));
    let want: Vec<f32> = (0..6).map(|n| uniform(-5, 7, n)).collect();
    expect(&nodes, batch, &f(&[3, 2], &want));

    let many: Vec<f64> = (0..4096).map(|n| f64::from(uniform(1, 2, n))).collect();
    let mean = many.iter().sum::<f64>() / 4096.0;
    let variance = many.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4096.0;
    assert!(
        (mean - 0.5).abs() < 0.02 && (variance - 1.0 / 12.0).abs() < 0.005,
        "{mean}, {variance}"
    );
    assert!(many.iter().all(|x| (0.0..1.0).contains(x)));
}

#[test]
fn detach_is_nothing_in_inference() {
    let nodes = [
        X,
        "neg(%0) : f32[rows, 2]",
        "detach(%1) : f32[rows, 2]",
        "exp(%2) : f32[rows, 2]",
    ];
    let want: Vec<f32> = (1..7).map(|x| (-x as f32).exp()).collect();
    expect(&nodes, three_rows(), &f(&[3, 2], &want));
    let g = graph(&nodes);
    let (simple, _) = simplify(&g, &Tensors::new()).expect("row-local");
    assert_eq!(
        simple.iter().filter(|(_, n)| n.op.name() == "detach").count(),
        0,
        "{simple}"
    );
    let executor = cpu::Executor::new(&g, &Tensors::new()).expect("row-local");
    let y = executor
        .run(&three_rows(), Sizes { rows: 3, requests: 1 })
        .expect("a valid batch");
    assert_eq!(y["y"].shape, [3, 2]);
    partition(&g, &Profile::DISCRETE, Fusion::Full).expect("a kernel");
}

#[test]
fn inference_refuses_what_mixes_rows_and_what_it_cannot_compute() {
    let mixing: &[(&[&str], &str)] = &[
        (
            &[X, "reduce_sum(%0) {axes=[0]} : f32[1, 2]"],
            "folds axis 0 of [rows, 2]: a sum over rows",
        ),
        (
            &[
                X,
                "permute(%0) {perm=[1, 0]} : f32[2, rows]",
                "matmul(%1, %0) : f32[2, 2]",
            ],
            "multiplies [2, rows] by [rows, 2]: a sum over rows",
        ),
        (
            &[
                X,
                "input \"ids\" : i32[rows]",
                "scatter_add(%0, %1) {axis=0} : f32[4, 2]",
            ],
            "adds [rows, 2] to [4, 2]: a sum over rows",
        ),
        (
            &[
                X,
                "input \"ids\" : i32[rows]",
                "scatter_add(%0, %1) {axis=0} : f32[rows, 2]",
            ],
            "scatters along axis 0 of [rows, 2]",
        ),
        (
            &[
                X,
                "const 3 : i32[]",
                "uniform(%1) {stream=0} : f32[rows, 2]",
                "add(%0, %2) : f32[rows, 2]",
            ],
            "numbers the elements of [rows, 2] across rows",
        ),
    ];
    for (nodes, why) in mixing {
        let g = graph(nodes);
        assert_eq!(analyse(&g).expect_err(why).why, *why);
        assert!(simplify(&g, &Tensors::new()).expect_err(why).to_string().ends_with(why));
    }
    let own = graph(&[
        X,
        "const 1 : i32[]",
        "scatter_add(%0, %1) {axis=1} : f32[rows, 3, 2] @ \"pad\"",
    ]);
    let (batch, sizes) = (three_rows(), Sizes { rows: 3, requests: 3 });
    let cpu = cpu::Executor::new(&own, &Tensors::new()).expect("rows stay apart");
    let meaning = run(&own, &batch).expect("a batch").to_host();
    assert_eq!(cpu.run(&batch, sizes).expect("a batch")["y"], meaning);
    let fuse = partition(&own, &Profile::DISCRETE, Fusion::Full).expect_err("no kernel");
    assert_eq!(fuse.to_string(), "%2 `scatter_add` of `pad`: no kernel computes it");
}
