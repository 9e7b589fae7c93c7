//! Sums over the batch for software adapters with subgroups of eight: what [`crate::fuse::Scheme::Lanes`] is to matmuls.
//!
//! There a load costs more than the products it feeds, and a barrier more than a load. A workgroup is one subgroup. Each
//! lane has eight columns of the right matrix of its own, loads columns of the left one that no other lane loads, and hands
//! them round, four lines at a time. Tiles are large and written out, since sums spill into the first cache and are cheap
//! there. Whoever adds up the lines of the left matrix, as a layer's bias does, gets them from what is loaded anyway.

use std::fmt::Write;

use crate::fuse::LANES;

/// Columns of both matrices in a tile.
pub(super) const WIDE: usize = 64;
pub(super) const TALL: usize = 64;
/// Lines of a turn.
pub(super) const DEPTH: usize = 4;
/// Words of four columns of the right matrix that a lane has, and of the left one that it loads of each line.
const OWN: usize = WIDE / 4 / LANES;
const LOADS: usize = TALL / 4 / LANES;

const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// The kernel.
pub(super) fn text() -> String {
    let mut text = include_str!("../../shaders/lanes.wgsl").to_owned();
    body(&mut text).expect("text takes more text");
    text
}

fn body(text: &mut String) -> std::fmt::Result {
    write!(
        text,
        "@compute @workgroup_size({LANES})\n\
         fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {{\n    \
         let number = wid.x + wid.y * 65535u;\n    \
         if number >= arrayLength(&tasks) {{ return; }}\n    \
         let task = tasks[number];\n    \
         let job = jobs[task.x];\n    \
         let lines = sizes.x * job.lines;\n    \
         let share = ((lines + job.parts - 1u) / job.parts + {0}u) / {DEPTH}u * {DEPTH}u;\n    \
         let start = min(task.w * share, lines);\n    \
         let end = min(start + share, lines);\n    \
         let lefts = job.k / 4u;\n    \
         let rights = job.n / 4u;\n",
        DEPTH - 1
    )?;
    // What lies beyond the last column is loaded from within and never stored.
    for c in 0..LOADS {
        let quad = c * LANES;
        writeln!(text, "    let left{c} = min(task.y / 4u + {quad}u + lid, lefts - 1u);")?;
        writeln!(text, "    var sum{c} = vec4<f32>();")?;
    }
    for q in 0..OWN {
        writeln!(text, "    let column{q} = task.z / 4u + {q}u + lid * {OWN}u;")?;
        writeln!(text, "    let right{q} = min(column{q}, rights - 1u);")?;
    }
    for i in 0..TALL {
        for q in 0..OWN {
            writeln!(text, "    var c{i}_{q} = vec4<f32>();")?;
        }
    }
    writeln!(text, "    for (var l = start; l < end; l += {DEPTH}u) {{")?;
    turn(text)?;
    writeln!(text, "    }}")?;
    store(text)
}

/// The products of a few lines. Beyond the last one the last one stands, times nothing.
fn turn(text: &mut String) -> std::fmt::Result {
    for d in 0..DEPTH {
        writeln!(text, "        let line{d} = min(l + {d}u, end - 1u);")?;
        writeln!(text, "        let a{d} = job.a / 4u + line{d} * lefts;")?;
        writeln!(text, "        let b{d} = job.b / 4u + line{d} * rights;")?;
        for c in 0..LOADS {
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
    for i in 0..TALL {
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

/// Stores a tile. Divisions are made lane by lane, too: once for each word of columns.
fn store(text: &mut String) -> std::fmt::Result {
    writeln!(text, "    let into = job.into + task.w * job.stride + job.offset;")?;
    for q in 0..OWN {
        writeln!(
            text,
            "    let to{q} = (into + column{q} * 4u / job.block * job.outer + column{q} * 4u % job.block) / 4u;"
        )?;
    }
    for i in 0..TALL {
        writeln!(text, "    if task.y + {i}u < job.k {{")?;
        writeln!(text, "        let row{i} = (task.y + {i}u) * job.row / 4u;")?;
        for q in 0..OWN {
            writeln!(
                text,
                "        if column{q} < rights {{ partial[to{q} + row{i}] = job.scale * c{i}_{q}; }}"
            )?;
        }
        writeln!(text, "    }}")?;
    }
    writeln!(text, "    if task.z == 0u && job.sums != NONE {{")?;
    for c in 0..LOADS {
        let quad = format!("task.y / 4u + {}u + lid", c * LANES);
        writeln!(
            text,
            "        if {quad} < lefts {{ partial[(job.sums + task.w * job.after) / 4u + {quad}] = sum{c}; }}"
        )?;
    }
    writeln!(text, "    }}\n}}")
}
