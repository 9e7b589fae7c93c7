//! The pipeline on one screen: graph and weights in, bundle out.
//!
//! simplify, then for every variant (profile x rung) partition, lay out, write and check kernels. Nothing here knows where
//! a graph came from, and nothing that runs a bundle knows this module.

mod checks;
mod contents;
mod variants;
mod vouch;

pub use self::vouch::vouch;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rayon::prelude::*;

use self::contents::{ports, store};
use self::variants::{describe, in_order, planned_flops, variant};
use crate::bundle::{Bundle, FORMAT, Flops, Manifest, Precision, Rung, fingerprint};
use crate::fuse::{FuseError, Fusion, Partition, Profile, partition, partition_in_phases};
use crate::interp::EvalError;
use crate::ir::rows::{NotRowLocal, analyse, analyse_whole};
use crate::ir::{Graph, TypeError, verify};
use crate::simplify::{self, flops, simplify_observed};
use crate::tensor::{Sizes, Tensors};
use crate::wgsl::{LayoutError, Rejected};

/// What to compile for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Storage of weights.
    pub precision: Precision,
    /// Device profiles; every one gives a variant per rung that it wants.
    pub profiles: Vec<&'static Profile>,
    /// How kernels read weights.
    pub rungs: Vec<Rung>,
    /// How much is fused.
    pub fusion: Fusion,
    /// Whether the algebra runs; without it the graph is compiled as written.
    pub simplify: bool,
    /// Bytes of the largest weight buffer; larger tables are split by rows.
    pub buffer_bytes: u64,
}

impl Options {
    /// The default variants of a precision: f16 weights read natively or packed, f32 weights read as they are.
    #[must_use]
    pub fn new(precision: Precision) -> Self {
        let rungs = match precision {
            Precision::F16 => vec![Rung::Native, Rung::Packed],
            Precision::F32 => vec![Rung::F32],
        };
        Self {
            precision,
            profiles: Profile::ALL.iter().chain([&Profile::MATRIX]).collect(),
            rungs,
            fusion: Fusion::Full,
            simplify: true,
            // WebGPU's default limit of a storage binding.
            buffer_bytes: 128 << 20,
        }
    }
}

