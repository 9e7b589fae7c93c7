//! Compiled kernels that outlive their process, for drivers that keep none themselves.
//!
//! One file for each adapter and set of kernels: what the driver gave out, behind its hash. The driver decides whether it
//! still takes it; nothing here depends on that, and a file that cannot be read or written is a note in the report.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bundle::{Variant, digest};
use crate::container::write_atomically;

use super::Error;
use super::device::Device;

/// A cache of the driver's and the file that it is kept in.
pub(super) struct Pipelines {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    /// What the file held.
    former: Option<Vec<u8>>,
    /// Why it was not taken.
    refused: Option<String>,
}

/// Bytes of a hash.
const HASH: usize = 32;
/// Longest file read.
const MOST: u64 = 1 << 30;

impl Pipelines {
    /// The cache of a variant in a folder; `None` where there is none to be had from the driver.
    pub(super) fn open(device: &Device, variant: &Variant, folder: &Path) -> Result<Option<Self>, Error> {
        let gpu = device.wgpu();
        if !gpu.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Ok(None);
        }
        let Some(key) = wgpu::util::pipeline_cache_key(&gpu.adapter_info()) else {
            return Ok(None);
        };
        let texts: Vec<&str> = variant.kernels.iter().map(|k| k.wgsl.as_str()).collect();
        let of = digest(texts.join(" ").as_bytes());
        let path = folder.join(format!("{key}-{}", &of[..16]));
        let (former, refused) = match read(&path) {
            Ok(former) => (former, None),
            Err(why) => (None, Some(why)),
        };
        let cache = device.guarded("open a cache of pipelines", || create(gpu, former.as_deref()))?;
        Ok(Some(Self {
            cache,
            path,
            former,
            refused,
        }))
    }

    pub(super) fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes what has come since the file was read; says what became of it.
    pub(super) fn keep(&self) -> String {
        let path = self.path.display();
        let before = match &self.refused {
            Some(why) => format!("`{path}`: {why}; made anew, "),
            None => String::new(),
        };
        let data = self.cache.get_data().unwrap_or_default();
        if self.former.as_ref() == Some(&data) {
            return format!("compiled kernels from `{path}`");
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder).and_then(|()| {
            write_atomically(&self.path, |file| {
                file.write_all(blake3::hash(&data).as_bytes())?;
                file.write_all(&data)
            })
        });
        match written {
            Ok(()) => format!("{before}compiled kernels kept in `{path}`"),
            Err(e) => format!("{before}compiled kernels not kept: `{path}`: {e}"),
        }
    }
}

/// What the driver once gave out; `None` if there is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let length = match fs::metadata(path) {
        Ok(file) => file.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    if length > MOST {
        return Err(format!("{length} bytes are more than a cache has"));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    match bytes.split_at_checked(HASH) {
        Some((hash, data)) if blake3::hash(data).as_bytes() == hash => Ok(Some(data.to_vec())),
        _ => Err("damaged".to_owned()),
    }
}

#[allow(
    unsafe_code,
    reason = "the driver takes these bytes as its own; they lie behind a hash that was made when it gave them out"
)]
fn create(gpu: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    // SAFETY: `read` gives only bytes that hash as `Pipelines::keep` wrote them, which came from `get_data`; wgpu itself
    // compares adapter and driver before it hands them on. Whoever can write that folder could forge both, as they could
    // the program itself: it must be no more writable than that.
    unsafe {
        gpu.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
            label: Some("loopfm"),
            data,
            fallback: true,
        })
    }
}
