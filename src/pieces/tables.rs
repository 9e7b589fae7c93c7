//! Which parts of a step work on tables row by row, so that only the rows touched by a batch need be visited.
//!
//! A *table* grows from the sums `scatter_add(u, idx)` of rows of a batch into `[V, ..]`: every operation on them that
//! keeps row `i` of its result a function of row `i` of its operands belongs to it. It may leave in two ways:
//!
//! - `next.T = select(c, new, T)`, where `c` is false for rows that got nothing: the others keep their values;
//! - a sum over all rows of what is zero for rows that got nothing (a norm of the gradient).
//!
//! A table that leaves in any other way (Adam that moves every row, L2 of the whole table) is no table here, and its
//! operations are those of any other tensor.

use super::NEXT;
use crate::ir::{Binary, Fold, Graph, Node, Op, Scalar, Unary, Value};
use crate::tensor::Dim;

/// The table of every value, by the first sum it grew from.
pub(super) fn find(g: &Graph) -> Vec<Option<Value>> {
    let mut tables = Tables {
        g,
        of: vec![None; g.len()],
        dense: vec![false; g.len()],
        vanishes: vanishing(g),
        by_row: computable_by_row(g),
    };
    let live = g.live();
    for (v, n) in g.iter().filter(|(v, _)| live[v.index()]) {
        tables.place(v, n);
    }
    for (name, v) in &g.outputs {
        tables.leave(name, *v);
    }
    let members = g.iter().map(|(v, _)| v);
    members
        .map(|v| tables.table(v).filter(|t| !tables.dense[t.index()]))
        .collect()
}

/// Whether a node sums rows of a batch into the rows of a table.
pub(super) fn is_site(g: &Graph, n: &Node) -> bool {
    n.op == Op::ScatterAdd(0) && n.ty.shape.symbolic().is_none() && g.shape(n.args[0]).symbolic().is_some()
}

/// Whether a node folds the rows of a table.
pub(super) fn folds_rows(n: &Node) -> bool {
    matches!(&n.op, Op::Reduce(Fold::Sum, axes) if axes.first() == Some(&0))
}

/// For an operation that works row by row on the first axis, which operands it reads row by row; the others it reads
/// whole.
pub(super) fn row_by_row(g: &Graph, n: &Node) -> Option<Vec<bool>> {
    let rows = n.ty.shape.0.first()?;
    match &n.op {
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Detach => Some(vec![true; n.args.len()]),
        Op::Broadcast => {
            let from = g.shape(n.args[0]);
            Some(vec![from.rank() == n.ty.shape.rank() && from.0.first() == Some(rows)])
        }
        Op::Reshape => (g.shape(n.args[0]).0.first() == Some(rows)).then(|| vec![true]),
        Op::Reduce(_, axes) if axes[0] > 0 => Some(vec![true]),
        _ => None,
    }
}

struct Tables<'a> {
    g: &'a Graph,
    /// For each value, one that is nearer to the first sum of its table; itself at that sum.
    of: Vec<Option<Value>>,
    /// Tables, by their first sum, that have to be computed whole.
    dense: Vec<bool>,
    /// Which values are zero (or false) in rows that got nothing.
    vanishes: Vec<bool>,
    /// Which values can be computed for some rows alone.
    by_row: Vec<bool>,
}

