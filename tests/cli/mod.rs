//! The commands as a user runs them: what they print, what they write, how they end.

mod bundles;
#[cfg(feature = "data")]
mod history;
#[cfg(all(feature = "data", feature = "train"))]
mod kills;
#[cfg(all(feature = "data", feature = "train"))]
mod logs;
mod refusals;
#[cfg(feature = "train")]
mod train;

use std::path::{Path, PathBuf};
use std::process::Command;

use loopfm::tensor::Tensors;
use serde_json::Value;

use crate::support::files::{put, safetensors};

/// How a command ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let done = command.output().expect("the command was built");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: done.status.code().expect("no signal"),
            out: text(done.stdout),
            err: text(done.stderr),
        }
    }

    /// The output of a command that must succeed.
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// The one line of a command that must fail like this.
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        // Drivers of this machine may speak, too.
        let ours: Vec<&str> = self.err.lines().filter(|l| l.starts_with("loopfm: ")).collect();
        assert_eq!(ours.len(), 1, "{}", self.err);
        ours[0].to_owned()
    }
}

/// `loopfm` with these arguments, in an empty folder unless told otherwise.
fn command(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopfm"));
    command.args(args);
    command
}

macro_rules! loopfm {
    ($($arg:expr),+ $(,)?) => { $crate::cli::Ran::of(&mut $crate::cli::command(&[$(&$arg),+])) };
}
use loopfm;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn graph(name: &str) -> PathBuf {
    repository("tests/data/graphs").join(name)
}

fn golden(name: &str) -> PathBuf {
    graph(name).join("golden.io.safetensors")
}

/// A bundle of a graph of the repository, in `folder`.
fn compiled(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.loopfm"));
    loopfm!("compile", graph(name), "-o", path).ok();
    path
}

/// The golden batch of a graph, changed, as a file.
fn changed_batch(folder: &Path, name: &str, change: impl FnOnce(&mut Tensors)) -> PathBuf {
    let (tensors, _) = loopfm::import::read_tensors(&golden(name)).expect("a sound golden");
    let mut batch: Tensors = tensors
        .into_iter()
        .filter_map(|(name, t)| Some((name.strip_prefix("in.")?.to_owned(), t)))
        .collect();
    change(&mut batch);
    put(folder, "batch.safetensors", safetensors(&[], &batch))
}

/// Names of what lies in a folder.
fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
