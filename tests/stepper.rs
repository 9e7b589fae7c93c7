//! Training steps on the CPU against their dense meaning.

use loopfm::cpu::{Error, Stepper};
use loopfm::interp;
use loopfm::ir::{Binary, Fold, Graph, Op, TypeError, Unary, Value};
use loopfm::pieces::{self, Over, Source, split};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};

use crate::support::compare::{Tol, compare_outputs};
use crate::support::rng::Rng;
use crate::support::tensors;

type Built = Result<Value, TypeError>;

const TOL: Tol = Tol {
    abs: 1e-6,
    rel: 0.0,
    of_max: 2e-5,
};

/// A step under construction: a table, a weight, and what trains them.
struct Step {
    g: Graph,
    rng: Rng,
    state: Tensors,
}

impl Step {
    fn new(seed: u64) -> Self {
        Self {
            g: Graph::new(),
            rng: Rng(seed),
            state: Tensors::new(),
        }
    }

    fn param(&mut self, name: &str, shape: &[usize]) -> Built {
        let n: usize = shape.iter().product();
        let values = self.rng.floats(n, 1.0);
        self.state.insert(name.into(), HostTensor::f32(shape, values));
        self.g.param(name, shape)
    }

    fn rows(&mut self, name: &str, dtype: DType, inner: &[usize]) -> Built {
        let dims = std::iter::once(Dim::Rows(1)).chain(inner.iter().map(|&n| Dim::Fixed(n)));
        self.g.input(name, dtype, Shape(dims.collect()))
    }

    fn output(&mut self, name: &str, v: Value) {
        self.g.outputs.push((name.into(), v));
    }

    fn scaled(&mut self, x: Value, by: f32) -> Built {
        let by = self.g.constant_f32(by)?;
        self.g.binary(Binary::Mul, x, by)
    }

    /// `next.name = w - 0.1 g`.
    fn descend(&mut self, name: &str, w: Value, gradient: Value) -> Result<(), TypeError> {
        let gradient = self.g.reshape(gradient, &self.g.shape(w).clone())?;
        let step = self.scaled(gradient, 0.1)?;
        let next = self.g.binary(Binary::Sub, w, step)?;
        self.output(&format!("next.{name}"), next);
        Ok(())
    }

    /// Which rows of a table got anything: `scatter_add(1, ids) > 0`.
    fn touched(&mut self, ids: Value, extent: usize) -> Built {
        let one = self.g.constant_f32(1.0)?;
        let mut shape = self.g.shape(ids).clone();
        shape.0.push(Dim::Fixed(1));
        let ones = self.g.broadcast(one, &shape)?;
        let count = self.g.scatter_add(ones, ids, &Shape::fixed(&[extent, 1]))?;
        let zero = self.g.constant_f32(0.0)?;
        self.g.binary(Binary::Gt, count, zero)
    }

    /// `next.name = select(touched, new, old)`.
    fn keep_others(&mut self, name: &str, touched: Value, new: Value, old: Value) -> Result<(), TypeError> {
        let next = self.g.select(touched, new, old)?;
        self.output(&format!("next.{name}"), next);
        Ok(())
    }
}

/// Runs batches of these sizes, each compared with what the step means for the state that it found.
fn check(step: Step, sizes: &[usize], batch: impl Fn(&mut Rng, usize) -> Tensors) {
    let Step { g, mut rng, state } = step;
    let mut stepper = Stepper::new(&g, state).unwrap_or_else(|e| panic!("{e}\n{g}"));
    for &rows in sizes {
        let batch = batch(&mut rng, rows);
        let before = stepper.state().clone();
        let sizes = Sizes { rows, requests: rows };
        let meaning = interp::eval::<f64>(&g, &before, &batch, sizes).unwrap_or_else(|e| panic!("{e}\n{g}"));
        let mut got = stepper.step(&batch, rows).unwrap_or_else(|e| panic!("{e}\n{g}"));
        let after = stepper.state();
        for (output, _) in &g.outputs {
            if let Some(name) = output.strip_prefix("next.") {
                got.insert(output.clone(), after[name].clone());
            }
        }
        let want: Tensors = meaning.iter().map(|(name, t)| (name.clone(), t.to_host())).collect();
        let got: Tensors = want.keys().map(|name| (name.clone(), got[name].clone())).collect();
        compare_outputs(&got, &want, TOL).unwrap_or_else(|e| panic!("{rows} rows: {e}\n{g}"));
    }
}

fn floats(rng: &mut Rng, shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    HostTensor::f32(shape, rng.floats(n, 1.0))
}

fn ids(rng: &mut Rng, shape: &[usize], extent: usize) -> HostTensor {
    HostTensor::i32(shape, rng.ids(shape.iter().product(), extent))
}

