//! What a bundle will do, in words: the report of `compile` and most of `inspect`'s.

use std::fmt;

use serde::Serialize;

use super::words;
use crate::bundle::{Bundle, Flops, IdCheck, Kernel, Manifest, Port, Precision, Space, Storage, StoredTensor, Variant};

/// A bundle's content without its bytes.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    model: String,
    fingerprint: String,
    precision: Precision,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    weights: Weights,
    flops: Flops,
    variants: Vec<VariantPlan>,
}

#[derive(Debug, Serialize)]
struct Input {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    /// Tables that it indexes, with the least and greatest id that all elements of a row may have.
    ids: Vec<Ids>,
}

#[derive(Debug, Serialize)]
struct Ids {
    table: String,
    min: i32,
    max: i32,
}

#[derive(Debug, Serialize)]
struct Output {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Debug, Serialize)]
struct Weights {
    tensors: usize,
    values: u64,
    bytes: u64,
    bytes_in_f16: u64,
    /// Matrices and tables that f16 would not hold.
    kept_f32: Vec<String>,
    /// Of those that are f32 by rule: biases, scales, whatever has one axis.
    small_f32: usize,
}

#[derive(Debug, Serialize)]
struct VariantPlan {
    variant: String,
    needs_software: bool,
    needs_f16: bool,
    needs_subgroup: Option<u32>,
    workgroup_bytes: u32,
    storage_buffers: u32,
    dispatches: usize,
    kernels: Vec<KernelPlan>,
}

#[derive(Debug, Serialize)]
struct KernelPlan {
    name: String,
    space: Space,
    rows_per_group: u32,
    groups_per_tile: u32,
    invocations: u32,
    workgroup_bytes: u32,
    bindings: usize,
    flops: f64,
    weight_bytes: u64,
    activation_bytes: u64,
    wgsl_bytes: usize,
}

impl Plan {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let Manifest {
            model,
            fingerprint,
            precision,
            inputs,
            outputs,
            checks,
            flops,
            variants,
            ..
        } = &bundle.manifest;
        let output = |port: &Port| Output {
            name: port.name.clone(),
            ty: words::port(port),
        };
        Self {
            model: model.clone(),
            fingerprint: fingerprint.clone(),
            precision: *precision,
            inputs: inputs.iter().map(|port| Input::new(port, checks)).collect(),
            outputs: outputs.iter().map(output).collect(),
            weights: Weights::of(bundle),
            flops: *flops,
            variants: variants.iter().map(|v| VariantPlan::new(v, bundle)).collect(),
        }
    }
}

impl Input {
    fn new(port: &Port, checks: &[IdCheck]) -> Self {
        let ids = |check: &IdCheck| Ids {
            table: check.table.clone(),
            min: check.min.iter().copied().min().unwrap_or(i32::MIN),
            max: check.max.iter().copied().max().unwrap_or(i32::MAX),
        };
        Self {
            name: port.name.clone(),
            ty: words::port(port),
            ids: checks.iter().filter(|c| c.input == port.name).map(ids).collect(),
        }
    }
}

impl Weights {
    fn of(bundle: &Bundle) -> Self {
        let tensors = || bundle.weights.iter();
        let bytes = |t: &StoredTensor| t.bytes.len() as u64;
        let is_matrix = |t: &StoredTensor| t.shape.iter().filter(|n| **n > 1).count() >= 2;
        let f32s = || tensors().filter(|(_, t)| t.storage == Storage::F32);
        let kept = f32s().filter(|(_, t)| bundle.manifest.precision == Precision::F16 && is_matrix(t));
        let kept_f32: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
        Self {
            tensors: bundle.weights.len(),
            values: tensors().map(|(_, t)| bytes(t) / t.storage.size() as u64).sum(),
            bytes: tensors().map(|(_, t)| bytes(t)).sum(),
            bytes_in_f16: tensors()
                .filter(|(_, t)| t.storage == Storage::F16)
                .map(|(_, t)| bytes(t))
                .sum(),
            small_f32: f32s().count() - kept_f32.len(),
            kept_f32,
        }
    }
}

