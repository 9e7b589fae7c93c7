//! Matmuls in cooperative matrices: a subgroup holds squares of halves together, multiplies them in one operation and sums in
//! f32.
//!
//! A workgroup does up to [`ROWS`] rows. It evaluates the first operand, [`DEPTH`] inner indices at a time, rounds it to
//! halves and leaves it in workgroup memory; squares of weights are read from where they lie. Each subgroup has a strip of
//! rows and all columns of a block. Sums cannot be looked into: they pass through workgroup memory to whoever finishes them.
//!
//! How many subgroups there are is known when the kernel runs: where they are fewer than strips they take turns, where
//! they are more some have nothing to multiply. A loop of a single turn stands for an `if`, which naga would not let
//! cooperative operations stand under: all lanes of a subgroup take the same way, and naga cannot tell.

use super::emit::Emitter;
use super::index::{Ix, small};
use super::matmul::{Blocks, Product, Tile};
use super::memory::sum;
use super::program::Program;
use super::tiles;
use crate::bundle::Layout;
use crate::fuse::{Group, Scheme, Step};
use crate::ir::{Op, Value};

/// Rows that a workgroup multiplies at once.
const ROWS: usize = 64;
/// Rows of a subgroup.
const STRIP: usize = 16;
/// Inner indices that wait in workgroup memory.
const DEPTH: usize = 32;
/// Squares that a subgroup sums side by side.
const SQUARES: usize = 8;
/// Columns of sums that wait in workgroup memory.
const PHASE: usize = 64;
/// Edge of the squares in which weights lie.
const EDGE: usize = 16;
/// Halves of a line of the first operand in workgroup memory: lines start in different banks.
const LINE_A: usize = DEPTH + 8;
/// Numbers of a line of sums there.
const LINE_C: usize = PHASE + 4;

/// Bytes of workgroup memory.
pub(super) const BYTES: usize = ROWS * LINE_A * 2 + ROWS * LINE_C * 4;

/// Declarations of what waits in workgroup memory, for kernels whose body needs them.
pub(super) fn declarations(body: &str) -> String {
    if !body.contains("waiting_sums[") {
        return String::new();
    }
    format!(
        "var<workgroup> waiting_rows: array<f16, {}>;\nvar<workgroup> waiting_sums: array<f32, {}>;\n",
        ROWS * LINE_A,
        ROWS * LINE_C
    )
}

/// One product, and the squares that it is made of.
struct Work<'x> {
    x: &'x Product,
    step: &'x Step,
    anchor: Value,
    /// Rows that share the second operand.
    span: usize,
    /// Edge of a square.
    edge: usize,
    /// The weights' buffer, and their first half there.
    shard: u32,
    first: u64,
}

/// Squares of the sums that a subgroup holds, one below the other.
fn high(edge: usize) -> usize {
    STRIP / edge
}

