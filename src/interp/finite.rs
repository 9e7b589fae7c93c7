//! Where a number that is none comes from.

use super::{Elements, EvalError, Run, Tensor};
use crate::ir::{Graph, Op, Value};
use crate::tensor::{Sizes, Tensors};

/// The first node whose value in `f32` has a NaN, or an infinity, that no operand has: `"NaN"` or `"infinity"`.
/// Infinities of the graph's own constants (masks) count as meant.
///
/// # Errors
/// As [`eval`](super::eval).
pub fn first_non_finite(
    graph: &Graph,
    weights: &Tensors,
    batch: &Tensors,
    sizes: Sizes,
) -> Result<Option<(Value, &'static str)>, EvalError> {
    let (run, wanted) = Run::of_outputs(graph, weights, batch, sizes)?;
    let mut found = None;
    run.values::<f32>(&wanted, &mut |node, args, value| {
        if found.is_some() || matches!(node.op, Op::Const(_)) {
            return;
        }
        let made = |kind: fn(f32) -> bool| has(value, kind) && !args.iter().any(|a| has(a, kind));
        let what = match (made(f32::is_nan), made(f32::is_infinite)) {
            (true, _) => "NaN",
            (_, true) => "infinity",
            _ => return,
        };
        let at = graph.iter().find(|(_, n)| std::ptr::eq(*n, node));
        found = at.map(|(v, _)| (v, what));
    })?;
    Ok(found)
}

fn has(x: &Tensor<f32>, kind: fn(f32) -> bool) -> bool {
    match &x.data {
        Elements::Float(x) => x.iter().any(|x| kind(*x)),
        Elements::Int(_) | Elements::Bool(_) => false,
    }
}
