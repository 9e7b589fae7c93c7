//! What a service knows of its users' past when it scores: embeddings that a foundation model left, strictly before each
//! request, in the form that the vertical model was trained with.
//!
//! It comes from a log of embeddings, which answers for any instant, or from a [`State`], which holds what histories from now on
//! may need and grows by what happens. Both give what training was given, to the bit.

mod declared;
mod error;
mod state;

pub use error::Error;
pub use state::{Kept, State};

use self::declared::{Declared, beside, declared, fits};
use crate::bundle::{Bundle, NOTE_FM, Port};
use crate::data::Encoded;
use crate::embeddings::{Columns, Decoder, Log};
use crate::history::{Events, Histories, Past, Rule, slices};
use crate::tensor::{DType, HostTensor, Tensors};

/// What came of an event, as histories know it: 1 nothing, 2 the label's event.
const LABEL: &str = "label";

/// The past of all users, for one vertical model.
#[derive(Debug)]
pub struct Recall {
    kept: Kept,
    source: Source,
    rule: Rule,
    /// Inputs of the model that are made of the past.
    ports: Vec<Port>,
}

#[derive(Debug)]
enum Source {
    Log {
        columns: Columns,
        codes: Vec<u8>,
        keep: Option<Vec<bool>>,
    },
    State(State),
}

/// A past event.
enum Event<'a> {
    Logged(usize),
    Kept(Past<'a>),
}

/// Embeddings as stored, in the order of histories, and where in it the history of each row lies: what a model needs to read
/// the log itself.
#[derive(Clone, Debug)]
pub struct Laid {
    /// How embeddings are stored, and what is beside them.
    pub kept: Kept,
    /// One embedding after another, as stored.
    pub codes: Vec<u8>,
    /// The integers beside them, in the order of [`Kept::side`].
    pub side: Vec<Vec<i32>>,
    /// Start and length of each row's history, `i32[rows, 2]`.
    pub spans: HostTensor,
}

impl Recall {
    /// Reads a log for a model, which must have been trained with embeddings of the same foundation model.
    ///
    /// # Errors
    /// [`Error::OtherFm`] and whatever else keeps them apart; what the log is refused for.
    pub fn open(log: &Log, model: &Bundle) -> Result<Self, Error> {
        let (ports, declared) = declared(model)?;
        let mut kept = Kept::of(log, declared.positives);
        // A model of a prequential run names the last of the models that it has read embeddings of, another one all of them.
        if model.notes.get(NOTE_FM) == Some(&log.fingerprint()) {
            kept.fm = log.fingerprint();
        }
        fits(&kept, &ports, model)?;
        let (columns, codes) = log.read()?;
        let label = columns.side.iter().find(|(name, _)| name == LABEL);
        let keep = match (declared.positives, label) {
            (false, _) => None,
            (true, Some((_, side))) => Some(side.iter().map(|y| *y == state::POSITIVE).collect()),
            (true, None) => return Err(Error::NoLabels),
        };
        let source = Source::Log { columns, codes, keep };
        Ok(Self::new(kept, source, declared, ports))
    }

    /// Takes a state for a model: it must be of the same foundation model, and made for such histories.
    ///
    /// # Errors
    /// [`Error::OtherFm`], [`Error::OtherRule`] and whatever else keeps them apart.
    pub fn of_state(state: State, model: &Bundle) -> Result<Self, Error> {
        let (ports, declared) = declared(model)?;
        fits(state.kept(), &ports, model)?;
        let rule = *state.ring().rule();
        let seen = Declared {
            length: rule.max_len,
            delay: rule.delay,
            retention: rule.retention,
            positives: state.kept().positives,
        };
        // Longer histories hold the shorter ones.
        let alike =
            (seen.delay, seen.retention, seen.positives) == (declared.delay, declared.retention, declared.positives);
        if !alike || seen.length < declared.length {
            return Err(Error::OtherRule {
                expected: declared.words(),
                seen: seen.words(),
            });
        }
        Ok(Self::new(state.kept().clone(), Source::State(state), declared, ports))
    }

    fn new(kept: Kept, source: Source, declared: Declared, ports: Vec<Port>) -> Self {
        Self {
            kept,
            source,
            rule: Rule {
                delay: declared.delay,
                retention: declared.retention,
                max_len: declared.length,
            },
            ports,
        }
    }

    /// The state that it is made of, to add what happens; `None` where it is made of a log.
    pub fn state(&mut self) -> Option<&mut State> {
        match &mut self.source {
            Source::State(state) => Some(state),
            Source::Log { .. } => None,
        }
    }

