//! A batch goes through: staged, submitted, read back.
//!
//! Each part of a batch is one submission: copies into the arenas, all kernels, copies out. Parts follow each other
//! without waiting, so that the host copies one while the device computes another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::tensor::{Sizes, Tensors};

use super::buffers::Place;
use super::kernels;
use super::profile::Profiler;
use super::staging::Lease;
use super::transfer::{Sink, mapped, read_status, write_chunk, write_sizes};
use super::{Batch, Chunk, Error, REQUEST_OF_ROW, Runtime};

/// Host time of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Checking the batch.
    pub check: Duration,
    /// Copying inputs into staging memory.
    pub upload: Duration,
    /// Recording and submitting.
    pub enqueue: Duration,
    /// Waiting for the device.
    pub wait: Duration,
    /// Copying outputs out of staging memory.
    pub readback: Duration,
}

/// A part of a batch on its way.
pub(super) struct Flight<'r> {
    lease: Lease<'r>,
    submission: wgpu::SubmissionIndex,
}

/// A copy between buffers.
struct Transfer<'b> {
    from: (&'b wgpu::Buffer, u64),
    to: (&'b wgpu::Buffer, u64),
    bytes: u64,
}

impl Runtime {
    /// Runs a batch of any size.
    ///
    /// # Errors
    /// [`Error::Batch`] and [`Error::Index`] before anything runs; [`Error::NonFinite`] and [`Error::ComputedIndex`]
    /// after; [`Error::Lost`] and [`Error::Timeout`] if the device fails.
    pub fn run(&self, tensors: &Tensors) -> Result<Tensors, Error> {
        Ok(self.run_timed(tensors)?.0)
    }

    /// [`Runtime::run`], with the time that the host spent on each part.
    ///
    /// # Errors
    /// As [`Runtime::run`].
    pub fn run_timed(&self, tensors: &Tensors) -> Result<(Tensors, Timings), Error> {
        let mut timings = Timings::default();
        let start = Instant::now();
        let batch = Batch::check(&self.manifest, tensors)?;
        let mut sink = Sink::new(&self.layout.outputs, batch.sizes);
        let chunks = batch.chunks(self.layout.capacity, self.has_request_outputs());
        timings.check = start.elapsed();
        let mut flying = VecDeque::new();
        for chunk in &chunks {
            let lease = match self.pool.try_take() {
                Some(lease) => lease,
                // Waiting for a slot while holding some would be a deadlock between two threads.
                None => match flying.pop_front() {
                    Some((oldest, part)) => self.land(oldest, part, &mut sink, &mut timings)?,
                    None => self.pool.take(),
                },
            };
            flying.push_back((self.launch(lease, &batch, chunk, None, &mut timings)?, chunk));
        }
        for (flight, part) in flying {
            self.land(flight, part, &mut sink, &mut timings)?;
        }
        Ok((sink.into_tensors(), timings))
    }

    /// Stages and submits a part of a batch.
    pub(super) fn launch<'r>(
        &'r self,
        mut lease: Lease<'r>,
        batch: &Batch<'_>,
        chunk: &Chunk,
        profiler: Option<&Profiler>,
        timings: &mut Timings,
    ) -> Result<Flight<'r>, Error> {
        let start = Instant::now();
        let staging = lease.staging();
        staging.ready(&self.device)?;
        write_chunk(&self.device, &self.layout, batch, chunk, &staging.upload)?;
        timings.upload += start.elapsed();
        let start = Instant::now();
        let (upload, download) = (staging.upload.clone(), staging.download.clone());
        let sizes = chunk.sizes();
        let inputs = self.layout.inputs.iter().map(|place| Transfer {
            from: (&upload, place.staged),
            to: (&self.arenas.inputs, place.offset),
            bytes: place.bytes(sizes),
        });
        let outputs = self.layout.outputs.iter().map(|place| Transfer {
            from: (&self.arenas.values, place.offset),
            to: (&download, place.staged),
            bytes: place.bytes(sizes),
        });
        let flight = self.submit(lease, sizes, inputs, outputs, profiler);
        timings.enqueue += start.elapsed();
        flight
    }

    fn submit<'r, 'b>(
        &'r self,
        mut lease: Lease<'r>,
        sizes: Sizes,
        inputs: impl Iterator<Item = Transfer<'b>>,
        outputs: impl Iterator<Item = Transfer<'b>>,
        profiler: Option<&Profiler>,
    ) -> Result<Flight<'r>, Error> {
        let staging = lease.staging();
        let submission = self.device.guarded("submit a batch", || {
            staging.close();
            let gpu = self.device.wgpu();
            let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("batch") });
            encoder.copy_buffer_to_buffer(&staging.upload, self.layout.inputs_bytes, &self.arenas.sizes, 0, 16);
            encoder.clear_buffer(&self.arenas.status, 0, None);
            copy(&mut encoder, inputs);
            match profiler {
                None => self.dispatch(&mut encoder, sizes),
                Some(profiler) => profiler.dispatch(&mut encoder, &self.kernels.iter().collect::<Vec<_>>(), sizes),
            }
            copy(&mut encoder, outputs);
            let (status, bytes) = (&self.arenas.status, self.layout.status_bytes());
            encoder.copy_buffer_to_buffer(status, 0, &staging.download, self.layout.status_at, bytes);
            let submission = self.device.queue().submit([encoder.finish()]);
            staging.reopen();
            submission
        })?;
        Ok(Flight { lease, submission })
    }

    fn dispatch(&self, encoder: &mut wgpu::CommandEncoder, sizes: Sizes) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        kernels::record(&mut pass, &self.kernels, sizes);
    }

    /// Waits for a part of a batch and takes its outputs.
    pub(super) fn land<'r>(
        &self,
        flight: Flight<'r>,
        chunk: &Chunk,
        sink: &mut Sink<'_>,
        timings: &mut Timings,
    ) -> Result<Lease<'r>, Error> {
        let Flight { mut lease, submission } = flight;
        let start = Instant::now();
        let staging = lease.staging();
        self.device.wait(submission, "wait for a batch")?;
        staging.downloaded(&self.device)?;
        timings.wait += start.elapsed();
        let start = Instant::now();
        let verdict = {
            let view = mapped(&self.device, &staging.download)?;
            sink.take(chunk, &view);
            read_status(&self.layout, &self.tables, &view, chunk.rows.start).map_err(|e| sink.locate(e, chunk))
        };
        staging.release(&self.device)?;
        timings.readback += start.elapsed();
        verdict.map(|()| lease)
    }

    /// Runs a batch whose inputs and outputs are buffers on the device; it must fit the capacity.
    ///
    /// Buffers hold tensors row-major in 4-byte elements and need the usages `COPY_SRC` and `COPY_DST`. The mapping of rows to
    /// requests may be left out as in a batch. Ids are *not* checked: whoever fills the buffers vouches for them. The
    /// call returns when the work is queued, [`Ticket::wait`] waits for it and checks it.
    ///
    /// # Errors
    /// [`Error::Batch`] for names, [`Error::Buffer`] for sizes and usages, [`Error::Limit`] above the capacity.
    pub fn run_on(
        &self,
        inputs: &[(&str, &wgpu::Buffer)],
        sizes: Sizes,
        outputs: &[(&str, &wgpu::Buffer)],
    ) -> Result<Ticket<'_>, Error> {
        self.layout.room(sizes)?;
        let implied = self.layout.implied(inputs, sizes)?;
        let sources = bound(&self.layout.inputs, inputs, sizes, wgpu::BufferUsages::COPY_SRC)?;
        let targets = bound(&self.layout.outputs, outputs, sizes, wgpu::BufferUsages::COPY_DST)?;
        let mut lease = self.pool.take();
        let staging = lease.staging();
        staging.ready(&self.device)?;
        write_sizes(&self.device, &self.layout, sizes, implied.as_deref(), &staging.upload)?;
        let upload = staging.upload.clone();
        let map = self
            .layout
            .inputs
            .iter()
            .filter(|p| implied.is_some() && p.port.name == REQUEST_OF_ROW);
        let map = map.map(|place| Transfer {
            from: (&upload, place.staged),
            to: (&self.arenas.inputs, place.offset),
            bytes: place.bytes(sizes),
        });
        let sources = sources.into_iter().map(|(place, buffer)| Transfer {
            from: (buffer, 0),
            to: (&self.arenas.inputs, place.offset),
            bytes: place.bytes(sizes),
        });
        let targets = targets.into_iter().map(|(place, buffer)| Transfer {
            from: (&self.arenas.values, place.offset),
            to: (buffer, 0),
            bytes: place.bytes(sizes),
        });
        let flight = self.submit(lease, sizes, map.chain(sources), targets, None)?;
        Ok(Ticket { runtime: self, flight })
    }
}

