//! The bounds hold for devices that round, and do not hold for devices that err.

use half::f16;
use loopfm::interp::{self, Bound, Rounding};
use loopfm::tensor::{Data, HostTensor, Tensors};

use crate::support::compare::within;
use crate::support::graphs::{self, Case, for_random};
use crate::support::hosts;

/// A device that is a CPU in `f32`, with these weights.
fn device(case: &Case, weights: &Tensors) -> Tensors {
    let outputs = interp::eval::<f32>(&case.graph, weights, &case.batch, case.sizes);
    hosts(&outputs.unwrap_or_else(|e| panic!("{e}\n{case}")))
}

fn bounds(case: &Case, rounding: Rounding) -> indexmap::IndexMap<String, Bound> {
    let bounds = interp::bounds(&case.graph, &case.weights, &case.batch, case.sizes, rounding);
    bounds.unwrap_or_else(|e| panic!("{e}\n{case}"))
}

fn each_float(weights: &Tensors, f: impl Fn(f32) -> f32) -> Tensors {
    let map = |t: &HostTensor| match &t.data {
        Data::F32(x) => HostTensor::f32(&t.shape, x.iter().map(|x| f(*x)).collect()),
        Data::I32(_) | Data::Bool(_) => t.clone(),
    };
    weights.iter().map(|(name, t)| (name.clone(), map(t))).collect()
}

/// What a device does wrong, as something done to each weight.
type Fault = (&'static str, fn(&mut HostTensor));

const F16_WEIGHTS: Rounding = Rounding {
    weights: 1.0 / 2048.0,
    ..Rounding::CPU
};

fn holds(case: &Case) -> Result<(), String> {
    within(&device(case, &case.weights), &bounds(case, Rounding::CPU)).map_err(|e| format!("f32: {e}"))?;
    let rounded = each_float(&case.weights, |x| f16::from_f32(x).to_f32());
    within(&device(case, &rounded), &bounds(case, F16_WEIGHTS)).map_err(|e| format!("f16 weights: {e}"))
}

#[test]
fn rounding_stays_within_the_bounds() {
    for_random(60, holds);
    for seed in 0..10 {
        for case in [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)] {
            holds(&case).unwrap_or_else(|e| panic!("{e}\n{case}"));
        }
    }
}

#[test]
fn faults_exceed_the_bounds_of_models() {
    let faults: [Fault; 3] = [
        ("a bias is left out", |t| {
            if t.shape.len() == 1 {
                *t = HostTensor::f32(&t.shape, vec![0.0; t.shape[0]]);
            }
        }),
        ("the first row of a matrix is left out", |t| {
            if let ([_, n], Data::F32(x)) = (&t.shape[..], &mut t.data) {
                x[..*n].fill(0.0);
            }
        }),
        ("a matrix is one row off", |t| {
            if let ([_, n], Data::F32(x)) = (&t.shape[..], &mut t.data) {
                x.rotate_left(*n);
            }
        }),
    ];
    for seed in 0..8 {
        for case in [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)] {
            let bounds = bounds(&case, Rounding::GPU_F16_WEIGHTS);
            for (fault, apply) in faults {
                let mut weights = case.weights.clone();
                weights.values_mut().for_each(apply);
                let caught = weights == case.weights || within(&device(&case, &weights), &bounds).is_err();
                assert!(caught, "not noticed: {fault}\n{case}");
            }
        }
    }
}

#[test]
fn bounds_of_models_are_far_below_what_is_ever_tolerated() {
    for seed in 0..8 {
        for case in [graphs::mlp(seed), graphs::din(seed)] {
            for (rounding, share) in [(Rounding::CPU, 0.03), (Rounding::GPU, 0.2)] {
                for (name, bound) in bounds(&case, rounding) {
                    let widest = bound.allowed.iter().fold(0.0, |m: f64, x| m.max(*x));
                    assert!(
                        widest < share * bound.ceiling,
                        "`{name}`: {widest:e} of {:e}\n{case}",
                        bound.ceiling
                    );
                    assert!(bound.is_useful());
                }
            }
        }
    }
}
