//! Staging memory: a few slots, so that one batch is copied in and another one out while a third computes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use super::Error;
use super::buffers::{Layout, buffer};
use super::device::{Device, Mapping};

/// One being filled, one computing, one being read.
const SLOTS: usize = 3;

/// Staging memory for one batch under way.
pub(super) struct Staging {
    /// The input arena, then the sizes.
    pub(super) upload: wgpu::Buffer,
    /// Outputs one after the other, then the status words.
    pub(super) download: wgpu::Buffer,
    uploading: State,
    downloading: State,
}

/// What a staging buffer is to the host.
enum State {
    Unmapped,
    Asked(Mapping),
    Mapped,
}

impl State {
    fn wait(&mut self, device: &Device, doing: &str) -> Result<(), Error> {
        if let Self::Asked(mapping) = self {
            device.mapped(mapping, doing)?;
            *self = Self::Mapped;
        }
        Ok(())
    }
}

impl Staging {
    fn new(device: &Device, layout: &Layout) -> Result<Self, Error> {
        use wgpu::BufferUsages as U;
        let upload = buffer(device, "upload", layout.inputs_bytes + 16, U::MAP_WRITE | U::COPY_SRC)?;
        let download = buffer(device, "download", layout.download_bytes(), U::MAP_READ | U::COPY_DST)?;
        let uploading = device.guarded("map upload", || Mapping::start(&upload, wgpu::MapMode::Write))?;
        Ok(Self {
            upload,
            download,
            uploading: State::Asked(uploading),
            downloading: State::Unmapped,
        })
    }

    /// Waits until the upload can be written and nothing of an abandoned batch is left.
    pub(super) fn ready(&mut self, device: &Device) -> Result<(), Error> {
        self.downloaded(device)?;
        self.release(device)?;
        self.uploading.wait(device, "map upload")
    }

    /// Gives the upload to the device; no views of it may be left.
    pub(super) fn close(&mut self) {
        self.upload.unmap();
        self.uploading = State::Unmapped;
    }

    /// Asks for both buffers back, after the submission that uses them.
    pub(super) fn reopen(&mut self) {
        self.uploading = State::Asked(Mapping::start(&self.upload, wgpu::MapMode::Write));
        self.downloading = State::Asked(Mapping::start(&self.download, wgpu::MapMode::Read));
    }

    /// Waits until the download can be read.
    pub(super) fn downloaded(&mut self, device: &Device) -> Result<(), Error> {
        self.downloading.wait(device, "map download")
    }

    /// Gives the download to the device; no views of it may be left.
    pub(super) fn release(&mut self, device: &Device) -> Result<(), Error> {
        if let State::Mapped = self.downloading {
            device.guarded("unmap download", || self.download.unmap())?;
            self.downloading = State::Unmapped;
        }
        Ok(())
    }
}

/// The staging slots of a session.
pub(super) struct Pool {
    free: Mutex<VecDeque<Staging>>,
    returned: Condvar,
}

impl Pool {
    pub(super) fn new(device: &Device, layout: &Layout) -> Result<Self, Error> {
        let slots = (0..SLOTS)
            .map(|_| Staging::new(device, layout))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            free: Mutex::new(slots),
            returned: Condvar::new(),
        })
    }

    /// A slot, if one is free.
    pub(super) fn try_take(&self) -> Option<Lease<'_>> {
        let staging = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        Some(Lease {
            pool: self,
            staging: Some(staging),
        })
    }

    /// A slot, as soon as one is free. Whoever holds one must not wait here.
    pub(super) fn take(&self) -> Lease<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.returned.wait_while(free, |free| free.is_empty());
        let mut free = waiting.unwrap_or_else(PoisonError::into_inner);
        Lease {
            pool: self,
            staging: free.pop_front(),
        }
    }
}

/// A slot on loan.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    staging: Option<Staging>,
}

impl Lease<'_> {
    pub(super) fn staging(&mut self) -> &mut Staging {
        self.staging
            .as_mut()
            .expect("a lease holds its slot until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(self.staging.take());
        self.pool.returned.notify_one();
    }
}