    /// What is known of the users of encoded candidates at their times: the model's inputs `loopfm`, `loopfm_mask` and sides. A
    /// log is gone over once a call, however few the candidates: files of them want a log, single requests a [`State`].
    ///
    /// # Errors
    /// [`Error::History`]: of a state, candidates before the last event that it knows.
    pub fn inputs(&self, candidates: &Encoded) -> Result<Tensors, Error> {
        let known = self.known(candidates)?;
        let (width, decoder) = (self.kept.width, Decoder::new(&self.kept.storage));
        let mut into = Tensors::new();
        for port in &self.ports {
            let length = port.shape.first().map_or(0, |n| *n as usize);
            let mut shape = vec![candidates.len()];
            shape.extend(port.shape.iter().map(|n| *n as usize));
            let tensor = match port.dtype {
                DType::F32 => HostTensor::f32(
                    &shape,
                    filled(&known, length, width, |event, place| {
                        decoder.row(self.codes(event), place);
                    }),
                ),
                DType::Bool => HostTensor::bool(&shape, filled(&known, length, 1, |_, place| place.fill(true))),
                DType::I32 => {
                    let names = self.kept.side.iter();
                    let at = names.zip(0..).find(|(name, _)| beside(&port.name) == Some(name));
                    let at = at.map_or(0, |(_, at)| at);
                    let side = |event: &Event<'_>, place: &mut [i32]| place.fill(self.side(event, at));
                    HostTensor::i32(&shape, filled(&known, length, 1, side))
                }
            };
            into.insert(port.name.clone(), tensor);
        }
        Ok(into)
    }

    /// The log in the order of histories, and where those of encoded candidates lie in it.
    ///
    /// # Errors
    /// [`Error::StateStays`], [`Error::History`].
    pub fn laid(&self, candidates: &Encoded) -> Result<Laid, Error> {
        let Source::Log { columns, codes, .. } = &self.source else {
            return Err(Error::StateStays);
        };
        let past = self.slices(candidates)?.ok_or(Error::StateStays)?;
        let bytes = self.kept.bytes();
        let order = past.order.iter().map(|event| *event as usize);
        let rows = order.clone().flat_map(|event| &codes[event * bytes..][..bytes]);
        let side = |(_, side): &(String, Vec<i32>)| order.clone().map(|event| side[event]).collect();
        let spans = past.slices.iter().flat_map(|s| [s.start, s.len]);
        Ok(Laid {
            kept: self.kept.clone(),
            codes: rows.copied().collect(),
            side: columns.side.iter().map(side).collect(),
            spans: HostTensor::i32(&[candidates.len(), 2], spans.map(u32::cast_signed).collect()),
        })
    }

    /// Histories of candidates, where they come from a log.
    fn slices(&self, candidates: &Encoded) -> Result<Option<Histories>, Error> {
        let Source::Log { columns, keep, .. } = &self.source else {
            return Ok(None);
        };
        let events = Events {
            key: &columns.key,
            time: &columns.time,
            ingest: columns.ingest.as_deref(),
            keep: keep.as_deref(),
        };
        Ok(Some(slices(&events, (&candidates.key, &candidates.time), &self.rule)?))
    }

    /// The past events of each candidate, oldest first.
    fn known(&self, candidates: &Encoded) -> Result<Vec<Vec<Event<'_>>>, Error> {
        if let Source::State(state) = &self.source {
            let of = |(key, t): (&u64, &i64)| {
                let mut past: Vec<Event<'_>> = state.ring().history(*key, *t)?.map(Event::Kept).collect();
                past.drain(..past.len().saturating_sub(self.rule.max_len));
                Ok(past)
            };
            return candidates.key.iter().zip(&candidates.time).map(of).collect();
        }
        let past = self.slices(candidates)?.unwrap_or_default();
        let of = |row| {
            past.of(row)
                .iter()
                .map(|event| Event::Logged(*event as usize))
                .collect()
        };
        Ok((0..candidates.len()).map(of).collect())
    }

    fn codes<'a>(&'a self, event: &Event<'a>) -> &'a [u8] {
        let bytes = self.kept.bytes();
        match (&self.source, event) {
            (Source::Log { codes, .. }, Event::Logged(event)) => &codes[event * bytes..][..bytes],
            (Source::State(state), Event::Kept(past)) => state.codes(past),
            _ => &[],
        }
    }

    fn side(&self, event: &Event<'_>, at: usize) -> i32 {
        match (&self.source, event) {
            (Source::Log { columns, .. }, Event::Logged(event)) => columns.side[at].1[*event],
            (Source::State(state), Event::Kept(past)) => state.side(past, at),
            _ => 0,
        }
    }
}

/// `[rows, length, width]`: the newest `length` events of each row, oldest first, nothing behind them.
fn filled<T: Copy + Default>(
    known: &[Vec<Event<'_>>],
    length: usize,
    width: usize,
    fill: impl Fn(&Event<'_>, &mut [T]),
) -> Vec<T> {
    let mut out = vec![T::default(); known.len() * length * width];
    for (row, place) in known.iter().zip(out.chunks_exact_mut((length * width).max(1))) {
        let newest = &row[row.len().saturating_sub(length)..];
        for (event, place) in newest.iter().zip(place.chunks_exact_mut(width)) {
            fill(event, place);
        }
    }
    out
}
