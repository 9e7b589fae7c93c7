//! The commands.
//!
//! `args` is what may be typed, one file per verb does it and makes a report, `report` prints reports and errors and
//! knows exit codes: nothing else writes to the terminal.

mod adapters;
mod args;
mod batch;
mod bench;
mod compile;
mod device;
mod emit;
#[cfg(feature = "data")]
mod extract;
mod golden;
#[cfg(feature = "data")]
mod history;
mod inspect;
#[cfg(feature = "gpu")]
mod kernel_times;
mod load;
#[cfg(feature = "data")]
mod log;
#[cfg(feature = "data")]
mod loop_args;
#[cfg(all(feature = "data", feature = "train"))]
mod loops;
mod oracle;
mod plan;
mod report;
#[cfg(feature = "data")]
mod rows;
mod run;
mod stats;
#[cfg(feature = "train")]
mod train;
mod translate;
mod values;
mod verify;
mod words;

use std::process::ExitCode;

use self::args::{Command, CompileArgs, Loopfm};

/// The `loopfm` command, with this process' arguments.
#[must_use]
pub fn loopfm() -> ExitCode {
    report::main(|args: Loopfm| match args.command {
        Command::Compile(args) => compile::compile(&args),
        Command::Run(args) => run::run(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Adapters(args) => adapters::adapters(&args),
        #[cfg(feature = "data")]
        Command::History(args) => history::history(&args),
        #[cfg(feature = "data")]
        Command::Log(args) => log::log(&args),
        #[cfg(feature = "train")]
        Command::Train(args) => train::train(&args),
        #[cfg(all(feature = "data", feature = "train"))]
        Command::Loop(args) => loops::run(&args),
        #[cfg(all(feature = "data", feature = "train"))]
        Command::Demo(args) => loops::demo(&args),
        #[cfg(feature = "data")]
        Command::Extract(args) => extract::extract(&args),
    })
}

/// The `loopfm-compile` command, with this process' arguments.
#[must_use]
pub fn loopfm_compile() -> ExitCode {
    report::main(|args: CompileArgs| compile::compile(&args))
}
