//! Sums over the batch for software adapters with subgroups of eight: what [`crate::fuse::Scheme::Lanes`] is to matmuls.
//!
//! There a load costs more than the products it feeds, and a barrier more than a load. A workgroup is one subgroup. Each
//! lane has eight columns of the right matrix of its own, loads columns of the left one that no other lane loads, and hands
//! them round, four lines at a time. Tiles are large and written out, since sums spill into the first cache and are cheap
//! there. Whoever adds up the lines of the left matrix, as a layer's bias does, gets them from what is loaded anyway.
//!
//! Where a product is also wanted with weights that differ from row to row, `sum over r of A_r^T B_r diag(w_r)`, what a row
//! adds is made first, `A_r^T B_r`, then added to both: the products are made once.

use std::fmt::Write;

use crate::fuse::LANES;

/// Columns of both matrices in a tile.
pub(super) const WIDE: usize = 64;
pub(super) const TALL: usize = 64;
/// Columns of left matrices that have few.
pub(super) const LOW: usize = 16;
/// Lines of a turn.
pub(super) const DEPTH: usize = 4;
/// Words of four columns of the right matrix that a lane has.
const OWN: usize = WIDE / 4 / LANES;

const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// The kernel for tiles of so many columns of the left matrix, whole or row by row.
pub(super) fn text(tall: usize, by_row: bool) -> String {
    let mut text = include_str!("../../shaders/lanes.wgsl").to_owned();
    let tile = Tile { tall, by_row };
    tile.body(&mut text).expect("text takes more text");
    text
}

#[derive(Clone, Copy)]
struct Tile {
    tall: usize,
    by_row: bool,
}

impl Tile {
    /// Words of the left matrix that a lane loads of each line.
    fn loads(self) -> usize {
        (self.tall / 4).div_ceil(LANES)
    }

    fn body(self, text: &mut String) -> std::fmt::Result {
        // Parts are of whole turns, or of whole rows.
        let (unit, count) = if self.by_row {
            ("1u", "sizes.x")
        } else {
            ("4u", "sizes.x * job.lines")
        };
        write!(
            text,
            "@compute @workgroup_size({LANES})\n\
             fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {{\n    \
             let number = wid.x + wid.y * 65535u;\n    \
             if number >= arrayLength(&tasks) {{ return; }}\n    \
             let task = tasks[number];\n    \
             let job = jobs[task.x];\n    \
             let count = {count};\n    \
             let share = ((count + job.parts - 1u) / job.parts + {unit} - 1u) / {unit} * {unit};\n    \
             let first = min(task.w * share, count);\n    \
             let last = min(first + share, count);\n    \
             let lefts = job.k / 4u;\n    \
             let rights = job.n / 4u;\n"
        )?;
        // What lies beyond the last column is loaded from within and never stored.
        for c in 0..self.loads() {
            let quad = c * LANES;
            writeln!(text, "    let left{c} = min(task.y / 4u + {quad}u + lid, lefts - 1u);")?;
            writeln!(text, "    var sum{c} = vec4<f32>();")?;
        }
        for q in 0..OWN {
            writeln!(text, "    let column{q} = task.z / 4u + {q}u + lid * {OWN}u;")?;
            writeln!(text, "    let right{q} = min(column{q}, rights - 1u);")?;
        }
        for (i, q) in self.sums() {
            writeln!(text, "    var c{i}_{q} = vec4<f32>();")?;
            if self.by_row {
                writeln!(text, "    var t{i}_{q} = vec4<f32>();\n    var w{i}_{q} = vec4<f32>();")?;
            }
        }
        if self.by_row {
            writeln!(text, "    for (var r = first; r < last; r++) {{")?;
            for (i, q) in self.sums() {
                writeln!(text, "    c{i}_{q} = vec4<f32>();")?;
            }
            writeln!(text, "    let end = (r + 1u) * job.lines;")?;
            writeln!(text, "    for (var l = r * job.lines; l < end; l += {DEPTH}u) {{")?;
            self.turn(text)?;
            writeln!(text, "    }}")?;
            for q in 0..OWN {
                writeln!(
                    text,
                    "    let weight{q} = values[job.weights / 4u + r * rights + right{q}];"
                )?;
            }
            for (i, q) in self.sums() {
                writeln!(text, "    t{i}_{q} += c{i}_{q};\n    w{i}_{q} += c{i}_{q} * weight{q};")?;
            }
            writeln!(text, "    }}")?;
        } else {
            writeln!(text, "    let end = last;")?;
            writeln!(text, "    for (var l = first; l < last; l += {DEPTH}u) {{")?;
            self.turn(text)?;
            writeln!(text, "    }}")?;
        }
        self.store(text)
    }

