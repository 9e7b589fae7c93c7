//! Raw rows for commands: logs through the encoder that a bundle carries.

use std::path::Path;

use super::args::RunArgs;
use super::report::Error;
use crate::bundle::Bundle;
use crate::data::LogFiles;
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
    let log = LogFiles::open(encoder.features(), &args.log)?;
    Ok(session::inputs(&bundle.manifest, encoder.encode_log(&log, args.days)?))
}
