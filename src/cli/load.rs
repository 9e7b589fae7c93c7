//! Files that commands read: bundles, models, and either of them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::args::TargetArgs;
use super::report::Error;
use crate::bundle::{self, Bundle, Precision};
use crate::compile::{Observer, Options, compile_observed};
use crate::model::{self, Model};
use crate::{container, import};

/// A compiled model and how long that took.
pub(super) struct Compiled {
    pub(super) bundle: Bundle,
    pub(super) took: Duration,
}

/// Whether a file is a model, or none of ours at all, rather than a bundle with or without faults: one metadata key of a
/// bundle may be damaged, not all.
fn is_model(path: &Path) -> bool {
    let keys = ["loopfm.manifest", "loopfm.hashes", "loopfm.root"];
    let has_none =
        |metadata: &std::collections::BTreeMap<String, String>| keys.iter().all(|k| !metadata.contains_key(*k));
    path.is_dir()
        || path.extension().is_some_and(|e| e == "json")
        || container::Reader::open(path).is_ok_and(|r| has_none(&r.header.metadata))
}

/// Reads a bundle.
pub(super) fn bundle(path: &Path) -> Result<Bundle, Error> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if is_model(path) {
        let what = if metadata.is_dir() { "a folder" } else { "no bundle" };
        return Err(Error::Refused(format!(
            "`{}` is {what}: `loopfm-compile` makes bundles of models",
            path.display()
        )));
    }
    Ok(Bundle::read(path)?)
}

/// Reads a bundle, or compiles a model.
pub(super) fn bundle_or_model(path: &Path, target: &TargetArgs) -> Result<Bundle, Error> {
    std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if is_model(path) {
        let model = model::load(path)?;
        let mut bundle = compiled(&model, target, &mut |_, _| {})?.bundle;
        bundle.notes = import::notes(path)?;
        return Ok(bundle);
    }
    if target.precision.is_some() || !target.profile.is_empty() {
        let path = path.display();
        return Err(Error::Usage(format!(
            "--precision and --profile are for models, `{path}` is compiled already"
        )));
    }
    Ok(Bundle::read(path)?)
}

/// Compiles a model for a target.
pub(super) fn compiled(model: &Model, target: &TargetArgs, observe: &mut Observer) -> Result<Compiled, Error> {
    let start = Instant::now();
    let mut options = Options::new(target.precision.map_or(Precision::F16, Precision::from));
    if !target.profile.is_empty() {
        // In the order of preference, each once, however they were typed.
        options.profiles.retain(|p| target.profile.contains(p));
    }
    let bundle = compile_observed(&model.name, &model.graph, &model.weights, &options, observe)?;
    // What contradicts itself is not to be run or written.
    bundle.root().map_err(as_bug)?;
    Ok(Compiled {
        bundle,
        took: start.elapsed(),
    })
}

fn as_bug(e: bundle::Error) -> Error {
    Error::Bug(format!("the compiled bundle is unsound: {e}"))
}
