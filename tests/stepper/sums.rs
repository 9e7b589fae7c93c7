//! Sums over rows: in blocks, all at once, one after the other, on any number of threads.

use loopfm::cpu::Stepper;
use loopfm::ir::{Binary, Fold, TypeError, Unary};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

use super::{Step, check, floats, ids};
use crate::support::rng::Rng;
use crate::support::tensors;

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

/// Layers so wide that their gradients are made once all rows are there, in parts of rows and of columns.
fn wide() -> Result<Step, TypeError> {
    let mut s = Step::new(6);
    let x = s.rows("x", DType::F32, &[160])?;
    let w = s.param("w", &[160, 144])?;
    let h = s.g.matmul(x, w)?;
    let transposed = s.g.permute(x, &[1, 0])?;
    let dw = s.g.matmul(transposed, h)?;
    let dw = s.scaled(dw, 1e-4)?;
    s.descend("w", w, dw)?;
    let v = s.param("v", &[144, 160])?;
    let transposed = s.g.permute(h, &[1, 0])?;
    let dv = s.g.matmul(transposed, x)?;
    let dv = s.scaled(dv, 1e-4)?;
    s.descend("v", v, dv)?;
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

#[test]
fn integers_and_truths_are_counted() {
    let build = || -> Result<Step, TypeError> {
        let mut s = Step::new(7);
        let x = s.rows("ids", DType::I32, &[3])?;
        let sum = s.g.reduce(Fold::Sum, x, &[0])?;
        s.output("sum", sum);
        let (four, x) = (s.g.constant_f32(4.0)?, s.g.cast(x, DType::F32)?);
        let above = s.g.binary(Binary::Gt, x, four)?;
        let above = s.g.cast(above, DType::I32)?;
        let count = s.g.reduce(Fold::Sum, above, &[0, 1])?;
        s.output("count", count);
        Ok(s)
    };
    check(build().expect("well typed"), &[1, 40, 700], |rng, rows| {
        tensors([("ids", ids(rng, &[rows, 3], 9))])
    });
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
