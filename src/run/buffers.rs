//! Memory on the device, all of it made when a session opens.
//!
//! There is one set of arenas: submissions run one after the other, so a batch may overwrite what the last one left.

use crate::bundle::{Binding, Linear, Manifest, Port, Slot, Space, Variant};
use crate::tensor::Sizes;

use super::device::Device;
use super::{Capacity, Error};

/// A weight buffer, as kernels bind it.
pub(super) struct Weights {
    /// Where kernels read words of a buffer.
    pub(super) buffer: Option<wgpu::Buffer>,
    /// Where they read texels.
    pub(super) image: Option<wgpu::TextureView>,
}

/// Everything that kernels bind.
pub(super) struct Arenas {
    pub(super) sizes: wgpu::Buffer,
    pub(super) inputs: wgpu::Buffer,
    pub(super) values: wgpu::Buffer,
    pub(super) status: wgpu::Buffer,
    weights: Vec<Weights>,
}

/// Where everything lies at one capacity.
pub(super) struct Layout {
    pub(super) capacity: Capacity,
    pub(super) inputs: Vec<Place>,
    pub(super) outputs: Vec<Place>,
    pub(super) inputs_bytes: u64,
    values_bytes: u64,
    pub(super) status_words: usize,
    /// First byte of the status words in a download, after all outputs.
    pub(super) status_at: u64,
}

/// Where a port lies.
pub(super) struct Place {
    pub(super) port: Port,
    /// First byte in its arena.
    pub(super) offset: u64,
    /// First byte in a staging buffer.
    pub(super) staged: u64,
    /// Bytes per row or request.
    pub(super) stride: u64,
}

fn arena_bytes(size: Linear, capacity: Capacity) -> u64 {
    size.at(capacity.rows, capacity.requests).saturating_mul(4).max(16)
}

impl Layout {
    /// The layout at a capacity, or at the largest one that fits if none is asked for.
    pub(super) fn new(
        device: &Device,
        manifest: &Manifest,
        variant: &Variant,
        capacity: Option<Capacity>,
    ) -> Result<Self, Error> {
        let capacity = match capacity {
            Some(capacity) => capacity.rounded(),
            None => fitting(device, variant),
        };
        let inputs_bytes = fits(device, "input arena", variant.inputs_size, capacity)?;
        let values_bytes = fits(device, "value arena", variant.values_size, capacity)?;
        let mut inputs = places(&manifest.inputs, &variant.inputs, capacity, inputs_bytes)?;
        for place in &mut inputs {
            place.staged = place.offset;
        }
        let mut outputs = places(&manifest.outputs, &variant.outputs, capacity, values_bytes)?;
        let mut status_at = 0;
        for place in &mut outputs {
            place.staged = status_at;
            status_at = place
                .stride
                .saturating_mul(place.capacity(capacity))
                .saturating_add(status_at);
        }
        let layout = Self {
            capacity,
            inputs,
            outputs,
            inputs_bytes,
            values_bytes,
            status_words: variant.status.len() + 1,
            status_at,
        };
        // Outputs may share memory on the device and so be more than their arena.
        within(
            "max_buffer_size",
            device.report().buffer_bytes,
            "outputs",
            capacity,
            layout.download_bytes(),
        )?;
        Ok(layout)
    }

    /// Bytes of a download: all outputs, then the status words.
    pub(super) fn download_bytes(&self) -> u64 {
        self.status_at.saturating_add(self.status_bytes())
    }

    /// Bytes of the status words.
    pub(super) fn status_bytes(&self) -> u64 {
        (self.status_words as u64 * 4).max(16)
    }
}

impl Place {
    /// Bytes in a batch of these sizes.
    pub(super) fn bytes(&self, sizes: Sizes) -> u64 {
        let count = match self.port.space {
            Space::Rows => sizes.rows,
            Space::Requests => sizes.requests,
        };
        self.stride * count as u64
    }

    fn capacity(&self, capacity: Capacity) -> u64 {
        u64::from(match self.port.space {
            Space::Rows => capacity.rows,
            Space::Requests => capacity.requests,
        })
    }
}

fn fitting(device: &Device, variant: &Variant) -> Capacity {
    let fits = |&c: &Capacity| {
        let allowed = allowed(device);
        arena_bytes(variant.inputs_size, c) <= allowed && arena_bytes(variant.values_size, c) <= allowed
    };
    let sizes = std::iter::successors(Some(4096u32), |n| (*n > 64).then(|| n / 2));
    let mut capacities = sizes.map(|n| Capacity { rows: n, requests: n });
    let least = Capacity { rows: 1, requests: 1 }.rounded();
    capacities.find(fits).unwrap_or(least)
}

