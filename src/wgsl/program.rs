//! A row program as one compute shader: header, functions, steps with barriers between them.

use std::fmt::Write;

use super::emit::Emitter;
use super::layout::{Memory, space};
use super::library;
use super::matrices;
use super::weights::{image, table_function};
use crate::bundle::{Binding, Kernel, Rung};
use crate::fuse::{Group, Home, Partition, Profile, Step, walk};
use crate::ir::rows::RowSpace;
use crate::ir::{Graph, Op, Value};
use crate::tensor::Sizes;

/// What a group's steps share.
pub(super) struct Program<'a> {
    pub(super) profile: &'a Profile,
    pub(super) threads: usize,
    pub(super) tile: usize,
    pub(super) space: RowSpace,
    /// Steps that multiply by matrices of many columns: most of the text.
    pub(super) matmuls: usize,
    /// Steps that multiply by matrices of several columns.
    pub(super) products: usize,
    /// Workgroups that share the columns of a tile of rows.
    pub(super) shares: usize,
}

/// Matmuls in a kernel up to which tiles are wide: drivers compile long shaders in more than linear time.
const MATMULS: usize = 3;
/// Products of any width up to which tiles are as tall as rows are many, and up to which they are half as tall as a profile
/// has them.
const PRODUCTS: [usize; 2] = [4, 6];

impl Program<'_> {
    /// Whether tiles should be narrow.
    pub(super) fn has_many_matmuls(&self) -> bool {
        self.matmuls > MATMULS || self.products > PRODUCTS[0]
    }

    /// The most rows of a tile, however many there are.
    pub(super) fn tallest(&self) -> usize {
        match self.products {
            n if n > PRODUCTS[1] => self.profile.tile_m / 2,
            _ => self.profile.tile_m,
        }
    }
}

impl Program<'_> {
    /// The number of rows in the batch, in the shader.
    pub(super) fn count(&self) -> &'static str {
        if self.space == RowSpace::Requests {
            "sizes.y"
        } else {
            "sizes.x"
        }
    }
}

/// Writes the kernel of a group. The text depends on nothing but the graph, the profile and the rung, so that drivers'
/// caches hit.
pub(super) fn emit(
    g: &Graph,
    partition: &Partition,
    index: usize,
    profile: &Profile,
    memory: &Memory,
) -> (Kernel, String) {
    let group = &partition.groups[index];
    let mut p = Program {
        profile,
        threads: profile.threads,
        tile: group.tile,
        space: group.space,
        matmuls: group.steps.iter().filter(|s| columns(g, s) > 16).count(),
        products: group.steps.iter().filter(|s| columns(g, s) > 1).count(),
        shares: 1,
    };
    let mut e = Emitter::new(g, partition, memory);
    p.shares = e.shares(&p, group);
    let mut notes = String::new();
    for (i, step) in group.steps.iter().enumerate() {
        let what = step.anchor.map_or("map", |a| g.op(a).name());
        let _ = writeln!(
            notes,
            "//   {what} {} {} {}",
            step.root,
            g.ty(step.root),
            g.scope_of(step.anchor.unwrap_or(step.root))
        );
        // A chain is emitted where its last step stands.
        if step.into.is_none() {
            e.open();
            match chain(group, step).as_slice() {
                [alone] => e.step(&p, alone),
                steps => e.chain(&p, steps),
            }
            e.close("");
        }
        if group.steps.get(i + 1).is_some_and(|next| next.level != step.level) {
            e.line("workgroupBarrier();");
            if arena_is_read(g, partition, group, step.level) {
                e.line("storageBarrier();");
            }
        }
    }
    e.line("if bad != 0u { atomicAdd(&status[0], 1u); }");
    let (body, _) = e.finish();
    let name = format!("k{index:02}_{}", label(g, group));
    let slots = partition.placement.slot_words[index];
    let (text, bindings) = assemble(g, &p, memory, &name, &notes, slots, &body);
    let kernel = Kernel {
        name,
        wgsl: String::new(),
        space: space(group.space),
        rows_per_group: super::index::small(group.tile),
        groups_per_tile: super::index::small(p.shares),
        bindings,
        flops: group.steps.iter().map(|s| flops(g, s)).sum(),
        weight_bytes: weight_bytes(g, memory, group),
        activation_bytes: activation_bytes(g, partition, group),
        workgroup_bytes: super::index::small(
            slots * 16
                + if text.contains("waiting_sums[") {
                    matrices::BYTES
                } else {
                    0
                },
        ),
        invocations: super::index::small(p.threads),
    };
    (kernel, text)
}

