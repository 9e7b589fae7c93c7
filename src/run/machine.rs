//! Kernels of a variant followed by kernels of the caller's own, in one submission, on memory that stays: what a
//! training step needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bundle::{Bundle, Variant};
use crate::tensor::{Data, Sizes};

use super::buffers::{Arenas, Layout, buffer};
use super::build::{self, Access};
use super::device::{Device, Mapping};
use super::kernels::{self, Loaded};
use super::own::{Memory, Read, Tail, Use, Write};
use super::sequence::{Dispatch, Part, Sequence};
use super::transfer::mapped;
use super::{Batch, Capacity, Error, Options, weights};

/// A loaded variant and what follows it.
pub struct Machine {
    device: Arc<Device>,
    layout: Layout,
    arenas: Arenas,
    kernels: Vec<Loaded>,
    own: Vec<wgpu::Buffer>,
    tail: Vec<(String, wgpu::ComputePipeline, wgpu::BindGroup)>,
    groups: Vec<usize>,
    after: Vec<usize>,
    /// Whether all kernels have run before.
    has_run: AtomicBool,
}

impl Machine {
    /// Loads a variant with a single weight buffer, makes buffers of so many words, all zero, and compiles `tail`.
    ///
    /// # Errors
    /// What the device has to say.
    pub fn open(
        device: Arc<Device>,
        bundle: &Bundle,
        variant: &Variant,
        rows: u32,
        own: &[(&str, usize)],
        tail: Vec<Tail>,
    ) -> Result<Self, Error> {
        device.probe(variant.rung)?;
        let capacity = Capacity { rows, requests: rows };
        let layout = Layout::new(&device, &bundle.manifest, variant, Some(capacity))?;
        let arenas = Arenas::new(&device, &layout, weights::upload(&device, variant, bundle)?)?;
        let kernels = kernels::load(&device, variant, &bundle.wgsl, &arenas, None, &Options::default())?;
        let mut machine = Self {
            layout,
            arenas,
            kernels,
            own: Vec::new(),
            tail: Vec::new(),
            groups: Vec::new(),
            after: Vec::new(),
            has_run: AtomicBool::new(false),
            device,
        };
        for (label, words) in own {
            use wgpu::BufferUsages as U;
            let usage = U::STORAGE | U::COPY_DST | U::COPY_SRC;
            let bytes = (*words as u64 * 4).max(build::RECORD);
            machine.own.push(buffer(&machine.device, label, bytes, usage)?);
        }
        for kernel in tail {
            machine.add(kernel)?;
        }
        Ok(machine)
    }

    fn add(&mut self, kernel: Tail) -> Result<(), Error> {
        let access = kernel.bindings.iter().map(|(_, access)| match access {
            Use::Uniform => Access::Uniform,
            Use::Read => Access::Read,
            Use::Records => Access::Records,
            Use::Write => Access::Write,
        });
        let access: Vec<Access> = access.collect();
        let built = build::build(&self.device, &kernel.name, &kernel.wgsl, &access)?;
        let buffers = kernel.bindings.iter().map(|(memory, _)| self.buffer(*memory));
        let group = built.bind(&self.device, &kernel.name, &buffers.collect::<Result<Vec<_>, _>>()?)?;
        self.tail.push((kernel.name, built.into_pipeline(), group));
        self.groups.push(kernel.groups);
        self.after.push(kernel.after.min(self.kernels.len()));
        Ok(())
    }

    fn buffer(&self, memory: Memory) -> Result<&wgpu::Buffer, Error> {
        let found = match memory {
            Memory::Sizes => Some(&self.arenas.sizes),
            Memory::Values => Some(&self.arenas.values),
            Memory::Status => Some(&self.arenas.status),
            Memory::Weights => self.arenas.only_weights(),
            Memory::Own(i) => self.own.get(i),
        };
        found.ok_or_else(|| Error::Malformed(format!("there is no memory {memory:?}")))
    }

    /// What it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Dispatches of a batch that has rows.
    #[must_use]
    pub fn dispatches(&self) -> usize {
        self.kernels.len() + self.groups.iter().filter(|n| **n > 0).count()
    }

    /// Workgroups of a batch of these sizes.
    #[must_use]
    pub fn workgroups(&self, sizes: Sizes) -> usize {
        let own: usize = self.groups.iter().sum();
        own + self.kernels.iter().map(|k| k.groups(sizes)).sum::<usize>()
    }

