//! What may be typed.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::fuse::Profile;
use crate::run::AdapterQuery;

#[cfg(feature = "data")]
pub(super) use super::loop_args::ExtractArgs;
#[cfg(all(feature = "data", feature = "train"))]
pub(super) use super::loop_args::{DemoArgs, LoopArgs};
pub(super) use super::values::{DeviceArg, PrecisionArg, VariantArg};
use super::values::{adapter, bound, profile, seconds};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 input refused or bound exceeded, 2 usage, 3 device cannot, \
4 out of memory or disk, 5 corrupt file, 6 version, 7 device lost, 8 locked by another, 70 a bug of loopfm";

/// Compiles trained recommender weights to fused WGSL kernels and runs them on any GPU, or on the CPU.
#[derive(Debug, Parser)]
#[command(name = "loopfm", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(super) struct Loopfm {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Compile(CompileArgs),
    Run(RunArgs),
    Verify(VerifyArgs),
    Inspect(InspectArgs),
    Bench(BenchArgs),
    Adapters(AdaptersArgs),
    #[cfg(feature = "data")]
    History(super::history::HistoryArgs),
    #[cfg(feature = "data")]
    Log(super::log::LogArgs),
    #[cfg(feature = "train")]
    Train(TrainArgs),
    #[cfg(all(feature = "data", feature = "train"))]
    Loop(LoopArgs),
    #[cfg(all(feature = "data", feature = "train"))]
    Demo(DemoArgs),
    #[cfg(feature = "data")]
    Extract(ExtractArgs),
}

/// Compile a model to a bundle.
#[derive(Debug, Parser)]
#[command(name = "loopfm-compile", version, after_help = EXIT_CODES)]
pub(super) struct CompileArgs {
    /// Model: a safetensors file, a folder that holds one, or an index.json of shards.
    pub(super) model: PathBuf,
    /// Bundle to write [default: the model's name in the current folder].
    #[arg(short, long, value_name = "OUT.loopfm")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Also write the bundle as readable files, kernels in SPIR-V, MSL, HLSL and GLSL too.
    #[arg(long, value_name = "DIR")]
    pub(super) emit: Option<PathBuf>,
    /// Write every stage of the compilation as text.
    #[arg(long, value_name = "DIR")]
    pub(super) dump: Option<PathBuf>,
    /// Compare N random rows on the CPU and on the GPU, if there is one, with the interpreter in f64.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) verify: Option<u32>,
    /// Run the batch of a golden file and compare.
    #[arg(long, value_name = "IO.safetensors")]
    pub(super) golden: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) bounds: BoundArgs,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Run a batch through a bundle.
#[derive(Debug, Parser)]
pub(super) struct RunArgs {
    /// Bundle.
    pub(super) bundle: PathBuf,
    /// Batch: tensors named as the inputs, or `in.NAME` as in golden files.
    #[cfg_attr(
        feature = "data",
        arg(short, long, value_name = "BATCH.safetensors", required_unless_present = "log")
    )]
    #[cfg_attr(
        not(feature = "data"),
        arg(short, long, value_name = "BATCH.safetensors", required = true)
    )]
    pub(super) input: Option<PathBuf>,
    /// Raw rows instead of a batch: logs (Parquet, CSV), folders or patterns, for bundles that carry their features.
    #[cfg(feature = "data")]
    #[arg(long, value_name = "LOG", num_args = 1.., conflicts_with = "input")]
    pub(super) log: Vec<PathBuf>,
    /// Days of the log, such as 20220506..20220508 [default: all].
    #[cfg(feature = "data")]
    #[arg(long, value_name = "DAYS", requires = "log")]
    pub(super) days: Option<crate::data::Days>,
    /// Folder of the log's side tables [default: that of the log].
    #[cfg(feature = "data")]
    #[arg(long, value_name = "DIR", requires = "log")]
    pub(super) tables: Option<PathBuf>,
    /// Embeddings of past events: a log, as `loopfm extract` writes it, or a state, as `loopfm history state` does. Rows see
    /// those of their user, strictly before.
    #[cfg(feature = "data")]
    #[arg(long, value_name = "LOG|STATE", requires = "log")]
    pub(super) past: Option<PathBuf>,
    /// Put the log of embeddings on the device beside the weights: kernels read it themselves, batches bring eight bytes a row
    /// instead of embeddings.
    #[cfg(feature = "data")]
    #[arg(long, requires = "past")]
    pub(super) resident: bool,
    /// Where to write the outputs.
    #[arg(short, long, value_name = "OUT.safetensors")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) tune: TuneArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Compare a bundle, or a model compiled on the spot, with golden outputs.
#[derive(Debug, Parser)]
pub(super) struct VerifyArgs {
    /// Bundle or model.
    pub(super) bundle: PathBuf,
    /// Golden file: tensors `in.NAME`, `out.NAME` and, if there are labels, `label`.
    #[arg(long, value_name = "IO.safetensors", required = true)]
    pub(super) golden: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) bounds: BoundArgs,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) tune: TuneArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Say what a bundle holds.