/// The steps of the chain that ends with `last`, in order.
fn chain<'a>(group: &'a Group, last: &'a Step) -> Vec<&'a Step> {
    let mut steps = vec![last];
    while let Some(before) = group.steps.iter().find(|s| s.into == steps.last().map(|s| s.root)) {
        steps.push(before);
    }
    steps.reverse();
    steps
}

/// Columns of the matrix that a step multiplies by, if it is a matmul.
fn columns(g: &Graph, s: &Step) -> usize {
    let anchor = s.anchor.filter(|a| matches!(g.op(*a), Op::MatMul));
    anchor.map_or(0, |a| g.shape(a).per_row().last().copied().unwrap_or(1))
}

/// Whether a step after `level` reads from the arena what one of its own group wrote there.
fn arena_is_read(g: &Graph, partition: &Partition, group: &Group, level: usize) -> bool {
    let homes = &partition.placement.homes;
    let own = |v: Value| group.steps.iter().any(|s| s.root == v && s.level == level);
    let mut read = false;
    for s in group.steps.iter().filter(|s| s.level > level) {
        walk(g, s, &|v| homes.contains_key(&v), &mut |v, _| {
            read |= own(v) && matches!(homes[&v], Home::Arena { .. });
        });
    }
    read
}

fn assemble(
    g: &Graph,
    p: &Program,
    memory: &Memory,
    name: &str,
    notes: &str,
    slots: usize,
    body: &str,
) -> (String, Vec<Binding>) {
    let mut tables = String::new();
    for (v, w) in &memory.weights {
        if body.contains(&format!("table{}(", v.index())) {
            tables.push_str(&table_function(memory, *v, w));
        }
    }
    let functions = library::functions(body);
    let uses = |what: &str| body.contains(what) || tables.contains(what) || functions.contains(what);
    let mut bindings = vec![Binding::Sizes];
    let mut head = String::from("@group(0) @binding(0) var<uniform> sizes: vec4<u32>;\n");
    let bind = |b: Binding, ty: String, bindings: &mut Vec<Binding>, head: &mut String| {
        let _ = writeln!(head, "@group(0) @binding({}) {ty};", bindings.len());
        bindings.push(b);
    };
    for s in 0..super::index::small(memory.shards.len()) {
        if uses(&format!("weights{s}[")) {
            bind(
                Binding::Weights(s),
                format!("var<storage, read> weights{s}: array<vec4<u32>>"),
                &mut bindings,
                &mut head,
            );
        }
        if uses(&format!("halves{s}[")) {
            bind(
                Binding::WeightsNative(s),
                format!("var<storage, read> halves{s}: array<vec4<f16>>"),
                &mut bindings,
                &mut head,
            );
        }
    }
    let mut words = String::new();
    for s in 0..super::index::small(memory.shards.len()) {
        if uses(&format!("word{s}(")) {
            let (texture, read) = image(s);
            bind(Binding::WeightsImage(s), texture, &mut bindings, &mut head);
            words.push_str(&read);
        }
    }
    for s in 0..super::index::small(memory.shards.len()) {
        if uses(&format!("squares{s}[")) {
            bind(
                Binding::WeightsNative(s),
                format!("var<storage, read> squares{s}: array<f16>"),
                &mut bindings,
                &mut head,
            );
        }
    }
    if uses("inputs[") {
        bind(
            Binding::Inputs,
            "var<storage, read> inputs: array<vec4<u32>>".into(),
            &mut bindings,
            &mut head,
        );
    }
    if uses("values[") {
        bind(
            Binding::Values,
            "var<storage, read_write> values: array<vec4<u32>>".into(),
            &mut bindings,
            &mut head,
        );
    }
    bind(
        Binding::Status,
        "var<storage, read_write> status: array<atomic<u32>>".into(),
        &mut bindings,
        &mut head,
    );
    if slots > 0 {
        let _ = writeln!(head, "var<workgroup> slots: array<vec4<u32>, {slots}>;");
    }
    for constant in ["infinity_bits", "nan_bits"] {
        if body.contains(constant) {
            let bits = if constant == "nan_bits" {
                "0x7fc00000u"
            } else {
                "0x7f800000u"
            };
            let _ = writeln!(head, "var<private> {constant}: u32 = {bits};");
        }
    }
    let waiting = matrices::declarations(body);
    let enable = match (waiting.is_empty(), memory.rung == Rung::Native && uses("halves")) {
        (false, _) => "enable f16;\nenable wgpu_cooperative_matrix;\n",
        (true, true) => "enable f16;\n",
        (true, false) => "",
    };
    let (subgroups, tile_of, share) = (
        match waiting.is_empty() {
            true => "",
            false => ", @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32",
        },
        match p.shares {
            1 => "(wid.x + wid.y * 65535u)".to_owned(),
            n => format!("(wid.x + wid.y * 65535u) / {n}u"),
        },
        match p.shares {
            1 => String::new(),
            n => format!("  let share = (wid.x + wid.y * 65535u) % {n}u;\n"),
        },
    );
    let _ = g;
    let text = format!(
        "// {name}: {} rows of {} per workgroup\n{notes}{enable}{head}{words}{waiting}{functions}{tables}\
         @compute @workgroup_size({threads})\n\
         fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>{subgroups}) {{\n  \
         let row0 = {tile_of} * {tile}u;\n{share}  \
         if row0 >= {count} {{ return; }}\n  \
         var bad = 0u;\n{body}}}\n",
        p.tile,
        if p.space == RowSpace::Requests {
            "requests"
        } else {
            "rows"
        },
        threads = p.threads,
        tile = p.tile,
        count = p.count(),
    );
    (text, bindings)
}

