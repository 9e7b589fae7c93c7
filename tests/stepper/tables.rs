//! Tables that a batch touches in a few rows, and what is wrong with a batch.

use loopfm::cpu::{Error, Stepper};
use loopfm::ir::{Binary, Fold, TypeError, Unary, Value};
use loopfm::pieces::{self, Over, Source, split};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

use super::{Step, check, ids};
use crate::support::rng::Rng;
use crate::support::tensors;

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

/// A table that is updated at rows which nothing has looked up before.
#[test]
fn updates_outside_their_table() {
    let build = || -> Result<Step, TypeError> {
        let mut s = Step::new(8);
        let (to, x) = (s.rows("to", DType::I32, &[2])?, s.rows("x", DType::F32, &[2, 4])?);
        let table = s.param("table", &[50, 4])?;
        let gradient = s.g.scatter_add(x, to, &Shape::fixed(&[50, 4]))?;
        let touched = s.touched(to, 50)?;
        let new = s.g.binary(Binary::Sub, table, gradient)?;
        s.keep_others("table", touched, new, table)?;
        Ok(s)
    };
    let batch = |rng: &mut Rng, rows: usize, id: i32| {
        let mut to = rng.ids(2 * rows, 50);
        to[2 * rows - 1] = id;
        let x = super::floats(rng, &[rows, 2, 4]);
        tensors([("to", HostTensor::i32(&[rows, 2], to)), ("x", x)])
    };
    let step = build().expect("well typed");
    assert!(!tables(&step).is_empty());
    check(step, &[1, 30], |rng, rows| batch(rng, rows, 49));
    let Step { g, mut rng, state } = build().expect("well typed");
    let mut stepper = Stepper::new(&g, state.clone()).expect("a step");
    for id in [50, -1, i32::MAX] {
        match stepper.step(&batch(&mut rng, 4, id), 4) {
            Err(Error::Index {
                row: 3,
                value,
                extent: 50,
                table,
                ..
            }) if value == id && table.contains("table") => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(*stepper.state(), state);
}
