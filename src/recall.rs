//! What a service knows of its users' past when it scores: embeddings that a foundation model left, strictly before each
//! request, in the form that the vertical model was trained with.

use crate::bundle::{Bundle, NOTE_FM, NOTE_HISTORY, Port};
use crate::data::Encoded;
use crate::embeddings::{self, Columns, Decoder, Header, Log};
use crate::history::{self, Events, Rule, slices};
use crate::tensor::{DType, HostTensor, Tensors};

/// Why there is no past.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("the model reads no embeddings: it has no input `loopfm`")]
    NoHistory,
    #[error("the bundle does not say whose embeddings it reads: its model's metadata lack `{note}`")]
    NoNote { note: &'static str },
    #[error("metadata `{NOTE_HISTORY}` of the bundle: {why}")]
    Note { why: String },
    #[error("the model was trained with embeddings of FM {expected}, this log's are of FM {seen}")]
    OtherFm { expected: String, seen: String },
    #[error("the model reads embeddings of {expected} numbers, this log's have {seen}")]
    Width { expected: usize, seen: usize },
    #[error("the model reads `{name}`, which is neither among its features nor beside the embeddings of this log")]
    Input { name: String },
    #[error(
        "the model's histories hold positives alone, this log does not say which events are: it has no side `label`"
    )]
    NoLabels,
    #[error(transparent)]
    Log(#[from] embeddings::Error),
    #[error(transparent)]
    History(#[from] history::Error),
}

impl Error {
    /// Exit status of a command that fails with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OtherFm { .. } => 6,
            Self::Log(e) => e.exit_code(),
            Self::History(e) => e.exit_code(),
            _ => 1,
        }
    }
}

/// Of which past events histories are made: what the training declared.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Declared {
    length: usize,
    delay: i64,
    retention: Option<i64>,
    positives: bool,
}

/// The past of all users of a log of embeddings, for one vertical model.
#[derive(Debug)]
pub struct Recall {
    header: Header,
    columns: Columns,
    codes: Vec<u8>,
    keep: Option<Vec<bool>>,
    rule: Rule,
    /// Inputs of the model that are made of the past.
    ports: Vec<Port>,
}

/// What came of an event, as histories know it: 1 nothing, 2 the label's event.
const LABEL: &str = "label";

impl Recall {
    /// Reads a log for a model, which must have been trained with embeddings of the same foundation model.
    ///
    /// # Errors
    /// [`Error::OtherFm`] and whatever else keeps them apart; what the log is refused for.
    pub fn open(log: &Log, model: &Bundle) -> Result<Self, Error> {
        let note = |note| model.notes.get(note).ok_or(Error::NoNote { note });
        let inputs = model.manifest.inputs.iter();
        let ports: Vec<Port> = inputs
            .filter(|p| p.name == "loopfm" || p.name.starts_with("loopfm_"))
            .cloned()
            .collect();
        let own = ports.iter().find(|p| p.name == "loopfm").ok_or(Error::NoHistory)?;
        let (expected, seen) = (note(NOTE_FM)?.clone(), log.fingerprint());
        // A model of a prequential run names the last of the models that it has read embeddings of.
        let last = log.segments().last().map(|segment| &segment.fm);
        if expected != seen && !(log.header().prequential && last == Some(&expected)) {
            return Err(Error::OtherFm { expected, seen });
        }
        let (expected, seen) = (own.shape.last().map_or(0, |n| *n as usize), log.header().width);
        if expected != seen {
            return Err(Error::Width { expected, seen });
        }
        let declared: Declared =
            serde_json::from_str(note(NOTE_HISTORY)?).map_err(|e| Error::Note { why: e.to_string() })?;
        let (columns, codes) = log.read()?;
        let label = columns
            .side
            .iter()
            .find(|(name, _)| name == LABEL)
            .map(|(_, side)| side);
        let keep = match (declared.positives, label) {
            (false, _) => None,
            (true, Some(side)) => Some(side.iter().map(|y| *y == 2).collect()),
            (true, None) => return Err(Error::NoLabels),
        };
        let known = |p: &&Port| match p.name.as_str() {
            "loopfm" | "loopfm_mask" => false,
            name => !columns
                .side
                .iter()
                .any(|(side, _)| name.strip_prefix("loopfm_") == Some(side)),
        };
        if let Some(port) = ports.iter().find(known) {
            return Err(Error::Input {
                name: port.name.clone(),
            });
        }
        let Declared {
            length,
            delay,
            retention,
            ..
        } = declared;
        Ok(Self {
            header: log.header().clone(),
            columns,
            codes,
            keep,
            rule: Rule {
                delay,
                retention,
                max_len: length,
            },
            ports,
        })
    }

    /// What is known of the users of encoded candidates at their times: the model's inputs `loopfm`, `loopfm_mask` and sides.
    ///
    /// # Errors
    /// [`Error::History`].
    pub fn inputs(&self, candidates: &Encoded) -> Result<Tensors, Error> {
        let c = &self.columns;
        let events = Events {
            key: &c.key,
            time: &c.time,
            ingest: c.ingest.as_deref(),
            keep: self.keep.as_deref(),
        };
        let past = slices(&events, (&candidates.key, &candidates.time), &self.rule)?;
        let (rows, bytes) = (candidates.len(), self.header.storage.row_bytes(self.header.width));
        let decoder = Decoder::new(&self.header.storage);
        let mut into = Tensors::new();
        for port in &self.ports {
            let length = port.shape.first().map_or(0, |n| *n as usize);
            let newest = |row: usize| {
                let events = past.of(row);
                events[events.len().saturating_sub(length)..]
                    .iter()
                    .map(|e| *e as usize)
                    .enumerate()
            };
            let mut shape = vec![rows];
            shape.extend(port.shape.iter().map(|n| *n as usize));
            let tensor = if port.dtype == DType::F32 {
                let mut values = vec![0.0; rows * length * self.header.width];
                for (row, place) in values.chunks_exact_mut((length * self.header.width).max(1)).enumerate() {
                    for (n, event) in newest(row) {
                        decoder.row(
                            &self.codes[event * bytes..][..bytes],
                            &mut place[n * self.header.width..][..self.header.width],
                        );
                    }
                }
                HostTensor::f32(&shape, values)
            } else if port.dtype == DType::Bool {
                let mut mask = vec![false; rows * length];
                for (row, place) in mask.chunks_exact_mut(length.max(1)).enumerate() {
                    newest(row).for_each(|(n, _)| place[n] = true);
                }
                HostTensor::bool(&shape, mask)
            } else {
                let side = c
                    .side
                    .iter()
                    .find(|(name, _)| port.name.strip_prefix("loopfm_") == Some(name));
                let side = side.map_or(&[][..], |(_, side)| side);
                let mut ids = vec![0; rows * length];
                for (row, place) in ids.chunks_exact_mut(length.max(1)).enumerate() {
                    newest(row).for_each(|(n, event)| place[n] = side[event]);
                }
                HostTensor::i32(&shape, ids)
            };
            into.insert(port.name.clone(), tensor);
        }
        Ok(into)
    }
}
