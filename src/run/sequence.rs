//! What a step submits: words set to zero, then dispatches in their order.

use super::Error;
use super::device::Device;
use super::kernels::{self, Loaded};
use crate::tensor::Sizes;

/// A part of a buffer: first byte, bytes.
pub(super) type Part<'m> = (&'m wgpu::Buffer, u64, u64);

/// One dispatch.
pub(super) struct Dispatch<'m> {
    pipeline: &'m wgpu::ComputePipeline,
    group: &'m wgpu::BindGroup,
    grid: (u32, u32),
}

impl<'m> Dispatch<'m> {
    /// A kernel on a batch of these sizes, if there is anything to do.
    pub(super) fn of(kernel: &'m Loaded, sizes: Sizes) -> Option<Self> {
        Some(Self {
            pipeline: &kernel.pipeline,
            group: &kernel.bind_group,
            grid: kernel.grid(sizes)?,
        })
    }

    /// At least so many workgroups, if there are any.
    pub(super) fn groups(
        pipeline: &'m wgpu::ComputePipeline,
        group: &'m wgpu::BindGroup,
        groups: usize,
    ) -> Option<Self> {
        let grid = kernels::edges(groups as u64)?;
        Some(Self { pipeline, group, grid })
    }
}

/// What runs together.
#[derive(Default)]
pub(super) struct Sequence<'m> {
    pub(super) clear: Vec<Part<'m>>,
    pub(super) dispatches: Vec<Dispatch<'m>>,
}

impl Sequence<'_> {
    pub(super) fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        for (buffer, at, bytes) in &self.clear {
            encoder.clear_buffer(buffer, *at, Some(*bytes));
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for Dispatch { pipeline, group, grid } in &self.dispatches {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, *group, &[]);
            pass.dispatch_workgroups(grid.0, grid.1, 1);
        }
    }

    /// Runs one dispatch after the other, each in a submission of its own, and waits for each. Some drivers compile a
    /// kernel when it first runs: all kernels of a step together may take longer to compile than a submission may take.
    pub(super) fn run_apart(self, device: &Device) -> Result<(), Error> {
        let doing = "run a kernel for the first time";
        let clear = Self {
            clear: self.clear,
            dispatches: Vec::new(),
        };
        let single = |dispatch| Self {
            clear: Vec::new(),
            dispatches: vec![dispatch],
        };
        for part in std::iter::once(clear).chain(self.dispatches.into_iter().map(single)) {
            let submission = device.guarded(doing, || {
                let mut encoder = device
                    .wgpu()
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                part.record(&mut encoder);
                device.queue().submit([encoder.finish()])
            })?;
            device.wait(submission, doing)?;
        }
        Ok(())
    }
}
