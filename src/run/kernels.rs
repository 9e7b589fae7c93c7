//! The kernels of a variant, loaded once per session, and how many workgroups a batch takes of each.

use indexmap::IndexMap;
use rayon::prelude::*;

use crate::bundle::{Kernel, Space, Variant};
use crate::tensor::Sizes;

use super::buffers::Arenas;
use super::build::{Access, build_cached};
use super::device::Device;
use super::{Error, Options};

/// Workgroups along one axis of a dispatch.
const GRID_EDGE: u32 = 65_535;

/// A kernel ready to be dispatched.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bind_group: wgpu::BindGroup,
    space: Space,
    rows_per_group: u32,
    groups_per_tile: u32,
}

impl Loaded {
    /// Workgroups for a batch of these sizes, if there is anything to do.
    pub(super) fn grid(&self, sizes: Sizes) -> Option<(u32, u32)> {
        let count = match self.space {
            Space::Rows => sizes.rows,
            Space::Requests => sizes.requests,
        };
        let tiles = (count as u64).div_ceil(u64::from(self.rows_per_group.max(1)));
        let total = tiles.saturating_mul(u64::from(self.groups_per_tile));
        edges(total)
    }

    /// How many workgroups a batch of these sizes has.
    pub(super) fn groups(&self, sizes: Sizes) -> usize {
        self.grid(sizes).map_or(0, |(x, y)| x as usize * y as usize)
    }
}

/// Records kernels for a batch of these sizes, one after the other.
pub(super) fn record<'k>(
    pass: &mut wgpu::ComputePass<'_>,
    kernels: impl IntoIterator<Item = &'k Loaded>,
    sizes: Sizes,
) {
    for kernel in kernels {
        if let Some((x, y)) = kernel.grid(sizes) {
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, &kernel.bind_group, &[]);
            pass.dispatch_workgroups(x, y, 1);
        }
    }
}

/// A grid of at least so many workgroups, if there are any: the number of one is `x + 65535 y`.
pub(super) fn edges(total: u64) -> Option<(u32, u32)> {
    let x = total.min(u64::from(GRID_EDGE));
    let y = total.div_ceil(u64::from(GRID_EDGE)).min(u64::from(GRID_EDGE));
    // Both are at most the edge.
    (total > 0).then_some((x as u32, y as u32))
}

/// What a text says that multiplies cooperative matrices: without, naga knows none.
const SQUARES: &str = "wgpu_cooperative_matrix";

/// Loads all kernels of a variant; each text is compiled once, several at a time.
pub(super) fn load(
    device: &Device,
    variant: &Variant,
    texts: &IndexMap<String, String>,
    arenas: &Arenas,
    cache: Option<&wgpu::PipelineCache>,
    options: &Options,
) -> Result<Vec<Loaded>, Error> {
    let own = options.vouched.as_deref();
    let key = |kernel: &Kernel| -> (String, Vec<Access>) {
        (
            kernel.wgsl.clone(),
            kernel.bindings.iter().map(|b| Access::of(*b)).collect(),
        )
    };
    let mut first_user: IndexMap<_, &Kernel> = IndexMap::new();
    for kernel in &variant.kernels {
        first_user.entry(key(kernel)).or_insert(kernel);
    }
    let mut texts_of = Vec::new();
    for ((digest, access), kernel) in &first_user {
        let text = texts.get(digest).ok_or_else(|| {
            Error::Malformed(format!(
                "kernel `{}` names the text {digest}, which is not there",
                kernel.name
            ))
        })?;
        if text.contains(SQUARES) && !own.is_some_and(|own| own.made_text(variant, text)) {
            let kernel = kernel.name.clone();
            return Err(Error::Unvouched { kernel });
        }
        texts_of.push((text, access, kernel));
    }
    let built = texts_of
        .into_par_iter()
        .map(|(text, access, kernel)| {
            let checked = !(options.unchecked && own.is_some_and(|own| own.covers_text(variant, text)));
            build_cached(device, (&kernel.name, text), access, cache, checked)
        })
        .collect::<Result<Vec<_>, _>>()?;
    variant
        .kernels
        .iter()
        .map(|kernel| {
            let place = first_user.get_index_of(&key(kernel));
            let built = place
                .and_then(|i| built.get(i))
                .ok_or_else(|| Error::Malformed(kernel.name.clone()))?;
            let resources = kernel
                .bindings
                .iter()
                .map(|b| arenas.resource(*b, &kernel.name))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Loaded {
                name: kernel.name.clone(),
                pipeline: built.pipeline().clone(),
                bind_group: built.bind_all(device, &kernel.name, resources)?,
                space: kernel.space,
                rows_per_group: kernel.rows_per_group,
                groups_per_tile: kernel.groups_per_tile,
            })
        })
        .collect()
}
