//! Logs: declarations, files, encoders.

mod benchmarks;
mod kuairand;
mod parquet;
mod refusals;
mod values;

use std::path::{Path, PathBuf};

use loopfm::data::{Column, Encoded, Encoder, Error, Features, LogFiles, RowBatch};

/// A folder of its own, and files in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The log of this declaration, whose side tables are here.
    fn features(&self, toml: &str) -> Result<Features, Error> {
        Ok(Features::parse(toml, "a test")?.in_folder(self.path().to_path_buf()))
    }
}

/// A log of `user`, `t` in seconds and what `features` needs.
fn declared(features: &str) -> String {
    format!("[log]\nkey = \"user\"\ntime = {{ column = \"t\", unit = \"s\" }}\nlabel = \"click\"\n{features}")
}

/// Fits and encodes all of a log.
fn encoded(features: &Features, files: &[PathBuf]) -> Result<(Encoder, Encoded), Error> {
    let log = LogFiles::open(features, files)?;
    let encoder = features.fit(&log, None)?;
    let encoded = encoder.encode_log(&log, None)?;
    Ok((encoder, encoded))
}

/// Rows by hand, each a second after the other.
fn rows(columns: impl IntoIterator<Item = (&'static str, Column)>) -> RowBatch {
    let columns: Vec<_> = columns.into_iter().map(|(name, c)| (name.to_owned(), c)).collect();
    let n = columns.first().map_or(0, |(_, c)| c.len() as i64);
    let more = [
        ("user".to_owned(), Column::ints((0..n).collect())),
        (
            "t".to_owned(),
            Column::ints((0..n).map(|i| 1_650_812_741 + i).collect()),
        ),
    ];
    RowBatch::new("rows", columns.into_iter().chain(more))
}

/// The indices of an input.
fn ints<'a>(encoded: &'a Encoded, input: &str) -> &'a [i32] {
    encoded.inputs[input].as_i32().unwrap()
}
