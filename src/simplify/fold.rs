//! Constants are computed once: what no input reaches becomes a parameter.
//!
//! Evaluated in `f64` over the whole expression and rounded once, so a folded weight is closer to the trained meaning
//! than the same ops in `f32` would be.

use std::collections::{HashMap, HashSet};

use super::edit::{constant, live, rewrite};
use super::{Fault, Weights};
use crate::interp::eval_values;
use crate::ir::{Graph, Node, Op, Scalar, Value};
use crate::tensor::{DType, Data, HostTensor, Sizes, Tensors};

/// Constants of more elements than this are not copied while the parameter behind them stays in use.
pub(super) const LARGE: usize = 1 << 16;

/// The values of constants, in `f64` rounded to `f32`.
pub(super) fn values(g: &Graph, weights: &Weights<'_>, wanted: &[Value]) -> Result<Vec<HostTensor>, Fault> {
    let none = Tensors::new();
    let values = eval_values::<f64>(g, weights.given, &none, Sizes::ONE, wanted)?;
    Ok(values.iter().map(|t| t.to_host()).collect())
}

/// Whole scalars and truth values that read no parameter become constants of the text at once: they are exact, and rules
/// look for them.
pub(super) fn exact_scalars(g: &Graph, weights: &Weights<'_>) -> Result<Graph, Fault> {
    let exact = |(v, n): &(Value, &Node)| {
        let plain = n.ty.shape.rank() == 0 && n.ty.dtype != DType::F32 && !n.op.is_leaf();
        plain && first_param(g, *v).is_none()
    };
    let wanted: Vec<Value> = g.iter().filter(exact).map(|(v, _)| v).collect();
    if wanted.is_empty() {
        return Ok(g.clone());
    }
    let literals = values(g, weights, &wanted)?.into_iter().filter_map(|t| literal(&t));
    let literals: HashMap<Value, Scalar> = wanted.iter().copied().zip(literals).collect();
    let g = rewrite(g, |e, v| match literals.get(&v) {
        Some(scalar) => e.new.apply(Op::Const(*scalar), &[]).map(Some),
        None => Ok(None),
    })?;
    Ok(live(&g)?)
}

/// Every constant that an op with inputs reads becomes a parameter, named `fold.` + the first parameter behind it +
/// a number, or a constant of the text if it is a scalar without a parameter behind it. Not so: a broadcast, which costs nothing where it is read (its operand is folded), and views of a large
/// parameter that is also read as it is (its copy would cost memory, the view is an index).
pub(super) fn run(g: &Graph, weights: &mut Weights<'_>) -> Result<Graph, Fault> {
    let wanted = frontier(g);
    let tensors = values(g, weights, &wanted)?;
    let mut leaves: HashMap<Value, Op> = HashMap::new();
    let mut next: HashMap<String, usize> = HashMap::new();
    for (v, tensor) in wanted.into_iter().zip(tensors) {
        let base = match (first_param(g, v), literal(&tensor)) {
            (Some(param), _) => param,
            (None, Some(scalar)) => {
                leaves.insert(v, Op::Const(scalar));
                continue;
            }
            (None, None) => g.op(v).name(),
        };
        let n = next.entry(base.to_owned()).or_default();
        let mut name = format!("fold.{base}.{n}");
        while weights.given.contains_key(&name) {
            *n += 1;
            name = format!("fold.{base}.{n}");
        }
        *n += 1;
        weights.folded.insert(name.clone(), tensor);
        leaves.insert(v, Op::Param(name));
    }
    let g = rewrite(g, |e, v| match leaves.get(&v) {
        Some(leaf) => {
            let ty = e.old.ty(v).clone();
            e.new.declare(leaf.clone(), &[], ty).map(Some)
        }
        None => Ok(None),
    })?;
    Ok(live(&g)?)
}

fn literal(tensor: &HostTensor) -> Option<Scalar> {
    tensor.shape.is_empty().then(|| match &tensor.data {
        Data::F32(x) => Scalar::F32(x[0]),
        Data::I32(x) => Scalar::I32(x[0]),
        Data::Bool(x) => Scalar::Bool(x[0]),
    })
}

/// The constants to fold: those that something else than a folded constant reads, in order of definition.
fn frontier(g: &Graph) -> Vec<Value> {
    let live = g.live();
    let mut read = vec![false; g.len()];
    g.outputs.iter().for_each(|(_, v)| read[v.index()] = true);
    let users = g.users();
    let mut wanted = Vec::new();
    for (v, n) in g.iter().rev().filter(|(v, _)| live[v.index()]) {
        let folds = constant(g, v) && n.op != Op::Broadcast && !shared_view(g, &users, v);
        if !constant(g, v) || (read[v.index()] && !folds) {
            n.args.iter().for_each(|a| read[a.index()] = true);
        } else if read[v.index()] && !n.op.is_leaf() {
            wanted.push(v);
        }
    }
    wanted.reverse();
    wanted
}

/// Whether a value is nothing but a view of a large parameter that is read by more than constants.
fn shared_view(g: &Graph, users: &[Vec<Value>], v: Value) -> bool {
    let mut x = v;
    while matches!(g.op(x), Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast) {
        x = g.args(x)[0];
    }
    let large = g.shape(v).numel(Sizes::ONE) > LARGE;
    large && matches!(g.op(x), Op::Param(_)) && users[x.index()].iter().any(|u| !constant(g, *u))
}

/// The name of the first parameter that a constant depends on.
fn first_param(g: &Graph, v: Value) -> Option<&str> {
    let (mut seen, mut open) = (HashSet::new(), vec![v]);
    let mut first: Option<(Value, &str)> = None;
    while let Some(x) = open.pop() {
        if let Op::Param(name) = g.op(x) {
            first = first.into_iter().chain([(x, name.as_str())]).min();
        }
        open.extend(g.args(x).iter().filter(|a| seen.insert(**a)));
    }
    first.map(|(_, name)| name)
}
