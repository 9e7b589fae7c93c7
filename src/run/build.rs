//! Texts become pipelines, bindings become bind groups.

use std::num::NonZeroU64;

use super::Error;
use super::device::{Device, Mapping};
use crate::bundle::Binding;

/// What a shader may do with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Uniform,
    Read,
    /// Structures of up to [`RECORD`] bytes, read.
    Records,
    Write,
    /// A texture of unsigned numbers, whose texels are read.
    Image,
}

/// Bytes that a buffer of structures has at least.
pub(super) const RECORD: u64 = 80;

impl Access {
    pub(super) fn of(binding: Binding) -> Self {
        match binding {
            Binding::Sizes => Self::Uniform,
            Binding::Weights(_) | Binding::WeightsNative(_) | Binding::Inputs => Self::Read,
            Binding::Values | Binding::Status => Self::Write,
            Binding::WeightsImage(_) => Self::Image,
        }
    }

    fn entry(self, binding: usize) -> wgpu::BindGroupLayoutEntry {
        let ty = match self {
            Self::Image => return Self::image(binding),
            Self::Uniform => wgpu::BufferBindingType::Uniform,
            Self::Read | Self::Records => wgpu::BufferBindingType::Storage { read_only: true },
            Self::Write => wgpu::BufferBindingType::Storage { read_only: false },
        };
        wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: false,
                // Spares a check at every dispatch; no shader binds less than one vec4.
                min_binding_size: NonZeroU64::new(if self == Self::Records { RECORD } else { 16 }),
            },
            count: None,
        }
    }

    fn image(binding: usize) -> wgpu::BindGroupLayoutEntry {
        wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Uint,
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
            count: None,
        }
    }
}

/// A pipeline and the layout of its only group.
pub(super) struct Built {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Compiles one text.
pub(super) fn build(device: &Device, label: &str, wgsl: &str, access: &[Access]) -> Result<Built, Error> {
    build_cached(device, (label, wgsl), access, None, true)
}

/// The same, what the driver makes of it taken from a cache or left there; without checks only for texts that were vouched
/// for.
pub(super) fn build_cached(
    device: &Device,
    (label, wgsl): (&str, &str),
    access: &[Access],
    cache: Option<&wgpu::PipelineCache>,
    checked: bool,
) -> Result<Built, Error> {
    let entries: Vec<_> = access.iter().enumerate().map(|(i, a)| a.entry(i)).collect();
    device.guarded(&format!("compile kernel `{label}`"), || {
        let gpu = device.wgpu();
        let label = Some(label);
        let layout = gpu.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let pipeline_layout = gpu.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let text = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        };
        let module = match checked {
            true => gpu.create_shader_module(text),
            false => unchecked_module(gpu, text),
        };
        let pipeline = gpu.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache,
        });
        Built { pipeline, layout }
    })
}

#[allow(
    unsafe_code,
    reason = "the generator's own texts need no watching where no index in them depends on data"
)]
fn unchecked_module(gpu: &wgpu::Device, text: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks {
        bounds_checks: false,
        force_loop_bounding: false,
        ..wgpu::ShaderRuntimeChecks::checked()
    };
    // SAFETY: the only caller passes texts of a variant that `Vouched` covers: this process has generated that variant
    // itself, text, layout and sizes, so nothing that a file says is relied on. In its text, as naga parsed and validated it,
    // no index and no loop depends on what memory holds (`wgsl::decides_its_indices`): indices are sums of loop variables
    // with bounds that the generator knows, of the invocation's number, held below the tile, and of rows, held below the
    // sizes of the batch. Arenas and weights have the variant's own sizes, and a batch is no larger than the capacity that
    // they were made for, whose step leaves room for the last tile. Loops count to bounds that are constants, or that are
    // shifted by the place in a grid that has no third axis.
    unsafe { gpu.create_shader_module_trusted(text, checks) }
}

impl Built {
    pub(super) fn pipeline(&self) -> &wgpu::ComputePipeline {
        &self.pipeline
    }

    /// The pipeline alone.
    pub(super) fn into_pipeline(self) -> wgpu::ComputePipeline {
        self.pipeline
    }

    /// Binds whole buffers, element `i` as binding `i`.
    pub(super) fn bind(
        &self,
        device: &Device,
        label: &str,
        buffers: &[&wgpu::Buffer],
    ) -> Result<wgpu::BindGroup, Error> {
        let resources = buffers.iter().map(|b| b.as_entire_binding()).collect();
        self.bind_all(device, label, resources)
    }

    /// Binds resources, element `i` as binding `i`.
    pub(super) fn bind_all(
        &self,
        device: &Device,
        label: &str,
        resources: Vec<wgpu::BindingResource<'_>>,
    ) -> Result<wgpu::BindGroup, Error> {
        let entries: Vec<_> = (0u32..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        device.guarded(&format!("bind buffers of kernel `{label}`"), || {
            device.wgpu().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(label),
                layout: &self.layout,
                entries: &entries,
            })
        })
    }
}

/// Runs one small kernel (binding 0 read, binding 1 written) and returns the words it wrote.
pub(super) fn once(
    device: &Device,
    label: &str,
    built: &Built,
    input: &wgpu::Buffer,
    words: usize,
    groups: u32,
) -> Result<Vec<u32>, Error> {
    let bytes = (words as u64 * 4).max(16);
    let (output, staging) = device.guarded(label, || {
        let buffer = |usage| {
            device.wgpu().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage,
                mapped_at_creation: false,
            })
        };
        (
            buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC),
            buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        )
    })?;
    let group = built.bind(device, label, &[input, &output])?;
    let submission = device.guarded(label, || {
        let mut encoder = device
            .wgpu()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) });
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&built.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(groups, 1, 1);
        }
        encoder.copy_buffer_to_buffer(&output, 0, &staging, 0, bytes);
        device.queue().submit([encoder.finish()])
    })?;
    let mapping = Mapping::start(&staging, wgpu::MapMode::Read);
    device.wait(submission, label)?;
    device.mapped(&mapping, label)?;
    let view = staging.get_mapped_range(..).map_err(|e| Error::Bug {
        doing: label.into(),
        message: e.to_string(),
    })?;
    let mut out = bytemuck::pod_collect_to_vec::<u8, u32>(&view);
    out.truncate(words);
    Ok(out)
}
