//! What may be typed of logs, embeddings and the loop.

use std::path::PathBuf;

use clap::Parser;

use super::args::{DeviceArgs, FormatArgs, TuneArgs};
#[cfg(all(feature = "data", feature = "train"))]
use super::values::KeyArg;
#[cfg(feature = "data")]
use crate::embeddings::Form;

/// Run the whole loop on a log, with every control beside every claim.
#[cfg(all(feature = "data", feature = "train"))]
#[derive(Debug, Parser)]
pub(super) struct LoopArgs {
    /// Declaration: log, split, models, variants, as TOML.
    pub(super) spec: PathBuf,
    /// Folder of the log's files [default: that of the declaration].
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Folder of the report, and of trainings that are finished: those are not done again.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Trainings at once [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) threads: Option<u32>,
    /// Also write what the foundation models leave as logs of embeddings: `embeddings/fm-SEED` in that folder.
    #[arg(long)]
    pub(super) log: bool,
    /// Seeds 0 to N - 1 instead of those declared.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) seeds: Option<u32>,
    /// These variants instead of those declared, `vm` always among them.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) variants: Vec<KeyArg>,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Run the loop on the sample of real impressions in the repository: a table and a report in minutes, without a GPU.
#[cfg(all(feature = "data", feature = "train"))]
#[derive(Debug, Parser)]
pub(super) struct DemoArgs {
    /// Folder of the report, and of trainings that are finished: those are not done again.
    #[arg(short, long, value_name = "DIR", default_value = "loopfm-demo")]
    pub(super) out: PathBuf,
    /// Folder of the sample [default: `models/kuairand-loop/sample`, here or above].
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Trainings at once [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) threads: Option<u32>,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Run a foundation model over a log and keep what it leaves of every impression.
#[cfg(feature = "data")]
#[derive(Debug, Parser)]
pub(super) struct ExtractArgs {
    /// Bundle of the foundation model, compiled from a model that bears its features and its training's end.
    pub(super) bundle: PathBuf,
    /// Files of the log: paths, folders, patterns.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub(super) log: Vec<PathBuf>,
    /// Folder of side tables [default: that of the first file of the log].
    #[arg(long, value_name = "DIR")]
    pub(super) tables: Option<PathBuf>,
    /// Days of the log, such as 20220505..20220508 [default: all].
    #[arg(long, value_name = "DAYS")]
    pub(super) days: Option<crate::data::Days>,
    /// Folder of the embeddings, made where it is not there; an extraction that was ended goes on.
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Outputs of the model that are kept, side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "embedding")]
    pub(super) layers: Vec<String>,
    /// How they are stored: f32, f16, int8, int4 (for numbers within -1 and 1, as an autoencoder's code) or kmeans4. The
    /// scale of int8 and the centres of kmeans4 are fitted to the first rows.
    #[arg(long, value_name = "STORAGE", default_value_t = Form::F16)]
    pub(super) storage: Form,
    /// Rows of a segment.
    #[arg(long, value_name = "N", default_value_t = 1 << 18, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) segment: u32,
    /// When the model's training ended, ms since 1970, for a bundle that does not say.
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub(super) cutoff: Option<i64>,
    /// Take days, too, that the model has learnt from, and why; the embeddings bear these words.
    #[arg(long, value_name = "WORDS")]
    pub(super) allow_leak: Option<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) tune: TuneArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}