    /// Rows of a tile and a lane's words of columns.
    fn sums(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.tall).flat_map(|i| (0..OWN).map(move |q| (i, q)))
    }

    /// The products of a few lines. Beyond the last one the last one stands, times nothing.
    fn turn(self, text: &mut String) -> std::fmt::Result {
        for d in 0..DEPTH {
            writeln!(text, "        let line{d} = min(l + {d}u, end - 1u);")?;
            writeln!(text, "        let a{d} = job.a / 4u + line{d} * lefts;")?;
            writeln!(text, "        let b{d} = job.b / 4u + line{d} * rights;")?;
            for c in 0..self.loads() {
                let loaded = format!("values[a{d} + left{c}]");
                writeln!(
                    text,
                    "        let a{d}_{c} = select(vec4<f32>(), {loaded}, l + {d}u < end);"
                )?;
                writeln!(text, "        sum{c} += a{d}_{c};")?;
            }
            for q in 0..OWN {
                writeln!(text, "        let b{d}_{q} = values[b{d} + right{q}];")?;
            }
        }
        for i in 0..self.tall {
            let (quad, part) = (i / 4, COMPONENTS[i % 4]);
            let (c, lane) = (quad / LANES, quad % LANES);
            for d in 0..DEPTH {
                writeln!(
                    text,
                    "        let x{i}_{d} = vec4<f32>(subgroupBroadcast(a{d}_{c}.{part}, {lane}u));"
                )?;
            }
            for q in 0..OWN {
                let chain = (0..DEPTH).fold(format!("c{i}_{q}"), |sum, d| format!("fma(x{i}_{d}, b{d}_{q}, {sum})"));
                writeln!(text, "        c{i}_{q} = {chain};")?;
            }
        }
        Ok(())
    }

    /// Stores a tile, wherever it has a place. Divisions are made lane by lane, too: once for each word of columns.
    fn store(self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "    var own = job;\n    loop {{")?;
        writeln!(text, "    let into = own.into + task.w * own.stride + own.offset;")?;
        for q in 0..OWN {
            writeln!(
                text,
                "    let to{q} = (into + column{q} * 4u / own.block * own.outer + column{q} * 4u % own.block) / 4u;"
            )?;
        }
        for i in 0..self.tall {
            writeln!(text, "    if task.y + {i}u < job.k {{")?;
            writeln!(text, "        let row{i} = (task.y + {i}u) * own.row / 4u;")?;
            for q in 0..OWN {
                let sum = match self.by_row {
                    true => format!("select(t{i}_{q}, w{i}_{q}, own.weighted != 0u)"),
                    false => format!("c{i}_{q}"),
                };
                writeln!(
                    text,
                    "        if column{q} < rights {{ partial[to{q} + row{i}] = own.scale * {sum}; }}"
                )?;
            }
            writeln!(text, "    }}")?;
        }
        writeln!(
            text,
            "    if own.also == NONE {{ break; }}\n    own = jobs[own.also];\n    }}"
        )?;
        writeln!(text, "    if task.z == 0u && job.sums != NONE {{")?;
        for c in 0..self.loads() {
            let quad = format!("task.y / 4u + {}u + lid", c * LANES);
            writeln!(
                text,
                "        if {quad} < lefts && {}u + lid < {}u {{ partial[(job.sums + task.w * job.after) / 4u + {quad}] = sum{c}; }}",
                c * LANES,
                self.tall / 4
            )?;
        }
        writeln!(text, "    }}\n}}")
    }
}
