//! Weights travel in small submissions and are summed on arrival.
//!
//! A driver out of memory may drop an upload without a word and leave zeros (wgpu issue 9545): hence the submissions, and
//! hence a checksum made on the device before the first answer.

use crate::bundle::{Binding, Bundle, Placement, TEXELS, Variant, repack};

use super::Error;
use super::buffers::Weights;
use super::build::{self, Access, Built};
use super::device::Device;

/// Bytes of a weight that are sent before the device is asked whether it still lives.
const CHUNK: usize = 64 << 20;
const GROUPS: u32 = 256;
/// Bytes of a row of texels.
const ROW: u64 = 16 * TEXELS as u64;

/// Creates and fills the weight buffers of a variant, and the textures of those that kernels read as such.
pub(super) fn upload(device: &Device, variant: &Variant, bundle: &Bundle) -> Result<Vec<Weights>, Error> {
    let bindings = || variant.kernels.iter().flat_map(|k| &k.bindings);
    let mut checksum = None;
    (0u32..)
        .zip(&variant.shards)
        .map(|(i, words)| {
            let image = bindings().any(|b| *b == Binding::WeightsImage(i));
            let (buffer, sum) = fill(device, variant, bundle, (i, *words, image))?;
            let image = image.then(|| texture(device, i, &buffer)).transpose()?;
            verify(device, &mut checksum, i, &buffer, sum)?;
            let is_buffer = |b: &Binding| matches!(b, Binding::Weights(s) | Binding::WeightsNative(s) if *s == i);
            Ok(Weights {
                buffer: (image.is_none() || bindings().any(is_buffer)).then_some(buffer),
                image,
            })
        })
        .collect()
}

/// Creates one weight buffer and sends what belongs there: the buffer, and the sum that its words make.
fn fill(
    device: &Device,
    variant: &Variant,
    bundle: &Bundle,
    (shard, room, image): (u32, u64, bool),
) -> Result<(wgpu::Buffer, u32), Error> {
    let buffer = create(device, shard, room.saturating_mul(16), image)?;
    let room = room.saturating_mul(4);
    let mut sum = 0u32;
    for placement in variant.weights.iter().filter(|p| p.shard == shard) {
        let words = words(bundle, placement)?;
        let start = placement.offset.saturating_mul(4);
        if start.saturating_add(words.len() as u64) > room {
            return Err(Error::Malformed(format!(
                "weight `{}` is {} words at {start} of weight buffer {shard}, which has {room}",
                placement.tensor,
                words.len(),
            )));
        }
        sum = sum.wrapping_add(sum_of(start as u32, &words));
        send(device, &buffer, start * 4, &words, &placement.tensor)?;
    }
    Ok((buffer, sum))
}

/// A texture of the words of a buffer, which has whole rows of them. The buffer then has what arrived in the texture: its
/// checksum is the texture's.
fn texture(device: &Device, shard: u32, buffer: &wgpu::Buffer) -> Result<wgpu::TextureView, Error> {
    let rows = buffer.size() / ROW;
    let doing = format!("texture of weight buffer {shard}, {TEXELS} x {rows} texels");
    let allowed = u64::from(device.wgpu().limits().max_texture_dimension_2d);
    if rows > allowed {
        return Err(Error::Limit {
            what: format!("texture of weight buffer {shard}"),
            needed: rows,
            allowed,
            unit: "texels",
            limit: "max_texture_dimension_2d",
        });
    }
    let size = wgpu::Extent3d {
        width: TEXELS,
        height: rows as u32,
        depth_or_array_layers: 1,
    };
    let (view, submission) = device.guarded(&doing, || {
        let texture = device.wgpu().create_texture(&wgpu::TextureDescriptor {
            label: Some("weights"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Uint,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let mut encoder = device
            .wgpu()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("weights") });
        let layout = wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(ROW as u32),
            rows_per_image: None,
        };
        let words = wgpu::TexelCopyBufferInfo { buffer, layout };
        encoder.copy_buffer_to_texture(words, texture.as_image_copy(), size);
        encoder.clear_buffer(buffer, 0, None);
        encoder.copy_texture_to_buffer(texture.as_image_copy(), words, size);
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        (view, device.queue().submit([encoder.finish()]))
    })?;
    device.wait(submission, &doing)?;
    Ok(view)
}

fn words(bundle: &Bundle, placement: &Placement) -> Result<Vec<u32>, Error> {
    let name = &placement.tensor;
    let tensor = bundle.weights.get(name);
    let tensor = tensor.ok_or_else(|| Error::Malformed(format!("weight `{name}` has a place and no content")))?;
    repack(tensor, placement.layout, placement.first_row, placement.rows)
        .map_err(|e| Error::Malformed(format!("weight `{name}`: {e}")))
}

fn create(device: &Device, shard: u32, bytes: u64, image: bool) -> Result<wgpu::Buffer, Error> {
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
    // Whole rows, for the copy to a texture.
    let size = if image { bytes.next_multiple_of(ROW) } else { bytes };
    let size = size.max(16);
    device.guarded(&format!("weight buffer {shard} of {bytes} bytes"), || {
        device.wgpu().create_buffer(&wgpu::BufferDescriptor {
            label: Some("weights"),
            size,
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
fn sum_of(start: u32, words: &[u32]) -> u32 {
    let odd = |i: u32| i.wrapping_mul(0x9e37_79b1) << 1 | 1;
    (start..)
        .zip(words)
        .fold(0, |sum, (i, w)| sum.wrapping_add(w.wrapping_mul(odd(i))))
}

/// Compares the sum of a buffer's words, made on the device by a kernel that is compiled for the first of them.
fn verify(
    device: &Device,
    checksum: &mut Option<Built>,
    shard: u32,
    buffer: &wgpu::Buffer,
    expected: u32,
) -> Result<(), Error> {
    let built = match checksum {
        Some(built) => built,
        None => {
            let text = include_str!("../../shaders/checksum.wgsl");
            checksum.insert(build::build(device, "checksum", text, &[Access::Read, Access::Write])?)
        }
    };
    let doing = format!("checksum of weight buffer {shard}");
    let seen = build::once(device, &doing, built, buffer, 1, GROUPS)?;
    let seen = seen.first().copied().unwrap_or(0);
    if seen == expected {
        return Ok(());
    }
    let shard = shard as usize;
    Err(Error::Checksum { shard, expected, seen })
}
