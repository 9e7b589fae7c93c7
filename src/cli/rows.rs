//! Raw rows for commands: logs through the encoder that a bundle carries.

use std::path::{Path, PathBuf};

use super::args::RunArgs;
use super::report::Error;
use crate::bundle::Bundle;
use crate::data::LogFiles;
use crate::embeddings;
use crate::recall::Recall;
use crate::session;
use crate::tensor::Tensors;

/// The inputs of the rows that the arguments name, a request for each.
pub(super) fn read(args: &RunArgs, bundle: &Bundle) -> Result<Tensors, Error> {
    let Some(encoder) = session::encoder(bundle)? else {
        return Err(Error::Refused(format!(
            "`{}` carries no features: it was trained on columns, and --input takes those",
            args.bundle.display()
        )));
    };
    let beside = || args.log.first().and_then(|log| log.parent()).unwrap_or(Path::new(""));
    let encoder = encoder.in_folder(args.tables.clone().unwrap_or_else(|| beside().to_path_buf()));
    // What cannot go together is said before a row is read.
    let open = |dir: &PathBuf| Recall::open(&embeddings::Log::open(dir)?, bundle);
    let recall = args.past.as_ref().map(open).transpose()?;
    let log = LogFiles::open(encoder.features(), &args.log)?;
    let encoded = encoder.encode_log(&log, args.days)?;
    let past = recall.map_or(Ok(Tensors::new()), |recall| recall.inputs(&encoded))?;
    let mut inputs = session::inputs(&bundle.manifest, encoded);
    inputs.extend(past);
    Ok(inputs)
}
