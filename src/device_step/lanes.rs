//! Sums over the batch for software adapters with subgroups of eight: what [`crate::fuse::Scheme::Lanes`] is to matmuls.
//!
//! There a load costs more than the products it feeds, and a barrier more than a load. A workgroup is one subgroup. Each
//! lane has columns of the right matrix of its own, loads columns of the left one that no other lane loads, and hands
//! them round. Tiles are large and written out, since sums spill into the first cache and are cheap there.

use std::fmt::Write;

use crate::fuse::LANES;

/// Columns of the right matrix in a tile, and of each lane.
pub(super) const WIDE: usize = 64;
const OWN: usize = WIDE / LANES;
/// Columns of the left matrix in a tile: where there are many, and where there are few.
pub(super) const TALL: [usize; 2] = [64, 16];

/// The kernel whose tiles have so many columns of the left matrix.
pub(super) fn text(tall: usize) -> String {
    let tiles = include_str!("../../shaders/sums.wgsl");
    let start = tiles.find("struct Job").unwrap_or(0);
    let end = tiles.find("// 16 lines of").unwrap_or(tiles.len());
    let mut text = format!(
        "{}@compute @workgroup_size({LANES})\n\
         fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {{\n    \
         let number = wid.x + wid.y * 65535u;\n    \
         if number >= arrayLength(&tasks) {{ return; }}\n    \
         let task = tasks[number];\n    \
         let job = jobs[task.x];\n    \
         let lines = sizes.x * job.lines;\n    \
         let share = (lines + job.parts - 1u) / job.parts;\n    \
         let start = min(task.w * share, lines);\n    \
         let end = min(start + share, lines);\n",
        &tiles[start..end]
    );
    body(&mut text, tall).expect("text takes more text");
    text
}

fn body(text: &mut String, tall: usize) -> std::fmt::Result {
    // What lies beyond the last column is loaded from within and never stored.
    for c in 0..tall / LANES {
        writeln!(
            text,
            "    let left{c} = min(task.y + {}u + lid, job.k - 1u);",
            c * LANES
        )?;
    }
    for e in 0..OWN {
        writeln!(text, "    let column{e} = task.z + {e}u + lid * {OWN}u;")?;
        writeln!(text, "    let right{e} = min(column{e}, job.n - 1u);")?;
    }
    for i in 0..tall {
        for q in 0..OWN / 4 {
            writeln!(text, "    var c{i}_{q} = vec4<f32>();")?;
        }
    }
    writeln!(text, "    for (var l = start; l < end; l++) {{")?;
    writeln!(
        text,
        "        let at = vec2<u32>(job.a + l * job.k, job.b + l * job.n);"
    )?;
    for c in 0..tall / LANES {
        writeln!(text, "        let a{c} = values[at.x + left{c}];")?;
    }
    for q in 0..OWN / 4 {
        let four: Vec<String> = (4 * q..4 * q + 4).map(|e| format!("values[at.y + right{e}]")).collect();
        writeln!(text, "        let b{q} = vec4<f32>({});", four.join(", "))?;
    }
    for i in 0..tall {
        let (c, lane) = (i / LANES, i % LANES);
        writeln!(text, "        let x{i} = vec4<f32>(subgroupBroadcast(a{c}, {lane}u));")?;
        for q in 0..OWN / 4 {
            writeln!(text, "        c{i}_{q} = fma(x{i}, b{q}, c{i}_{q});")?;
        }
    }
    writeln!(text, "    }}")?;
    store(text, tall)
}

/// Stores a tile. Divisions are made lane by lane, too: where lines have no padding, once for each column alone.
fn store(text: &mut String, tall: usize) -> std::fmt::Result {
    writeln!(text, "    let into = job.into + task.w * job.stride;")?;
    for e in 0..OWN {
        let c = format!("column{e}");
        writeln!(
            text,
            "    let to{e} = job.offset + {c} / job.block * job.outer + {c} % job.block * job.inner;"
        )?;
    }
    for i in 0..tall {
        writeln!(
            text,
            "    if task.y + {i}u < job.k {{\n        let row{i} = (task.y + {i}u) * job.row;"
        )?;
        for e in 0..OWN {
            let (q, part) = (e / 4, ["x", "y", "z", "w"][e % 4]);
            writeln!(
                text,
                "        if column{e} < job.n {{ partial[into + padded(job, to{e} + row{i})] = job.scale * c{i}_{q}.{part}; }}"
            )?;
        }
        writeln!(text, "    }}")?;
    }
    writeln!(text, "}}")?;
    // A loop, not a condition: the adapter does both branches of a condition.
    write!(
        text,
        "fn padded(job: Job, element: u32) -> u32 {{\n    \
         var place = element;\n    \
         for (var once = job.line; once != job.width; once = job.width) {{\n        \
         place = element / job.width * job.line + element % job.width;\n    }}\n    \
         return place;\n}}\n"
    )
}