#[derive(Debug, Parser)]
pub(super) struct InspectArgs {
    /// Bundle.
    pub(super) bundle: PathBuf,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Measure throughput and latency.
#[derive(Debug, Parser)]
pub(super) struct BenchArgs {
    /// Bundle.
    pub(super) bundle: PathBuf,
    /// Rows (candidates) of a batch.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(super) rows: u32,
    /// Requests of a batch, sharing its rows evenly.
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(super) requests: u32,
    /// Run this batch instead of a random one.
    #[arg(long, value_name = "BATCH.safetensors", conflicts_with_all = ["rows", "requests"])]
    pub(super) input: Option<PathBuf>,
    /// Seed of the random batch.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(super) seed: u64,
    /// Seconds to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub(super) duration: f64,
    /// Batches to measure at least.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) iterations: u32,
    /// Batches to run before measuring.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) warmup: u32,
    /// Time each kernel by the device's own clock, beside what the device was measured to do at most.
    #[arg(long)]
    pub(super) profile: bool,
    /// Draw that: kernels below the roof of arithmetic and memory.
    #[arg(long, value_name = "ROOFLINE.svg", requires = "profile")]
    pub(super) roofline: Option<PathBuf>,
    /// Write the times of every batch.
    #[arg(long, value_name = "TIMES.json")]
    pub(super) export: Option<PathBuf>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) tune: TuneArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// List GPU adapters, best first.
#[derive(Debug, Parser)]
pub(super) struct AdaptersArgs {
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Train a model.
#[cfg(feature = "train")]
#[derive(Debug, Parser)]
pub(super) struct TrainArgs {
    /// Specification: model, data, optimiser, loss, as TOML.
    pub(super) spec: PathBuf,
    /// Data to train on: safetensors or Parquet files of columns named as the model's inputs, and labels, or logs of raw
    /// rows (Parquet, CSV) where the specification names `features`; several files in the order of time.
    #[arg(long, value_name = "DATA", required = true, num_args = 1..)]
    pub(super) train: Vec<PathBuf>,
    /// Data to choose the best weights by.
    #[arg(long, value_name = "DATA", num_args = 1..)]
    pub(super) valid: Vec<PathBuf>,
    /// Folder of the run [default: the specification's name with `.run`, in the current folder].
    #[arg(short, long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Go on from the folder's checkpoint.
    #[arg(long)]
    pub(super) resume: bool,
    /// Where steps run: `auto` takes the best GPU, else the CPU, and says why. Validations score on the CPU.
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t)]
    pub(super) device: DeviceArg,
    /// GPU by its place in `loopfm adapters`, or by a part of its name.
    #[arg(long, value_name = "INDEX|NAME", value_parser = adapter)]
    pub(super) adapter: Option<AdapterQuery>,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// What to compile for.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// Storage of weights [default: f16].
    #[arg(long, value_name = "PRECISION", value_enum)]
    pub(super) precision: Option<PrecisionArg>,
    /// Device profile to plan for; may be given several times [default: all].
    #[arg(long, value_name = "NAME", value_parser = profile)]
    pub(super) profile: Vec<&'static Profile>,
}

/// How far from the reference is too far.
#[derive(Debug, Args)]
pub(super) struct BoundArgs {
    /// Greatest error, over the reference's greatest value [default: 5e-3 for f16, 2e-5 for f32].
    #[arg(long, value_name = "X", value_parser = bound)]
    pub(super) max_error: Option<f64>,
    /// Greatest absolute error.
    #[arg(long, value_name = "X", value_parser = bound)]
    pub(super) max_abs: Option<f64>,
    /// Greatest difference of AUC, where there are labels.
    #[arg(long, value_name = "X", value_parser = bound)]
    pub(super) max_auc_difference: Option<f64>,
}

/// Where to run.
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    /// `auto` takes the best GPU, else the CPU, and says why.
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t)]
    pub(super) device: DeviceArg,
    /// GPU by its place in `loopfm adapters`, or by a part of its name.
    #[arg(long, value_name = "INDEX|NAME", value_parser = adapter)]
    pub(super) adapter: Option<AdapterQuery>,
    /// Set of kernels, on a GPU: `PROFILE/RUNG`, `PROFILE` or `RUNG` (native, packed, f32).
    #[arg(long, value_name = "PROFILE/RUNG", value_parser = VariantArg::from_str)]
    pub(super) variant: Option<VariantArg>,
    /// Keep compiled kernels in this folder for the next process, where the driver gives them out.
    #[arg(long, value_name = "DIR")]
    pub(super) pipelines: Option<PathBuf>,
}

/// Whether to measure which set of kernels is the fastest.
#[derive(Debug, Default, Args)]
pub(super) struct TuneArgs {
    /// On a GPU: before anything else, compare the outputs of each set of kernels with the CPU's, time those that are right
    /// on batches as large as those that come, and run the fastest; sets that multiply cooperative matrices, which wgpu counts as
    /// experimental, are among them. What was found is kept in DIR, or in that of --pipelines, and not measured again on
    /// the same adapter and driver.
    #[cfg(feature = "gpu")]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub(super) tune: Option<Option<PathBuf>>,
}

/// How to report.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct FormatArgs {
    /// Report as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_do_not_contradict_each_other() {
        Loopfm::command().debug_assert();
        CompileArgs::command().debug_assert();
    }
}
