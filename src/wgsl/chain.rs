//! Chains of products over the same rows, see [`crate::fuse`]: lanes keep columns of the matrices, rows stream past.
//!
//! Each lane evaluates its columns of every second operand once for all rows that meet it: they are so many that most
//! spill, and a spilled register is read by the instruction that multiplies. Of a row each lane loads an eighth and hands
//! it round. The product leaves each lane with its columns of the row, which the tail finishes and the next product hands
//! round in its turn; what is left when a single column comes out is added up over the lanes.

use super::emit::{Emitter, Hole, Row};
use super::expr::COMPONENTS;
use super::index::{Ix, small};
use super::matmul::{Product, TileRow};
use super::program::Program;
use crate::fuse::{LANES, Step, columns};
use crate::ir::Value;

/// An element of a row: whose register it is in, and which.
#[derive(Clone)]
struct Element {
    register: String,
    lane: usize,
    /// Its place in the register; `None` in one of a single value.
    part: Option<usize>,
}

/// The columns that each lane keeps: registers of four or of one.
struct Columns {
    each: usize,
    lanes: u32,
}

impl Columns {
    fn of(n: usize) -> Self {
        let each = columns(n).unwrap_or(1);
        let lanes = if each.is_multiple_of(4) { 4 } else { 1 };
        Self { each, lanes }
    }

    fn registers(&self) -> usize {
        self.each / self.lanes as usize
    }

    /// The first column of a lane's register.
    fn first(&self, register: usize) -> Ix {
        lane()
            .times(small(self.each))
            .plus_constant(small(register) * self.lanes)
    }

    /// Where the elements of a row are that lies in these registers.
    fn elements(&self, registers: &[String]) -> Vec<Element> {
        let width = self.lanes as usize;
        let element = |i: usize| Element {
            register: registers[i % self.each / width].clone(),
            lane: i / self.each,
            part: (width > 1).then_some(i % width),
        };
        (0..LANES * self.each).map(element).collect()
    }
}

fn lane() -> Ix {
    Ix::opaque("lid", small(LANES), 0)
}

/// Words of four that a lane loads of a row of `n`, each a subgroup's words apart.
fn words(n: usize) -> usize {
    n.div_ceil(4 * LANES)
}

