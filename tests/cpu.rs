//! The CPU executor against the interpreter and against PyTorch's answers.

use std::path::Path;

use loopfm::cpu::{Error, Executor};
use loopfm::import::Model;
use loopfm::interp;
use loopfm::ir::{self, Graph, REQUEST_OF_ROW};
use loopfm::simplify::simplify;
use loopfm::tensor::{Data, Dim, HostTensor, Sizes, Tensors};

use crate::support::compare::{Tol, compare_outputs};
use crate::support::models::Golden;
use crate::support::{graphs, models, tensors};

const TOL: Tol = Tol {
    abs: 1e-6,
    rel: 0.0,
    of_max: 2e-5,
};

#[test]
fn random_graphs() {
    graphs::for_random(300, |case| {
        let executor = Executor::new(&case.graph, &case.weights).map_err(|e| e.to_string())?;
        let run = || executor.run(&case.batch, case.sizes).map_err(|e| e.to_string());
        let first = run()?;
        // Again, in memory that the first run has left behind.
        compare_outputs(
            &run()?,
            &first,
            Tol {
                abs: 0.0,
                rel: 0.0,
                of_max: 0.0,
            },
        )?;
        compare_outputs(&first, &case.meaning(), TOL)
    });
}

#[test]
fn model_shaped_graphs() {
    for seed in 0..8 {
        for case in [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)] {
            let executor = Executor::new(&case.graph, &case.weights).unwrap_or_else(|e| panic!("{e}\n{case}"));
            let got = executor
                .run(&case.batch, case.sizes)
                .unwrap_or_else(|e| panic!("{e}\n{case}"));
            compare_outputs(&got, &case.meaning(), TOL).unwrap_or_else(|e| panic!("{e}\n{case}"));
        }
    }
}

#[test]
fn exports_in_the_repository() {
    models::in_repository().iter().for_each(|golden| check_golden(golden));
}

#[test]
fn exports_elsewhere() {
    models::elsewhere().iter().for_each(|golden| check_golden(golden));
}

/// A model, as written and simplified, on the batch of a golden as it is, then on rows of it picked anew in other numbers
/// and by other requests.
fn check_golden(file: &Path) {
    let Golden { model, batch, want, .. } = models::load(file);
    let (simple, weights) = simplify(&model.graph, &model.weights).expect("simplified");
    let executors = [(&model.graph, &model.weights), (&simple, &weights)]
        .map(|(g, w)| Executor::new(g, w).unwrap_or_else(|e| panic!("{}: {e}", file.display())));
    let sizes = interp::sizes_of(&model.graph, &batch).expect("sizes");
    let check = |batch: &Tensors, sizes: Sizes, want: &Tensors| {
        for executor in &executors {
            let got = executor.run(batch, sizes).map_err(|e| e.to_string());
            let same = got.and_then(|got| compare_outputs(&got, want, TOL));
            same.unwrap_or_else(|e| panic!("{}, {sizes:?}: {e}", file.display()));
        }
    };
    check(&batch, sizes, &want);
    for rows in [0, 1, 7, 257] {
        // Steps of 3: consecutive blocks of rows see other rows, and none in order.
        let picks: Vec<usize> = (0..rows).map(|r| (r * 3 + r / 5) % sizes.rows).collect();
        for share in [1, 4] {
            if let Some((batch, want, sizes)) = picked(&model, &batch, &want, sizes, &picks, share) {
                check(&batch, sizes, &want);
            }
        }
    }
}

