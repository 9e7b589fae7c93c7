//! Which values each element of an integer input may have, so that a wrong id is refused by name before a kernel runs.
//!
//! An index expression is a black box here: evaluated on inputs that tell their elements apart, it shows whether each
//! index is one input element plus a constant. Indices that are anything else are held in bounds and reported by the
//! kernels themselves.

use crate::bundle::IdCheck;
use crate::interp::{EvalError, eval_values};
use crate::ir::rows::is_crossing;
use crate::ir::{Graph, Op, REQUEST_OF_ROW, Value};
use crate::tensor::{DType, HostTensor, Sizes, Tensors};

/// Range checks of all gathers whose indices come straight from integer inputs.
pub(super) fn id_checks(g: &Graph, weights: &Tensors) -> Result<Vec<IdCheck>, EvalError> {
    let live = g.live();
    let mut checks: Vec<IdCheck> = Vec::new();
    for (v, n) in g.iter() {
        let (Op::Gather(axis) | Op::TakeAlong(axis)) = n.op else {
            continue;
        };
        if !live[v.index()] || is_crossing(g, n) {
            continue;
        }
        let extent = g.shape(n.args[0]).0[axis].factor();
        let Some((input, name)) = sole_input(g, n.args[1]) else {
            continue;
        };
        let Some(shifts) = shifts(g, weights, n.args[1], input, name)? else {
            continue;
        };
        let table = match g.op(n.args[0]) {
            Op::Param(p) => p.clone(),
            _ => g.scope_of(n.args[0]).to_owned(),
        };
        let width = g.shape(input).numel(Sizes::ONE);
        let limit = i64::try_from(extent).unwrap_or(i64::MAX) - 1;
        let mut range = vec![(i64::from(i32::MIN), i64::from(i32::MAX)); width];
        for (element, shift) in shifts {
            let (lo, hi) = &mut range[element];
            *lo = (*lo).max(-shift);
            *hi = (*hi).min(limit - shift);
        }
        push(&mut checks, name, table, &range);
    }
    Ok(checks)
}

fn push(checks: &mut Vec<IdCheck>, input: &str, table: String, range: &[(i64, i64)]) {
    let clamp = |x: i64| i32::try_from(x.clamp(i64::from(i32::MIN), i64::from(i32::MAX))).unwrap_or(i32::MAX);
    let mut min: Vec<i32> = range.iter().map(|(lo, _)| clamp(*lo)).collect();
    let mut max: Vec<i32> = range.iter().map(|(_, hi)| clamp(*hi)).collect();
    if min.iter().all(|x| *x == min[0]) && max.iter().all(|x| *x == max[0]) {
        min.truncate(1);
        max.truncate(1);
    }
    let check = IdCheck {
        input: input.to_owned(),
        table,
        min,
        max,
    };
    if !checks.contains(&check) {
        checks.push(check);
    }
}

/// The one integer input that an expression depends on.
fn sole_input(g: &Graph, v: Value) -> Option<(Value, &str)> {
    let mut found = None;
    let mut stack = vec![v];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(v) = stack.pop() {
        if !seen.insert(v) {
            continue;
        }
        match g.op(v) {
            // The way from requests to rows changes nothing of an index.
            Op::Input(name) if name == REQUEST_OF_ROW => {}
            Op::Input(name) => match found {
                None if g.ty(v).dtype == DType::I32 => found = Some((v, name.as_str())),
                Some((f, _)) if f == v => {}
                _ => return None,
            },
            _ => stack.extend(g.args(v)),
        }
    }
    found
}

/// For each index of the expression the input element it equals up to a constant, and that constant.
fn shifts(
    g: &Graph,
    weights: &Tensors,
    v: Value,
    input: Value,
    name: &str,
) -> Result<Option<Vec<(usize, i64)>>, EvalError> {
    let shape = g.shape(input).at(Sizes::ONE);
    let width: usize = shape.iter().product();
    let run = |scale: i32| -> Result<Vec<i32>, EvalError> {
        let ids = (0..width).map(|e| scale * i32::try_from(e + 1).unwrap_or(0)).collect();
        let batch = Tensors::from([(name.to_owned(), HostTensor::i32(&shape, ids))]);
        Ok(eval_values::<f64>(g, weights, &batch, Sizes::ONE, &[v])?[0]
            .ints()
            .to_vec())
    };
    // Small, large and negative ids: a remainder, a clamp or a wrap shows on one of them.
    let far = i32::MAX / i32::try_from(width + 1).unwrap_or(i32::MAX);
    let (Ok(zero), Ok(one)) = (run(0), run(1)) else {
        return Ok(None);
    };
    let mut list = Vec::with_capacity(zero.len());
    for (z, o) in zero.iter().zip(&one) {
        let element = i64::from(*o) - i64::from(*z);
        match usize::try_from(element - 1) {
            Ok(e) if e < width => list.push((e, i64::from(*z))),
            _ => return Ok(None),
        }
    }
    for scale in [7, far / 2, -far / 2] {
        let Ok(seen) = run(scale) else { return Ok(None) };
        let fits = |((e, shift), x): (&(usize, i64), &i32)| i64::from(*x) == i64::from(scale) * (*e as i64 + 1) + shift;
        if !list.iter().zip(&seen).all(fits) {
            return Ok(None);
        }
    }
    Ok(Some(list))
}
