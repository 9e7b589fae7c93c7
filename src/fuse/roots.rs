//! Which values are stored: every anchor's tail end, every output, and pointwise values dear enough to compute once.

use std::collections::{BTreeMap, BTreeSet};

use super::{LANES, Profile, Scheme, Step, tail, walk};
use crate::ir::rows::{RowInfo, RowSpace, is_crossing};
use crate::ir::{Graph, Op, Unary, Value};
use crate::tensor::Sizes;

/// A pointwise value that costs more than this to compute at one index is stored when several steps, or several
/// threads of one matmul, need it. One load and an addition cost 2.
const DEAR: usize = 3;

/// What a random number costs.
const RANDOM: usize = 20;

/// A concat of more parts than this is stored before a matmul reads it: each part would be a loop of its own there.
const PARTS: usize = 3;

/// The steps of a graph, in order, with as much fused as pays.
pub(super) fn steps(g: &Graph, rows: &[RowInfo], profile: &Profile) -> Vec<Step> {
    let live = g.live();
    let outputs: BTreeSet<Value> = g.outputs.iter().map(|(_, v)| *v).collect();
    let users: Vec<Vec<Value>> = g
        .users()
        .into_iter()
        .map(|u| u.into_iter().filter(|v| live[v.index()]).collect())
        .collect();
    let mut steps: BTreeMap<Value, Step> = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    // The latest anchor first: where two meet, the later one finishes and the earlier one is stored.
    for (v, n) in g.iter().rev() {
        if live[v.index()] && n.op.is_anchor() {
            let step = match n.op {
                Op::MatMul | Op::Reduce(..) => tail::grow(g, &users, &outputs, &claimed, v),
                _ => Step {
                    root: v,
                    anchor: Some(v),
                    views: Vec::new(),
                    level: 0,
                    into: None,
                },
            };
            claimed.extend(tail::members(g, &step));
            steps.insert(step.root, step);
        }
    }
    for v in outputs {
        steps.entry(v).or_insert_with(|| map(v));
    }
    store_dear_values(g, rows, profile, &mut steps);
    steps.into_values().collect()
}

/// Every live node that is not a leaf as a step of its own.
pub(super) fn every_node(g: &Graph, rows: &[RowInfo]) -> Vec<Step> {
    let live = g.live();
    let outputs: BTreeSet<Value> = g.outputs.iter().map(|(_, v)| *v).collect();
    let computed = |v: Value| rows[v.index()].space != RowSpace::Const && (!g.op(v).is_leaf() || outputs.contains(&v));
    g.iter()
        .filter(|(v, _)| live[v.index()] && computed(*v))
        .map(|(v, n)| {
            if n.op.is_anchor() {
                Step {
                    anchor: Some(v),
                    ..map(v)
                }
            } else {
                map(v)
            }
        })
        .collect()
}

fn map(root: Value) -> Step {
    Step {
        root,
        anchor: None,
        views: Vec::new(),
        level: 0,
        into: None,
    }
}

/// Adds map steps until no expression is dear in two places.
fn store_dear_values(g: &Graph, rows: &[RowInfo], profile: &Profile, steps: &mut BTreeMap<Value, Step>) {
    let mut tails: BTreeSet<Value> = steps.values().flat_map(|s| tail::members(g, s)).collect();
    loop {
        let stored: BTreeSet<Value> = steps.keys().copied().collect();
        let mut wanted: BTreeMap<Value, usize> = BTreeMap::new();
        let mut torn = BTreeSet::new();
        for step in steps.values() {
            torn.extend(torn_concats(g, step, &stored));
            walk(g, step, &|v| stored.contains(&v), &mut |v, is_stored| {
                if !is_stored {
                    *wanted.entry(v).or_default() += 1;
                }
            });
            if let Some(a) = step.anchor {
                for (operand, factor) in repeated_operands(g, rows, profile, a) {
                    for part in parts(g, operand, &stored) {
                        *wanted.entry(part).or_default() += factor;
                    }
                }
            }
        }
        // The largest expression first, so that one store serves all that it contains.
        let choice = wanted.iter().rev().find_map(|(&v, &uses)| {
            let v = core(g, v);
            let fits = rows[v.index()].space != RowSpace::Const
                && !g.op(v).is_leaf()
                && !stored.contains(&v)
                && !tails.contains(&v);
            (fits && (torn.contains(&v) || uses > 1 && cost(g, v, &stored) > DEAR)).then_some(v)
        });
        let Some(v) = choice else { return };
        tails.remove(&v);
        steps.insert(v, map(v));
    }
}

