//! A foundation model over a log: what it leaves of every impression goes to an embedding log.
//!
//! Reading, encoding, running and writing overlap: each is a thread (running several, so that one batch is uploaded or read
//! back while another one is computed), between them queues of a few batches, so that memory is theirs whatever the log's
//! length. Segments end at the same rows whenever a run is interrupted, and the log that comes out is the same.
//!
//! A model that reads histories of raw events gets them of the log itself, which then has to come in order of time, from its
//! first row on: rows before those that are extracted are read and remembered.
//!
//! What is stored is made where the model runs: its graph goes on to the codes ([`pack`](fn@crate::compress::pack)), and they alone are
//! read back, with the score.

mod error;
mod past;
mod pipe;
mod segments;
mod work;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bundle::{Bundle, FEATURES, NOTE_CUTOFF};
use crate::data::{Days, Encoder, LogFiles};
use crate::embeddings::{Form, Header, Log, Storage, Writer};
use crate::session::{Session, SessionOptions};

use self::past::Past;
use self::work::Work;

pub use error::Error;
pub use work::storing;

/// What is extracted, and how it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Days of the log, or all of it.
    pub days: Option<Days>,
    /// Outputs of the model that are kept, side by side.
    pub layers: Vec<String>,
    /// How they are stored. What has to be fitted is fitted to the first of the days' rows, and stays in the log.
    pub storage: Form,
    /// Rows of a segment.
    pub segment: usize,
    /// Time of the last event that the model has learnt from, ms, for a bundle that does not say.
    pub cutoff: Option<i64>,
    /// The words with which embeddings of events are taken that the model has learnt from. The log bears them.
    pub leak: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            days: None,
            layers: vec!["embedding".to_owned()],
            storage: Form::F16,
            segment: 1 << 18,
            cutoff: None,
            leak: None,
        }
    }
}

/// How far an extraction is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Rows written, those of earlier runs among them.
    pub rows: u64,
    /// Rows of the log, where its files say so.
    pub of: Option<u64>,
}

/// What an extraction has come to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Extracted {
    /// Rows written by this run.
    pub rows: u64,
    /// Rows found written.
    pub found: u64,
    /// Elements of an embedding.
    pub width: usize,
    /// Bytes of one as stored.
    pub bytes_per_impression: usize,
    /// The foundation model's fingerprint.
    pub fm: String,
    /// How long it took.
    pub seconds: f64,
    /// Rows of a second.
    pub rows_per_second: f64,
    /// Rows of a second that the model alone does, measured afterwards on a batch of this log, as many of them at once.
    pub kernel_rows_per_second: Option<f64>,
    /// What threads were busy with.
    pub busy: Busy,
    /// The words that allowed a leak.
    pub leak: Option<String>,
}

/// Seconds of work, of all threads that do it together; they run beside each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Busy {
    /// Reading and joining rows.
    pub reading: f64,
    /// Making inputs of them.
    pub encoding: f64,
    /// Upload, the model, readback; waiting for the device is part of it.
    pub running: f64,
    /// Writing segments to the disk.
    pub writing: f64,
}

/// An extraction: a model, its encoder, the log that it goes over, and where to.
pub struct Extraction<'a> {
    work: Work<'a>,
    out: PathBuf,
}

/// The output that is the model's prediction.
const SCORE: &str = "prob";

impl<'a> Extraction<'a> {
    /// Puts a model and a log together, and opens the model on a device, with what it leaves stored there. What a storage has
    /// to be fitted to is taken of the log's first rows, unless an earlier run to the same folder has done so.
    ///
    /// # Errors
    /// [`Error`] when the bundle does not say how rows become inputs or when its training ended, or lacks an output.
    pub fn open(
        bundle: &Bundle,
        device: &SessionOptions,
        log: &'a LogFiles,
        options: &'a Options,
        out: &Path,
    ) -> Result<Self, Error> {
        Self::open_by(bundle, device, log, options, out, |bundle| {
            Session::open(bundle, device).map_err(Error::from)
        })
    }

