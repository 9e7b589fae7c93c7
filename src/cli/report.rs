//! Errors, exit codes, and the one place that writes to the terminal.
//!
//! Reports go to standard output, whole, as text or JSON; errors go to standard error, one line each. Whoever closes our
//! output has read enough: that is success.

use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use super::args::FormatArgs;
use crate::compile::CompileError;
use crate::container::io_exit_code;
use crate::interp::EvalError;
use crate::session::SessionError;
use crate::{bundle, cpu, import, model};

/// The exit code of a bug of ours.
const BUG: u8 = 70;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    Tensors(#[from] import::Error),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The file, or what was computed of it, is not as it must be.
    #[error("{0}")]
    Refused(String),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Log(#[from] crate::data::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Embeddings(#[from] crate::embeddings::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    History(#[from] crate::history::Error),
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] crate::train::Error),
    /// Made for another model.
    #[cfg(any(feature = "data", feature = "train"))]
    #[error("{0}")]
    Mismatch(String),
    #[cfg(all(feature = "data", feature = "train"))]
    #[error(transparent)]
    Loop(#[from] crate::pipeline::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Extract(#[from] crate::extract::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Recall(#[from] crate::recall::Error),
    #[cfg(feature = "data")]
    #[error(transparent)]
    Resident(#[from] crate::resident::Error),
    /// The arguments do not fit each other.
    #[error("{0}")]
    Usage(String),
    #[error("a bug: {0}")]
    Bug(String),
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl Error {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Model(e) => e.exit_code(),
            Self::Tensors(e) => e.exit_code(),
            Self::Compile(e) => e.exit_code(),
            Self::Bundle(e) => e.exit_code(),
            Self::Session(e) => e.exit_code(),
            Self::Eval(_) | Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            #[cfg(any(feature = "data", feature = "train"))]
            Self::Mismatch(_) => 6,
            #[cfg(feature = "data")]
            Self::Log(e) => e.exit_code(),
            #[cfg(feature = "data")]
            Self::Embeddings(e) => e.exit_code(),
            #[cfg(feature = "data")]
            Self::History(e) => e.exit_code(),
            #[cfg(feature = "train")]
            Self::Train(e) => e.exit_code(),
            #[cfg(all(feature = "data", feature = "train"))]
            Self::Loop(e) => e.exit_code(),
            #[cfg(feature = "data")]
            Self::Extract(e) => e.exit_code(),
            #[cfg(feature = "data")]
            Self::Recall(e) => e.exit_code(),
            #[cfg(feature = "data")]
            Self::Resident(e) => e.exit_code(),
            Self::Io { source, .. } => io_exit_code(source),
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 4,
            Self::Bug(_) => BUG,
        }
    }
}

impl From<crate::run::Error> for Error {
    fn from(e: crate::run::Error) -> Self {
        SessionError::from(e).into()
    }
}

impl From<cpu::Error> for Error {
    fn from(e: cpu::Error) -> Self {
        SessionError::from(e).into()
    }
}

/// Parses the arguments, runs the command, tells how it ended.
pub(super) fn main<A: Parser>(command: impl FnOnce(A) -> Result<(), Error>) -> ExitCode {
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(e) => {
            // Help, too, ends here; nobody is left to hear that it could not be printed.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(BUG));
        }
    };
    panic::set_hook(Box::new(|info| complain(&format!("a bug: {info}"))));
    let code = match panic::catch_unwind(AssertUnwindSafe(|| command(args))) {
        Ok(Ok(())) => 0,
        Ok(Err(e)) => {
            let code = e.exit_code();
            if code != 0 {
                complain(&e.to_string());
            }
            code
        }
        Err(_) => BUG,
    };
    ExitCode::from(code)
}

/// Prints a report.
pub(super) fn print<R: Serialize + Display>(report: &R, format: FormatArgs) -> Result<(), Error> {
    let text = if format.json {
        serde_json::to_string_pretty(report).map_err(|e| Error::Bug(e.to_string()))? + "\n"
    } else {
        report.to_string()
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Says what is wrong, in one line. Where even that cannot be written, the exit code has to do.
fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "loopfm: {}", one_line(message));
}

/// A list below a message becomes a part of its sentence.
fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|l| !l.is_empty());
    let first = lines.next().unwrap_or_default().to_owned();
    let rest: Vec<&str> = lines.collect();
    match rest.is_empty() {
        true => first,
        false => format!("{first} {}", rest.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_fit_one_line() {
        assert_eq!(one_line("a"), "a");
        assert_eq!(
            one_line("tensors do not fit:\n  `a`\n  `b`"),
            "tensors do not fit: `a`; `b`"
        );
    }

    #[test]
    fn exit_codes() {
        let io = |kind: io::ErrorKind| Error::io(Path::new("x"), kind.into()).exit_code();
        assert_eq!(io(io::ErrorKind::NotFound), 1);
        assert_eq!(io(io::ErrorKind::StorageFull), 4);
        assert_eq!(Error::Output(io::ErrorKind::BrokenPipe.into()).exit_code(), 0);
        assert_eq!(Error::Usage(String::new()).exit_code(), 2);
        assert_eq!(Error::Bug(String::new()).exit_code(), 70);
    }
}
