//! From a step to memory and kernels.

use std::sync::Arc;

use super::Error;
use super::assemble::Builder;
use super::jobs::Jobs;
use super::kernels::{Buffers, Shared};
use super::layout::{Held, Layout};
use super::outline::{Outline, Slot};
use super::places::{Place, SPAN};
use super::rows::{Rows, output};
use super::tables::{Tables, small};
use super::work::Fixed;
use crate::bundle::{Bundle, Manifest, Precision, Rung, Variant};
use crate::compile::{Options, compile_in_phases};
use crate::fuse::{LANES, Profile};
use crate::ir::{Graph, Op};
use crate::run::{self, AdapterKind, AdapterReport, Capacity, Device, Machine, Memory, Read, Write};
use crate::tensor::{DType, HostTensor, Sizes, Tensors};
use crate::wgsl::validate;

/// Which squares a norm adds up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Squares {
    /// The same in every step.
    Stretches([u32; 2]),
    /// Those of the rows of a table that a batch touches.
    Table(usize),
}

/// What a step is on a device.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of the row part, for batches.
    pub(super) manifest: Manifest,
    /// Tables with status words.
    pub(super) status: Vec<String>,
    pub(super) trained: Vec<Held>,
    /// Parameters that rows read and that never change.
    pub(super) untrained: Vec<(String, Place)>,
    /// Scalars of the step that numbers are computed from.
    pub(super) given: Vec<String>,
    /// Scalars of the step that rows read, with their words among weights.
    pub(super) scalars: Vec<(String, usize)>,
    pub(super) metrics: Vec<(String, Slot)>,
    /// Metrics of rows: first word among values, words for each row.
    pub(super) of_rows: Vec<(String, usize, usize)>,
    pub(super) tables: Tables,
    pub(super) norms: Vec<Squares>,
    pub(super) shared: Shared,
    /// The kernel whose workgroups are the lookups of a batch, and those of touched rows with what they read.
    pub(super) segments: usize,
    pub(super) touched: Vec<(usize, Memory)>,
    pub(super) fixed: Fixed,
    pub(super) clear: Vec<(usize, usize)>,
    pub(super) numbers: usize,
}

impl Plan {
    /// What every step fetches: status words, then numbers.
    pub(super) fn reads(&self) -> Vec<Read> {
        let read = |memory, words| Read { memory, at: 0, words };
        vec![
            read(Memory::Status, self.status.len() + 1),
            read(self.shared.numbers, self.numbers),
        ]
    }

    /// What is zero before a step.
    pub(super) fn clear(&self) -> Vec<Read> {
        let clear = |(at, words): &(usize, usize)| Read {
            memory: self.shared.partial,
            at: *at,
            words: *words,
        };
        self.clear.iter().map(clear).collect()
    }

    /// Plans a step and loads it.
    pub(super) fn new(device: Arc<Device>, g: &Graph, state: &Tensors, rows: u32) -> Result<(Self, Machine), Error> {
        let outline = Outline::new(g)?;
        let row_part = Rows::new(g, &outline.form, &outline.sums())?;
        let lanes = has_lanes(&device);
        let (bundle, kernels) = bundle(&device, lanes, &row_part, state)?;
        let variant = only_buffer(&device, &bundle)?;
        let capacity = Capacity { rows, requests: rows }.rounded();
        check_numbering(&row_part, capacity)?;
        let output_at = |i: usize| {
            let slot = variant.outputs.iter().find(|slot| slot.name == output(i));
            slot.map_or((0, 0), |s| {
                (s.offset.at(capacity.rows, capacity.requests) as usize, s.width as usize)
            })
        };
        let layout = Layout::new(g, &outline.form, variant)?;
        let jobs = Jobs::new(g, &row_part, capacity.rows as usize, &output_at, lanes);
        let builder = Builder {
            g,
            outline: &outline,
            rows: &row_part,
            variant,
            layout,
            jobs,
            buffers: Buffers::default(),
            tails: Vec::new(),
            fixed: Fixed::new(variant),
        };
        let (mut plan, buffers, tails) = builder.build(state, &kernels, &bundle.manifest)?;
        for kernel in &tails {
            validate(&kernel.name, &kernel.wgsl)?;
        }
        let sizes: Vec<(&str, usize)> = buffers.list.iter().map(|(label, words, _)| (*label, *words)).collect();
        let machine = Machine::open(device, &bundle, variant, rows, &sizes, tails)?;
        for (i, (_, _, words)) in buffers.list.iter().enumerate() {
            let memory = Memory::Own(i);
            machine.write(&[Write { memory, at: 0, words }])?;
        }
        let of_rows = row_part.metrics.iter().filter_map(|(name, out)| {
            let i = variant.outputs.iter().position(|slot| slot.name == *out)?;
            let (at, width) = output_at(i);
            Some((name.clone(), at, width))
        });
        plan.of_rows = of_rows.collect();
        Ok((plan, machine))
    }
}