/// Another batch of these rows, `share` rows of which in a row belong to one request: that of the first of them.
fn picked(
    model: &Model,
    batch: &Tensors,
    want: &Tensors,
    sizes: Sizes,
    picks: &[usize],
    share: usize,
) -> Option<(Tensors, Tensors, Sizes)> {
    let graph = &model.graph;
    let by_request = graph.inputs().any(|(_, name, _)| name == REQUEST_OF_ROW);
    let former = |row: usize| match batch.get(REQUEST_OF_ROW) {
        Some(t) => usize::try_from(t.as_i32().expect("i32")[row]).expect("a request"),
        None if sizes.requests == 1 => 0,
        None => row,
    };
    // Rows that come to share a request must have shared it before.
    let shared = |group: &[usize]| group.iter().all(|r| former(*r) == former(group[0]));
    if by_request && share > 1 && !picks.chunks(share).all(shared) {
        return None;
    }
    let requests: Vec<usize> = if by_request {
        picks.chunks(share).map(|group| former(group[0])).collect()
    } else {
        vec![0]
    };
    let mut new = Tensors::new();
    for (_, name, ty) in graph.inputs() {
        let Some(t) = batch.get(name).filter(|_| name != REQUEST_OF_ROW) else {
            continue;
        };
        let t = match ty.shape.0.first() {
            Some(Dim::Rows(k)) => take(t, picks, *k),
            Some(Dim::Requests(k)) => take(t, &requests, *k),
            Some(Dim::Fixed(_)) | None => t.clone(),
        };
        new.insert(name.to_owned(), t);
    }
    if by_request {
        let map = (0..picks.len()).map(|r| i32::try_from(r / share).expect("few rows"));
        new.insert(
            REQUEST_OF_ROW.to_owned(),
            HostTensor::i32(&[picks.len()], map.collect()),
        );
    }
    let new_sizes = Sizes {
        rows: picks.len(),
        requests: requests.len(),
    };
    let mut wanted = Tensors::new();
    for (name, v) in &graph.outputs {
        match graph.shape(*v).symbolic() {
            Some((0, Dim::Rows(k))) => wanted.insert(name.clone(), take(&want[name], picks, k)),
            _ => return None,
        };
    }
    Some((new, wanted, new_sizes))
}

fn take(t: &HostTensor, rows: &[usize], factor: usize) -> HostTensor {
    let unit = factor * t.shape[1..].iter().product::<usize>();
    let mut shape = t.shape.clone();
    shape[0] = rows.len() * factor;
    fn each<T: Copy>(x: &[T], rows: &[usize], unit: usize) -> Vec<T> {
        rows.iter().flat_map(|r| x[r * unit..][..unit].to_vec()).collect()
    }
    match &t.data {
        Data::F32(x) => HostTensor::f32(&shape, each(x, rows, unit)),
        Data::I32(x) => HostTensor::i32(&shape, each(x, rows, unit)),
        Data::Bool(x) => HostTensor::bool(&shape, each(x, rows, unit)),
    }
}