/// A name from the model: the module path that the step with most work belongs to, shortened to what all share.
fn label(g: &Graph, group: &Group) -> String {
    let heaviest = group.steps.iter().max_by(|a, b| flops(g, a).total_cmp(&flops(g, b)));
    let scope = heaviest.map_or("", |s| g.scope_of(s.anchor.unwrap_or(s.root)));
    let clean: String = scope
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let clean = clean.trim_matches('_');
    if clean.is_empty() {
        "rows".into()
    } else {
        clean.chars().take(40).collect()
    }
}

/// Floating-point operations of a step for one row: multiply-adds twice, reductions once.
pub(super) fn flops(g: &Graph, s: &Step) -> f64 {
    let Some(a) = s.anchor else { return 0.0 };
    let size = |v: Value| g.shape(v).numel(Sizes::ONE) as f64;
    let args = g.args(a);
    match g.op(a) {
        Op::MatMul => 2.0 * size(a) * g.shape(args[0]).per_row().last().copied().unwrap_or(1) as f64,
        Op::Gru => 6.0 * size(a) * g.shape(a).per_row().last().copied().unwrap_or(1) as f64,
        // Gates once more, and once through the matrix transposed.
        Op::GruGrad => 4.0 * size(args[0]) * g.shape(args[1]).per_row().last().copied().unwrap_or(1) as f64,
        _ => size(args[0]),
    }
}

fn weight_bytes(g: &Graph, memory: &Memory, group: &Group) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    for s in &group.steps {
        let Some(a) = s.anchor else { continue };
        let mut stack: Vec<Value> = match g.op(a) {
            Op::MatMul => vec![g.args(a)[1]],
            Op::Gru | Op::GruGrad => vec![g.args(a)[2]],
            _ => Vec::new(),
        };
        while let Some(v) = stack.pop() {
            if matches!(g.op(v), Op::Param(_)) {
                seen.insert(v);
            } else if !g.op(v).is_anchor() && !matches!(g.op(v), Op::Gather(_) | Op::TakeAlong(_)) {
                stack.extend(g.args(v));
            }
        }
    }
    seen.into_iter().map(|v| memory.weight_bytes(v)).sum()
}

fn activation_bytes(g: &Graph, partition: &Partition, group: &Group) -> u64 {
    let homes = &partition.placement.homes;
    let arena = |v: Value| match homes.get(&v) {
        Some(Home::Arena { stride, .. }) => 4 * *stride as u64,
        _ => 0,
    };
    let mut total = 0;
    for s in &group.steps {
        total += arena(s.root);
        walk(g, s, &|v| homes.contains_key(&v), &mut |v, stored| {
            if stored {
                total += if matches!(g.op(v), Op::Input(_)) {
                    4 * g.shape(v).numel(Sizes::ONE) as u64
                } else {
                    arena(v)
                };
            }
        });
    }
    total
}