/// Whether the device is software whose lanes share loads.
fn has_lanes(device: &Device) -> bool {
    let (report, lanes) = (device.report(), LANES as u32);
    report.kind == AdapterKind::Software
        && report.subgroups == Some((lanes, lanes))
        && u64::from(report.workgroup_bytes) >= Profile::SOFTWARE_STEPS.workgroup_bytes as u64
        && device.probe_lanes().is_ok()
}

/// The profile of tiles for a device: the first, in the order for its kind, whose memory and invocations it has.
fn tiles(report: &AdapterReport) -> &'static Profile {
    let first = |p: &Profile| report.kind.profiles().iter().position(|name| *name == p.name);
    let fits = |p: &&Profile| {
        !p.software
            && p.workgroup_bytes as u64 <= u64::from(report.workgroup_bytes)
            && p.threads as u64 <= u64::from(report.invocations)
    };
    let fitting = Profile::ALL.iter().filter(fits);
    fitting
        .min_by_key(|p| first(p).unwrap_or(usize::MAX))
        .unwrap_or(&Profile::PORTABLE)
}

/// The row part, compiled: f32, not simplified, since weights change. How many kernels each phase has.
fn bundle(device: &Device, lanes: bool, rows: &Rows, state: &Tensors) -> Result<(Bundle, Vec<usize>), Error> {
    let report = device.report();
    let options = Options {
        profiles: vec![if lanes { &Profile::SOFTWARE_STEPS } else { tiles(report) }],
        rungs: vec![Rung::F32],
        simplify: false,
        buffer_bytes: report.binding_bytes.min(report.buffer_bytes),
        ..Options::new(Precision::F32)
    };
    let mut weights = Tensors::new();
    for (_, name, ty) in rows.graph.params() {
        let shape = ty.shape.at(Sizes::ONE);
        let zero = match ty.dtype {
            DType::I32 => HostTensor::i32(&shape, vec![0; shape.iter().product()]),
            DType::F32 | DType::Bool => HostTensor::f32(&shape, vec![0.0; shape.iter().product()]),
        };
        weights.insert(name.to_owned(), state.get(name).cloned().unwrap_or(zero));
    }
    Ok(compile_in_phases(
        "step",
        &rows.graph,
        &weights,
        &options,
        &rows.phases,
    )?)
}

/// The variant, if its weights lie in one buffer: updates of all tensors with one rule are one kernel, which binds one.
fn only_buffer<'a>(device: &Device, bundle: &'a Bundle) -> Result<&'a Variant, Error> {
    let variant = &bundle.manifest.variants[0];
    if variant.shards.len() <= 1 {
        return Ok(variant);
    }
    let report = device.report();
    Err(Error::Run(run::Error::Limit {
        what: "what a step trains, weights and tables in one buffer,".to_owned(),
        needed: variant.shards.iter().map(|words| 16 * words).sum(),
        allowed: report.binding_bytes.min(report.buffer_bytes),
        unit: "bytes",
        limit: "max_storage_buffer_binding_size",
    }))
}

/// Random numbers of a batch are counted in 32 bits.
fn check_numbering(rows: &Rows, capacity: Capacity) -> Result<(), Error> {
    for (v, n) in rows.graph.iter().filter(|(_, n)| matches!(n.op, Op::Uniform(_))) {
        let elements = n.ty.shape.numel(Sizes::ONE).saturating_mul(capacity.rows as usize);
        if u32::try_from(elements).is_err() {
            return Err(Error::refused(&rows.graph, v, "more random numbers than 32 bits count"));
        }
    }
    Ok(())
}

/// Words of a number of things for each kernel of touched rows, after those of all segments.
pub(super) fn counts(segments: usize, spans: &[Vec<u32>]) -> Vec<u32> {
    let of_kernels = spans.iter().map(|words| words.len() / SPAN);
    std::iter::once(segments).chain(of_kernels).map(small).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_planned_for_the_kind_of_device() {
        let Ok(device) = Device::open(&run::AdapterQuery::Best, &run::DeviceOptions::default()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let of = |kind, workgroup_bytes| {
            let report = AdapterReport {
                kind,
                workgroup_bytes,
                invocations: 1024,
                ..device.report().clone()
            };
            tiles(&report).name
        };
        assert_eq!(of(AdapterKind::Discrete, 32 << 10), "discrete");
        assert_eq!(of(AdapterKind::Integrated, 32 << 10), "integrated");
        assert_eq!(of(AdapterKind::Software, 32 << 10), "discrete");
        assert_eq!(of(AdapterKind::Integrated, 16 << 10), "portable");
    }
}