    /// The same, where `open` opens the model that goes over the log: the bundle, or the one that stores what it leaves.
    /// `device` is for what has to be fitted before that.
    ///
    /// # Errors
    /// As [`Self::open`], and what `open` says.
    pub fn open_by<E: From<Error>>(
        bundle: &Bundle,
        device: &SessionOptions,
        log: &'a LogFiles,
        options: &'a Options,
        out: &Path,
        open: impl FnOnce(&Bundle) -> Result<Session, E>,
    ) -> Result<Self, E> {
        let encoder = encoder(bundle)?;
        let (header, layers) = header(bundle, &encoder, options)?;
        let past = Past::of(bundle, &encoder)?;
        let work = |session, header, stored| Work {
            session,
            encoder: encoder.clone(),
            log,
            options,
            header,
            layers: layers.clone(),
            past: past.clone(),
            stored,
        };
        let storage = match known(out, options.storage) {
            Some(storage) => storage,
            None => {
                let session = Session::open(bundle, device).map_err(Error::from)?;
                work(session, header.clone(), false).fit(options.storage)?
            }
        };
        let stores = work::storing(bundle, &options.layers, &storage)?;
        let session = open(stores.as_ref().unwrap_or(bundle))?;
        Ok(Self {
            work: work(session, Header { storage, ..header }, stores.is_some()),
            out: out.to_path_buf(),
        })
    }

    /// The model on its device.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.work.session
    }

    /// Goes over the log, from where an earlier run was ended.
    ///
    /// # Errors
    /// [`Error`]: the first one; what was committed stays.
    pub fn run(&self, observe: &(dyn Fn(Progress) + Sync)) -> Result<Extracted, Error> {
        let header = &self.work.header;
        let mut writer = Writer::open(&self.out, header)?;
        let found: u64 = writer.committed().iter().map(|s| s.rows as u64).sum();
        let start = Instant::now();
        let pipe::Done { rows, busy, sample } = pipe::run(&self.work, &mut writer, found, observe)?;
        let seconds = start.elapsed().as_secs_f64();
        let kernel = sample.map(|batch| pipe::kernel_rate(&self.work, &batch)).transpose()?;
        Ok(Extracted {
            rows,
            found,
            width: header.width,
            bytes_per_impression: header.storage.row_bytes(header.width),
            fm: header.fm.clone(),
            seconds,
            rows_per_second: rows as f64 / seconds.max(1e-9),
            kernel_rows_per_second: kernel,
            busy,
            leak: header.leak.clone(),
        })
    }
}

/// The storage of a log that is gone on with, else one that needs no fitting. Of a log that cannot be read the writer says what
/// is wrong.
fn known(out: &Path, form: Form) -> Option<Storage> {
    let there = || Log::open(out).ok().map(|log| log.header().storage.clone());
    form.plain().or_else(|| there().filter(|storage| form.is_of(storage)))
}

/// What the log will say of itself, but for what is fitted, and the outputs that are kept, each with its width.
fn header(bundle: &Bundle, encoder: &Encoder, options: &Options) -> Result<(Header, Vec<(String, usize)>), Error> {
    let cutoff = match (options.cutoff, bundle.notes.get(NOTE_CUTOFF)) {
        (Some(cutoff), _) => Some(cutoff),
        (None, Some(text)) => Some(text.parse().map_err(|_| Error::Note {
            note: NOTE_CUTOFF,
            why: format!("{text:?} is no time in ms"),
        })?),
        (None, None) => None,
    };
    if cutoff.is_none() && options.leak.is_none() {
        return Err(Error::NoCutoff);
    }
    let outputs = &bundle.manifest.outputs;
    let port = |name: &String| {
        let found = outputs.iter().find(|p| p.name == *name);
        let port = found.ok_or_else(|| Error::Output {
            name: name.clone(),
            there: outputs.iter().map(|p| format!("`{}`", p.name)).collect(),
        })?;
        Ok((name.clone(), port.width() as usize))
    };
    let layers: Vec<(String, usize)> = options.layers.iter().map(port).collect::<Result<_, Error>>()?;
    port(&SCORE.to_owned())?;
    let header = Header {
        fm: bundle.manifest.fingerprint.clone(),
        cutoff,
        width: layers.iter().map(|(_, width)| width).sum(),
        storage: Storage::F32,
        ingest: encoder.features().has_ingest(),
        score: true,
        side: Vec::new(),
        prequential: false,
        leak: options.leak.clone(),
    };
    Ok((header, layers))
}

/// The encoder that a bundle bears.
///
/// # Errors
/// [`Error::NoFeatures`], [`Error::Note`].
pub fn encoder(bundle: &Bundle) -> Result<Encoder, Error> {
    let text = bundle.notes.get(FEATURES).ok_or(Error::NoFeatures)?;
    Encoder::from_json(text).map_err(|e| Error::Note {
        note: FEATURES,
        why: e.to_string(),
    })
}
