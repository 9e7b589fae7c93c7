//! Tensors into staging memory and out of it.

use std::borrow::Cow;

use crate::bundle::Space;
use crate::tensor::{DType, Data, HostTensor, Sizes, Tensors};

use super::buffers::{Layout, Place};
use super::device::Device;
use super::{Batch, Chunk, Error, Problem, REQUEST_OF_ROW};

/// Copies a chunk's inputs and sizes to where an upload has them.
pub(super) fn write_chunk(
    device: &Device,
    layout: &Layout,
    batch: &Batch<'_>,
    chunk: &Chunk,
    upload: &wgpu::Buffer,
) -> Result<(), Error> {
    let mut view = writable(device, upload)?;
    for (i, place) in layout.inputs.iter().enumerate() {
        if place.port.name == REQUEST_OF_ROW {
            write(
                &mut view,
                place.staged,
                bytemuck::cast_slice(&batch.request_of_row(chunk)),
            );
        } else if let Some(tensor) = batch.input(i) {
            for (at, range) in chunk.runs(place.port.space) {
                let width = place.width();
                let elements = range.start * width..range.end * width;
                let at = place.staged + at as u64 * place.stride;
                match &tensor.data {
                    Data::F32(v) => write(&mut view, at, bytemuck::cast_slice(&v[elements])),
                    Data::I32(v) => write(&mut view, at, bytemuck::cast_slice(&v[elements])),
                    Data::Bool(v) => write_bools(&mut view, at, &v[elements]),
                }
            }
        }
    }
    write(
        &mut view,
        layout.inputs_bytes,
        bytemuck::cast_slice(&layout.words(chunk.sizes())),
    );
    Ok(())
}

/// Writes sizes alone, and the mapping of rows to requests where the caller left it to us.
pub(super) fn write_sizes(
    device: &Device,
    layout: &Layout,
    sizes: Sizes,
    mapping: Option<&[i32]>,
    upload: &wgpu::Buffer,
) -> Result<(), Error> {
    let mut view = writable(device, upload)?;
    let place = layout.inputs.iter().find(|place| place.port.name == REQUEST_OF_ROW);
    if let (Some(place), Some(mapping)) = (place, mapping) {
        write(&mut view, place.staged, bytemuck::cast_slice(mapping));
    }
    write(
        &mut view,
        layout.inputs_bytes,
        bytemuck::cast_slice(&layout.words(sizes)),
    );
    Ok(())
}

fn writable(device: &Device, buffer: &wgpu::Buffer) -> Result<wgpu::BufferViewMut, Error> {
    buffer.get_mapped_range_mut(..).map_err(|e| unmapped(device, &e))
}

/// A view of a buffer that has been mapped for reading.
pub(super) fn mapped(device: &Device, buffer: &wgpu::Buffer) -> Result<wgpu::BufferView, Error> {
    buffer.get_mapped_range(..).map_err(|e| unmapped(device, &e))
}

fn unmapped(device: &Device, e: &wgpu::MapRangeError) -> Error {
    let doing = "open staging memory";
    match device.alive(doing) {
        Err(lost) => lost,
        Ok(()) => Error::Bug {
            doing: doing.into(),
            message: e.to_string(),
        },
    }
}

fn write(view: &mut wgpu::BufferViewMut, at: u64, bytes: &[u8]) {
    let at = at as usize;
    view.slice(at..at + bytes.len()).copy_from_slice(bytes);
}

fn write_bools(view: &mut wgpu::BufferViewMut, at: u64, bools: &[bool]) {
    let mut words = [0u32; 256];
    for (i, part) in bools.chunks(words.len()).enumerate() {
        for (word, &b) in words.iter_mut().zip(part) {
            *word = u32::from(b);
        }
        let at = at + 4 * (i * words.len()) as u64;
        write(view, at, bytemuck::cast_slice(&words[..part.len()]));
    }
}

impl Place {
    /// Elements per row or request.
    pub(super) fn width(&self) -> usize {
        (self.stride / 4) as usize
    }
}

impl Layout {
    /// What kernels see of a batch's sizes.
    pub(super) fn words(&self, sizes: Sizes) -> [u32; 4] {
        // A chunk is no larger than the capacities, which are u32.
        [
            sizes.rows as u32,
            sizes.requests as u32,
            self.capacity.rows,
            self.capacity.requests,
        ]
    }

    /// Checks that a batch fits without being split.
    pub(super) fn room(&self, sizes: Sizes) -> Result<(), Error> {
        let counts = [
            (sizes.rows, self.capacity.rows, "rows"),
            (sizes.requests, self.capacity.requests, "requests"),
        ];
        match counts.into_iter().find(|&(count, room, _)| count > room as usize) {
            None => Ok(()),
            Some((count, room, unit)) => Err(Error::Limit {
                what: "a batch on the device".into(),
                needed: count as u64,
                allowed: room.into(),
                unit,
                limit: "capacity",
            }),
        }
    }

