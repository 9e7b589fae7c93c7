//! Matmuls in which the lanes of a subgroup share the loads of the second operand.
//!
//! Each lane has rows of its own. Four inner indices by sixteen columns of the second operand are eight runs of eight
//! columns: lane `l` evaluates run `l`, at inner index `l / 2` and columns `8 (l % 2)..`, and hands it to all. So the
//! loads of the second operand, and whatever folds it out of weights, are made once for the subgroup instead of once for
//! each lane. All lanes run all loops together.

use super::emit::Emitter;
use super::expr::COMPONENTS;
use super::index::{Ix, small};
use super::matmul::{Blocks, Product, Tile, TileRow};
use super::program::Program;
use crate::fuse::{LANES, Scheme};

/// Inner indices of a run of each lane.
const DEPTH: usize = 4;
/// Columns of a run of each lane.
const WIDTH: usize = 16;

/// The tile of each lane, if the scheme serves this product: too few rows leave lanes without any, a single column or a
/// short inner axis leaves nothing to share.
pub(super) fn tile(p: &Program, x: &Product, blocks: &Blocks) -> Option<Tile> {
    let serves = p.profile.scheme == Scheme::Lanes && blocks.span >= LANES && x.n > 1 && x.k >= DEPTH;
    serves.then(|| {
        let (rows, columns) = match p.has_many_matmuls() {
            true => (p.tallest().min(blocks.span.div_ceil(LANES)), WIDTH),
            false => p.profile.lane_tile(blocks.span, x.n),
        };
        Tile {
            rows,
            quads: (columns / 4).min(x.n.div_ceil(4)),
            lanes: 4,
            spread: true,
        }
    })
}

impl Emitter<'_> {
    /// Sums the products of a tile.
    pub(super) fn accumulate_lanes(&mut self, x: &Product, t: &Tile, rows: &[TileRow], first: &Ix) {
        self.declare_sums(t);
        for (lo, hi) in self.segments(x.a) {
            let whole = if lo % 4 == 0 { (hi - lo) / DEPTH } else { 0 };
            if whole > 0 {
                let (k4, header) = self.open_loop("k", small(whole));
                let k = k4.times(small(DEPTH)).plus_constant(small(lo));
                self.multiply_run(x, t, rows, &k, DEPTH, first);
                self.close(&header);
            }
            let mut k = lo + whole * DEPTH;
            while k < hi {
                let depth = DEPTH.min(hi - k);
                self.open();
                self.multiply_run(x, t, rows, &Ix::constant(small(k)), depth, first);
                self.close("");
                k += depth;
            }
        }
        self.note_sums(t);
    }

    /// `depth` inner indices from `k`.
    fn multiply_run(&mut self, x: &Product, t: &Tile, rows: &[TileRow], k: &Ix, depth: usize, first: &Ix) {
        let xs: Vec<Vec<String>> = rows.iter().map(|r| self.inner(x, r, k, depth)).collect();
        let runs = t.quads.div_ceil(WIDTH / 4);
        let held: Vec<[String; 2]> = (0..runs).map(|run| self.held(x, rows, k, depth, first, run)).collect();
        for q in 0..t.quads {
            let (run, half, part) = (q / 4, q / 2 % 2, q % 2);
            let ws: Vec<String> = (0..depth)
                .map(|d| format!("subgroupBroadcast({}, {}u)", held[run][part], 2 * d + half))
                .map(|text| self.bind("w", &text, self.depth()).text)
                .collect();
            for (i, x) in xs.iter().enumerate() {
                let sum = x.iter().zip(&ws).fold(format!("acc{i}_{q}"), |sum, (x, w)| {
                    format!("fma(vec4<f32>({x}), {w}, {sum})")
                });
                self.line(&format!("acc{i}_{q} = {sum};"));
            }
        }
    }

    /// A row's elements at `depth` inner indices from `k`.
    fn inner(&mut self, x: &Product, r: &TileRow, k: &Ix, depth: usize) -> Vec<String> {
        if depth == 4 && k.is_multiple(4) {
            let four = self.eval(x.a, &r.index(k), 4, &r.row).text;
            return COMPONENTS.iter().map(|c| format!("{four}.{c}")).collect();
        }
        let one = |d| self.eval(x.a, &r.index(&k.plus_constant(small(d))), 1, &r.row).text;
        (0..depth).map(one).collect()
    }

    /// The eight columns of the second operand that this lane holds, of the `run`-th sixteen of a tile; what lies beyond
    /// the last inner index or column is evaluated within, and never handed on.
    fn held(&mut self, x: &Product, rows: &[TileRow], k: &Ix, depth: usize, first: &Ix, run: usize) -> [String; 2] {
        let lane = |e: &mut Self, text: &str, bound: u32| Ix::opaque(&e.bind("lane", text, 0).text, bound, 0);
        let inner = lane(self, "lid / 2u", small(DEPTH));
        let inner = self.clamp(&inner, small(depth));
        let k = k.plus(&inner);
        // Held back in units of eight columns, and of four, so that what is left is whole words.
        let eight = lane(self, "lid % 2u", 2);
        let (first, _) = self.split(first, 8);
        let column = first.plus_constant(small(2 * run)).plus(&eight);
        let column = self.clamp(&column, small(x.n.div_ceil(8)));
        [0, 1].map(|part| {
            let quad = column.times(2).plus_constant(part);
            let n = self.clamp(&quad, small(x.n.div_ceil(4))).times(4);
            let at = x.b_index(&rows[0].lead, &k, &n);
            self.eval(x.b, &at, 4, &rows[0].row).text
        })
    }
}
