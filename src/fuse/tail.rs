//! What an anchor can finish by itself: the pointwise nodes through which all its uses pass.

use std::collections::BTreeSet;

use super::Step;
use crate::ir::{Graph, Op, Value};
use crate::tensor::Sizes;

/// Grows the tail of `anchor`: a region of pointwise nodes, each element of which needs just the same element of the
/// anchor, that the rest of the graph sees through a single value. Activations, gates such as Dice or PReLU, residuals
/// and folded normalisations all end up here. Nodes in `claimed` belong to another anchor's tail.
pub(super) fn grow(
    g: &Graph,
    users: &[Vec<Value>],
    outputs: &BTreeSet<Value>,
    claimed: &BTreeSet<Value>,
    anchor: Value,
) -> Step {
    let mut inside = BTreeSet::from([anchor]);
    let mut views = Vec::new();
    let mut best = Step {
        root: anchor,
        anchor: Some(anchor),
        views: Vec::new(),
        level: 0,
        into: None,
    };
    if outputs.contains(&anchor) {
        return best;
    }
    loop {
        // Users in topological order: the least one outside has all its inside operands inside.
        let open: BTreeSet<Value> = inside
            .iter()
            .copied()
            .filter(|v| users[v.index()].iter().any(|u| !inside.contains(u)))
            .collect();
        let Some(next) = open
            .iter()
            .flat_map(|v| users[v.index()].iter())
            .filter(|u| !inside.contains(u))
            .min()
            .copied()
        else {
            break;
        };
        let elementwise = matches!(g.op(next), Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast);
        // A view moves elements, so nothing older may still be needed beyond it.
        let view = matches!(g.op(next), Op::Reshape | Op::Permute(_) | Op::Broadcast) && open.len() == 1;
        let same = g.shape(next).numel(Sizes::ONE) == g.shape(anchor).numel(Sizes::ONE);
        if !(elementwise || view) || !same || claimed.contains(&next) {
            break;
        }
        inside.insert(next);
        if view {
            views.push(next);
        }
        let still_open: Vec<Value> = inside
            .iter()
            .copied()
            .filter(|v| outputs.contains(v) || users[v.index()].iter().any(|u| !inside.contains(u)))
            .collect();
        if still_open == [next] {
            best = Step {
                root: next,
                anchor: Some(anchor),
                views: views.clone(),
                level: 0,
                into: None,
            };
        }
        if outputs.contains(&next) {
            break;
        }
    }
    best
}

/// The nodes of a grown tail, root included, anchor excluded.
pub(super) fn members(g: &Graph, step: &Step) -> BTreeSet<Value> {
    let Some(anchor) = step.anchor else {
        return BTreeSet::new();
    };
    // Exactly the nodes between anchor and root that depend on the anchor.
    let mut depends = BTreeSet::from([anchor]);
    for i in anchor.index() + 1..=step.root.index() {
        let v = g.iter().nth(i).map_or(anchor, |(v, _)| v);
        if g.args(v).iter().any(|a| depends.contains(a)) {
            depends.insert(v);
        }
    }
    let mut members = BTreeSet::new();
    let mut stack = vec![step.root];
    while let Some(v) = stack.pop() {
        if v != anchor && depends.contains(&v) && members.insert(v) {
            stack.extend(g.args(v));
        }
    }
    members
}
