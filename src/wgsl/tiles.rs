//! Matmuls in which every invocation loads all that its own tile needs.

use super::emit::Emitter;
use super::expr::COMPONENTS;
use super::index::{Ix, small};
use super::matmul::{Blocks, Product, Tile, TileRow};
use super::program::Program;
use crate::fuse::Scheme;

impl Emitter<'_> {
    /// Sums the products of a tile.
    pub(super) fn accumulate_tiles(&mut self, x: &Product, t: &Tile, rows: &[TileRow], first: &Ix) {
        self.declare_sums(t);
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
        self.note_sums(t);
    }

    /// Four inner indices from `k`.
    fn multiply_quad(&mut self, x: &Product, t: &Tile, rows: &[TileRow], k: &Ix, first: &Ix) {
        let xs: Vec<String> = rows
            .iter()
            .map(|r| self.eval(x.a, &r.index(k), 4, &r.row).text)
            .collect();
        let shared = rows[0].row.clone();
        if t.lanes == 1 {
            let b = self
                .eval(x.b, &x.b_index(&rows[0].lead, k, &Ix::default()), 4, &shared)
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
                let b = self.eval(x.b, &x.b_index(&rows[0].lead, &k, &n), 4, &shared).text;
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
            .map(|r| self.eval(x.a, &r.index(k), 1, &r.row).text)
            .collect();
        let shared = rows[0].row.clone();
        for q in 0..t.quads {
            let n = if t.lanes == 1 {
                Ix::default()
            } else {
                first.plus_constant(small(4 * q))
            };
            let b = self.eval(x.b, &x.b_index(&rows[0].lead, k, &n), t.lanes, &shared).text;
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
}

/// Workgroups that share the columns of a product that is all that a kernel does, each with as many tiles of columns as the
/// others: enough, or nearly, that an invocation has one tile. A tile of rows is little for a GPU of a hundred cores.
pub(super) fn shares(p: &Program, x: &Product, blocks: &Blocks) -> usize {
    if p.profile.scheme == Scheme::Lanes {
        return 1;
    }
    let t = tile(p, x, blocks);
    let columns = t.columns(x.n);
    let tasks = blocks.outer * blocks.span.div_ceil(t.rows) * columns;
    let wanted = tasks.div_ceil(p.threads);
    let even = |n: &usize| columns.is_multiple_of(*n);
    let more = (wanted..=2 * wanted).find(even);
    more.or_else(|| (1..wanted).rev().find(even)).unwrap_or(1)
}

/// The largest tile that leaves the invocations of a workgroup something to do.
pub(super) fn tile(p: &Program, x: &Product, blocks: &Blocks) -> Tile {
    let Blocks { outer, span, .. } = *blocks;
    if x.n == 1 {
        return Tile {
            rows: if span * outer >= 4 * p.threads { 4 } else { 1 },
            quads: 1,
            lanes: 1,
            spread: false,
        };
    }
    let most = match p.profile.scheme {
        // Products that lanes do not share: every word that is loaded or stored is a loop to the driver.
        Scheme::Lanes if x.k < 4 || p.has_many_matmuls() => p.profile.tile_n / 16,
        Scheme::Lanes => p.profile.tile_n / 8,
        Scheme::Tiles | Scheme::Matrices(_) => p.profile.tile_n / 4,
    };
    let mut quads = most.min(x.n.div_ceil(4));
    let mut rows = p.profile.tile_m.min(span);
    let tasks = |rows: usize, quads: usize| outer * span.div_ceil(rows) * x.n.div_ceil(4 * quads);
    // Small tiles load more for each product; only when most invocations would idle are they worth it.
    // A lane that idles costs a software adapter as much as one that works.
    let busy = if p.profile.scheme == Scheme::Lanes {
        p.threads
    } else {
        p.threads / 4
    };
    while tasks(rows, quads) < busy && rows * quads > 2 {
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
    Tile {
        rows,
        quads,
        lanes: 4,
        spread: false,
    }
}
