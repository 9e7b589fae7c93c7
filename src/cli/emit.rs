//! `compile --emit`: a bundle as a folder of files that people and other tools read.
//!
//! The folder appears whole or not at all.

use std::fmt;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::report::Error;
use super::translate::LANGUAGES;
use super::{batch, words};
use crate::bundle::{Bundle, Kernel};
use crate::wgsl;

/// What was written.
#[derive(Debug, Serialize)]
pub(super) struct Emitted {
    dir: PathBuf,
    kernels: usize,
    /// `FILE: why`, for each kernel and language that naga does not translate.
    refused: Vec<String>,
}

/// Refuses a folder that holds something: what is there belongs to somebody.
pub(super) fn vacant(dir: &Path) -> Result<(), Error> {
    let held = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(Error::io(dir, e)),
    };
    match held {
        true => Err(Error::Refused(format!("folder `{}` is not empty", dir.display()))),
        false => Ok(()),
    }
}

/// A name that is one on every file system.
pub(super) fn file_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}

/// Writes the files beside `dir` and puts them in its place.
pub(super) fn emit(bundle: &Bundle, dir: &Path) -> Result<Emitted, Error> {
    vacant(dir)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let making = dir.with_file_name(format!(".{name}.{}", std::process::id()));
    let done = fill(bundle, &making).and_then(|emitted| {
        // An empty folder gives way to a full one.
        fs::rename(&making, dir).map_err(|e| Error::io(dir, e))?;
        Ok(Emitted {
            dir: dir.to_path_buf(),
            ..emitted
        })
    });
    if done.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&making);
    }
    done
}

fn fill(bundle: &Bundle, dir: &Path) -> Result<Emitted, Error> {
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let mut manifest = serde_json::to_string_pretty(&bundle.manifest).map_err(|e| Error::Bug(e.to_string()))?;
    manifest.push('\n');
    put(dir, "manifest.json", manifest)?;
    put(dir, "graph.ir", &bundle.graph)?;
    batch::write_stored(&dir.join("weights.safetensors"), &bundle.weights)?;
    let mut emitted = Emitted {
        dir: dir.to_path_buf(),
        kernels: 0,
        refused: Vec::new(),
    };
    for variant in &bundle.manifest.variants {
        let folder = format!("{}-{}", file_name(&variant.profile), variant.rung.name());
        let path = dir.join(&folder);
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        for kernel in &variant.kernels {
            let refused = write_kernel(bundle, kernel, &path)?;
            emitted.kernels += 1;
            emitted
                .refused
                .extend(refused.iter().map(|why| format!("{folder}/{why}")));
        }
    }
    put(dir, "README", readme(bundle, &emitted))?;
    Ok(emitted)
}

/// Writes a kernel in every language that can say it; says which cannot, and why.
fn write_kernel(bundle: &Bundle, kernel: &Kernel, dir: &Path) -> Result<Vec<String>, Error> {
    let name = file_name(&kernel.name);
    let text = bundle.wgsl.get(&kernel.wgsl);
    let text = text.ok_or_else(|| Error::Bug(format!("kernel `{}` has no text", kernel.name)))?;
    put(dir, &format!("{name}.wgsl"), text)?;
    let (module, info) = wgsl::module(&kernel.name, text).map_err(|e| Error::Bug(e.to_string()))?;
    let mut refused = Vec::new();
    for (ending, translate) in LANGUAGES {
        let file = format!("{name}.{ending}");
        match translate(&module, &info) {
            Ok(bytes) => put(dir, &file, bytes)?,
            Err(why) => refused.push(format!("{file}: {}", why.lines().next().unwrap_or_default())),
        }
    }
    Ok(refused)
}

fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    let path = dir.join(name);
    fs::write(&path, bytes).map_err(|e| Error::io(&path, e))
}

fn readme(bundle: &Bundle, emitted: &Emitted) -> String {
    let mut text = format!(
        "`{}` as compiled by {}: what the bundle holds, to be read; only the bundle itself runs.\n\n\
         manifest.json        ports, id checks, variants, placement of weights\n\
         graph.ir             the simplified graph\n\
         weights.safetensors  weights as stored\n\
         PROFILE-RUNG/        kernels in order: WGSL as the bundle has it, and what naga makes of it for Vulkan (spv),\n\
         \x20                    Metal, Direct3D (hlsl) and OpenGL ES 3.1 (glsl)\n",
        bundle.manifest.model, bundle.manifest.tool
    );
    if !emitted.refused.is_empty() {
        text.push_str("\nNot translated, and why:\n");
        for line in &emitted.refused {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

impl fmt::Display for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        write!(f, "emitted {} to {dir}", words::many(self.kernels, "kernel", "kernels"))?;
        match self.refused.len() {
            0 => writeln!(f),
            n => writeln!(
                f,
                "; {} missing, {dir}/README says why",
                words::many(n, "translation", "translations")
            ),
        }
    }
}
