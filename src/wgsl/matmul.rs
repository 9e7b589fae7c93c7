//! Matmuls: each invocation accumulates a register tile of rows by columns while the inner axis streams past.
//!
//! The operands are expressions: a weight, a gathered table, a concat, a matrix folded out of weights for this row. The
//! tile's tail is the step's epilogue. Where the second operand is the same for all rows, a tile's rows come from
//! anywhere in the workgroup's tile of rows; where it is the row's own, they come from one row.

use super::emit::{Emitter, Hole, Row};
use super::expr::COMPONENTS;
use super::index::{Ix, small};
use super::program::Program;
use crate::fuse::Step;
use crate::ir::rows::RowSpace;
use crate::ir::{Op, Value};

/// The extents of one matmul in one workgroup.
struct Product {
    a: Value,
    b: Value,
    /// Extents before the matrix.
    lead: Vec<usize>,
    /// Whether the second operand has those extents too.
    b_has_lead: bool,
    /// Whether it is the same for all rows.
    shared: bool,
    m: usize,
    k: usize,
    n: usize,
}

/// Rows and columns that one invocation accumulates.
struct Tile {
    rows: usize,
    quads: usize,
    /// 1 for a single column, summed over four inner indices at a time; else 4.
    lanes: u32,
}

impl Emitter<'_> {
    fn product(&self, anchor: Value) -> Product {
        let (a, b) = (self.g.args(anchor)[0], self.g.args(anchor)[1]);
        let (sa, sb) = (self.extents(a), self.extents(b));
        let r = sa.len();
        Product {
            a,
            b,
            lead: sa[..r - 2].to_vec(),
            b_has_lead: sb.len() == r && r > 2,
            shared: self.partition.rows[b.index()].space == RowSpace::Const,
            m: sa[r - 2],
            k: sa[r - 1],
            n: sb[sb.len() - 1],
        }
    }

    /// Emits a matmul step.
    pub(super) fn matmul(&mut self, p: &Program, step: &Step, anchor: Value) {
        let x = self.product(anchor);
        let lead: usize = x.lead.iter().product();
        // Matrices that differ along the leading axes, or between rows, keep a tile's rows together.
        let lead_outside = x.b_has_lead && lead > 1;
        let inner_lead = if lead_outside { 1 } else { lead };
        let (outer, span) = match (x.shared, lead_outside) {
            (true, false) => (1, p.tile * inner_lead * x.m),
            (true, true) => (lead, p.tile * x.m),
            (false, _) => (p.tile * if lead_outside { lead } else { 1 }, inner_lead * x.m),
        };
        let t = tile(p, &x, outer, span);
        let columns = if t.lanes == 1 { 1 } else { x.n.div_ceil(4 * t.quads) };
        let blocks = span.div_ceil(t.rows);
        let (task, header) = self.open_tasks(small(outer * blocks * columns), p.threads);
        let (rest, column) = self.split(&task, small(columns));
        let (which, block) = if outer > 1 {
            self.split(&rest, small(blocks))
        } else {
            (Ix::default(), rest)
        };
        let block = self.clamp(&block, small(blocks));
        let (own_row, own_lead) = match (x.shared, lead_outside) {
            (true, _) => (None, which),
            (false, true) => {
                let (row, l) = self.split(&which, small(lead));
                (Some(row), l)
            }
            (false, false) => (Some(which), Ix::default()),
        };
        let rows: Vec<TileRow> = (0..t.rows)
            .map(|i| {
                let u = block.times(small(t.rows)).plus_constant(small(i));
                let inside = u.range().1 < span as u64;
                let u = self.clamp(&u, small(span));
                let (local, within) = match &own_row {
                    Some(row) => (row.clone(), u.clone()),
                    None => self.split(&u, small(inner_lead * x.m)),
                };
                let (l, m) = if lead_outside {
                    (own_lead.clone(), within)
                } else {
                    self.split(&within, small(x.m))
                };
                let l = self.unflat(&x.lead, &l);
                let guard = (!inside).then(|| block.times(small(t.rows)).plus_constant(small(i)));
                TileRow {
                    row: self.row(p, &local),
                    lead: l,
                    m,
                    guard,
                }
            })
            .collect();
        let first = column.times(small(4 * t.quads));
        self.accumulate(&x, &t, &rows, &first);
        self.epilogue(step, anchor, &t, &rows, &first, span, x.n);
        self.close(&header);
    }

    fn accumulate(&mut self, x: &Product, t: &Tile, rows: &[TileRow], first: &Ix) {
        for i in 0..t.rows {
            for q in 0..t.quads {
                let zero = if t.lanes == 1 { "0.0" } else { "vec4<f32>()" };
                self.line(&format!("var acc{i}_{q} = {zero};"));
            }
        }
        for (lo, hi) in if x.k > 1 { self.segments(x.a) } else { vec![(0, 1)] } {
            let quads = if lo % 4 == 0 && x.k > 1 { (hi - lo) / 4 } else { 0 };
            if quads > 0 {
                let (k4, header) = self.open_loop("k", small(quads));
                let k = k4.times(4).plus_constant(small(lo));
                self.multiply_quad(x, t, rows, &k, first);
                self.close(&header);
            }
            let rest = lo + 4 * quads..hi;
            if rest.len() > 4 {
                let (k, header) = self.open_loop("k", small(rest.len()));
                self.multiply_one(x, t, rows, &k.plus_constant(small(rest.start)), first);
                self.close(&header);
            } else {
                for k in rest {
                    self.open();
                    self.multiply_one(x, t, rows, &Ix::constant(small(k)), first);
                    self.close("");
                }
            }
        }
        let sums: Vec<String> = (0..t.rows)
            .flat_map(|i| (0..t.quads).map(move |q| format!("acc{i}_{q}")))
            .collect();
        self.line(&format!("bad |= nonfinite_{}({});", t.lanes, sums.join(" + ")));
    }

    fn b_index(x: &Product, lead: &[Ix], k: &Ix, n: &Ix) -> Vec<Ix> {
        let lead = if x.b_has_lead { lead } else { &[] };
        lead.iter().chain([k, n]).cloned().collect()
    }

    /// Four inner indices from `k`.
    fn multiply_quad(&mut self, x: &Product, t: &Tile, rows: &[TileRow], k: &Ix, first: &Ix) {
        let xs: Vec<String> = rows
            .iter()
            .map(|r| self.eval(x.a, &r.a_index(k), 4, &r.row).text)
            .collect();
        let shared = rows[0].row.clone();
        if t.lanes == 1 {
            let b = self
                .eval(x.b, &Self::b_index(x, &rows[0].lead, k, &Ix::default()), 4, &shared)
                .text;
            for (i, a) in xs.iter().enumerate() {
                self.line(&format!("acc{i}_0 += dot({a}, {b});"));
            }
            return;
        }
        for (c, component) in COMPONENTS.iter().enumerate() {
            let k = k.plus_constant(small(c));
            for q in 0..t.quads {
                let n = first.plus_constant(small(4 * q));
                let b = self
                    .eval(x.b, &Self::b_index(x, &rows[0].lead, &k, &n), 4, &shared)
                    .text;
                for (i, a) in xs.iter().enumerate() {
                    self.line(&format!(
                        "acc{i}_{q} = fma(vec4<f32>({a}.{component}), {b}, acc{i}_{q});"
                    ));
                }
            }
        }
    }

    /// One inner index.
    fn multiply_one(&mut self, x: &Product, t: &Tile, rows: &[TileRow], k: &Ix, first: &Ix) {
        let xs: Vec<String> = rows
            .iter()
            .map(|r| self.eval(x.a, &r.a_index(k), 1, &r.row).text)
            .collect();
        let shared = rows[0].row.clone();
        for q in 0..t.quads {
            let n = if t.lanes == 1 {
                Ix::default()
            } else {
                first.plus_constant(small(4 * q))
            };
            let b = self
                .eval(x.b, &Self::b_index(x, &rows[0].lead, k, &n), t.lanes, &shared)
                .text;
            for (i, a) in xs.iter().enumerate() {
                let a = if t.lanes == 1 {
                    a.clone()
                } else {
                    format!("vec4<f32>({a})")
                };
                self.line(&format!("acc{i}_{q} = fma({a}, {b}, acc{i}_{q});"));
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the extents of one epilogue, used nowhere else"
    )]
    fn epilogue(&mut self, step: &Step, anchor: Value, t: &Tile, rows: &[TileRow], first: &Ix, span: usize, n: usize) {
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
                let ix: Vec<Ix> = r.lead.iter().chain([&r.m, &column]).cloned().collect();
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
            s.get(super::expr::line_axis(&s)).copied().unwrap_or(1)
        };
        let n = line(anchor);
        let keeps = |v: &Value| {
            !matches!(self.g.op(*v), Op::Permute(_)) && (line(*v) == n || (n % 4 == 0 && line(*v) % 4 == 0))
        };
        step.views.iter().all(keeps)
    }

    /// The root's index of an element of the anchor.
    fn forward(&mut self, step: &Step, anchor: Value, ix: &[Ix]) -> Vec<Ix> {
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

struct TileRow {
    row: Row,
    lead: Vec<Ix>,
    m: Ix,
    /// Its position, where it may lie beyond the last one.
    guard: Option<Ix>,
}

impl TileRow {
    fn a_index(&self, k: &Ix) -> Vec<Ix> {
        self.lead.iter().chain([&self.m, k]).cloned().collect()
    }
}

fn tile(p: &Program, x: &Product, outer: usize, span: usize) -> Tile {
    if x.n == 1 {
        return Tile {
            rows: if span * outer >= 4 * p.threads { 4 } else { 1 },
            quads: 1,
            lanes: 1,
        };
    }
    let mut quads = (p.profile.tile_n / 4).min(x.n.div_ceil(4));
    let mut rows = p.profile.tile_m.min(span);
    let tasks = |rows: usize, quads: usize| outer * span.div_ceil(rows) * x.n.div_ceil(4 * quads);
    // Small tiles load more for each product; only when most invocations would idle are they worth it.
    while tasks(rows, quads) < p.threads / 4 && rows * quads > 2 {
        if rows >= 2 * quads {
            rows = rows.div_ceil(2);
        } else if quads > 1 {
            quads = quads.div_ceil(2);
        } else {
            rows = rows.div_ceil(2);
        }
        if rows == 1 && quads == 1 {
            break;
        }
    }
    Tile { rows, quads, lanes: 4 }
}
