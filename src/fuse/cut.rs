//! How steps become dispatches.
//!
//! What depends on requests alone runs first. Of the row steps, those that work on many *inner rows* per row (history
//! positions, fields) and all that they need form one program with few rows per tile; what is left, with one inner row
//! per row, forms programs with many rows per tile, cut before a matmul whose weights are too heavy to be re-read by
//! every tile.

use std::collections::{BTreeMap, BTreeSet};

use super::{Group, Profile, Scheme, Step, walk};
use crate::ir::rows::{RowInfo, RowSpace};
use crate::ir::{Graph, Op, Value};
use crate::tensor::Sizes;

/// Inner rows per row from which a step counts as wide.
const WIDE: usize = 8;

/// Each step alone.
pub(super) fn singletons(rows: &[RowInfo], steps: Vec<Step>, profile: &Profile) -> Vec<Group> {
    let mut groups: Vec<Group> = steps
        .into_iter()
        .map(|s| Group {
            space: rows[s.root.index()].space,
            steps: vec![s],
            tile: profile.rows,
        })
        .collect();
    groups.sort_by_key(|x| x.space);
    groups
}

/// Steps in as few groups as pays.
pub(super) fn groups(g: &Graph, rows: &[RowInfo], steps: Vec<Step>, profile: &Profile) -> Vec<Group> {
    let (requests, rest): (Vec<Step>, Vec<Step>) = steps
        .into_iter()
        .partition(|s| rows[s.root.index()].space == RowSpace::Requests);
    let mut groups = split(g, rows, RowSpace::Requests, requests, profile);
    groups.extend(split(g, rows, RowSpace::Rows, rest, profile));
    groups
}

fn split(g: &Graph, rows: &[RowInfo], space: RowSpace, steps: Vec<Step>, profile: &Profile) -> Vec<Group> {
    let mut groups = Vec::new();
    for (wide, steps) in stages(g, rows, steps, profile) {
        if wide {
            let own = steps.iter().filter(|s| is_wide(g, rows, s));
            let most = own.map(|s| inner_rows(g, rows, s)).max().unwrap_or(1);
            let tile = floor_power_of_two(profile.inner_rows / most).min(profile.rows);
            push(g, &mut groups, space, tile, steps, profile);
            continue;
        }
        let mut current: Vec<Step> = Vec::new();
        let mut has_heavy = false;
        for s in steps {
            let heavy = weight_bytes(g, rows, &s) >= profile.heavy_bytes;
            if heavy && has_heavy {
                let full = std::mem::take(&mut current);
                push(g, &mut groups, space, profile.rows, full, profile);
            }
            has_heavy |= heavy;
            current.push(s);
        }
        push(g, &mut groups, space, profile.rows, current, profile);
    }
    groups
}

/// Steps in the order in which they run, those with few rows per tile, which `true` says, apart from those with many.
///
/// What wide steps need runs with them. But where dense layers stand between wide steps, as they do between the way
/// forwards and the way back of a training step, they would stream their weights past every few rows: there wide and
/// other steps take turns.
fn stages(g: &Graph, rows: &[RowInfo], steps: Vec<Step>, profile: &Profile) -> Vec<(bool, Vec<Step>)> {
    let reads = all_reads(g, &steps);
    let (wide, with_needs) = wide_steps(g, rows, &steps, &reads, profile);
    let mut after_wide: BTreeSet<Value> = BTreeSet::new();
    for s in &steps {
        if reads[&s.root]
            .iter()
            .any(|r| wide.contains(r) || after_wide.contains(r))
        {
            after_wide.insert(s.root);
        }
    }
    let is_between = |s: &Step| with_needs.contains(&s.root) && !wide.contains(&s.root) && after_wide.contains(&s.root);
    if !steps.iter().any(|s| is_between(s) && is_dense(g, rows, s)) {
        let (first, rest) = steps.into_iter().partition(|s| with_needs.contains(&s.root));
        return vec![(true, first), (false, rest)];
    }
    // Even turns are those of wide steps.
    let mut turns: BTreeMap<Value, usize> = BTreeMap::new();
    for s in &steps {
        let parity = usize::from(is_between(s) || !with_needs.contains(&s.root));
        let turn = reads[&s.root].iter().map(|r| turns[r]).max().unwrap_or(parity);
        turns.insert(s.root, turn + usize::from(turn % 2 != parity));
    }
    let mut all: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
    for s in steps {
        all.entry(turns[&s.root]).or_default().push(s);
    }
    all.into_iter().map(|(turn, steps)| (turn % 2 == 0, steps)).collect()
}

/// One group of these steps, or several of about equal length where drivers would take long to compile one.
fn push(g: &Graph, groups: &mut Vec<Group>, space: RowSpace, tile: usize, mut steps: Vec<Step>, profile: &Profile) {
    if steps.is_empty() {
        return;
    }
    level(g, &mut steps);
    let length = steps.len().div_ceil(steps.len().div_ceil(profile.steps));
    for part in steps.chunks(length) {
        let mut steps = part.to_vec();
        level(g, &mut steps);
        groups.push(Group { space, tile, steps });
    }
}

/// Orders steps by level: first those that read none of the others, then those that read only the first, and so on.
fn level(g: &Graph, steps: &mut [Step]) {
    let mut levels: BTreeMap<Value, usize> = BTreeMap::new();
    for s in steps.iter_mut() {
        let mut level = 0;
        walk(g, s, &|v| levels.contains_key(&v), &mut |v, _| {
            level = level.max(levels.get(&v).map_or(0, |l| l + 1));
        });
        s.level = level;
        levels.insert(s.root, level);
    }
    steps.sort_by_key(|s| (s.level, s.root));
}