impl Tables<'_> {
    fn table(&self, mut v: Value) -> Option<Value> {
        loop {
            match self.of[v.index()]? {
                next if next == v => return Some(v),
                next => v = next,
            }
        }
    }

    /// Two tables that meet are one.
    fn join(&mut self, a: Value, b: Value) -> Value {
        let (first, second) = (a.min(b), a.max(b));
        self.of[second.index()] = Some(first);
        self.dense[first.index()] |= self.dense[second.index()];
        first
    }

    fn place(&mut self, v: Value, n: &Node) {
        if is_site(self.g, n) {
            self.of[v.index()] = Some(v);
            for a in &n.args {
                self.read_whole(*a);
            }
            return;
        }
        let by_row = row_by_row(self.g, n);
        let folds = folds_rows(n);
        let mut mine: Option<Value> = None;
        for (i, a) in n.args.iter().enumerate() {
            let Some(table) = self.table(*a).filter(|_| !self.is_sum(*a)) else {
                continue;
            };
            let keeps_rows = by_row.as_ref().is_some_and(|by_row| by_row[i]);
            if keeps_rows || folds {
                mine = Some(mine.map_or(table, |mine| self.join(mine, table)));
            }
            let sums_touched_rows = folds && self.vanishes[a.index()];
            self.dense[table.index()] |= !(keeps_rows || sums_touched_rows);
        }
        if let Some(table) = mine {
            self.dense[table.index()] |= !folds && !self.by_row[v.index()];
        }
        self.of[v.index()] = mine;
    }

    /// A sum over the rows of a table: it is computed with them, but has none.
    fn is_sum(&self, v: Value) -> bool {
        folds_rows(self.g.node(v))
    }

    fn read_whole(&mut self, v: Value) {
        if let Some(table) = self.table(v).filter(|_| !self.is_sum(v)) {
            self.dense[table.index()] = true;
        }
    }

    fn leave(&mut self, name: &str, v: Value) {
        let Some(table) = self.table(v).filter(|_| !self.is_sum(v)) else {
            return;
        };
        let n = self.g.node(v);
        let keeps = n.op == Op::Select && self.vanishes[n.args[0].index()] && {
            matches!((self.g.op(n.args[2]), name.strip_prefix(NEXT)), (Op::Param(old), Some(next)) if old == next)
        };
        self.dense[table.index()] |= !keeps;
    }
}

/// Which values are zero, or false, in every row of a table that got nothing.
fn vanishing(g: &Graph) -> Vec<bool> {
    let mut vanishes = vec![false; g.len()];
    for (v, n) in g.iter() {
        let arg = |i: usize| vanishes[n.args[i].index()];
        vanishes[v.index()] = match &n.op {
            Op::ScatterAdd(0) => is_site(g, n),
            Op::Unary(Unary::Neg | Unary::Abs | Unary::Sign | Unary::Sqrt | Unary::Tanh) => arg(0),
            Op::Binary(Binary::Mul | Binary::And) => arg(0) || arg(1),
            Op::Binary(Binary::Add | Binary::Sub | Binary::Or | Binary::Max | Binary::Min) => arg(0) && arg(1),
            // What got nothing is not above zero, nor apart from it.
            Op::Binary(Binary::Gt | Binary::Ne) => arg(0) && is_zero(g, n.args[1]),
            Op::Binary(Binary::Lt) => is_zero(g, n.args[0]) && arg(1),
            Op::Select => arg(1) && arg(2),
            Op::Cast | Op::Detach => arg(0),
            Op::Broadcast | Op::Reshape | Op::Reduce(Fold::Sum, _) => {
                arg(0) && row_by_row(g, n).is_some_and(|by_row| by_row[0])
            }
            _ => false,
        };
    }
    vanishes
}

/// Which values can be computed row by row from parameters, sums into tables and whole values.
fn computable_by_row(g: &Graph) -> Vec<bool> {
    let mut by_row = vec![false; g.len()];
    for (v, n) in g.iter() {
        by_row[v.index()] = match &n.op {
            Op::Param(_) => true,
            _ if is_site(g, n) => true,
            _ => row_by_row(g, n).is_some_and(|reads| {
                let operands = n.args.iter().zip(reads);
                operands
                    .into_iter()
                    .all(|(a, by_row_too)| !by_row_too || by_row[a.index()])
            }),
        };
    }
    by_row
}

fn is_zero(g: &Graph, v: Value) -> bool {
    match g.op(v) {
        Op::Const(Scalar::F32(x)) => *x == 0.0,
        Op::Const(Scalar::I32(x)) => *x == 0,
        Op::Broadcast => is_zero(g, g.args(v)[0]),
        _ => false,
    }
}

/// Rows of a table.
pub(super) fn extent(g: &Graph, site: Value) -> usize {
    match g.shape(site).0.first() {
        Some(Dim::Fixed(n)) => *n,
        _ => 0,
    }
}