/// Work queued by [`Runtime::run_on`].
#[must_use = "nobody knows whether the work was well done until it is waited for"]
pub struct Ticket<'r> {
    runtime: &'r Runtime,
    flight: Flight<'r>,
}

impl Ticket<'_> {
    /// Waits until the work is done.
    ///
    /// # Errors
    /// As [`Runtime::run`], after the batch was accepted.
    pub fn wait(self) -> Result<(), Error> {
        let Self { runtime, flight } = self;
        let Flight { mut lease, submission } = flight;
        let staging = lease.staging();
        runtime.device.wait(submission, "wait for a batch")?;
        staging.downloaded(&runtime.device)?;
        let view = mapped(&runtime.device, &staging.download)?;
        // The next user of the slot unmaps it.
        read_status(&runtime.layout, &runtime.tables, &view, 0)
    }
}

fn copy<'b>(encoder: &mut wgpu::CommandEncoder, transfers: impl Iterator<Item = Transfer<'b>>) {
    for Transfer { from, to, bytes } in transfers {
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(from.0, from.1, to.0, to.1, bytes);
        }
    }
}

/// Pairs callers' buffers with places; each must be big enough and allow the copy.
fn bound<'p, 'b>(
    places: &'p [Place],
    buffers: &[(&str, &'b wgpu::Buffer)],
    sizes: Sizes,
    usage: wgpu::BufferUsages,
) -> Result<Vec<(&'p Place, &'b wgpu::Buffer)>, Error> {
    buffers
        .iter()
        .map(|&(name, buffer)| {
            let refuse = |why: String| Error::Buffer { name: name.into(), why };
            let place = places.iter().find(|place| place.port.name == name);
            let place = place.ok_or_else(|| refuse("the model has no such port".into()))?;
            let bytes = place.bytes(sizes);
            if buffer.size() < bytes {
                return Err(refuse(format!("{} bytes, needs {bytes}", buffer.size())));
            }
            if !buffer.usage().contains(usage) {
                return Err(refuse(format!("usage {:?}, needs {usage:?}", buffer.usage())));
            }
            Ok((place, buffer))
        })
        .collect()
}
