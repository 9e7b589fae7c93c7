//! What a device does at most, measured: the roof above which no kernel gets.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Error;
use super::buffers::buffer;
use super::build::{self, Access, Built};
use super::device::Device;

/// The most that two small kernels made of a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Floating-point operations a second in f32: multiply-adds that never leave registers, as at the heart of a product.
    pub flops: f64,
    /// Bytes a second between kernels and memory: what a copy reads and writes.
    pub bytes: f64,
}

impl Limits {
    /// The shortest time, in seconds, in which a kernel can do so many operations and move so many bytes.
    #[must_use]
    pub fn least_seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops).max(bytes / self.bytes)
    }
}

/// Workgroups of 64 invocations: as many as a row of a grid may have. What they copy is more than caches hold.
const GROUPS: u32 = 65_535;
/// Floating-point operations of an invocation of `peak.wgsl`.
const FLOPS: f64 = 2.0 * 128.0 * 8.0 * 8.0;
/// How long a measurement takes at least, so that what surrounds it does not count.
const LONG: Duration = Duration::from_millis(40);
/// Measurements, of which the best counts: others only ever slow a device down.
const TRIES: usize = 5;

impl Device {
    /// Measures what the device does at most. Takes a second or two and 128 MiB of its memory.
    ///
    /// # Errors
    /// What the device has to say.
    pub fn measure_limits(&self) -> Result<Limits, Error> {
        use wgpu::BufferUsages as U;
        let invocations = u64::from(GROUPS) * 64;
        let from = buffer(self, "probe", invocations * 16, U::STORAGE | U::COPY_DST)?;
        let to = buffer(self, "probe", invocations * 16, U::STORAGE)?;
        let numbers = [[0.5f32; 4], [1.0; 4]];
        self.guarded("write a probe", || {
            self.queue().write_buffer(&from, 0, bytemuck::cast_slice(&numbers));
        })?;
        let best = |label: &str, wgsl: &str| -> Result<f64, Error> {
            let built = build::build(self, label, wgsl, &[Access::Read, Access::Write])?;
            let group = built.bind(self, label, &[&from, &to])?;
            self.fastest(label, built, &group)
        };
        let peak = best("peak", include_str!("../../shaders/peak.wgsl"))?;
        let copy = best("copy", include_str!("../../shaders/copy.wgsl"))?;
        Ok(Limits {
            flops: invocations as f64 * FLOPS / peak,
            bytes: invocations as f64 * 32.0 / copy,
        })
    }

    /// Seconds of one dispatch, the least seen. Many are in one submission: by the clock on the wall, which every device
    /// has, one alone would be lost in what its submission takes.
    fn fastest(&self, label: &str, built: Built, group: &wgpu::BindGroup) -> Result<f64, Error> {
        let pipeline = built.into_pipeline();
        let run = |dispatches: u32| -> Result<Duration, Error> {
            let start = Instant::now();
            let submission = self.guarded(label, || {
                let mut encoder = self
                    .wgpu()
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, group, &[]);
                (0..dispatches).for_each(|_| pass.dispatch_workgroups(GROUPS, 1, 1));
                drop(pass);
                self.queue().submit([encoder.finish()])
            })?;
            self.wait(submission, label)?;
            Ok(start.elapsed())
        };
        let mut dispatches = 1;
        while run(dispatches)? < LONG && dispatches < 1 << 16 {
            dispatches *= 2;
        }
        let mut least = Duration::MAX;
        for _ in 0..TRIES {
            least = least.min(run(dispatches)?);
        }
        Ok(least.as_secs_f64() / f64::from(dispatches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_roof_counts() {
        let limits = Limits {
            flops: 100.0,
            bytes: 10.0,
        };
        assert_eq!(limits.least_seconds(200.0, 10.0), 2.0);
        assert_eq!(limits.least_seconds(200.0, 40.0), 4.0);
    }
}
