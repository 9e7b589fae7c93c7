//! `compile`: a model becomes a bundle.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{CompileArgs, TuneArgs};
use super::golden::{Bounds, Golden};
use super::load::{Compiled, compiled};
use super::oracle::{self, Oracle};
use super::plan::Plan;
use super::report::{self, Error};
use super::verify::{Verified, against};
use super::{emit, words};
use crate::{import, model};

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    plan: Plan,
    bundle: PathBuf,
    bundle_bytes: u64,
    root: String,
    compile_seconds: f64,
    emitted: Option<emit::Emitted>,
    verified: Option<Oracle>,
    goldens: Option<Verified>,
}

/// Compiles, writes, checks, reports. A bundle that fails a check stays, to be looked at.
pub(super) fn compile(args: &CompileArgs) -> Result<(), Error> {
    let output = output(args)?;
    // What cannot be read or written is known before the work begins.
    let goldens: Vec<Golden> = args
        .golden
        .iter()
        .map(|path| Golden::read(path))
        .collect::<Result<_, _>>()?;
    if let Some(dir) = &args.emit {
        emit::vacant(dir)?;
    }
    let model = model::load(&args.model)?;
    let mut dump = Dump::new(args.dump.as_deref())?;
    let Compiled { mut bundle, took } = compiled(&model, &args.target, &mut |stage, text| dump.stage(stage, text))?;
    dump.finished()?;
    bundle.notes = import::notes(&args.model)?;
    bundle.write(&output)?;
    let emitted = args.emit.as_ref().map(|dir| emit::emit(&bundle, dir)).transpose()?;
    let bounds = Bounds::new(&args.bounds, bundle.manifest.precision);
    let verified = args
        .verify
        .map(|rows| oracle::verify(&model, &bundle, rows as usize, bounds, &args.device))
        .transpose()?;
    let goldens = (!goldens.is_empty())
        .then(|| against(&bundle, &goldens, bounds, &args.device, &TuneArgs::default()))
        .transpose()?;
    let report = Report {
        plan: Plan::of(&bundle),
        bundle_bytes: fs::metadata(&output).map_err(|e| Error::io(&output, e))?.len(),
        root: bundle.root()?,
        bundle: output,
        compile_seconds: took.as_secs_f64(),
        emitted,
        verified,
        goldens,
    };
    report::print(&report, args.format)?;
    report.verified.as_ref().map_or(Ok(()), Oracle::verdict)?;
    report.goldens.as_ref().map_or(Ok(()), Verified::verdict)
}

/// As typed, else named for the model: for its folder where the file's name says no more than `model`.
fn output(args: &CompileArgs) -> Result<PathBuf, Error> {
    if let Some(output) = &args.output {
        // A bundle in place of the model it was made of would be the end of the model.
        let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
        return match same(output, &args.model) {
            true => Err(Error::Usage(format!("--output: `{}` is the model", output.display()))),
            false => Ok(output.clone()),
        };
    }
    let path = args.model.canonicalize().map_err(|e| Error::io(&args.model, e))?;
    let name = |p: &Path| {
        p.file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let folder = path.parent().map(name).unwrap_or_default();
    let mut stem = name(&path);
    if !path.is_dir() {
        for ending in [".json", ".index", ".safetensors"] {
            stem = stem.strip_suffix(ending).map_or(stem.clone(), str::to_owned);
        }
    }
    let stem = if stem == "model" && !folder.is_empty() {
        folder
    } else {
        stem
    };
    Ok(PathBuf::from(format!("{stem}.loopfm")))
}

/// Texts of stages on their way into a folder, written as they come: of a compilation that fails, too.
struct Dump<'a> {
    dir: Option<&'a Path>,
    failed: Option<Error>,
}

impl<'a> Dump<'a> {
    fn new(dir: Option<&'a Path>) -> Result<Self, Error> {
        if let Some(dir) = dir {
            emit::vacant(dir)?;
            fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        }
        Ok(Self { dir, failed: None })
    }

    fn stage(&mut self, name: &str, text: &str) {
        if let (Some(dir), None) = (self.dir, &self.failed) {
            let path = dir.join(emit::file_name(name));
            self.failed = fs::write(&path, text).err().map(|e| Error::io(&path, e));
        }
    }

    fn finished(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)?;
        writeln!(
            f,
            "compiled in {}: {}, {}",
            words::seconds(self.compile_seconds),
            self.bundle.display(),
            words::bytes(self.bundle_bytes)
        )?;
        self.emitted.as_ref().map_or(Ok(()), |e| e.fmt(f))?;
        self.verified.as_ref().map_or(Ok(()), |v| v.fmt(f))?;
        self.goldens.as_ref().map_or(Ok(()), |g| g.fmt(f))
    }
}