/// Two linear layers over positions, their gradients as sums over rows and positions.
fn regression() -> Result<Step, TypeError> {
    let mut s = Step::new(1);
    let (x, y) = (s.rows("x", DType::F32, &[3, 5])?, s.rows("y", DType::F32, &[])?);
    let (w, b) = (s.param("w", &[5, 7])?, s.param("b", &[7])?);
    let h = s.g.matmul(x, w)?;
    let h = s.g.binary(Binary::Add, h, b)?;
    let h = s.g.unary(Unary::Tanh, h)?;
    let total = s.g.reduce(Fold::Sum, h, &[1, 2])?;
    let total = s.g.reshape(total, &Shape(vec![Dim::Rows(1)]))?;
    let error = s.g.binary(Binary::Sub, total, y)?;
    let square = s.g.binary(Binary::Mul, error, error)?;
    let loss = s.g.reduce(Fold::Sum, square, &[0])?;
    s.output("loss", loss);
    let error =
        s.g.reshape(error, &Shape(vec![Dim::Rows(1), Dim::Fixed(1), Dim::Fixed(1)]))?;
    let square = s.g.binary(Binary::Mul, h, h)?;
    let one = s.g.constant_f32(0.02)?;
    let slope = s.g.binary(Binary::Sub, one, square)?;
    let dh = s.g.binary(Binary::Mul, slope, error)?;
    let flat = |n| Shape(vec![Dim::Rows(3), Dim::Fixed(n)]);
    let (x, dh) = (s.g.reshape(x, &flat(5))?, s.g.reshape(dh, &flat(7))?);
    let transposed = s.g.permute(x, &[1, 0])?;
    let dw = s.g.matmul(transposed, dh)?;
    let db = s.g.reduce(Fold::Sum, dh, &[0])?;
    s.descend("w", w, dw)?;
    s.descend("b", b, db)?;
    Ok(s)
}

fn regression_batch(rng: &mut Rng, rows: usize) -> Tensors {
    tensors([("x", floats(rng, &[rows, 3, 5])), ("y", floats(rng, &[rows]))])
}

#[test]
fn sums_over_rows() {
    let step = regression().expect("well typed");
    check(step, &[1, 2, 17, 300, 0, 512, 1000], regression_batch);
}

/// A layer so wide that its gradient is made once all rows are there.
fn wide() -> Result<Step, TypeError> {
    let mut s = Step::new(6);
    let x = s.rows("x", DType::F32, &[160])?;
    let w = s.param("w", &[160, 144])?;
    let h = s.g.matmul(x, w)?;
    let transposed = s.g.permute(x, &[1, 0])?;
    let dw = s.g.matmul(transposed, h)?;
    let dw = s.scaled(dw, 1e-4)?;
    s.descend("w", w, dw)?;
    Ok(s)
}

fn wide_batch(rng: &mut Rng, rows: usize) -> Tensors {
    tensors([("x", floats(rng, &[rows, 160]))])
}

#[test]
fn sums_of_wide_layers() {
    check(wide().expect("well typed"), &[1, 70, 0, 300], wide_batch);
}

#[test]
fn sums_that_wait_for_sums() {
    let build = || -> Result<Step, TypeError> {
        // Batch normalisation: mean, then variance around it, then what is made of both, and its running mean.
        let mut s = Step::new(2);
        let x = s.rows("x", DType::F32, &[4])?;
        let n = s.g.input("step.inv_rows", DType::F32, Shape::default())?;
        let running = s.param("running", &[4])?;
        let sum = s.g.reduce(Fold::Sum, x, &[0])?;
        let mean = s.g.binary(Binary::Mul, sum, n)?;
        let centred = s.g.binary(Binary::Sub, x, mean)?;
        let square = s.g.binary(Binary::Mul, centred, centred)?;
        let sum = s.g.reduce(Fold::Sum, square, &[0])?;
        let variance = s.g.binary(Binary::Mul, sum, n)?;
        let root = s.g.unary(Unary::Sqrt, variance)?;
        let y = s.g.binary(Binary::Div, centred, root)?;
        // Rows last: what crosses from the second pass over rows to the third in another order.
        let turned = s.g.permute(centred, &[1, 0])?;
        let product = s.g.matmul(turned, y)?;
        s.output("product", product);
        s.output("y", y);
        s.output("turned", turned);
        s.descend("running", running, mean)?;
        Ok(s)
    };
    check(build().expect("well typed"), &[2, 40, 700], |rng, rows| {
        let inv = HostTensor::f32(&[], vec![1.0 / rows as f32]);
        tensors([("x", floats(rng, &[rows, 4])), ("step.inv_rows", inv)])
    });
}

