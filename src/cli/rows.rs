//! Raw rows for commands: logs through the encoder that a bundle carries.

use std::path::Path;

use super::args::RunArgs;
use super::report::Error;
use crate::bundle::Bundle;
use crate::data::LogFiles;
use crate::embeddings;
use crate::recall::{Recall, State};
use crate::resident;
use crate::session;
use crate::tensor::Tensors;

/// The inputs of the rows that the arguments name, a request for each, and the bundle that takes them: the one given, or one
/// that has the log of embeddings beside its weights.
pub(super) fn read(args: &RunArgs, mut bundle: Bundle) -> Result<(Bundle, Tensors), Error> {
    let Some(encoder) = session::encoder(&bundle)? else {
        return Err(Error::Refused(format!(
            "`{}` carries no features: it was trained on columns, and --input takes those",
            args.bundle.display()
        )));
    };
    let beside = || args.log.first().and_then(|log| log.parent()).unwrap_or(Path::new(""));
    let encoder = encoder.in_folder(args.tables.clone().unwrap_or_else(|| beside().to_path_buf()));
    // What cannot go together is said before a row is read.
    let recall = args.past.as_ref().map(|past| recall(past, &bundle)).transpose()?;
    let log = LogFiles::open(encoder.features(), &args.log)?;
    let encoded = encoder.encode_log(&log, args.days)?;
    let past = match &recall {
        None => Tensors::new(),
        Some(recall) if args.resident => {
            let laid = recall.laid(&encoded)?;
            bundle = resident::compile(&bundle, &laid)?;
            Tensors::from([(resident::SPAN.to_owned(), laid.spans)])
        }
        Some(recall) => recall.inputs(&encoded)?,
    };
    let mut inputs = session::inputs(&bundle.manifest, encoded);
    inputs.extend(past);
    Ok((bundle, inputs))
}

/// What is known of the past, from a log or a state.
fn recall(past: &Path, bundle: &Bundle) -> Result<Recall, Error> {
    Ok(match past.is_dir() {
        true => Recall::open(&embeddings::Log::open(past)?, bundle)?,
        false => Recall::of_state(State::load(past)?, bundle)?,
    })
}
