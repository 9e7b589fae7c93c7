//! A foundation model over a log: what it leaves of every impression goes to an embedding log.
//!
//! Reading, encoding, running and writing overlap: each is a thread (running two, so that one batch is uploaded or read
//! back while another one is computed), between them queues of a few batches, so that memory is theirs whatever the log's
//! length. Segments end at the same rows whenever a run is interrupted, and the log that comes out is the same.

mod error;
mod pipe;

use std::time::{Duration, Instant};

use crate::bundle::{Bundle, FEATURES, NOTE_CUTOFF};
use crate::data::{Days, Encoded, Encoder, LogFiles};
use crate::embeddings::{Header, Storage, Writer};
use crate::session::Session;
use crate::tensor::{HostTensor, Tensors};

pub use error::Error;

/// What is extracted, and how it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Days of the log, or all of it.
    pub days: Option<Days>,
    /// Outputs of the model that are kept, side by side.
    pub layers: Vec<String>,
    /// How they are stored.
    pub storage: Storage,
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
            storage: Storage::F16,
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
    /// Rows of a second that the model alone does, measured afterwards on a batch of this log.
    pub kernel_rows_per_second: Option<f64>,
    /// The words that allowed a leak.
    pub leak: Option<String>,
}

/// An extraction: a model, its encoder, the log that it goes over.
pub struct Extraction<'a> {
    session: &'a Session,
    encoder: Encoder,
    log: &'a LogFiles,
    options: &'a Options,
    header: Header,
    /// Outputs, each with its width.
    layers: Vec<(String, usize)>,
}

/// The output that is the model's prediction.
const SCORE: &str = "prob";

impl<'a> Extraction<'a> {
    /// Puts a model and a log together.
    ///
    /// # Errors
    /// [`Error`] when the bundle does not say how rows become inputs or when its training ended, or lacks an output.
    pub fn new(bundle: &Bundle, session: &'a Session, log: &'a LogFiles, options: &'a Options) -> Result<Self, Error> {
        let encoder = encoder(bundle)?;
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
        let port = |name: &String| {
            let found = bundle.manifest.outputs.iter().find(|p| p.name == *name);
            let there = || {
                bundle
                    .manifest
                    .outputs
                    .iter()
                    .map(|p| format!("`{}`", p.name))
                    .collect()
            };
            let port = found.ok_or_else(|| Error::Output {
                name: name.clone(),
                there: there(),
            })?;
            Ok((name.clone(), port.width() as usize))
        };
        let layers: Vec<(String, usize)> = options.layers.iter().map(port).collect::<Result<_, Error>>()?;
        port(&SCORE.to_owned())?;
        let header = Header {
            fm: bundle.manifest.fingerprint.clone(),
            cutoff,
            width: layers.iter().map(|(_, width)| width).sum(),
            storage: options.storage.clone(),
            ingest: encoder.features().has_ingest(),
            score: true,
            side: Vec::new(),
            prequential: false,
            leak: options.leak.clone(),
        };
        Ok(Self {
            session,
            encoder,
            log,
            options,
            header,
            layers,
        })
    }

    /// Goes over the log, from where an earlier run was ended.
    ///
    /// # Errors
    /// [`Error`]: the first one; what was committed stays.
    pub fn run(&self, out: &std::path::Path, observe: &(dyn Fn(Progress) + Sync)) -> Result<Extracted, Error> {
        let mut writer = Writer::open(out, &self.header)?;
        let found: u64 = writer.committed().iter().map(|s| s.rows as u64).sum();
        let start = Instant::now();
        let (rows, sample) = pipe::run(self, &mut writer, found, observe)?;
        let seconds = start.elapsed().as_secs_f64();
        let kernel = sample.map(|batch| self.kernel_rate(&batch)).transpose()?;
        Ok(Extracted {
            rows,
            found,
            width: self.header.width,
            bytes_per_impression: self.header.storage.row_bytes(self.header.width),
            fm: self.header.fm.clone(),
            seconds,
            rows_per_second: rows as f64 / seconds.max(1e-9),
            kernel_rows_per_second: kernel,
            leak: self.header.leak.clone(),
        })
    }

    /// What the model leaves of a batch: embeddings `[rows, width]` and predictions.
    fn embed(&self, inputs: &Tensors) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let out = self.session.run(inputs)?;
        let floats = |name: &str| out.get(name).and_then(HostTensor::as_f32).unwrap_or(&[]);
        let score = floats(SCORE).to_vec();
        if let [(name, _)] = &self.layers[..] {
            return Ok((floats(name).to_vec(), score));
        }
        let mut beside = Vec::with_capacity(score.len() * self.header.width);
        let layers: Vec<(&[f32], usize)> = self.layers.iter().map(|(name, width)| (floats(name), *width)).collect();
        for row in 0..score.len() {
            for (layer, width) in &layers {
                beside.extend_from_slice(&layer[row * width..(row + 1) * width]);
            }
        }
        Ok((beside, score))
    }

    /// The inputs that the model has, of all that the features make.
    fn inputs(&self, encoded: &mut Encoded) -> Result<Tensors, Error> {
        let wanted = self
            .session
            .manifest()
            .inputs
            .iter()
            .filter(|p| p.name != crate::ir::REQUEST_OF_ROW);
        let take = |p: &crate::bundle::Port| {
            let column = encoded.inputs.swap_remove(&p.name);
            Ok((
                p.name.clone(),
                column.ok_or_else(|| Error::Input { name: p.name.clone() })?,
            ))
        };
        wanted.map(take).collect()
    }

    /// Refuses rows that the model has learnt from.
    fn refuse_known(&self, encoded: &Encoded) -> Result<(), Error> {
        let (Some(cutoff), None) = (self.header.cutoff, &self.header.leak) else {
            return Ok(());
        };
        match encoded.time.iter().position(|t| *t <= cutoff) {
            None => Ok(()),
            Some(at) => Err(Error::Known {
                row: encoded.row[at],
                time: encoded.time[at],
                cutoff,
            }),
        }
    }

    /// The model's own rate: one batch again and again.
    fn kernel_rate(&self, batch: &Tensors) -> Result<f64, Error> {
        let rows = batch
            .values()
            .next()
            .map_or(0, |t| t.shape.first().copied().unwrap_or(0));
        let (mut done, start) = (0, Instant::now());
        while done == 0 || start.elapsed() < Duration::from_secs(1) {
            self.session.run(batch)?;
            done += rows;
        }
        Ok(done as f64 / start.elapsed().as_secs_f64())
    }
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