/// A table read at two places, trained by a sum, beside a weight; `how` updates the table.
fn lookup(how: impl Fn(&mut Step, Value, Value, Value) -> Result<(), TypeError>) -> Result<Step, TypeError> {
    let mut s = Step::new(3);
    let (first, second) = (s.rows("first", DType::I32, &[])?, s.rows("second", DType::I32, &[3])?);
    let table = s.param("table", &[50, 4])?;
    let rows = s.g.gather(table, first)?;
    let others = s.g.gather(table, second)?;
    let total = s.g.reduce(Fold::Sum, others, &[1])?;
    let total = s.g.reshape(total, &s.g.shape(rows).clone())?;
    let score = s.g.binary(Binary::Mul, rows, total)?;
    let loss = s.g.reduce(Fold::Sum, score, &[0, 1])?;
    s.output("loss", loss);
    let shape = s.g.shape(table).clone();
    let d_first = s.g.scatter_add(total, first, &shape)?;
    let wide = s.g.shape(others).clone();
    let d_rows =
        s.g.reshape(rows, &Shape(vec![Dim::Rows(1), Dim::Fixed(1), Dim::Fixed(4)]))?;
    let d_rows = s.g.broadcast(d_rows, &wide)?;
    let d_second = s.g.scatter_add(d_rows, second, &shape)?;
    let gradient = s.g.binary(Binary::Add, d_first, d_second)?;
    let touched = [s.touched(first, 50)?, s.touched(second, 50)?];
    let touched = s.g.binary(Binary::Or, touched[0], touched[1])?;
    how(&mut s, table, gradient, touched)?;
    Ok(s)
}

fn lookup_batch(rng: &mut Rng, rows: usize) -> Tensors {
    // Few rows of the table, most of them often.
    tensors([("first", ids(rng, &[rows], 9)), ("second", ids(rng, &[rows, 3], 30))])
}

/// Row-wise Adagrad with the gradient clipped to a norm.
fn adagrad(s: &mut Step, table: Value, gradient: Value, touched: Value) -> Result<(), TypeError> {
    let squares = s.g.binary(Binary::Mul, gradient, gradient)?;
    let norm = s.g.reduce(Fold::Sum, squares, &[0, 1])?;
    let norm = s.g.unary(Unary::Sqrt, norm)?;
    s.output("norm", norm);
    let one = s.g.constant_f32(1.0)?;
    let above = s.g.binary(Binary::Max, norm, one)?;
    let clipped = s.g.binary(Binary::Div, gradient, above)?;
    let seen = s.param("adagrad/table", &[50, 1])?;
    let squares = s.g.binary(Binary::Mul, clipped, clipped)?;
    let mean = s.g.reduce(Fold::Sum, squares, &[1])?;
    let absolute = s.g.unary(Unary::Abs, seen)?;
    let sum = s.g.binary(Binary::Add, absolute, mean)?;
    let root = s.g.unary(Unary::Sqrt, sum)?;
    let step = s.g.binary(Binary::Div, clipped, root)?;
    let decayed = s.scaled(table, 0.99)?;
    let new = s.g.binary(Binary::Sub, decayed, step)?;
    s.keep_others("table", touched, new, table)?;
    s.keep_others("adagrad/table", touched, sum, seen)
}

fn tables(step: &Step) -> Vec<pieces::Piece> {
    let pieces = split(&step.g).expect("a step");
    pieces
        .into_iter()
        .filter(|p| matches!(p.over, Over::Table { .. }))
        .collect()
}

#[test]
fn tables_are_trained_where_they_are_touched() {
    let step = lookup(adagrad).expect("well typed");
    let tables = tables(&step);
    assert_eq!(tables.len(), 2, "one piece for the norm, one for the update");
    for table in &tables {
        assert!(
            table.inputs.iter().all(|(_, s)| !matches!(s, Source::State(_))),
            "no table is read whole"
        );
    }
    check(step, &[1, 5, 0, 200], lookup_batch);
}

#[test]
fn tables_that_move_as_a_whole_stay_whole() {
    let decayed = |s: &mut Step, table: Value, gradient: Value, _| {
        let part = s.scaled(table, 0.5)?;
        let sum = s.g.binary(Binary::Add, gradient, part)?;
        s.descend("table", table, sum)
    };
    let norm_of_all = |s: &mut Step, table: Value, gradient: Value, touched: Value| {
        let sum = s.g.binary(Binary::Add, gradient, table)?;
        let norm = s.g.reduce(Fold::Sum, sum, &[0, 1])?;
        s.output("norm", norm);
        let new = s.g.binary(Binary::Sub, table, gradient)?;
        s.keep_others("table", touched, new, table)
    };
    let shown = |s: &mut Step, table: Value, gradient: Value, touched: Value| {
        s.output("gradient", gradient);
        let new = s.g.binary(Binary::Sub, table, gradient)?;
        s.keep_others("table", touched, new, table)
    };
    let backwards = |s: &mut Step, table: Value, gradient: Value, touched: Value| {
        // The rows that got nothing are those that move.
        let new = s.g.binary(Binary::Sub, table, gradient)?;
        let shrunk = s.scaled(table, 0.5)?;
        let next = s.g.select(touched, new, shrunk)?;
        s.output("next.table", next);
        Ok(())
    };
    for step in [lookup(decayed), lookup(norm_of_all), lookup(shown), lookup(backwards)] {
        let step = step.expect("well typed");
        assert!(tables(&step).is_empty());
        check(step, &[1, 70], lookup_batch);
    }
}

