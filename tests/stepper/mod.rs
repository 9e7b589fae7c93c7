//! Training steps on the CPU against their dense meaning.

mod sums;
mod tables;

use loopfm::cpu::Stepper;
use loopfm::interp;
use loopfm::ir::{Binary, Fold, Graph, Op, TypeError, Value};
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
