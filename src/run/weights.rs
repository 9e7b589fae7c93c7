//! Weights travel in small submissions and are summed on arrival.
//!
//! A driver out of memory may drop an upload without a word and leave zeros (wgpu issue 9545): hence the submissions, and
//! hence a checksum made on the device before the first answer.

use crate::bundle::{Bundle, Placement, Variant, repack};

use super::Error;
use super::device::Device;
use super::kernels::{self, Access};

/// Bytes of a weight that are sent before the device is asked whether it still lives.
const CHUNK: usize = 64 << 20;
const GROUPS: u32 = 256;

/// Creates and fills the weight buffers of a variant.
pub(super) fn upload(device: &Device, variant: &Variant, bundle: &Bundle) -> Result<Vec<wgpu::Buffer>, Error> {
    let buffers = variant
        .shards
        .iter()
        .enumerate()
        .map(|(i, words)| create(device, i, words.saturating_mul(16)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut sums = vec![0u32; buffers.len()];
    for placement in &variant.weights {
        let words = words(bundle, placement)?;
        let shard = placement.shard as usize;
        let start = placement.offset.saturating_mul(4);
        let room = variant.shards.get(shard).map_or(0, |words| words.saturating_mul(4));
        if start.saturating_add(words.len() as u64) > room {
            return Err(Error::Malformed(format!(
                "weight `{}` is {} words at {start} of weight buffer {shard}, which has {room}",
                placement.tensor,
                words.len(),
            )));
        }
        sums[shard] = sums[shard].wrapping_add(checksum(start as u32, &words));
        send(device, &buffers[shard], start * 4, &words, &placement.tensor)?;
    }
    verify(device, &buffers, &sums)?;
    Ok(buffers)
}

fn words(bundle: &Bundle, placement: &Placement) -> Result<Vec<u32>, Error> {
    let name = &placement.tensor;
    let tensor = bundle.weights.get(name);
    let tensor = tensor.ok_or_else(|| Error::Malformed(format!("weight `{name}` has a place and no content")))?;
    repack(tensor, placement.layout, placement.first_row, placement.rows)
        .map_err(|e| Error::Malformed(format!("weight `{name}`: {e}")))
}

fn create(device: &Device, shard: usize, bytes: u64) -> Result<wgpu::Buffer, Error> {
    let report = device.report();
    let allowed = report.binding_bytes.min(report.buffer_bytes);
    if bytes > allowed {
        return Err(Error::Limit {
            what: format!("weight buffer {shard}"),
            needed: bytes,
            allowed,
            unit: "bytes",
            limit: "max_storage_buffer_binding_size",
        });
    }
    device.guarded(&format!("weight buffer {shard} of {bytes} bytes"), || {
        device.wgpu().create_buffer(&wgpu::BufferDescriptor {
            label: Some("weights"),
            size: bytes.max(16),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    })
}

fn send(device: &Device, buffer: &wgpu::Buffer, start: u64, words: &[u32], name: &str) -> Result<(), Error> {
    let doing = format!("upload of weight `{name}`");
    for (i, part) in words.chunks(CHUNK / 4).enumerate() {
        let offset = start + (i * CHUNK) as u64;
        let submission = device.guarded(&doing, || {
            device.queue().write_buffer(buffer, offset, bytemuck::cast_slice(part));
            device.queue().submit([])
        })?;
        // Small weights wait together: the staging memory of a few of them is no burden.
        if part.len() * 4 >= CHUNK / 8 {
            device.wait(submission, &doing)?;
        }
    }
    Ok(())
}

/// The sum that `shaders/checksum.wgsl` makes: each word times an odd number of its own. Zeros add nothing, so gaps need
/// no care, and any single wrong word changes the sum.
fn checksum(start: u32, words: &[u32]) -> u32 {
    let odd = |i: u32| i.wrapping_mul(0x9e37_79b1) << 1 | 1;
    (start..)
        .zip(words)
        .fold(0, |sum, (i, w)| sum.wrapping_add(w.wrapping_mul(odd(i))))
}

fn verify(device: &Device, buffers: &[wgpu::Buffer], sums: &[u32]) -> Result<(), Error> {
    if buffers.is_empty() {
        return Ok(());
    }
    let text = include_str!("../../shaders/checksum.wgsl");
    let built = kernels::build(device, "checksum", text, &[Access::Read, Access::Write])?;
    for (shard, (buffer, &expected)) in buffers.iter().zip(sums).enumerate() {
        let doing = format!("checksum of weight buffer {shard}");
        let seen = kernels::once(device, &doing, &built, buffer, 1, GROUPS)?;
        let seen = seen.first().copied().unwrap_or(0);
        if seen != expected {
            return Err(Error::Checksum { shard, expected, seen });
        }
    }
    Ok(())
}