impl Emitter<'_> {
    /// Emits the steps of a chain.
    pub(super) fn chain(&mut self, p: &Program, steps: &[&Step]) {
        let products: Vec<(&Step, Value, Product)> = steps
            .iter()
            .filter_map(|s| s.anchor.map(|a| (*s, a, self.product(a))))
            .collect();
        let Some((_, _, first)) = products.first() else { return };
        let (lead, m) = (first.lead.clone(), first.m);
        let matrices: usize = lead.iter().product();
        let (task, matrix_loop) = self.open_loop("task", small(p.tile * matrices));
        let (local, l) = self.split(&task, small(matrices));
        let local = self.clamp(&local, small(p.tile));
        let row = self.row(p, &local);
        let lead = self.unflat(&lead, &l);
        // A product whose rows are those of the others summed up.
        let pool = products.last().filter(|(_, _, x)| x.m != m);
        let sums: Vec<String> = pool.map_or(Vec::new(), |(_, _, x)| (0..words(x.n)).map(|_| self.zero(4)).collect());
        let (t, row_loop) = self.open_loop("t", small(m));
        let at = TileRow::new(row.clone(), lead.clone(), t.clone());
        let mut elements = self.loaded(first, &at);
        let mut score = String::new();
        let products_of_rows = products.len() - usize::from(pool.is_some());
        for (i, (step, anchor, x)) in products[..products_of_rows].iter().enumerate() {
            if x.n == 1 {
                score = self.single(x, &at, &elements);
                if i + 1 == products_of_rows && pool.is_none() {
                    // All lanes have it, one stores it.
                    self.open();
                    self.finish_step(step, *anchor, &at.index(&Ix::default()), 1, &score, &row);
                    self.close("if lid == 0u ");
                } else {
                    score = self.finished(step, *anchor, &at.index(&Ix::default()), 1, &score, &row);
                }
                continue;
            }
            let c = Columns::of(x.n);
            let sums = self.multiplied(x, &c, &at, &elements);
            if i + 1 == products.len() {
                for (r, sum) in sums.iter().enumerate() {
                    self.open();
                    self.finish_step(step, *anchor, &at.index(&c.first(r)), c.lanes, sum, &row);
                    self.close("");
                }
                continue;
            }
            let registers: Vec<String> = (sums.iter().enumerate())
                .map(|(r, sum)| self.finished(step, *anchor, &at.index(&c.first(r)), c.lanes, sum, &row))
                .collect();
            elements = c.elements(&registers);
        }
        if let Some((_, _, x)) = pool {
            for (j, sum) in sums.iter().enumerate() {
                let b = x.b_index(&lead, &t, &self.word_of_lane(0, x.n, j));
                let b = self.eval(x.b, &b, 4, &row).text;
                self.line(&format!("{sum} = fma(vec4<f32>({score}), {b}, {sum});"));
            }
        }
        self.close(&row_loop);
        if let Some((step, anchor, x)) = pool {
            self.line(&format!("bad |= nonfinite_4({});", sums.join(" + ")));
            for (j, sum) in sums.iter().enumerate() {
                let column = lane().plus_constant(small(j * LANES)).times(4);
                let guard = (column.range().1 >= x.n as u64).then(|| format!("if {} < {}u ", column.text(), x.n));
                let ix: Vec<Ix> = lead.iter().chain([&Ix::default(), &column]).cloned().collect();
                self.open();
                self.finish_step(step, *anchor, &ix, 4, sum, &row);
                self.close(&guard.unwrap_or_default());
            }
        }
        self.close(&matrix_loop);
    }

    /// A sum, zero.
    fn zero(&mut self, lanes: u32) -> String {
        let name = self.name("sum");
        let zero = if lanes == 1 { "0.0" } else { "vec4<f32>()" };
        self.line(&format!("var {name} = {zero};"));
        name
    }

    /// The `j`-th word that a lane loads of `n` elements from `first`, held within them.
    fn word_of_lane(&mut self, first: usize, n: usize, j: usize) -> Ix {
        let word = lane().plus_constant(small(j * LANES));
        let word = self.clamp(&word, small(n.div_ceil(4)));
        word.times(4).plus_constant(small(first))
    }

    /// A row of the first operand, an eighth of it loaded by each lane.
    fn loaded(&mut self, x: &Product, at: &TileRow) -> Vec<Element> {
        let mut elements = Vec::with_capacity(x.k);
        for (lo, hi) in self.segments(x.a) {
            let registers: Vec<String> = (0..words(hi - lo))
                .map(|j| {
                    let k = self.word_of_lane(lo, hi - lo, j);
                    self.eval(x.a, &at.index(&k), 4, &at.row).text
                })
                .collect();
            elements.extend((0..hi - lo).map(|i| Element {
                register: registers[i / (4 * LANES)].clone(),
                lane: i / 4 % LANES,
                part: Some(i % 4),
            }));
        }
        elements
    }

    /// The sums of a row's columns in each lane.
    fn multiplied(&mut self, x: &Product, c: &Columns, at: &TileRow, elements: &[Element]) -> Vec<String> {
        let sums: Vec<String> = (0..c.registers()).map(|_| self.zero(c.lanes)).collect();
        let ty = if c.lanes == 1 { "f32" } else { "vec4<f32>" };
        self.whole_words = true;
        for k in (0..x.k).step_by(4) {
            let those = &elements[k..x.k.min(k + 4)];
            let xs: Vec<String> = those.iter().map(|e| self.handed(e)).collect();
            for (r, sum) in sums.iter().enumerate() {
                let mut text = sum.clone();
                for (i, x_k) in xs.iter().enumerate() {
                    let b = x.b_index(&at.lead, &Ix::constant(small(k + i)), &c.first(r));
                    let b = self.eval(x.b, &b, c.lanes, &at.row).text;
                    text = format!("fma({ty}({x_k}), {b}, {text})");
                }
                self.line(&format!("{sum} = {text};"));
            }
        }
        self.whole_words = false;
        let all = sums.join(" + ");
        self.line(&format!("bad |= nonfinite_{}({all});", c.lanes));
        sums
    }

    /// An element in all lanes.
    fn handed(&mut self, e: &Element) -> String {
        let depth = self.depth();
        let all = self.bind("x", &format!("subgroupBroadcast({}, {}u)", e.register, e.lane), depth);
        match e.part {
            Some(part) => format!("{}.{}", all.text, COMPONENTS[part]),
            None => all.text,
        }
    }

    /// The sum of a single column: each lane takes its own elements, then all take each other's.
    fn single(&mut self, x: &Product, at: &TileRow, elements: &[Element]) -> String {
        let own: Vec<(usize, &Element)> = elements.iter().enumerate().filter(|(_, e)| e.lane == 0).collect();
        let each = own.len();
        let part = self.zero(1);
        for (k, e) in own.iter().filter(|(_, e)| e.part.is_none_or(|part| part == 0)) {
            let lanes = if e.part.is_some() { 4 } else { 1 };
            let k = lane().times(small(each)).plus_constant(small(*k));
            let b = x.b_index(&at.lead, &k, &Ix::default());
            let b = self.eval(x.b, &b, lanes, &at.row).text;
            let product = match lanes {
                4 => format!("dot({}, {b})", e.register),
                _ => format!("{} * {b}", e.register),
            };
            self.line(&format!("{part} += {product};"));
        }
        let handed: Vec<String> = (0..LANES).map(|l| format!("subgroupBroadcast({part}, {l}u)")).collect();
        let sum = self.name("sum");
        self.line(&format!("let {sum} = {};", handed.join(" + ")));
        self.line(&format!("bad |= nonfinite_1({sum});"));
        sum
    }

    /// The root of a step at an index of its anchor, as text.
    fn finished(&mut self, step: &Step, anchor: Value, ix: &[Ix], lanes: u32, sum: &str, row: &Row) -> String {
        self.computing = Some(step.root);
        let at = self.forward(step, anchor, ix);
        self.hole = Some(Hole {
            anchor,
            text: sum.to_owned(),
            lanes,
        });
        let e = self.eval(step.root, &at, lanes, row);
        self.hole = None;
        self.computing = None;
        // Sums change: what is handed round is what they are now.
        let name = self.name("y");
        self.line(&format!("let {name} = {};", e.text));
        name
    }
}
