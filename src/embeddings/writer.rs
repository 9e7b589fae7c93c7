//! Appending to a log.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::manifest::{FILE, Manifest};
use super::{Committed, Error, Header, Segment};
use crate::container::write_atomically;

/// The one writer of a log. What it has appended is there to stay once `append` returns; whenever it is ended, the log is what
/// was appended so far, and the next writer goes on from there.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    header: Header,
    manifest: Manifest,
    lines: File,
    failed: bool,
    _lock: Lock,
}

impl Writer {
    /// Opens a log for appending, or begins one. What a writer that was ended has left half done is removed.
    ///
    /// # Errors
    /// Another writer has it; it holds embeddings of another model or in another form; it is damaged; the disk.
    pub fn open(dir: &Path, header: &Header) -> Result<Self, Error> {
        header.storage.check()?;
        if header.width == 0 {
            return Err(Error::Setting {
                name: "width",
                seen: "0".to_owned(),
                expected: "1 or more",
            });
        }
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let lock = Lock::acquire(dir)?;
        let path = dir.join(FILE);
        let read = Manifest::read(dir)?;
        if let Some(there) = &read {
            same_log(dir, header, &there.header)?;
        }
        tidy(dir, read.as_ref().map_or(0, |m| m.segments.len()), read.is_some())?;
        let manifest = match read {
            Some(manifest) => manifest,
            None => {
                let (manifest, line) = Manifest::new(header);
                write_atomically(&path, |file| file.write_all(line.as_bytes())).map_err(write(&path, line.len()))?;
                manifest
            }
        };
        let lines = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        // A line without an end would run into the next one.
        if lines.metadata().map_err(Error::io(&path))?.len() > manifest.length {
            let cut = lines.set_len(manifest.length).and_then(|()| lines.sync_all());
            cut.map_err(Error::io(&path))?;
        }
        let writer = Self {
            dir: dir.to_path_buf(),
            header: header.clone(),
            manifest,
            lines,
            failed: false,
            _lock: lock,
        };
        writer.sizes()?;
        Ok(writer)
    }

    /// Segments committed so far, by this writer and those before.
    #[must_use]
    pub fn committed(&self) -> &[Committed] {
        &self.manifest.segments
    }

    /// The last row number committed: work goes on after it.
    #[must_use]
    pub fn last_row(&self) -> Option<u64> {
        self.committed().last().map(|segment| segment.row[1])
    }

    /// Appends a segment; nothing if it has no events. When this returns, the segment is on the disk.
    ///
    /// # Errors
    /// Columns that do not fit each other or the header, rows not after those committed, events that the model was
    /// trained on; the disk. After a failure of the disk the log has to be opened anew.
    pub fn append(&mut self, segment: &Segment<'_>) -> Result<(), Error> {
        segment.check(&self.header)?;
        let (Some(first), Some(last)) = (segment.row.first(), segment.row.last()) else {
            return Ok(());
        };
        self.follows(segment, *first)?;
        if self.failed {
            return Err(Error::Failed);
        }
        let number = self.manifest.segments.len();
        let path = Committed::path(&self.dir, number);
        let bytes = segment.parquet(&self.header, &self.header.fm, self.header.cutoff);
        let bytes = bytes.map_err(|e| Error::damaged(&path, e))?;
        let ends = |column: &[i64]| [column.iter().min(), column.iter().max()].map(|t| t.copied().unwrap_or_default());
        let committed = Committed {
            segment: number,
            rows: segment.key.len(),
            row: [*first, *last],
            time: ends(segment.time),
            fm: self.header.fm.clone(),
            cutoff: self.header.cutoff,
            bytes: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
        };
        self.failed = true;
        write_atomically(&path, |file| file.write_all(&bytes)).map_err(write(&path, bytes.len()))?;
        self.commit(committed)?;
        self.failed = false;
        Ok(())
    }

