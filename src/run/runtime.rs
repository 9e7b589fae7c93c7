//! One variant of a bundle, loaded on a device.

use std::fmt;
use std::sync::Arc;

use crate::bundle::{Bundle, Kernel, Manifest, Rung, Space, Variant};

use super::adapter::AdapterReport;
use super::buffers::{Arenas, Layout};
use super::device::Device;
use super::kernels::{self, Loaded};
use super::pipelines::Pipelines;
use super::staging::Pool;
use super::{AdapterKind, Capacity, Error, Options, VariantChoice, weights};

/// What a runtime runs, and why that.
#[derive(Clone, Debug)]
pub struct Report {
    /// The device.
    pub adapter: AdapterReport,
    /// Device profile of the variant.
    pub profile: String,
    /// How the variant reads weights.
    pub rung: Rung,
    /// Number of dispatches.
    pub kernels: usize,
    /// How many of them run without checks of their indices.
    pub unchecked: usize,
    /// Largest part of a batch that runs at once.
    pub capacity: Capacity,
    /// Better variants that were passed over, and why.
    pub skipped: Vec<String>,
    /// What became of compiled kernels that were to be kept.
    pub pipelines: Option<String>,
}

const NO_CACHE: &str = "compiled kernels not kept: the driver gives none out";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AdapterReport {
            name, backend, kind, ..
        } = &self.adapter;
        let kernels = self.kernels;
        write!(
            f,
            "`{name}` ({kind}, {backend}), variant {}/{}, {kernels} kernels",
            self.profile,
            self.rung.name()
        )?;
        if self.unchecked > 0 {
            write!(f, ", {} of them unchecked", self.unchecked)?;
        }
        let notes = self.skipped.iter().chain(&self.pipelines);
        notes.into_iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// A loaded variant. All memory is made when it opens; threads may share it.
pub struct Runtime {
    pub(super) device: Arc<Device>,
    /// The bundle's manifest without its variants.
    pub(super) manifest: Manifest,
    pub(super) layout: Layout,
    pub(super) arenas: Arenas,
    pub(super) kernels: Vec<Loaded>,
    pub(super) pool: Pool,
    /// Tables that status words stand for.
    pub(super) tables: Vec<String>,
    report: Report,
}

impl Runtime {
    /// Loads the first variant, in the order for the device's kind, that is asked for and that the device can run.
    ///
    /// # Errors
    /// [`Error::NoVariant`] if there is none, [`Error::Limit`] if one would run with a smaller capacity, and whatever
    /// fails on the way.
    pub fn open(device: Arc<Device>, bundle: &Bundle, options: &Options) -> Result<Self, Error> {
        let mut skipped = Vec::new();
        let mut refused = None;
        for variant in device.report().kind.in_order(&bundle.manifest.variants) {
            let outcome = match unfit(device.report(), variant, &options.variant) {
                Some(why) => Err(why),
                None => match Self::load(&device, bundle, variant, options) {
                    Ok(runtime) => Ok(runtime),
                    // What this variant cannot do here another one may.
                    Err(e) if e.exit_code() == 3 => {
                        let why = e.to_string();
                        refused.get_or_insert(e);
                        Err(why)
                    }
                    Err(e) => return Err(e),
                },
            };
            match outcome {
                Ok(mut runtime) => {
                    runtime.report.skipped = skipped;
                    return Ok(runtime);
                }
                Err(why) => skipped.push(format!("{} skipped: {why}", variant.name())),
            }
        }
        Err(refused.unwrap_or_else(|| Error::NoVariant {
            adapter: device.report().name.clone(),
            reasons: skipped,
        }))
    }