impl VariantPlan {
    fn new(variant: &Variant, bundle: &Bundle) -> Self {
        let kernel = |k: &Kernel| KernelPlan {
            name: k.name.clone(),
            space: k.space,
            rows_per_group: k.rows_per_group,
            groups_per_tile: k.groups_per_tile,
            invocations: k.invocations,
            workgroup_bytes: k.workgroup_bytes,
            bindings: k.bindings.len(),
            flops: k.flops,
            weight_bytes: k.weight_bytes,
            activation_bytes: k.activation_bytes,
            wgsl_bytes: bundle.wgsl.get(&k.wgsl).map_or(0, String::len),
        };
        Self {
            variant: variant.name(),
            needs_software: variant.needs.software,
            needs_f16: variant.needs.f16,
            needs_subgroup: variant.needs.subgroup,
            workgroup_bytes: variant.needs.workgroup_bytes,
            storage_buffers: variant.needs.storage_buffers,
            dispatches: variant.kernels.len(),
            kernels: variant.kernels.iter().map(kernel).collect(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "model {}, {}", self.model, words::precision(self.precision))?;
        writeln!(f, "fingerprint {}", self.fingerprint)?;
        let names = self
            .inputs
            .iter()
            .map(|i| &i.name)
            .chain(self.outputs.iter().map(|o| &o.name));
        let width = names.map(String::len).max().unwrap_or(0);
        writeln!(f, "inputs")?;
        for input in &self.inputs {
            let ids: Vec<String> = input.ids.iter().map(ToString::to_string).collect();
            let line = format!("  {:width$}  {:22}  {}", input.name, input.ty, ids.join(", "));
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "outputs")?;
        for output in &self.outputs {
            writeln!(f, "  {:width$}  {}", output.name, output.ty)?;
        }
        self.weights.fmt(f)?;
        let Flops {
            written_per_row,
            planned_per_row,
            planned_per_request,
        } = self.flops;
        write!(
            f,
            "work: as written {} a row; planned {} a row",
            words::flop(written_per_row),
            words::flop(planned_per_row)
        )?;
        if planned_per_request > 0.0 {
            write!(f, " and {} a request", words::flop(planned_per_request))?;
        }
        writeln!(f)?;
        self.variants.iter().try_for_each(|v| v.fmt(f))
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} in {}", self.min, self.max, self.table)
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tensors,
            values,
            bytes,
            bytes_in_f16,
            kept_f32,
            small_f32,
        } = self;
        write!(
            f,
            "weights: {} values in {tensors} tensors, {}",
            words::count(*values),
            words::bytes(*bytes)
        )?;
        if *bytes_in_f16 > 0 {
            write!(
                f,
                " ({} in f16; {small_f32} vectors and scalars stay f32)",
                words::bytes(*bytes_in_f16)
            )?;
        }
        writeln!(f)?;
        if !kept_f32.is_empty() {
            writeln!(f, "  f16 does not hold the values of {}: f32", kept_f32.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for VariantPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut needs = String::new();
        if self.needs_software {
            needs.push_str("a software adapter, ");
        }
        if self.needs_f16 {
            needs.push_str("f16 in shaders, ");
        }
        if let Some(lanes) = self.needs_subgroup {
            needs.push_str(&format!("subgroups of {lanes}, "));
        }
        writeln!(
            f,
            "variant {}: {}; needs {needs}{} of workgroup memory, {} storage buffers",
            self.variant,
            words::many(self.dispatches, "dispatch", "dispatches"),
            words::bytes(self.workgroup_bytes.into()),
            self.storage_buffers
        )?;
        self.kernels.iter().try_for_each(|k| k.fmt(f))
    }
}

impl fmt::Display for KernelPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (space, one) = match self.space {
            Space::Rows => ("rows", "row"),
            Space::Requests => ("requests", "request"),
        };
        writeln!(f, "  {}", self.name)?;
        writeln!(
            f,
            "    {} {space} a group, {} invocations, {} workgroup memory, {} bindings; {} and {} of activations a {one}, {} of weights a group",
            self.rows_per_group,
            self.invocations,
            words::bytes(self.workgroup_bytes.into()),
            self.bindings,
            words::flop(self.flops),
            words::bytes(self.activation_bytes),
            words::bytes(self.weight_bytes)
        )
    }
}
