//! Matmuls: each invocation accumulates a register tile of rows by columns while the inner axis streams past.
//!
//! The operands are expressions: a weight, a gathered table, a concat, a matrix folded out of weights for this row. The
//! tile's tail is the step's epilogue. Where the second operand is the same for all rows, a tile's rows come from
//! anywhere in the workgroup's tile of rows; where it is the row's own, they come from one row.
//!
//! How the second operand reaches the invocations is the profile's scheme: [`super::tiles`], [`super::lanes`] or [`super::matrices`].

use super::emit::{Emitter, Row};
use super::index::{Ix, small};
use super::program::Program;
use super::{lanes, tiles};
use crate::fuse::{LANES, Scheme, Step};
use crate::ir::Value;
use crate::ir::rows::RowSpace;

/// The extents of one matmul in one workgroup.
pub(super) struct Product {
    pub(super) a: Value,
    pub(super) b: Value,
    /// Extents before the matrix.
    pub(super) lead: Vec<usize>,
    /// Whether the second operand has those extents too.
    pub(super) b_has_lead: bool,
    /// Whether it is the same for all rows.
    pub(super) shared: bool,
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
}

/// How the rows of a product lie in a workgroup: `outer` matrices that have nothing in common, each with `span` rows that
/// meet the same second operand.
pub(super) struct Blocks {
    pub(super) outer: usize,
    pub(super) span: usize,
    /// Whether the leading axes are among what tells the matrices apart.
    lead_outside: bool,
}

/// Rows and columns that one invocation accumulates.
pub(super) struct Tile {
    pub(super) rows: usize,
    pub(super) quads: usize,
    /// 1 for a single column, summed over four inner indices at a time; else 4.
    pub(super) lanes: u32,
    /// Whether the rows of a tile lie a subgroup apart, one of each run in each lane, and all lanes do all tasks.
    pub(super) spread: bool,
}

/// One row of a tile.
pub(super) struct TileRow {
    pub(super) row: Row,
    pub(super) lead: Vec<Ix>,
    m: Ix,
    /// Its position, where it may lie beyond the last one.
    pub(super) guard: Option<Ix>,
}

impl Tile {
    /// Tiles beside each other in a product of `n` columns.
    pub(super) fn columns(&self, n: usize) -> usize {
        if self.lanes == 1 { 1 } else { n.div_ceil(4 * self.quads) }
    }
}

impl TileRow {
    /// A row that is there.
    pub(super) fn new(row: Row, lead: Vec<Ix>, m: Ix) -> Self {
        Self {
            row,
            lead,
            m,
            guard: None,
        }
    }

    /// Index of its element of the first operand, or of the product.
    pub(super) fn index(&self, last: &Ix) -> Vec<Ix> {
        self.lead.iter().chain([&self.m, last]).cloned().collect()
    }
}

impl Product {
    /// How its rows lie in a workgroup of `tile` rows of its space.
    pub(super) fn blocks(&self, tile: usize) -> Blocks {
        let lead: usize = self.lead.iter().product();
        // Matrices that differ along the leading axes, or between rows, keep a tile's rows together.
        let lead_outside = self.b_has_lead && lead > 1;
        let (outer, span) = match (self.shared, lead_outside) {
            (true, false) => (1, tile * lead * self.m),
            (true, true) => (lead, tile * self.m),
            (false, false) => (tile, lead * self.m),
            (false, true) => (tile * lead, self.m),
        };
        Blocks {
            outer,
            span,
            lead_outside,
        }
    }

    /// Index of an element of the second operand.
    pub(super) fn b_index(&self, lead: &[Ix], k: &Ix, n: &Ix) -> Vec<Ix> {
        let lead = if self.b_has_lead { lead } else { &[] };
        lead.iter().chain([k, n]).cloned().collect()
    }
}