impl Emitter<'_> {
    /// The edge of squares, if the scheme serves this product: weights in squares, whole ones along the inner axis, as many
    /// rows as a strip.
    fn edge(&mut self, p: &Program, x: &Product, blocks: &Blocks) -> Option<usize> {
        let Scheme::Matrices(edge) = p.profile.scheme else {
            return None;
        };
        let weight = self.memory.weights.get(&x.b)?;
        let lies = weight.layout == Layout::SquaresHalves && weight.places.len() == 1;
        let serves = lies && x.shared && blocks.outer == 1 && blocks.span >= STRIP && x.k.is_multiple_of(EDGE);
        let whole = |e: &mut Self| e.segments(x.a).iter().all(|(lo, hi)| lo % EDGE == 0 && hi % EDGE == 0);
        (serves && whole(self)).then_some(edge)
    }

    /// How many workgroups share the columns of a tile of rows: where a product is all that a kernel does.
    pub(super) fn shares(&mut self, p: &Program, group: &Group) -> usize {
        let [
            Step {
                anchor: Some(anchor), ..
            },
        ] = group.steps[..]
        else {
            return 1;
        };
        if !matches!(self.g.op(anchor), Op::MatMul) {
            return 1;
        }
        let x = self.product(anchor);
        let blocks = x.blocks(p.tile);
        match self.edge(p, &x, &blocks) {
            Some(edge) if blocks.span <= ROWS => x.n.div_ceil(SQUARES * edge),
            Some(_) => 1,
            None => tiles::shares(p, &x, &blocks),
        }
    }

    /// Emits a matmul step in squares; `false` where the scheme does not serve it.
    pub(super) fn matmul_in_squares(
        &mut self,
        p: &Program,
        step: &Step,
        anchor: Value,
        x: &Product,
        blocks: &Blocks,
    ) -> bool {
        let Some(edge) = self.edge(p, x, blocks) else {
            return false;
        };
        let (_, _, shard, word) = self.memory.weights[&x.b].places[0];
        let w = Work {
            x,
            step,
            anchor,
            span: blocks.span,
            edge,
            shard,
            first: 8 * word,
        };
        let columns = small(x.n.div_ceil(SQUARES * edge));
        let (part, parts) = self.open_loop("part", small(blocks.span.div_ceil(ROWS)));
        let (block, header) = if p.shares > 1 {
            self.open();
            (Ix::opaque("share", columns, 0), String::new())
        } else {
            self.open_loop("block", columns)
        };
        // Strips of this turn are those of all subgroups.
        let (turn, strip) = (self.name("turn"), self.name("strip"));
        self.open();
        self.line(&format!("let {strip} = {turn} * subgroups + subgroup;"));
        for (r, c) in self.squares(&w) {
            self.line(&format!("var sum{r}_{c} = coop_mat{edge}x{edge}<f32, C>();"));
        }
        for (lo, hi) in self.segments(x.a) {
            let whole = (hi - lo) / DEPTH;
            if whole > 0 {
                let (k, header) = self.open_loop("k", small(whole));
                let k = k.times(small(DEPTH)).plus_constant(small(lo));
                self.multiply(p, &w, &part, &block, &k, DEPTH, &strip);
                self.close(&header);
            }
            let rest = lo + whole * DEPTH;
            if rest < hi {
                self.open();
                self.multiply(p, &w, &part, &block, &Ix::constant(small(rest)), hi - rest, &strip);
                self.close("");
            }
        }
        for phase in 0..SQUARES * edge / PHASE {
            self.open();
            self.finish_phase(p, &w, &part, &block, phase, [&turn, &strip]);
            self.close("");
        }
        let strips = ROWS / STRIP;
        self.close(&format!(
            "for (var {turn} = 0u; {turn} * subgroups < {strips}u; {turn}++) "
        ));
        self.close(&header);
        self.close(&parts);
        true
    }

    fn squares(&self, w: &Work) -> Vec<(usize, usize)> {
        (0..high(w.edge))
            .flat_map(|r| (0..SQUARES).map(move |c| (r, c)))
            .collect()
    }

    /// `depth` inner indices from `k`, whole squares: the first operand to workgroup memory, then the products.
    #[expect(clippy::too_many_arguments, reason = "where one stands in the loops of one product")]
    fn multiply(&mut self, p: &Program, w: &Work, part: &Ix, block: &Ix, k: &Ix, depth: usize, strip: &str) {
        self.line("workgroupBarrier();");
        let quads = depth / 4;
        let (task, header) = self.open_tasks(small(ROWS * quads), p.threads);
        let (row, quad) = self.split(&task, small(quads));
        let row = self.clamp(&row, small(ROWS));
        let at = part.times(small(ROWS)).plus(&row);
        let at = self.clamp(&at, small(w.span));
        let rows = self.tile_rows(p, w.x, &w.x.blocks(p.tile), &SINGLE, &Ix::default(), &at);
        let inner = k.plus(&quad.times(4));
        let four = self.eval(w.x.a, &rows[0].index(&inner), 4, &rows[0].row);
        self.line(&format!("bad |= beyond_halves_4({});", four.text));
        let four = self.bind("a", &format!("vec4<f16>({})", four.text), self.depth()).text;
        let to = row.times(small(LINE_A)).plus(&quad.times(4));
        for c in 0..4 {
            let to = to.plus_constant(c).text();
            self.line(&format!("waiting_rows[{to}] = {four}[{c}];"));
        }
        self.close(&header);
        self.line("workgroupBarrier();");
        self.open();
        for d in (0..depth).step_by(w.edge) {
            for r in 0..high(w.edge) {
                let from = r * w.edge * LINE_A + d;
                self.line(&format!(
                    "let a{r}_{d} = coopLoadT<coop_mat{0}x{0}<f16, A>>(&waiting_rows[{strip} * {1}u + {from}u], {LINE_A}u);",
                    w.edge,
                    STRIP * LINE_A
                ));
            }
            for c in 0..SQUARES {
                let from = self.square(w, block, c, &k.plus_constant(small(d)));
                self.line(&format!(
                    "let b{c}_{d} = coopLoadT<coop_mat{0}x{0}<f16, B>>(&squares{1}[{from}], {EDGE}u);",
                    w.edge, w.shard
                ));
                for r in 0..high(w.edge) {
                    self.line(&format!(
                        "sum{r}_{c} = coopMultiplyAdd(a{r}_{d}, b{c}_{d}, sum{r}_{c});"
                    ));
                }
            }
        }
        self.close(&once(strip));
    }

    /// The first half of the `c`-th square of a block of columns, from inner index `k` on. Squares beyond the last one are
    /// the last one again: nobody stores their sums.
    fn square(&mut self, w: &Work, block: &Ix, c: usize, k: &Ix) -> String {
        let of_edge = EDGE / w.edge;
        let column = block.times(small(SQUARES)).plus_constant(small(c));
        let column = self.clamp(&column, small(w.x.n.div_ceil(EDGE) * of_edge));
        let (column, right) = self.split(&column, small(of_edge));
        let (line, down) = self.split(k, small(EDGE));
        let at = column.times(small(w.x.k / EDGE)).plus(&line).times(small(EDGE * EDGE));
        let within = down.times(small(EDGE)).plus(&right.times(small(w.edge)));
        sum(&format!("{}u", w.first), &at.plus(&within))
    }

    /// A phase of a block's columns: sums to workgroup memory, then the tail of the step.
    fn finish_phase(&mut self, p: &Program, w: &Work, part: &Ix, block: &Ix, phase: usize, [turn, strip]: [&str; 2]) {
        self.line("workgroupBarrier();");
        self.open();
        let wide = PHASE / w.edge;
        for (r, c) in self.squares(w) {
            if c / wide == phase {
                let to = r * w.edge * LINE_C + c % wide * w.edge;
                self.line(&format!(
                    "coopStoreT(sum{r}_{c}, &waiting_sums[{strip} * {}u + {to}u], {LINE_C}u);",
                    STRIP * LINE_C
                ));
            }
        }
        self.close(&once(strip));
        self.line("workgroupBarrier();");
        let (task, header) = self.open_tasks(small(ROWS * PHASE / 4), p.threads);
        let (row, quad) = self.split(&task, small(PHASE / 4));
        let row = self.clamp(&row, small(ROWS));
        let at = part.times(small(ROWS)).plus(&row);
        let column = block
            .times(small(SQUARES * w.edge))
            .plus_constant(small(phase * PHASE))
            .plus(&quad.times(4));
        if column.range().0 < w.x.n as u64 {
            let mut guards = vec![format!("{} / {STRIP}u / subgroups == {turn}", row.text())];
            if at.range().1 >= w.span as u64 {
                guards.push(format!("{} < {}u", at.text(), w.span));
            }
            if column.range().1 >= w.x.n as u64 {
                guards.push(format!("{} < {}u", column.text(), w.x.n));
            }
            self.open();
            let at = self.clamp(&at, small(w.span));
            let rows = self.tile_rows(p, w.x, &w.x.blocks(p.tile), &SINGLE, &Ix::default(), &at);
            let from = row.times(small(LINE_C)).plus(&quad.times(4));
            let four: Vec<String> = (0..4)
                .map(|c| format!("waiting_sums[{}]", from.plus_constant(c).text()))
                .collect();
            self.line(&format!("let sums = vec4<f32>({});", four.join(", ")));
            self.line("bad |= nonfinite_4(sums);");
            self.open();
            self.finish_step(w.step, w.anchor, &rows[0].index(&column), 4, "sums", &rows[0].row);
            self.close("");
            self.close(&format!("if {} ", guards.join(" && ")));
        }
        self.close(&header);
    }
}

/// A row by itself.
const SINGLE: Tile = Tile {
    rows: 1,
    quads: 1,
    lanes: 4,
    spread: false,
};

/// The header of what a subgroup does that has a strip.
fn once(strip: &str) -> String {
    let strips = ROWS / STRIP;
    format!("for (var once = {strip}; once < {strips}u; once = {strips}u) ")
}
