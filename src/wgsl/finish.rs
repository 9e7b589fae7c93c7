//! What follows the sums of an anchor: the tail of its step, and the store of the root.

use std::collections::BTreeSet;

use super::emit::{Emitter, Hole, Row};
use super::expr::COMPONENTS;
use super::index::{Ix, small};
use super::matmul::{Tile, TileRow};
use crate::fuse::Step;
use crate::ir::{Op, Value};

impl Emitter<'_> {
    /// Finishes and stores the sums of a tile, none beyond the last row or column.
    #[expect(
        clippy::too_many_arguments,
        reason = "the extents of one epilogue, used nowhere else"
    )]
    pub(super) fn finish_tile(
        &mut self,
        step: &Step,
        anchor: Value,
        t: &Tile,
        rows: &[TileRow],
        first: &Ix,
        span: usize,
        n: usize,
    ) {
        for (i, r) in rows.iter().enumerate() {
            for q in 0..t.quads {
                let column = if t.lanes == 1 {
                    Ix::default()
                } else {
                    first.plus_constant(small(4 * q))
                };
                if column.range().0 >= n as u64 {
                    continue;
                }
                self.open();
                let ix = r.index(&column);
                self.finish_step(step, anchor, &ix, t.lanes, &format!("acc{i}_{q}"), &r.row);
                let mut guards = Vec::new();
                if let Some(u) = &r.guard {
                    guards.push(format!("{} < {span}u", u.text()));
                }
                if t.lanes > 1 && column.range().1 >= n as u64 {
                    guards.push(format!("{} < {n}u", column.text()));
                }
                self.close(&if guards.is_empty() {
                    String::new()
                } else {
                    format!("if {} ", guards.join(" && "))
                });
            }
        }
    }

    /// The same in loops over rows and words of four columns, whose sums are chosen as the loops go. For drivers that take
    /// long over each load and store of a text; rows that lie a subgroup apart are alike, and so are words of columns.
    pub(super) fn finish_in_loops(
        &mut self,
        step: &Step,
        anchor: Value,
        t: &Tile,
        row: impl Fn(&mut Self, &Ix) -> TileRow,
        first: &Ix,
        (span, n): (usize, usize),
    ) {
        // Only a tile of rows that are alike is worth a loop over them.
        let (turns, each) = if t.spread { (t.rows, 1) } else { (1, t.rows) };
        let (i, row_loop) = self.open_counted("row", small(turns));
        for part in 0..each {
            let sums = |q: usize| (0..turns).map(move |i| format!("acc{}_{q}", i + part));
            let chosen: Vec<String> = (0..t.quads).map(|q| self.choose(sums(q).collect(), &i)).collect();
            let r = row(self, &i.plus_constant(small(part)));
            let (q, column_loop) = self.open_counted("column", small(t.quads));
            let sum = self.choose(chosen, &q);
            let column = first.plus(&q.times(4));
            let mut guards = Vec::new();
            if let Some(u) = &r.guard {
                guards.push(format!("{} < {span}u", u.text()));
            }
            if column.range().1 >= n as u64 {
                guards.push(format!("{} < {n}u", column.text()));
            }
            self.open();
            self.finish_step(step, anchor, &r.index(&column), t.lanes, &sum, &r.row);
            self.close(&if guards.is_empty() {
                String::new()
            } else {
                format!("if {} ", guards.join(" && "))
            });
            self.close(&column_loop);
        }
        self.close(&row_loop);
    }

    /// That of some sums which has the number `i`.
    fn choose(&mut self, sums: Vec<String>, i: &Ix) -> String {
        let mut sums = sums.into_iter();
        let first = sums.next().unwrap_or_default();
        if sums.len() == 0 {
            return first;
        }
        let choose = |text, (number, sum)| format!("select({text}, {sum}, {} == {number}u)", i.text());
        let text = (1..).zip(sums).fold(first, choose);
        // Sums change from tile to tile: no name that was given before will do.
        let name = self.name("sum");
        self.line(&format!("let {name} = {text};"));
        name
    }

    /// Whether a tail reads a concat on the way: which part, only the place in it says.
    pub(super) fn tail_joins(&self, step: &Step, anchor: Value) -> bool {
        let stored = |v: Value| v != step.root && self.partition.placement.homes.contains_key(&v);
        let mut seen = BTreeSet::new();
        let mut stack = vec![step.root];
        while let Some(v) = stack.pop() {
            if v == anchor || stored(v) || !seen.insert(v) {
                continue;
            }
            if matches!(self.g.op(v), Op::Concat(_)) {
                return true;
            }
            stack.extend(self.g.args(v));
        }
        false
    }

    /// Evaluates the tail of a step at an index of its anchor and stores the root.
    pub(super) fn finish_step(&mut self, step: &Step, anchor: Value, ix: &[Ix], lanes: u32, acc: &str, row: &Row) {
        let home = self.partition.placement.homes[&step.root];
        self.computing = Some(step.root);
        if !(lanes == 1 || self.tail_keeps_lanes(step, anchor)) || !self.finish_lanes(step, anchor, ix, lanes, acc, row)
        {
            let axis = ix.len() - 1;
            let n = small(self.extents(anchor)[axis]);
            for (c, component) in COMPONENTS.iter().enumerate() {
                let mut jx = ix.to_vec();
                jx[axis] = jx[axis].plus_constant(small(c));
                if jx[axis].range().0 >= u64::from(n) {
                    continue;
                }
                let guard = (jx[axis].range().1 >= u64::from(n)).then(|| format!("if {} < {n}u ", jx[axis].text()));
                self.open();
                jx[axis] = self.clamp(&jx[axis].clone(), n);
                let at = self.forward(step, anchor, &jx);
                self.hole = Some(Hole {
                    anchor,
                    text: format!("{acc}.{component}"),
                    lanes: 1,
                });
                let e = self.eval(step.root, &at, 1, row);
                self.hole = None;
                self.store(step.root, home, &at, 1, &e.text, row);
                self.close(&guard.unwrap_or_default());
            }
        }
        self.computing = None;
    }

    /// The tail with all lanes at once; writes nothing and says so when something in it takes them apart.
    fn finish_lanes(&mut self, step: &Step, anchor: Value, ix: &[Ix], lanes: u32, acc: &str, row: &Row) -> bool {
        let home = self.partition.placement.homes[&step.root];
        self.open();
        let at = self.forward(step, anchor, ix);
        self.hole = Some(Hole {
            anchor,
            text: acc.to_owned(),
            lanes,
        });
        self.torn = false;
        let e = self.eval(step.root, &at, lanes, row);
        self.hole = None;
        if self.torn {
            self.discard();
            return false;
        }
        self.store(step.root, home, &at, lanes, &e.text, row);
        self.close("");
        true
    }

    /// Whether four neighbours of the anchor stay four neighbours up to the root.
    fn tail_keeps_lanes(&self, step: &Step, anchor: Value) -> bool {
        let line = |v: Value| {
            let s = self.extents(v);
            let axis = super::expr::line_axis(&s);
            (axis, s.get(axis).copied().unwrap_or(1))
        };
        let (_, n) = line(anchor);
        let keeps = |v: &Value| {
            let ((from, _), (to, m)) = (line(self.g.args(*v)[0]), line(*v));
            let moved = matches!(self.g.op(*v), Op::Permute(perm) if perm[to] != from);
            !moved && (m == n || (n % 4 == 0 && m % 4 == 0))
        };
        step.views.iter().all(keeps)
    }

    /// The root's index of an element of the anchor.
    pub(super) fn forward(&mut self, step: &Step, anchor: Value, ix: &[Ix]) -> Vec<Ix> {
        let mut ix = ix.to_vec();
        let mut from = self.extents(anchor);
        for view in &step.views {
            let to = self.extents(*view);
            ix = match self.g.op(*view) {
                Op::Permute(perm) => perm.iter().map(|p| ix[*p].clone()).collect(),
                _ => self.reshaped(&from, &to, &ix),
            };
            from = to;
        }
        ix
    }
}
