//! What depends on the request alone is computed once per request: `f(gather(x, r)) = gather(f(x), r)`.
//!
//! Only where anchors are saved: a moved value crosses a kernel boundary, so plain lookups and arithmetic stay with the
//! rows that read them. The value that crosses is the last one that is no view and no larger than what it is made of.
//! Exact: the same operations on the same numbers.

use super::edit::{Edit, constant, copy, live, rewrite};
use super::{Fault, Weights};
use crate::ir::{Graph, Op, REQUEST_OF_ROW, TensorType, TypeError, Value, rows::is_crossing};
use crate::tensor::{Dim, Shape, Sizes};

/// Floating-point operations per row below which a value is not worth a step of its own.
const WORTH: usize = 2048;

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    let uniform = uniform(g);
    let work = work(g, &uniform);
    let crosses = crossings(g, &uniform, &work);
    let mut moved = vec![None; g.len()];
    let g = rewrite(g, |e, v| {
        if crosses[v.index()] {
            cross(e, v, &mut moved).map(Some)
        } else {
            copy(e, v).map(Some)
        }
    })?;
    Ok(live(&g)?)
}

/// Which values have one row per request, repeated for its rows: made from request inputs and constants alone.
pub(super) fn uniform(g: &Graph) -> Vec<bool> {
    let mut uniform = vec![false; g.len()];
    for (v, n) in g.iter() {
        let alike = |a: &Value| uniform[a.index()] || constant(g, *a) || is_repeated_constant(g, *a);
        let some = n.args.iter().any(|a| uniform[a.index()]);
        uniform[v.index()] = is_crossing(g, n) || (some && n.args.iter().all(alike));
    }
    uniform
}

fn is_repeated_constant(g: &Graph, v: Value) -> bool {
    *g.op(v) == Op::Broadcast && constant(g, g.args(v)[0])
}

/// For each uniform value, the operations of the anchors behind it for one row (shared ones counted more than once).
fn work(g: &Graph, uniform: &[bool]) -> Vec<usize> {
    let mut work = vec![0_usize; g.len()];
    for (v, n) in g.iter().filter(|(v, _)| uniform[v.index()]) {
        let numel = |i: usize| g.shape(n.args[i]).numel(Sizes::ONE);
        let last = n.ty.shape.per_row().last().copied().unwrap_or(1);
        let own = match n.op {
            Op::MatMul => 2 * numel(0) * last,
            Op::Reduce(..) | Op::CumSum(_) => numel(0),
            Op::Gru => 6 * n.ty.shape.numel(Sizes::ONE) * last,
            _ => 0,
        };
        let behind: usize = n.args.iter().fold(0, |sum, a| sum.saturating_add(work[a.index()]));
        work[v.index()] = own.saturating_add(behind);
    }
    work
}

/// The uniform values to compute per request and gather: those with enough work behind them, and those with any that
/// one of these needs anyway, lest it be done twice.
fn crossings(g: &Graph, uniform: &[bool], work: &[usize]) -> Vec<bool> {
    let mut heavy: Vec<bool> = work.iter().map(|w| *w >= WORTH).collect();
    loop {
        let crosses = frontier(g, uniform, work, &heavy);
        let mut moved = crosses.clone();
        for (v, n) in g.iter().rev().filter(|(v, _)| uniform[v.index()]) {
            if moved[v.index()] {
                n.args.iter().for_each(|a| moved[a.index()] = true);
            }
        }
        let more: Vec<bool> = (0..g.len()).map(|i| heavy[i] || (moved[i] && work[i] > 0)).collect();
        if more == heavy {
            return crosses;
        }
        heavy = more;
    }
}

/// The last heavy uniform values before what differs between rows.
fn frontier(g: &Graph, uniform: &[bool], work: &[usize], heavy: &[bool]) -> Vec<bool> {
    let live = g.live();
    let mut by_row = vec![false; g.len()];
    g.outputs.iter().for_each(|(_, v)| by_row[v.index()] = true);
    let mut crosses = vec![false; g.len()];
    for (v, n) in g.iter().rev().filter(|(v, _)| live[v.index()]) {
        if !by_row[v.index()] && uniform[v.index()] {
            continue;
        }
        if uniform[v.index()] && heavy[v.index()] && !cheaper_behind(g, work, v) {
            crosses[v.index()] = true;
        } else {
            n.args.iter().for_each(|a| by_row[a.index()] = true);
        }
    }
    crosses
}

/// Whether it is better to gather the operands: of a view, and of arithmetic that makes a small value larger.
fn cheaper_behind(g: &Graph, work: &[usize], v: Value) -> bool {
    match g.op(v) {
        Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Concat(_) => true,
        op if op.is_anchor() => false,
        _ => {
            let under = |a: &Value| if *g.op(*a) == Op::Broadcast { g.args(*a)[0] } else { *a };
            let heavy = g.args(v).iter().map(under).filter(|a| work[a.index()] >= WORTH);
            let size: usize = heavy.map(|a| g.shape(a).numel(Sizes::ONE)).sum();
            g.shape(v).numel(Sizes::ONE) > size
        }
    }
}

/// `v` computed per request and gathered.
fn cross(e: &mut Edit<'_>, v: Value, moved: &mut [Option<Value>]) -> Result<Value, TypeError> {
    let y = per_request(e, v, moved)?;
    let by = e.old.inputs().find(|(_, name, _)| *name == REQUEST_OF_ROW);
    let by = e.at(by.expect("a uniform value comes through it").0);
    let to = e.old.shape(v).clone();
    let (axis, dim) = to.symbolic().expect("rows are symbolic");
    if (axis, dim) == (0, Dim::Rows(1)) {
        return e.new.gather(y, by);
    }
    // Requests to the front, each apart: [.., k requests, ..] -> [requests, k, ..], and back.
    let mut perm: Vec<usize> = (0..to.rank()).collect();
    perm.remove(axis);
    perm.insert(0, axis);
    let front = e.new.permute(y, &perm)?;
    let mut apart = vec![Dim::Requests(1), Dim::Fixed(dim.factor())];
    apart.extend(&e.new.shape(front).0[1..]);
    let apart = e.new.reshape(front, &Shape(apart))?;
    let taken = e.new.gather(apart, by)?;
    let together = Shape(perm.iter().map(|a| to.0[*a]).collect());
    let taken = e.new.reshape(taken, &together)?;
    e.new.permute(taken, &super::edit::inverse(&perm))
}

/// The value of a request.
fn per_request(e: &mut Edit<'_>, v: Value, moved: &mut [Option<Value>]) -> Result<Value, TypeError> {
    if let Some(known) = moved[v.index()] {
        return Ok(known);
    }
    let n = e.old.node(v).clone();
    let y = if constant(e.old, v) {
        e.at(v)
    } else if is_crossing(e.old, &n) {
        e.at(n.args[0])
    } else {
        let args = n
            .args
            .iter()
            .map(|a| per_request(e, *a, moved))
            .collect::<Result<Vec<_>, _>>()?;
        let dims = n.ty.shape.0.iter().map(|d| match d {
            Dim::Rows(k) => Dim::Requests(*k),
            d => *d,
        });
        let ty = TensorType::new(n.ty.dtype, Shape(dims.collect()));
        e.new.declare(n.op, &args, ty)?
    };
    moved[v.index()] = Some(y);
    Ok(y)
}