fn graph(lines: &[&str], outputs: &str) -> Graph {
    let nodes: String = lines.iter().enumerate().map(|(i, n)| format!("%{i} = {n}\n")).collect();
    let text = format!("loopfm 1\n{nodes}return {outputs}\n");
    ir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn sizes(rows: usize, requests: usize) -> Sizes {
    Sizes { rows, requests }
}

/// Each user's history, read by rows through their request.
fn lookup() -> (Graph, Tensors) {
    let g = graph(
        &[
            r#"input "history" : i32[requests, 3]"#,
            r#"input "request_of_row" : i32[rows]"#,
            r#"param "emb" : f32[5, 2]"#,
            r#"gather(%2, %0) {axis=0} : f32[requests, 3, 2] @ "emb""#,
            "reduce_sum(%3) {axes=[1]} : f32[requests, 1, 2]",
            "reshape(%4) : f32[requests, 2]",
            "gather(%5, %1) {axis=0} : f32[rows, 2]",
        ],
        r#""sum" = %6, "users" = %5"#,
    );
    let emb = (0..10u8).map(f32::from).collect();
    (g, tensors([("emb", HostTensor::f32(&[5, 2], emb))]))
}

#[test]
fn rows_find_their_request() {
    let (g, weights) = lookup();
    let executor = Executor::new(&g, &weights).expect("row-local");
    let requests = 40;
    let ids: Vec<i32> = (0..3 * requests).map(|i| i * 7 % 5).collect();
    let history = HostTensor::i32(&[40, 3], ids);
    for map in [
        (0..40).collect::<Vec<i32>>(),
        (0..300).map(|r| r / 9).collect(),
        vec![11; 300],
        (0..300).map(|r| r * r % 40).collect(),
    ] {
        let rows = map.len();
        let mut batch = tensors([("history", history.clone())]);
        let whole = sizes(rows, 40);
        batch.insert(REQUEST_OF_ROW.into(), HostTensor::i32(&[rows], map));
        let want = interp::eval::<f32>(&g, &weights, &batch, whole).expect("interpreted");
        let got = executor.run(&batch, whole).expect("run");
        compare_outputs(&got, &crate::support::hosts(&want), TOL).expect("as interpreted");
    }
    // Implied: each row its own, then one for all.
    let own = executor
        .run(&tensors([("history", history)]), sizes(40, 40))
        .expect("run");
    assert_eq!(own["sum"], own["users"]);
    let one = tensors([("history", HostTensor::i32(&[1, 3], vec![1, 2, 4]))]);
    let one = executor.run(&one, sizes(3, 1)).expect("run");
    assert_eq!(one["sum"], HostTensor::f32(&[3, 2], [14.0, 17.0].repeat(3)));
}

#[test]
fn refusals_name_what_is_wrong() {
    let (g, weights) = lookup();
    let missing = Executor::new(&g, &Tensors::new()).expect_err("no weights");
    assert_eq!(missing.to_string(), "`emb` is missing, the graph takes f32[5, 2]");
    let executor = Executor::new(&g, &weights).expect("row-local");
    let history = HostTensor::i32(&[2, 3], vec![0, 1, 2, 3, 5, 4]);
    let refused = |batch: Tensors, sizes| executor.run(&batch, sizes).expect_err("refused").to_string();
    let odd = tensors([
        ("history", HostTensor::f32(&[3], vec![0.0; 3])),
        ("mask", history.clone()),
    ]);
    assert_eq!(
        refused(odd, sizes(2, 2)),
        "`history` is f32[3], the graph takes i32[requests, 3] = [2, 3]; `mask` is no input of the graph"
    );
    assert_eq!(
        refused(tensors([("history", history.clone())]), sizes(3, 2)),
        "`request_of_row` is missing, and 3 rows of 2 requests do not imply it"
    );
    assert_eq!(
        refused(tensors([("history", history.clone())]), sizes(2, 2)),
        "row 1: index 5 of input `history` is outside 0..5 of parameter `emb`"
    );
    let mut batch = tensors([("history", history)]);
    batch.insert(REQUEST_OF_ROW.into(), HostTensor::i32(&[3], vec![0, 1, -1]));
    assert_eq!(
        refused(batch, sizes(3, 2)),
        "row 2: index -1 of input `request_of_row` is outside 0..2 of the requests"
    );
}

#[test]
fn an_index_error_names_the_row_of_the_batch() {
    let g = graph(
        &[
            r#"input "ids" : i32[rows, 2]"#,
            r#"param "emb" : f32[9, 4]"#,
            r#"param "off" : i32[2]"#,
            "broadcast(%2) : i32[rows, 2]",
            "add(%0, %3) : i32[rows, 2]",
            "gather(%1, %4) {axis=0} : f32[rows, 2, 4]",
        ],
        r#""y" = %5"#,
    );
    let emb = HostTensor::f32(&[9, 4], vec![0.5; 36]);
    let weights = tensors([("emb", emb), ("off", HostTensor::i32(&[2], vec![0, 3]))]);
    let executor = Executor::new(&g, &weights).expect("row-local");
    let mut ids = vec![0; 2000];
    (ids[1801], ids[1900]) = (6, -1);
    let batch = tensors([("ids", HostTensor::i32(&[1000, 2], ids))]);
    assert_eq!(
        executor.run(&batch, sizes(1000, 1)),
        Err(Error::Index {
            index: "input `ids`".into(),
            table: "parameter `emb`".into(),
            row: 900,
            value: 9,
            extent: 9,
        })
    );
}

#[test]
fn graphs_that_mix_rows_are_refused() {
    let g = graph(
        &[
            r#"input "x" : f32[rows, 2]"#,
            "permute(%0) {perm=[1, 0]} : f32[2, rows]",
            r#"reshape(%1) : f32[rows, 2] @ "mix""#,
        ],
        r#""y" = %2"#,
    );
    let refused = Executor::new(&g, &Tensors::new()).expect_err("mixes rows").to_string();
    assert_eq!(
        refused,
        "not row-local: %2 `reshape` of `mix`: [2, rows] to [rows, 2] tears rows apart"
    );
}

#[test]
fn threads_may_share_an_executor() {
    let case = graphs::din(3);
    let executor = Executor::new(&case.graph, &case.weights).expect("row-local");
    let want = executor.run(&case.batch, case.sizes).expect("run");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(executor.run(&case.batch, case.sizes).as_ref(), Ok(&want));
                }
            });
        }
    });
}