#[test]
fn random_numbers_are_those_of_the_batch() {
    let build = || -> Result<Step, TypeError> {
        let mut s = Step::new(4);
        let x = s.rows("x", DType::F32, &[6])?;
        let seed = s.g.input("step.seed", DType::I32, Shape::default())?;
        let u = s.g.uniform(seed, 7, &s.g.shape(x).clone())?;
        let half = s.g.constant_f32(0.5)?;
        let keep = s.g.binary(Binary::Lt, u, half)?;
        let zero = s.g.constant_f32(0.0)?;
        let dropped = s.g.select(keep, x, zero)?;
        s.output("dropped", dropped);
        let sum = s.g.reduce(Fold::Sum, dropped, &[0])?;
        let w = s.param("w", &[6])?;
        s.descend("w", w, sum)?;
        Ok(s)
    };
    check(build().expect("well typed"), &[1, 33, 500], |rng, rows| {
        let seed = HostTensor::i32(&[], vec![42]);
        tensors([("x", floats(rng, &[rows, 6])), ("step.seed", seed)])
    });
}

#[test]
fn recurrences_and_back() {
    for attention in [false, true] {
        let build = || -> Result<Step, TypeError> {
            let mut s = Step::new(5);
            let (x, h0) = (s.rows("x", DType::F32, &[4, 9])?, s.rows("h0", DType::F32, &[3])?);
            let mut args = vec![x, h0, s.param("w", &[3, 9])?, s.param("b", &[9])?];
            if attention {
                args.push(s.rows("a", DType::F32, &[4])?);
            }
            let hs = s.g.apply(Op::Gru, &args)?;
            s.output("hs", hs);
            let dhs = s.rows("dhs", DType::F32, &[4, 3])?;
            args.extend([hs, dhs]);
            let packed = s.g.apply(Op::GruGrad, &args)?;
            s.output("packed", packed);
            Ok(s)
        };
        check(build().expect("well typed"), &[1, 20], |rng, rows| {
            let mut batch = tensors([
                ("x", floats(rng, &[rows, 4, 9])),
                ("h0", floats(rng, &[rows, 3])),
                ("dhs", floats(rng, &[rows, 4, 3])),
            ]);
            if attention {
                batch.insert("a".into(), floats(rng, &[rows, 4]));
            }
            batch
        });
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    type Case = (fn() -> Result<Step, TypeError>, fn(&mut Rng, usize) -> Tensors);
    let cases: [Case; 2] = [(regression, regression_batch), (wide, wide_batch)];
    for (step, batch) in cases {
        let train = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            pool.install(|| {
                let Step { g, mut rng, state } = step().expect("well typed");
                let mut stepper = Stepper::new(&g, state).expect("a step");
                for _ in 0..3 {
                    stepper.step(&batch(&mut rng, 400), 400).expect("a batch");
                }
                stepper.into_state()
            })
        };
        assert_eq!(train(1), train(3));
    }
}

#[test]
fn what_is_wrong_changes_nothing() {
    let Step { g, mut rng, state } = lookup(adagrad).expect("well typed");
    let mut stepper = Stepper::new(&g, state.clone()).expect("a step");
    let mut batch = lookup_batch(&mut rng, 4);
    batch.insert(
        "second".into(),
        HostTensor::i32(&[4, 3], vec![0, 1, 2, 3, 4, 5, 6, 50, 8, 9, 10, 11]),
    );
    match stepper.step(&batch, 4) {
        Err(Error::Index {
            row: 2,
            value: 50,
            extent: 50,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    batch.swap_remove("first");
    assert!(matches!(stepper.step(&batch, 4), Err(Error::Batch(_))));
    assert_eq!(*stepper.state(), state);

    let mut without = state.clone();
    without.swap_remove("table");
    assert!(matches!(Stepper::new(&g, without), Err(Error::Weights(_))));
    let mut renamed = g.clone();
    renamed.outputs[1].0 = "next.no_such_tensor".into();
    match Stepper::new(&renamed, state) {
        Err(Error::Step(pieces::Error::NoParam { name })) => assert_eq!(name, "no_such_tensor"),
        other => panic!("{other:?}"),
    }
}