/// A staging buffer holds an arena and 16 bytes more.
fn allowed(device: &Device) -> u64 {
    let report = device.report();
    report.binding_bytes.min(report.buffer_bytes.saturating_sub(16))
}

fn fits(device: &Device, what: &str, size: Linear, capacity: Capacity) -> Result<u64, Error> {
    within(
        "max_storage_buffer_binding_size",
        allowed(device),
        what,
        capacity,
        arena_bytes(size, capacity),
    )
}

fn within(limit: &'static str, allowed: u64, what: &str, capacity: Capacity, needed: u64) -> Result<u64, Error> {
    if needed <= allowed {
        return Ok(needed);
    }
    Err(Error::Limit {
        what: format!("{what} for {} rows and {} requests", capacity.rows, capacity.requests),
        needed,
        allowed,
        unit: "bytes",
        limit,
    })
}

fn places(ports: &[Port], slots: &[Slot], capacity: Capacity, arena: u64) -> Result<Vec<Place>, Error> {
    ports
        .iter()
        .map(|port| {
            let slot = slots.iter().find(|slot| slot.name == port.name);
            let slot = slot.ok_or_else(|| Error::Malformed(format!("`{}` has no place in its arena", port.name)))?;
            let place = Place {
                port: port.clone(),
                offset: slot.offset.at(capacity.rows, capacity.requests).saturating_mul(4),
                staged: 0,
                stride: u64::from(slot.width) * 4,
            };
            let end = place
                .offset
                .saturating_add(place.stride.saturating_mul(place.capacity(capacity)));
            if slot.width != port.width() || end > arena {
                return Err(Error::Malformed(format!(
                    "`{}` takes bytes {} to {end} of an arena of {arena}, {} elements a row where the port has {}",
                    port.name,
                    place.offset,
                    slot.width,
                    port.width(),
                )));
            }
            Ok(place)
        })
        .collect()
}

impl Arenas {
    pub(super) fn new(device: &Device, layout: &Layout, weights: Vec<Weights>) -> Result<Self, Error> {
        use wgpu::BufferUsages as U;
        let storage = U::STORAGE | U::COPY_DST | U::COPY_SRC;
        Ok(Self {
            sizes: buffer(device, "sizes", 16, U::UNIFORM | U::COPY_DST)?,
            inputs: buffer(device, "input arena", layout.inputs_bytes, storage)?,
            values: buffer(device, "value arena", layout.values_bytes, storage)?,
            status: buffer(device, "status words", layout.status_bytes(), storage)?,
            weights,
        })
    }

    /// All buffers.
    pub(super) fn all(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        [&self.sizes, &self.inputs, &self.values, &self.status]
            .into_iter()
            .chain(self.weights.iter().filter_map(|w| w.buffer.as_ref()))
    }

    /// The weight buffer, if there is one alone.
    pub(super) fn only_weights(&self) -> Option<&wgpu::Buffer> {
        match &self.weights[..] {
            [only] => only.buffer.as_ref(),
            _ => None,
        }
    }

    /// What is behind a binding of a kernel.
    pub(super) fn resource(&self, binding: Binding, kernel: &str) -> Result<wgpu::BindingResource<'_>, Error> {
        let weights = |shard: u32| self.weights.get(shard as usize);
        let found = match binding {
            Binding::Sizes => Some(self.sizes.as_entire_binding()),
            Binding::Inputs => Some(self.inputs.as_entire_binding()),
            Binding::Values => Some(self.values.as_entire_binding()),
            Binding::Status => Some(self.status.as_entire_binding()),
            Binding::Weights(shard) | Binding::WeightsNative(shard) => weights(shard)
                .and_then(|w| w.buffer.as_ref())
                .map(wgpu::Buffer::as_entire_binding),
            Binding::WeightsImage(shard) => weights(shard)
                .and_then(|w| w.image.as_ref())
                .map(wgpu::BindingResource::TextureView),
        };
        found.ok_or_else(|| Error::Malformed(format!("kernel `{kernel}` binds {binding:?}, which is not there")))
    }
}

pub(super) fn buffer(
    device: &Device,
    label: &str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer, Error> {
    device.guarded(&format!("{label} of {size} bytes"), || {
        device.wgpu().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    })
}