    fn commit(&mut self, segment: Committed) -> Result<(), Error> {
        let (line, digits) = self.manifest.line(&segment);
        let written = self
            .lines
            .write_all(line.as_bytes())
            .and_then(|()| self.lines.sync_all());
        if let Err(e) = written {
            // The line may be there in part, and the next writer takes it away; the segment is none without it.
            let _ = fs::remove_file(Committed::path(&self.dir, segment.segment));
            let _ = self.lines.set_len(self.manifest.length);
            return Err(write(&self.dir.join(FILE), line.len())(e));
        }
        self.manifest.length += line.len() as u64;
        self.manifest.last = digits;
        self.manifest.segments.push(segment);
        Ok(())
    }

    /// Whether a segment's rows come after those committed, and its events after those that the model was trained on.
    fn follows(&self, segment: &Segment<'_>, first: u64) -> Result<(), Error> {
        if let Some(before) = self.last_row()
            && before >= first
        {
            return Err(Error::Order { row: first, before });
        }
        let (Some(cutoff), None) = (self.header.cutoff, &self.header.leak) else {
            return Ok(());
        };
        match segment.time.iter().position(|time| *time <= cutoff) {
            Some(at) => Err(Error::Cutoff {
                row: segment.row[at],
                time: segment.time[at],
                cutoff,
            }),
            None => Ok(()),
        }
    }

    /// Whether the committed files are there and as long as they were.
    fn sizes(&self) -> Result<(), Error> {
        for segment in &self.manifest.segments {
            let path = Committed::path(&self.dir, segment.segment);
            let seen = fs::metadata(&path).map_or(0, |file| file.len());
            if seen != segment.bytes {
                return Err(Error::damaged(
                    &path,
                    format!("{seen} bytes, the manifest says {}", segment.bytes),
                ));
            }
        }
        Ok(())
    }
}

/// Whether a log is the one that a writer means to go on with.
fn same_log(dir: &Path, new: &Header, there: &Header) -> Result<(), Error> {
    let fm = |h: &Header| (h.fm.clone(), h.cutoff, h.leak.clone());
    if !(new.prequential && there.prequential) && new.fm != there.fm {
        return Err(Error::OtherFm {
            dir: dir.into(),
            seen: new.fm.clone(),
            expected: there.fm.clone(),
        });
    }
    let (_, cutoff, leak) = fm(there);
    let mut alike = vec![
        ("the width", new.width.to_string(), there.width.to_string()),
        ("the storage", json(&new.storage), json(&there.storage)),
        ("having ingest times", new.ingest.to_string(), there.ingest.to_string()),
        ("having scores", new.score.to_string(), there.score.to_string()),
        ("the list of side columns", json(&new.side), json(&there.side)),
        (
            "being prequential",
            new.prequential.to_string(),
            there.prequential.to_string(),
        ),
        ("the leave to leak", json(&new.leak), json(&leak)),
    ];
    if !new.prequential {
        alike.push(("the cut-off", json(&new.cutoff), json(&cutoff)));
    }
    match alike.into_iter().find(|(_, seen, expected)| seen != expected) {
        Some((what, seen, expected)) => Err(Error::OtherForm {
            dir: dir.into(),
            what,
            seen,
            expected,
        }),
        None => Ok(()),
    }
}

fn json(x: &impl serde::Serialize) -> String {
    serde_json::to_string(x).expect("numbers and names are JSON")
}

/// Removes what a writer that was ended has left: temporary files, and the one segment that may stand there without a line.
/// More than that is no writer's doing: lines are missing, and nothing is removed.
fn tidy(dir: &Path, committed: usize, begun: bool) -> Result<(), Error> {
    let mut left = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_prefix("segment-").and_then(|n| n.strip_suffix(".parquet"));
        match number.map(str::parse::<usize>) {
            Some(Ok(n)) if n > committed || (n == committed && !begun) => {
                return Err(Error::damaged(
                    &path,
                    format!("`{FILE}` knows of {committed} segments: lines of it are lost"),
                ));
            }
            Some(Ok(n)) if n == committed => left.push(path.clone()),
            _ if name.starts_with('.') && name.ends_with(".tmp") => left.push(path.clone()),
            _ => {}
        }
    }
    left.iter()
        .try_for_each(|path| fs::remove_file(path).map_err(Error::io(path)))
}

fn write(path: &Path, bytes: usize) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Write {
        path,
        bytes: bytes as u64,
        source,
    }
}
