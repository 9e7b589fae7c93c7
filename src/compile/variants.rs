//! One variant of a model: its kernels, and what they need of a device.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::{CompileError, Options};
use crate::bundle::{Binding, Needs, Rung, Slot, StoredTensor, Variant, digest};
use crate::fuse::{Home, LANES, Partition, Profile, Scheme};
use crate::ir::Graph;
use crate::tensor::Sizes;
use crate::wgsl::{self, Memory, Shader};

/// What threads made, in order; else the first error in that order, whoever ran into one first.
pub(super) fn in_order<T: Send, E: Send + Into<CompileError>>(
    made: impl IndexedParallelIterator<Item = Result<T, E>>,
) -> Result<Vec<T>, CompileError> {
    let made: Vec<Result<T, E>> = made.collect();
    made.into_iter().map(|made| made.map_err(Into::into)).collect()
}

/// Kernels for a profile and a rung; `None` where it relies on squares that the model's products do not make.
pub(super) fn variant(
    g: &Graph,
    parts: &Partition,
    profile: &Profile,
    rung: Rung,
    stored: &IndexMap<String, StoredTensor>,
    options: &Options,
) -> Result<Option<(Variant, Vec<Shader>)>, CompileError> {
    let half = |name: &str| {
        stored
            .get(name)
            .is_some_and(|t| t.storage == crate::bundle::Storage::F16)
    };
    let memory = Memory::plan(g, &parts.rows, rung, profile, &half, options.buffer_bytes)?;
    let squares = matches!(profile.scheme, Scheme::Matrices(_));
    if squares && !memory.has_squares() {
        return Ok(None);
    }
    let shaders = wgsl::emit(g, parts, profile, &memory)?;
    if squares && !shaders.iter().any(Shader::multiplies_squares) {
        return Ok(None);
    }
    let mut needs = Needs {
        software: profile.software,
        f16: rung == Rung::Native,
        subgroup: (profile.scheme == Scheme::Lanes).then_some(LANES as u32),
        matrix: match profile.scheme {
            Scheme::Matrices(edge) => u32::try_from(edge).ok(),
            Scheme::Lanes | Scheme::Tiles => None,
        },
        ..Needs::default()
    };
    needs.binding_bytes = memory.shards.iter().max().map_or(0, |w| w * 16);
    let mut kernels = Vec::new();
    for s in &shaders {
        let mut kernel = s.kernel.clone();
        kernel.wgsl = digest(&s.wgsl);
        needs.workgroup_bytes = needs.workgroup_bytes.max(kernel.workgroup_bytes);
        needs.invocations = needs.invocations.max(kernel.invocations);
        let is_buffer = |b: &&Binding| !matches!(b, Binding::Sizes | Binding::WeightsImage(_));
        let storage = kernel.bindings.iter().filter(is_buffer).count();
        needs.storage_buffers = needs.storage_buffers.max(u32::try_from(storage).unwrap_or(u32::MAX));
        kernels.push(kernel);
    }
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let outputs = g.outputs.iter().map(|(name, v)| {
        let offset = match parts.placement.homes[v] {
            Home::Arena { rows, requests, .. } => crate::bundle::Linear {
                rows: small(rows),
                requests: small(requests),
            },
            Home::Slot { .. } | Home::Registers => unreachable!("outputs live in the arena"),
        };
        Slot {
            name: name.clone(),
            offset,
            width: small(g.shape(*v).numel(Sizes::ONE)),
        }
    });
    let variant = Variant {
        profile: profile.name.to_owned(),
        rung,
        needs,
        weights: memory.placements(),
        shards: memory.shards.clone(),
        inputs_size: memory.inputs_size,
        values_size: crate::bundle::Linear {
            rows: small(parts.placement.arena_rows),
            requests: small(parts.placement.arena_requests),
        },
        inputs: memory.input_slots(g),
        outputs: outputs.collect(),
        status: memory.table_names(g),
        kernels,
    };
    Ok(Some((variant, shaders)))
}

pub(super) fn planned_flops(v: &Variant) -> (f64, f64) {
    let of = |s| {
        v.kernels
            .iter()
            .filter(|k| k.space == s)
            .fold(0.0, |sum, k| sum + k.flops)
    };
    (of(crate::bundle::Space::Rows), of(crate::bundle::Space::Requests))
}

/// The partition as text: groups, their steps, where roots live.
pub(super) fn describe(g: &Graph, parts: &Partition) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (i, group) in parts.groups.iter().enumerate() {
        let words = parts.placement.slot_words[i];
        let _ = writeln!(
            text,
            "group {i}: {:?}, {} per workgroup, {} bytes of slots",
            group.space,
            group.tile,
            words * 16
        );
        for s in &group.steps {
            let what = s.anchor.map_or("map", |a| g.op(a).name());
            let home = match parts.placement.homes[&s.root] {
                Home::Registers => "registers".to_owned(),
                Home::Slot { offset, stride } => format!("slot {offset}+{stride}"),
                Home::Arena {
                    rows, requests, stride, ..
                } => format!("arena {rows}r+{requests}q, {stride}"),
            };
            let _ = writeln!(
                text,
                "  {what} -> {} {} [{home}] {}",
                s.root,
                g.ty(s.root),
                g.scope_of(s.root)
            );
        }
    }
    text
}