/// Concats whose parts a matmul would have to tell apart: those that its tail reads wherever its columns happen to be, and a
/// first operand of many parts, each of which would be a loop of its own.
fn torn_concats(g: &Graph, step: &Step, stored: &BTreeSet<Value>) -> Vec<Value> {
    let Some(anchor) = step.anchor.filter(|a| matches!(g.op(*a), Op::MatMul)) else {
        return Vec::new();
    };
    let parts = |v: Value| match g.op(v) {
        Op::Concat(_) if !stored.contains(&v) => g.args(v).len(),
        _ => 0,
    };
    let operand = core(g, g.args(anchor)[0]);
    let mut torn: Vec<Value> = (parts(operand) > PARTS).then_some(operand).into_iter().collect();
    let mut seen = BTreeSet::from([anchor]);
    let mut stack = vec![step.root];
    while let Some(v) = stack.pop() {
        if (v != step.root && stored.contains(&v)) || !seen.insert(v) {
            continue;
        }
        if parts(v) > 1 {
            torn.push(v);
        } else {
            stack.extend(g.args(v));
        }
    }
    torn
}

/// The operands of an anchor that its threads compute several times over, and how often.
fn repeated_operands(g: &Graph, rows: &[RowInfo], profile: &Profile, anchor: Value) -> Vec<(Value, usize)> {
    let args = g.args(anchor);
    match g.op(anchor) {
        Op::MatMul => {
            let n = g.shape(anchor).0.last().map_or(1, |d| d.factor());
            let inner = g.shape(anchor).numel(Sizes::ONE) / n;
            let shared = rows[args[1].index()].space == RowSpace::Const;
            if profile.scheme == Scheme::Lanes && inner >= LANES {
                // Lanes share what they compute: once for each pass over the other extent.
                let (tile_rows, tile_columns) = profile.lane_tile(inner, n);
                let b_uses = if shared { 1 } else { inner.div_ceil(LANES * tile_rows) };
                return vec![(args[0], n.div_ceil(tile_columns) - 1), (args[1], b_uses - 1)];
            }
            let b_uses = if shared { 1 } else { inner.div_ceil(8) };
            // A matrix that a row folds out of weights is too large to keep: only dear ones are stored.
            let b_dear = b_uses > 1 && has_transcendental(g, args[1]);
            vec![(args[0], n.div_ceil(8)), (args[1], if b_dear { b_uses } else { 1 })]
        }
        Op::Gru | Op::GruGrad => args.iter().map(|a| (*a, 2)).collect(),
        _ => Vec::new(),
    }
}

/// Where a matmul reads an operand: the operand itself, or the parts of a short concat.
fn parts(g: &Graph, v: Value, stored: &BTreeSet<Value>) -> Vec<Value> {
    let c = core(g, v);
    match g.op(c) {
        Op::Concat(_) if g.args(c).len() <= PARTS && !stored.contains(&c) => {
            g.args(c).iter().flat_map(|a| parts(g, *a, stored)).collect()
        }
        _ => vec![c],
    }
}

/// The value behind reshapes, permutes, broadcasts and slices: storing those would only copy.
fn core(g: &Graph, mut v: Value) -> Value {
    while matches!(g.op(v), Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice { .. }) {
        v = g.args(v)[0];
    }
    v
}

fn has_transcendental(g: &Graph, v: Value) -> bool {
    matches!(g.op(v), Op::Unary(u) if weight(*u) > 1)
        || (!g.op(v).is_leaf() && !g.op(v).is_anchor() && g.args(v).iter().any(|a| has_transcendental(g, *a)))
}

fn weight(u: Unary) -> usize {
    use Unary::{Abs, Ceil, Floor, Neg, Not, Recip, Round, Sign, Trunc};
    match u {
        Neg | Abs | Sign | Floor | Ceil | Round | Trunc | Not | Recip => 1,
        _ => 4,
    }
}

/// Loads and operations to compute one element.
fn cost(g: &Graph, v: Value, stored: &BTreeSet<Value>) -> usize {
    let n = g.node(v);
    let of_args = || {
        n.args
            .iter()
            .map(|a| if stored.contains(a) { 1 } else { cost(g, *a, stored) })
    };
    match &n.op {
        Op::Const(_) | Op::Iota => 0,
        Op::Input(_) | Op::Param(_) => 1,
        Op::Unary(u) => weight(*u) + of_args().sum::<usize>(),
        Op::Binary(_) | Op::Select => 1 + of_args().sum::<usize>(),
        Op::Cast | Op::Detach | Op::Broadcast | Op::Reshape | Op::Permute(_) | Op::Slice { .. } => of_args().sum(),
        // The request of a row is found once for all its elements.
        Op::Gather(_) if is_crossing(g, n) => cost(g, n.args[0], stored),
        // One part is read at a time, but choosing it costs.
        Op::Concat(_) => 2 + of_args().max().unwrap_or(0),
        Op::Gather(_) | Op::TakeAlong(_) => 2 + of_args().sum::<usize>(),
        Op::MatMul | Op::Reduce(..) | Op::CumSum(_) | Op::Gru => 1,
        Op::Uniform(_) => RANDOM,
        // `partition` refuses sums into rows.
        Op::ScatterAdd(_) | Op::GruGrad => 1,
    }
}
