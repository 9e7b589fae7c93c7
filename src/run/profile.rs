//! How long each kernel takes, by the device's own clock.

use std::time::Instant;

use crate::tensor::{Sizes, Tensors};

use super::buffers::buffer;
use super::device::{Device, Mapping};
use super::kernels::{self, Loaded};
use super::transfer::{Sink, mapped};
use super::{Batch, Error, Runtime, Timings};

/// Device time of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// Its name.
    pub name: String,
    /// Nanoseconds, summed over the parts of the batch.
    pub nanoseconds: f64,
}

/// Where the time of a run goes.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Kernels in order; empty if the device cannot time them.
    pub kernels: Vec<KernelTime>,
    /// Host time; parts of the batch do not overlap while being profiled.
    pub host: Timings,
}

impl Runtime {
    /// Runs a batch with each kernel in a pass of its own between two timestamps.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    pub fn profile(&self, tensors: &Tensors) -> Result<Profile, Error> {
        let profiler = Profiler::new(&self.device, Spans::Kernels(self.kernels.len()))?;
        let (host, nanoseconds) = self.between_timestamps(tensors, profiler.as_ref())?;
        let kernels = self.kernels.iter().zip(nanoseconds);
        let kernels = kernels.map(|(kernel, nanoseconds)| KernelTime {
            name: kernel.name.clone(),
            nanoseconds,
        });
        Ok(Profile {
            kernels: kernels.collect(),
            host,
        })
    }

    /// Seconds by the device's own clock that all kernels of a batch take together; `None` where it has none.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    pub fn device_seconds(&self, tensors: &Tensors) -> Result<Option<f64>, Error> {
        let Some(profiler) = Profiler::new(&self.device, Spans::Batch)? else {
            return Ok(None);
        };
        let (_, nanoseconds) = self.between_timestamps(tensors, Some(&profiler))?;
        Ok(Some(nanoseconds.iter().sum::<f64>() * 1e-9))
    }

    /// Runs one kernel so many times on what the last batch left on the device, and waits: for benchmarks. Seconds by the
    /// device's own clock; `None` where it has none. The next batch is none the wiser.
    ///
    /// # Errors
    /// [`Error::Limit`] for a batch above the capacity; as [`Runtime::run`] if the device fails.
    ///
    /// # Panics
    /// If there is no such kernel: a mistake of the caller.
    pub fn repeat_kernel(&self, kernel: usize, sizes: Sizes, times: u32) -> Result<Option<f64>, Error> {
        /// Dispatches of a submission: more make none cheaper.
        const MOST: u32 = 256;
        self.layout.room(sizes)?;
        let loaded = &self.kernels[kernel];
        let profiler = Profiler::new(&self.device, Spans::Batch)?;
        let (mut nanoseconds, mut left) = ([0.0], times);
        while left > 0 {
            let now = left.min(MOST);
            left -= now;
            let submission = self.device.guarded("repeat a kernel", || {
                let mut encoder = self
                    .device
                    .wgpu()
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                let repeated = vec![loaded; now as usize];
                match &profiler {
                    Some(profiler) => profiler.dispatch(&mut encoder, &repeated, sizes),
                    None => {
                        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                        kernels::record(&mut pass, repeated, sizes);
                    }
                }
                self.device.queue().submit([encoder.finish()])
            })?;
            self.device.wait(submission, "repeat a kernel")?;
            if let Some(profiler) = &profiler {
                profiler.collect(&self.device, &mut nanoseconds)?;
            }
        }
        Ok(profiler.map(|_| nanoseconds[0] * 1e-9))
    }

    /// Runs a batch; host times, and what the device's clock says of each span of a profiler.
    fn between_timestamps(&self, tensors: &Tensors, profiler: Option<&Profiler>) -> Result<(Timings, Vec<f64>), Error> {
        let start = Instant::now();
        let batch = Batch::check(&self.manifest, tensors)?;
        let chunks = batch.chunks(self.layout.capacity, self.has_request_outputs());
        let mut host = Timings {
            check: start.elapsed(),
            ..Timings::default()
        };
        let mut sink = Sink::new(&self.layout.outputs, batch.sizes);
        let mut nanoseconds = vec![0.0; profiler.map_or(0, |p| p.count as usize / 2)];
        for chunk in &chunks {
            let flight = self.launch(self.pool.take(), &batch, chunk, profiler, &mut host)?;
            self.land(flight, chunk, &mut sink, &mut host)?;
            if let Some(profiler) = profiler {
                profiler.collect(&self.device, &mut nanoseconds)?;
            }
        }
        Ok((host, nanoseconds))
    }
}

/// What lies between two timestamps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spans {
    /// Each of so many kernels.
    Kernels(usize),
    /// All kernels, in one pass as without a profiler.
    Batch,
}

/// Two timestamps for each span.
pub(super) struct Profiler {
    spans: Spans,
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    count: u32,
}

impl Profiler {
    fn new(device: &Device, spans: Spans) -> Result<Option<Self>, Error> {
        let most = wgpu::QUERY_SET_MAX_QUERIES as usize;
        let pairs = match spans {
            Spans::Kernels(kernels) => kernels,
            Spans::Batch => 1,
        };
        if !device.report().timestamps || pairs == 0 || 2 * pairs > most {
            return Ok(None);
        }
        use wgpu::BufferUsages as U;
        let count = 2 * pairs as u32;
        let bytes = u64::from(count) * u64::from(wgpu::QUERY_SIZE);
        let queries = device.guarded("timestamps", || {
            device.wgpu().create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count,
            })
        })?;
        Ok(Some(Self {
            spans,
            queries,
            resolved: buffer(device, "timestamps", bytes, U::QUERY_RESOLVE | U::COPY_SRC)?,
            readable: buffer(device, "timestamps", bytes, U::MAP_READ | U::COPY_DST)?,
            count,
        }))
    }

    /// Records all kernels; those without work leave an empty pass, so that every timestamp is written.
    pub(super) fn dispatch(&self, encoder: &mut wgpu::CommandEncoder, kernels: &[&Loaded], sizes: Sizes) {
        let parts: Vec<(&str, &[&Loaded])> = match self.spans {
            Spans::Batch => vec![("batch", kernels)],
            Spans::Kernels(_) => kernels.iter().map(|k| (&*k.name, std::slice::from_ref(k))).collect(),
        };
        for (i, (label, kernels)) in (0u32..).zip(parts) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(label),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &self.queries,
                    beginning_of_pass_write_index: Some(2 * i),
                    end_of_pass_write_index: Some(2 * i + 1),
                }),
            });
            kernels::record(&mut pass, kernels.iter().copied(), sizes);
        }
        encoder.resolve_query_set(&self.queries, 0..self.count, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, self.resolved.size());
    }

    /// Adds the times of the submission that has just been waited for.
    fn collect(&self, device: &Device, nanoseconds: &mut [f64]) -> Result<(), Error> {
        let doing = "read timestamps";
        let mapping = device.guarded(doing, || Mapping::start(&self.readable, wgpu::MapMode::Read))?;
        device.mapped(&mapping, doing)?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&mapped(device, &self.readable)?);
        let period = f64::from(device.queue().get_timestamp_period());
        for (sum, pair) in nanoseconds.iter_mut().zip(ticks.chunks_exact(2)) {
            // Clocks of some devices step back between passes.
            *sum += pair[1].saturating_sub(pair[0]) as f64 * period;
        }
        device.guarded(doing, || self.readable.unmap())
    }
}