fn floor_power_of_two(n: usize) -> usize {
    if n == 0 { 1 } else { 1 << n.ilog2() }
}

/// Rows of the matrix that a step multiplies, or steps in time, for one row of its space.
fn inner_rows(g: &Graph, rows: &[RowInfo], s: &Step) -> usize {
    let Some(a) = s.anchor else { return 1 };
    let shape = g.shape(a).per_row();
    match g.op(a) {
        // A constant matrix on the left has no rows of its own: `W x` is `x W` in other words.
        Op::MatMul if rows[g.args(a)[0].index()].space == RowSpace::Const => 1,
        // Nor have matrices of a batch rows in common.
        Op::MatMul if rows[g.args(a)[1].index()].space == RowSpace::Const && g.shape(g.args(a)[1]).rank() > 2 => {
            shape[shape.len() - 2]
        }
        Op::MatMul => shape.iter().rev().skip(1).product(),
        Op::Gru | Op::GruGrad => shape[shape.len() - 2],
        _ => 1,
    }
}

/// Whether a step does enough per inner row to want few rows per tile: a matrix streams past its inner rows, or these
/// make a matrix of their own.
fn is_wide(g: &Graph, rows: &[RowInfo], s: &Step) -> bool {
    let inner = inner_rows(g, rows, s);
    let Some(a) = s.anchor.filter(|_| inner >= WIDE) else {
        return false;
    };
    let args = g.args(a);
    match g.op(a) {
        Op::MatMul if rows[args[1].index()].space == RowSpace::Const => g.shape(args[1]).numel(Sizes::ONE) >= 32,
        Op::MatMul => g.shape(a).numel(Sizes::ONE) >= 256,
        _ => true,
    }
}

/// f16 bytes of the matrix that a step streams past its tile.
fn weight_bytes(g: &Graph, rows: &[RowInfo], s: &Step) -> usize {
    let Some(a) = s.anchor else { return 0 };
    let args = g.args(a);
    let weight = match g.op(a) {
        Op::MatMul => args[1],
        Op::Gru | Op::GruGrad => args[2],
        _ => return 0,
    };
    if rows[weight.index()].space == RowSpace::Const {
        2 * g.shape(weight).numel(Sizes::ONE)
    } else {
        0
    }
}

/// Whether a step multiplies by a matrix that each row has of its own, of eight or more inner rows.
fn has_own_matrix(g: &Graph, rows: &[RowInfo], s: &Step) -> bool {
    let own = |v: Value| {
        let shape = g.shape(v).per_row();
        rows[v.index()].space == RowSpace::Rows && shape[shape.len() - 2] >= WIDE && shape[shape.len() - 1] > 1
    };
    s.anchor
        .is_some_and(|a| matches!(g.op(a), Op::MatMul) && own(g.args(a)[1]))
}

/// A dense layer whose weights are read often enough to want many rows per tile.
fn is_dense(g: &Graph, rows: &[RowInfo], s: &Step) -> bool {
    inner_rows(g, rows, s) == 1 && weight_bytes(g, rows, s) >= 8 << 10
}

/// The stored values of other steps that each step reads.
fn all_reads(g: &Graph, steps: &[Step]) -> BTreeMap<Value, Vec<Value>> {
    let roots: BTreeSet<Value> = steps.iter().map(|s| s.root).collect();
    let reads = |s: &Step| {
        let mut reads = Vec::new();
        walk(g, s, &|v| roots.contains(&v), &mut |v, stored| {
            if stored && roots.contains(&v) {
                reads.push(v);
            }
        });
        (s.root, reads)
    };
    steps.iter().map(reads).collect()
}

/// Steps that belong to the wide program: the wide ones and those that read what they leave per inner row; and these with
/// all that they need.
fn wide_steps(
    g: &Graph,
    rows: &[RowInfo],
    steps: &[Step],
    reads: &BTreeMap<Value, Vec<Value>>,
    profile: &Profile,
) -> (BTreeSet<Value>, BTreeSet<Value>) {
    let mut members = BTreeSet::new();
    // Roots that still have an element per inner row.
    let mut spread: BTreeSet<Value> = BTreeSet::new();
    for s in steps {
        let wide = is_wide(g, rows, s);
        let reads = &reads[&s.root];
        let from_spread: Vec<Value> = reads.iter().copied().filter(|r| spread.contains(r)).collect();
        // A dense layer over a flattened wide value streams its weights: better with many rows per tile.
        let dense = is_dense(g, rows, s);
        // What pools a row's own inner rows finds them in the cache if it runs where they were read.
        let pools = profile.scheme == Scheme::Lanes && has_own_matrix(g, rows, s);
        let pools = pools && reads.iter().any(|r| members.contains(r));
        if wide || pools || (!from_spread.is_empty() && !dense) {
            members.insert(s.root);
            let size = |v: Value| g.shape(v).numel(Sizes::ONE);
            let shrinks = s.anchor.is_some() && !wide && from_spread.iter().all(|r| 2 * size(s.root) <= size(*r));
            if !shrinks {
                spread.insert(s.root);
            }
        }
    }
    let mut all = members.clone();
    for s in steps.iter().rev() {
        if all.contains(&s.root) {
            all.extend(&reads[&s.root]);
        }
    }
    (members, all)
}