    fn load(device: &Arc<Device>, bundle: &Bundle, variant: &Variant, options: &Options) -> Result<Self, Error> {
        device.probe(variant.rung)?;
        if variant.needs.subgroup.is_some() {
            device.probe_lanes()?;
        }
        if let Some(edge) = variant.needs.matrix {
            device.probe_matrices(edge)?;
        }
        let layout = Layout::new(device, &bundle.manifest, variant, options.capacity)?;
        let arenas = Arenas::new(device, &layout, weights::upload(device, variant, bundle)?)?;
        let pipelines = match &options.pipelines {
            Some(folder) => Some(Pipelines::open(device, variant, folder)?),
            None => None,
        };
        let kept = pipelines.as_ref().and_then(Option::as_ref);
        let cache = kept.map(Pipelines::cache);
        let kernels = kernels::load(device, variant, &bundle.wgsl, &arenas, cache, options)?;
        Ok(Self {
            device: Arc::clone(device),
            manifest: Manifest {
                variants: Vec::new(),
                ..bundle.manifest.clone()
            },
            pool: Pool::new(device, &layout)?,
            report: Report {
                adapter: device.report().clone(),
                profile: variant.profile.clone(),
                rung: variant.rung,
                kernels: kernels.len(),
                unchecked: match &options.vouched {
                    Some(own) if options.unchecked => own.kernels(variant),
                    _ => 0,
                },
                capacity: layout.capacity,
                skipped: Vec::new(),
                pipelines: pipelines.map(|p| p.map_or(NO_CACHE.to_owned(), |p| p.keep())),
            },
            layout,
            arenas,
            kernels,
            tables: variant.status.clone(),
        })
    }

    /// The variants that are asked for and whose needs a device meets, in the order for its kind; why others are not among
    /// them.
    #[must_use]
    pub fn candidates<'b>(
        device: &AdapterReport,
        bundle: &'b Bundle,
        choice: &VariantChoice,
    ) -> (Vec<&'b Variant>, Vec<String>) {
        let mut skipped = Vec::new();
        let mut fits = |variant: &&Variant| match unfit(device, variant, choice) {
            None => true,
            Some(why) => {
                skipped.push(format!("{} skipped: {why}", variant.name()));
                false
            }
        };
        let mut candidates = device.kind.in_order(&bundle.manifest.variants);
        candidates.retain(&mut fits);
        (candidates, skipped)
    }

    /// What runs, and why that.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The device it runs on.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Whether some output has a row for each request, asked for by a row or not.
    pub(super) fn has_request_outputs(&self) -> bool {
        self.manifest.outputs.iter().any(|port| port.space == Space::Requests)
    }
}

/// Why a variant is not for this device or this caller, if so.
fn unfit(device: &AdapterReport, variant: &Variant, choice: &VariantChoice) -> Option<String> {
    if choice.profile.as_ref().is_some_and(|p| *p != variant.profile) || choice.rung.is_some_and(|r| r != variant.rung)
    {
        return Some("not asked for".into());
    }
    let needs = &variant.needs;
    let mut missing = Vec::new();
    if needs.software && device.kind != AdapterKind::Software {
        missing.push("not a software adapter".into());
    }
    if (needs.f16 || variant.rung == Rung::Native) && !device.f16 {
        missing.push("no f16 in shaders".into());
    }
    if variant.rung == Rung::Packed && !device.packed_f16 {
        missing.push("no unpack2x16float".into());
    }
    if let Some(size) = needs.subgroup.filter(|&n| device.subgroups != Some((n, n))) {
        missing.push(format!("subgroups are not always {size} lanes"));
    }
    if let Some(edge) = needs.matrix.filter(|edge| !device.matrices.contains(edge)) {
        missing.push(format!("no cooperative matrices of {edge}x{edge} halves summed in f32"));
    }
    // A manifest may understate its needs, and wgpu does not check workgroup memory.
    let most = |of: fn(&Kernel) -> u32, stated: u32| variant.kernels.iter().map(of).fold(stated, u32::max);
    let workgroup_bytes = most(|kernel| kernel.workgroup_bytes, needs.workgroup_bytes);
    let invocations = most(|kernel| kernel.invocations, needs.invocations);
    let amounts = [
        (
            "bytes of workgroup memory",
            workgroup_bytes.into(),
            device.workgroup_bytes.into(),
        ),
        (
            "invocations per workgroup",
            invocations.into(),
            device.invocations.into(),
        ),
        (
            "storage buffers per kernel",
            needs.storage_buffers.into(),
            device.storage_buffers.into(),
        ),
        (
            "bytes in one binding",
            needs.binding_bytes,
            device.binding_bytes.min(device.buffer_bytes),
        ),
    ];
    let short = amounts.iter().filter(|(_, needed, there)| needed > there);
    missing
        .extend(short.map(|(what, needed, there): &(_, u64, u64)| format!("needs {needed} {what}, there are {there}")));
    (!missing.is_empty()).then(|| missing.join(", "))
}