    /// Bytes of device memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let own = self.own.iter().map(wgpu::Buffer::size);
        own.chain(self.arenas.all().map(wgpu::Buffer::size)).sum()
    }

    /// How many workgroups a kernel of the caller's has from now on.
    pub fn set_groups(&mut self, kernel: usize, groups: usize) {
        if let Some(n) = self.groups.get_mut(kernel) {
            *n = groups;
        }
    }

    /// Writes words.
    ///
    /// # Errors
    /// What the device has to say.
    pub fn write(&self, writes: &[Write<'_>]) -> Result<(), Error> {
        let writes = writes.iter().filter(|w| !w.words.is_empty());
        let writes = writes.map(|w| Ok((self.buffer(w.memory)?, w)));
        let writes = writes.collect::<Result<Vec<_>, Error>>()?;
        self.device.guarded("write words", || {
            for (buffer, w) in writes {
                let bytes = bytemuck::cast_slice(w.words);
                self.device.queue().write_buffer(buffer, w.at as u64 * 4, bytes);
            }
        })
    }

    /// Runs a batch: its inputs and `writes` first, `clear` set to zero, all kernels, then `reads`.
    ///
    /// # Errors
    /// [`Error::Limit`] for more rows than there is room for, and what the device has to say.
    pub fn run(
        &self,
        batch: &Batch<'_>,
        writes: &[Write<'_>],
        clear: &[Read],
        reads: &[Read],
    ) -> Result<Vec<Vec<u32>>, Error> {
        self.layout.room(batch.sizes)?;
        self.device.guarded("write inputs", || {
            for (i, place) in self.layout.inputs.iter().enumerate() {
                let Some(tensor) = batch.input(i) else { continue };
                let bools: Vec<u32>;
                let bytes: &[u8] = match &tensor.data {
                    Data::F32(v) => bytemuck::cast_slice(v),
                    Data::I32(v) => bytemuck::cast_slice(v),
                    Data::Bool(v) => {
                        bools = v.iter().map(|b| u32::from(*b)).collect();
                        bytemuck::cast_slice(&bools)
                    }
                };
                let queue = self.device.queue();
                queue.write_buffer(&self.arenas.inputs, place.offset, bytes);
            }
        })?;
        let sizes = self.layout.words(batch.sizes);
        self.write(&[Write {
            memory: Memory::Sizes,
            at: 0,
            words: &sizes,
        }])?;
        self.write(writes)?;
        self.submit(Some(batch.sizes), clear, reads)
    }

    /// Reads words.
    ///
    /// # Errors
    /// What the device has to say.
    pub fn read(&self, reads: &[Read]) -> Result<Vec<Vec<u32>>, Error> {
        self.submit(None, &[], reads)
    }

    fn submit(&self, sizes: Option<Sizes>, clear: &[Read], reads: &[Read]) -> Result<Vec<Vec<u32>>, Error> {
        let words: usize = reads.iter().map(|r| r.words).sum();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let download = buffer(&self.device, "download", (words as u64 * 4).max(16), usage)?;
        let sources = self.buffers(reads)?;
        let mut sequence = match sizes {
            Some(sizes) => self.sequence(sizes, clear)?,
            None => Sequence::default(),
        };
        if sizes.is_some() && !self.has_run.swap(true, Ordering::Relaxed) {
            std::mem::take(&mut sequence).run_apart(&self.device)?;
        }
        let submission = self.device.guarded("submit a step", || {
            let mut encoder = self
                .device
                .wgpu()
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            sequence.record(&mut encoder);
            let mut to = 0;
            for (buffer, at, bytes) in sources {
                encoder.copy_buffer_to_buffer(buffer, at, &download, to, bytes);
                to += bytes;
            }
            self.device.queue().submit([encoder.finish()])
        })?;
        let mapping = Mapping::start(&download, wgpu::MapMode::Read);
        self.device.wait(submission, "wait for a step")?;
        self.device.mapped(&mapping, "wait for a step")?;
        let all: Vec<u32> = bytemuck::pod_collect_to_vec(&mapped(&self.device, &download)?);
        let mut rest = all.as_slice();
        let part = |r: &Read| {
            let (part, others) = rest.split_at(r.words);
            rest = others;
            part.to_vec()
        };
        Ok(reads.iter().map(part).collect())
    }

    /// The status words and `clear` set to zero, then all kernels.
    fn sequence(&self, sizes: Sizes, clear: &[Read]) -> Result<Sequence<'_>, Error> {
        let status = &self.arenas.status;
        let mut sequence = Sequence {
            clear: vec![(status, 0, status.size())],
            dispatches: Vec::new(),
        };
        sequence.clear.extend(self.buffers(clear)?);
        let mut done = 0;
        let of_variant =
            |range: std::ops::Range<usize>| self.kernels[range].iter().filter_map(|k| Dispatch::of(k, sizes));
        for (((_, pipeline, group), groups), after) in self.tail.iter().zip(&self.groups).zip(&self.after) {
            sequence.dispatches.extend(of_variant(done..(*after).max(done)));
            done = done.max(*after);
            sequence.dispatches.extend(Dispatch::groups(pipeline, group, *groups));
        }
        sequence.dispatches.extend(of_variant(done..self.kernels.len()));
        Ok(sequence)
    }

    fn buffers(&self, list: &[Read]) -> Result<Vec<Part<'_>>, Error> {
        let list = list.iter().filter(|r| r.words > 0);
        list.map(|r| Ok((self.buffer(r.memory)?, r.at as u64 * 4, r.words as u64 * 4)))
            .collect()
    }
}