    /// The mapping of rows to requests, if the model has one and the caller gives none. All other inputs must be given.
    pub(super) fn implied(&self, given: &[(&str, &wgpu::Buffer)], sizes: Sizes) -> Result<Option<Vec<i32>>, Error> {
        let absent = |place: &&Place| given.iter().all(|(name, _)| *name != place.port.name);
        let mut missing = Vec::new();
        let mut implied = None;
        for place in self.inputs.iter().filter(absent) {
            if place.port.name != REQUEST_OF_ROW {
                missing.push(Problem::Missing {
                    input: place.port.name.clone(),
                });
            } else if sizes.requests == 1 {
                implied = Some(vec![0; sizes.rows]);
            } else if sizes.requests == sizes.rows {
                implied = Some((0..).take(sizes.rows).collect());
            } else {
                missing.push(Problem::Unmapped {
                    input: REQUEST_OF_ROW,
                    rows: sizes.rows,
                    requests: sizes.requests,
                });
            }
        }
        if missing.is_empty() {
            Ok(implied)
        } else {
            Err(Error::Batch(missing))
        }
    }
}

/// Outputs of a batch being put together from its parts.
pub(super) struct Sink<'p> {
    places: &'p [Place],
    tensors: Vec<HostTensor>,
}

impl<'p> Sink<'p> {
    /// Room for the outputs of a whole batch.
    pub(super) fn new(places: &'p [Place], sizes: Sizes) -> Self {
        let tensors = places.iter().map(|place| {
            let count = match place.port.space {
                Space::Rows => sizes.rows,
                Space::Requests => sizes.requests,
            };
            let n = count * place.width();
            let inner = place.port.shape.iter().map(|&n| n as usize);
            let shape: Vec<usize> = std::iter::once(count * place.port.factor as usize)
                .chain(inner)
                .collect();
            match place.port.dtype {
                DType::F32 => HostTensor::f32(&shape, vec![0.0; n]),
                DType::I32 => HostTensor::i32(&shape, vec![0; n]),
                DType::Bool => HostTensor::bool(&shape, vec![false; n]),
            }
        });
        Self {
            tensors: tensors.collect(),
            places,
        }
    }

    /// The outputs by name.
    pub(super) fn into_tensors(self) -> Tensors {
        let names = self.places.iter().map(|place| place.port.name.clone());
        names.zip(self.tensors).collect()
    }

    /// Copies a chunk's outputs out of a download.
    pub(super) fn take(&mut self, chunk: &Chunk, download: &[u8]) {
        for (place, tensor) in self.places.iter().zip(&mut self.tensors) {
            let width = place.width();
            for (at, range) in chunk.runs(place.port.space) {
                let start = place.staged as usize + at * width * 4;
                let bytes = &download[start..start + range.len() * width * 4];
                let elements = range.start * width..range.end * width;
                match &mut tensor.data {
                    Data::F32(v) => bytemuck::cast_slice_mut(&mut v[elements]).copy_from_slice(bytes),
                    Data::I32(v) => bytemuck::cast_slice_mut(&mut v[elements]).copy_from_slice(bytes),
                    Data::Bool(v) => {
                        for (b, word) in v[elements].iter_mut().zip(bytes.chunks_exact(4)) {
                            *b = word != [0; 4];
                        }
                    }
                }
            }
        }
    }

    /// Says where a chunk's non-finite values show.
    pub(super) fn locate(&self, error: Error, chunk: &Chunk) -> Error {
        let Error::NonFinite { rows, .. } = error else {
            return error;
        };
        let first = |(place, tensor): (&Place, &HostTensor)| {
            let values = tensor.as_f32()?;
            let width = place.width();
            let mut rows = chunk.runs(place.port.space).into_iter().flat_map(|(_, range)| range);
            let row = rows.find(|row| values[row * width..(row + 1) * width].iter().any(|x| !x.is_finite()))?;
            Some((place.port.name.clone(), row))
        };
        let at = self.places.iter().zip(&self.tensors).find_map(first);
        Error::NonFinite { rows, at }
    }
}

/// What the status words of a download complain of.
pub(super) fn read_status(layout: &Layout, tables: &[String], download: &[u8], first_row: usize) -> Result<(), Error> {
    let start = layout.status_at as usize;
    let bytes = &download[start..start + layout.status_words * 4];
    let words: Cow<'_, [u32]> = match bytemuck::try_cast_slice(bytes) {
        Ok(words) => Cow::Borrowed(words),
        Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
    };
    let (&non_finite, indices) = words.split_first().unwrap_or((&0, &[]));
    // A wrong index explains whatever else is wrong.
    if let Some((&word, table)) = indices.iter().zip(tables).find(|(word, _)| **word > 0) {
        return Err(Error::ComputedIndex {
            row: first_row + word as usize - 1,
            table: table.clone(),
        });
    }
    match non_finite {
        0 => Ok(()),
        rows => Err(Error::NonFinite { rows, at: None }),
    }
}