impl Emitter<'_> {
    pub(super) fn product(&self, anchor: Value) -> Product {
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
        let blocks = x.blocks(p.tile);
        if self.matmul_in_squares(p, step, anchor, &x, &blocks) {
            return;
        }
        let t = lanes::tile(p, &x, &blocks).unwrap_or_else(|| tiles::tile(p, &x, &blocks));
        let columns = t.columns(x.n) / p.shares;
        let count = blocks.span.div_ceil(t.rows * if t.spread { LANES } else { 1 });
        let tasks = small(blocks.outer * count * columns);
        let (task, header) = if t.spread {
            self.open_loop("task", tasks)
        } else {
            self.open_tasks(tasks, p.threads)
        };
        let (rest, mut column) = self.split(&task, small(columns));
        if p.shares > 1 {
            let share = Ix::opaque("share", small(p.shares), 0);
            column = share.times(small(columns)).plus(&column);
        }
        let (which, block) = if blocks.outer > 1 {
            self.split(&rest, small(count))
        } else {
            (Ix::default(), rest)
        };
        let block = self.clamp(&block, small(count));
        let rows = self.tile_rows(p, &x, &blocks, &t, &which, &block);
        let first = column.times(small(4 * t.quads));
        if t.spread {
            self.accumulate_lanes(&x, &t, &rows, &first);
        } else {
            self.accumulate_tiles(&x, &t, &rows, &first);
        }
        if p.profile.scheme == Scheme::Lanes && t.lanes == 4 && !self.tail_joins(step, anchor) {
            let row = |e: &mut Self, i: &Ix| e.tile_row(p, &x, &blocks, &t, &which, &block, i);
            self.finish_in_loops(step, anchor, &t, row, &first, (blocks.span, x.n));
        } else {
            self.finish_tile(step, anchor, &t, &rows, &first, blocks.span, x.n);
        }
        self.close(&header);
    }

    /// The rows of the `block`-th tile of the matrix `which`.
    pub(super) fn tile_rows(
        &mut self,
        p: &Program,
        x: &Product,
        b: &Blocks,
        t: &Tile,
        which: &Ix,
        block: &Ix,
    ) -> Vec<TileRow> {
        (0..t.rows)
            .map(|i| self.tile_row(p, x, b, t, which, block, &Ix::constant(small(i))))
            .collect()
    }

    /// The `i`-th of them.
    #[expect(clippy::too_many_arguments, reason = "what a tile is, and a place in it")]
    fn tile_row(&mut self, p: &Program, x: &Product, b: &Blocks, t: &Tile, which: &Ix, block: &Ix, i: &Ix) -> TileRow {
        let lead: usize = x.lead.iter().product();
        let inner_lead = if b.lead_outside { 1 } else { lead };
        let (own_row, own_lead) = match (x.shared, b.lead_outside) {
            (true, _) => (None, which.clone()),
            (false, true) => {
                let (row, l) = self.split(which, small(lead));
                (Some(row), l)
            }
            (false, false) => (Some(which.clone()), Ix::default()),
        };
        let at = if t.spread {
            let lane = Ix::opaque("lid", small(LANES), 0);
            let run = block.times(small(t.rows)).plus(i);
            run.times(small(LANES)).plus(&lane)
        } else {
            block.times(small(t.rows)).plus(i)
        };
        let guard = (at.range().1 >= b.span as u64).then(|| at.clone());
        let at = self.clamp(&at, small(b.span));
        let (local, within) = match &own_row {
            Some(row) => (row.clone(), at),
            None => self.split(&at, small(inner_lead * x.m)),
        };
        let (l, m) = if b.lead_outside {
            (own_lead, within)
        } else {
            self.split(&within, small(x.m))
        };
        let lead = self.unflat(&x.lead, &l);
        TileRow {
            row: self.row(p, &local),
            lead,
            m,
            guard,
        }
    }

    /// Declares the sums of a tile, all zero.
    pub(super) fn declare_sums(&mut self, t: &Tile) {
        let zero = if t.lanes == 1 { "0.0" } else { "vec4<f32>()" };
        for i in 0..t.rows {
            for q in 0..t.quads {
                self.line(&format!("var acc{i}_{q} = {zero};"));
            }
        }
    }

    /// Notes whether some sum of a tile is not finite.
    pub(super) fn note_sums(&mut self, t: &Tile) {
        let sums: Vec<String> = (0..t.rows)
            .flat_map(|i| (0..t.quads).map(move |q| format!("acc{i}_{q}")))
            .collect();
        self.line(&format!("bad |= nonfinite_{}({});", t.lanes, sums.join(" + ")));
    }
}
