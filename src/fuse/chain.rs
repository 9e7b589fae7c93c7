//! Chains: products of the same rows, each of which takes a row from the one before as it leaves it, without memory
//! between them.
//!
//! Where lanes share what they load, a matrix that many rows of one matrix meet is small enough for the lanes to keep: each
//! keeps some of its columns, and rows stream past. A row that has met one matrix lies spread over the lanes, just as the
//! next matrix wants it. So an attention of two or three layers over a history is one loop over its positions, and the sum
//! of what they weigh is taken in the same loop.

use std::collections::{BTreeMap, BTreeSet};

use super::{Group, LANES, Profile, Scheme, Step, walk};
use crate::ir::{Graph, Op, Value};

/// Rows of a matrix from which keeping the other operand pays.
const ROWS: usize = 8;

/// Numbers that a lane keeps at most: they spill, and should stay in the first cache.
const KEPT: usize = 768;

/// Columns that each lane keeps of a matrix, if they come out even.
pub(crate) fn columns(n: usize) -> Option<usize> {
    let each = n / LANES;
    (n.is_multiple_of(LANES) && (matches!(each, 1 | 2) || each.is_multiple_of(4))).then_some(each)
}

/// Joins steps to chains: those whose root another one consumes say so, and all of a chain run at the turn of its last.
pub(super) fn link(g: &Graph, groups: &mut [Group], profile: &Profile) {
    if profile.scheme != Scheme::Lanes {
        return;
    }
    let roots: BTreeSet<Value> = groups.iter().flat_map(|x| x.steps.iter().map(|s| s.root)).collect();
    let mut readers: BTreeMap<Value, Vec<Value>> = BTreeMap::new();
    for s in groups.iter().flat_map(|x| &x.steps) {
        walk(g, s, &|v| roots.contains(&v), &mut |v, _| {
            if roots.contains(&v) {
                readers.entry(v).or_default().push(s.root);
            }
        });
    }
    for group in groups {
        for first in 0..group.steps.len() {
            let chain = chain_from(g, &group.steps, &readers, first);
            let Some(level) = chain.last().map(|i| group.steps[*i].level).filter(|_| chain.len() > 1) else {
                continue;
            };
            for (at, i) in chain.iter().enumerate() {
                group.steps[*i].level = level;
                group.steps[*i].into = chain.get(at + 1).map(|next| group.steps[*next].root);
            }
        }
        group.steps.sort_by_key(|s| (s.level, s.root));
    }
}

/// The product of a step, with extents: before the matrix, rows, inner, columns.
struct Product {
    lead: usize,
    m: usize,
    k: usize,
    n: usize,
}

fn product(g: &Graph, s: &Step) -> Option<Product> {
    let anchor = s.anchor.filter(|a| matches!(g.op(*a), Op::MatMul))?;
    let (a, out) = (g.shape(g.args(anchor)[0]).per_row(), g.shape(anchor).per_row());
    let (r, n) = (a.len(), *out.last()?);
    (r >= 2).then(|| Product {
        lead: a[..r - 2].iter().product(),
        m: a[r - 2],
        k: a[r - 1],
        n,
    })
}

/// Steps of the longest chain that begins with `first`; that one alone if it begins none.
fn chain_from(g: &Graph, steps: &[Step], readers: &BTreeMap<Value, Vec<Value>>, first: usize) -> Vec<usize> {
    let mut chain = vec![first];
    let Some(x) = product(g, &steps[first]).filter(|x| x.m >= ROWS && x.k >= 4) else {
        return chain;
    };
    let Some(each) = columns(x.n).filter(|_| steps[first].into.is_none()) else {
        return chain;
    };
    let mut kept = x.k * each;
    if kept > KEPT || steps.iter().any(|s| s.into == Some(steps[first].root)) {
        return chain;
    }
    let mut n = x.n;
    while let Some(&last) = chain.last() {
        let s = &steps[last];
        // Rows of several columns go on as they are; a single column may have been laid out as a row.
        let next = only_reader(g, steps, readers, s.root).filter(|_| n == 1 || s.views.is_empty());
        let Some((i, y)) = next.and_then(|i| Some((i, product(g, &steps[i])?))) else {
            break;
        };
        if n == 1 {
            if pools(g, s, &x, &y) {
                chain.push(i);
            }
            break;
        }
        let own = if y.n == 1 { Some(1) } else { columns(y.n) };
        kept += own.map_or(0, |own| y.k * own);
        if own.is_none() || kept > KEPT || (y.lead, y.m) != (x.lead, x.m) {
            break;
        }
        n = y.n;
        chain.push(i);
    }
    chain
}

/// The step that alone reads a root, as its first operand and nowhere else.
fn only_reader(g: &Graph, steps: &[Step], readers: &BTreeMap<Value, Vec<Value>>, root: Value) -> Option<usize> {
    let [reader] = readers.get(&root)?.as_slice() else {
        return None;
    };
    let i = steps.iter().position(|s| s.root == *reader)?;
    let anchor = steps[i].anchor.filter(|a| matches!(g.op(*a), Op::MatMul))?;
    let output = g.outputs.iter().any(|(_, v)| *v == root);
    // From the root down to the anchor, and through the second operand.
    let mut seen = BTreeSet::from([anchor]);
    let mut stack = vec![steps[i].root, g.args(anchor)[1]];
    let mut elsewhere = false;
    while let Some(v) = stack.pop() {
        elsewhere |= v == root;
        if v > root && seen.insert(v) {
            stack.extend(g.args(v));
        }
    }
    (g.args(anchor)[0] == root && !output && !elsewhere).then_some(i)
}

/// Whether a product sums rows by the single column that a chain leaves of each.
fn pools(g: &Graph, last: &Step, x: &Product, y: &Product) -> bool {
    let long = |v: Value| -> Vec<usize> { g.shape(v).per_row().into_iter().filter(|n| *n != 1).collect() };
    let in_order = last.anchor.is_some_and(|a| long(a) == long(last.root));
    in_order && (y.lead, y.m, y.k) == (x.lead, 1, x.m) && y.n.is_multiple_of(4)
}