/// Why a model does not compile.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The graph breaks a typing rule.
    #[error("the graph is not well typed: {0}")]
    Type(#[from] TypeError),
    /// A pass failed.
    #[error(transparent)]
    Simplify(#[from] simplify::Error),
    /// Rows are mixed.
    #[error(transparent)]
    NotRowLocal(#[from] NotRowLocal),
    /// The graph cannot be cut into kernels.
    #[error(transparent)]
    Fuse(#[from] FuseError),
    /// An input's first axis is not the batch.
    #[error("input `{name}` is {ty}; inputs start with a multiple of rows or requests")]
    Input {
        /// The input.
        name: String,
        /// Its type.
        ty: String,
    },
    /// An extent is beyond what the format holds.
    #[error("`{name}` is {ty}: too large for a bundle")]
    TooLarge {
        /// The input or output.
        name: String,
        /// Its type.
        ty: String,
    },
    /// A weight cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Constants could not be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// naga refused a kernel.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl CompileError {
    /// The process exit code: 70 for bugs of ours, 3 for limits, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Rejected(_) => 70,
            Self::Layout(_) | Self::TooLarge { .. } => 3,
            _ => 1,
        }
    }
}

/// Sees the text of every stage: its name, as a file name, and its text.
pub type Observer<'a> = dyn FnMut(&str, &str) + 'a;

/// Compiles a model.
///
/// # Errors
/// [`CompileError`] naming what does not fit.
pub fn compile(name: &str, graph: &Graph, weights: &Tensors, options: &Options) -> Result<Bundle, CompileError> {
    compile_observed(name, graph, weights, options, &mut |_, _| {})
}

/// Compiles the rows of a training step as they are written, each value in its phase, by its number: the kernels of a
/// phase follow each other, and what lies between phases is the caller's. Besides the bundle, how many kernels each phase
/// of the last variant has.
///
/// # Errors
/// See [`compile`].
pub fn compile_in_phases(
    name: &str,
    graph: &Graph,
    weights: &Tensors,
    options: &Options,
    phases: &[usize],
) -> Result<(Bundle, Vec<usize>), CompileError> {
    verify(graph)?;
    analyse_whole(graph)?;
    build(name, graph, (graph, weights), options, Some(phases), &mut |_, _| {})
}

/// [`compile`], showing every stage to `observe`.
///
/// # Errors
/// See [`compile`].
pub fn compile_observed(
    name: &str,
    graph: &Graph,
    weights: &Tensors,
    options: &Options,
    observe: &mut Observer,
) -> Result<Bundle, CompileError> {
    verify(graph)?;
    analyse(graph)?;
    observe("00-model.ir", &graph.to_string());
    let (g, weights) = if options.simplify {
        let mut n = 0;
        simplify_observed(graph, weights, &mut |pass, g: &Graph| {
            n += 1;
            observe(&format!("01-{n:02}-{pass}.ir"), &g.to_string());
        })?
    } else {
        (graph.clone(), weights.clone())
    };
    observe("02-simplified.ir", &g.to_string());
    Ok(build(name, graph, (&g, &weights), options, None, observe)?.0)
}

/// Kernels of every variant of a graph that has been simplified from another.
fn build(
    name: &str,
    written: &Graph,
    (g, weights): (&Graph, &Tensors),
    options: &Options,
    phases: Option<&[usize]>,
    observe: &mut Observer,
) -> Result<(Bundle, Vec<usize>), CompileError> {
    let stored = store(g, weights, options.precision);
    let parts = options.profiles.par_iter().map(|profile| match phases {
        None => partition(g, profile, options.fusion),
        Some(phases) => partition_in_phases(g, profile, phases),
    });
    let parts: Vec<Partition> = in_order(parts)?;
    let profiles = options.profiles.iter().zip(&parts);
    for (profile, parts) in profiles.clone() {
        observe(&format!("03-groups-{}.txt", profile.name), &describe(g, parts));
    }
    let wanted = profiles.flat_map(|(profile, parts)| options.rungs.iter().map(move |rung| (*profile, parts, *rung)));
    let wanted: Vec<_> = wanted
        .filter(|(profile, _, rung)| profile.wants(*rung, &options.rungs))
        .collect();
    let made = wanted
        .par_iter()
        .map(|(profile, parts, rung)| variant(g, parts, profile, *rung, &stored, options));
    let (mut wgsl, mut variants, mut planned) = (IndexMap::new(), Vec::new(), (0.0, 0.0));
    for ((profile, _, rung), made) in wanted.iter().zip(in_order(made)?) {
        let Some((variant, shaders)) = made else { continue };
        for (s, kernel) in shaders.iter().zip(&variant.kernels) {
            observe(
                &format!("04-{}-{:?}-{}.wgsl", profile.name, rung, s.kernel.name).to_lowercase(),
                &s.wgsl,
            );
            wgsl.insert(kernel.wgsl.clone(), s.wgsl.clone());
        }
        planned = planned_flops(&variant);
        variants.push(variant);
    }
    let counts = parts.last().map_or_else(Vec::new, |parts| parts.phases.clone());
    let text = g.to_string();
    let manifest = Manifest {
        format: FORMAT,
        tool: concat!("loopfm ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: name.to_owned(),
        fingerprint: fingerprint(&text, &stored),
        precision: options.precision,
        inputs: ports(g.inputs().map(|(v, n, _)| (n.to_owned(), v)), g)?,
        outputs: ports(g.outputs.iter().cloned(), g)?,
        checks: checks::id_checks(g, weights)?,
        flops: Flops {
            written_per_row: flops(written, Sizes::ONE) as f64,
            planned_per_row: planned.0,
            planned_per_request: planned.1,
        },
        variants,
    };
    let bundle = Bundle {
        manifest,
        graph: text,
        wgsl,
        weights: stored,
        notes: BTreeMap::new(),
    };
    Ok((bundle, counts))
}
