//! Histories of raw events, for models that read them: what the log itself holds before each row.

use serde::Deserialize;

use super::Error;
use crate::bundle::{Bundle, NOTE_HISTORY, Port};
use crate::data::{Encoded, Encoder};
use crate::history::{self, Ring, Rule};
use crate::tensor::{DType, Data, HostTensor};

/// What inputs made of past events are called: `hist_` and the name of a feature, [`MASK`] or [`LABEL`].
const PREFIX: &str = "hist_";
/// Where there is an event.
const MASK: &str = "mask";
/// What came of an event: 1 nothing, 2 the label's event, 0 where there is no event.
const LABEL: &str = "label";

/// Events of a log that goes by in order of time, and the inputs that are made of them.
#[derive(Clone, Debug)]
pub(super) struct Past {
    ring: Ring,
    made: Vec<Made>,
    /// 4-byte words of an event.
    words: usize,
}

/// An input of a model.
#[derive(Clone, Debug)]
struct Made {
    port: Port,
    of: Of,
}

#[derive(Clone, Debug)]
enum Of {
    Mask,
    /// A feature or the label: from which of an event's words on it stands.
    Words {
        name: String,
        at: usize,
    },
}

/// Of which past events histories are made: what the training declared.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Declared {
    length: usize,
    delay: i64,
    retention: Option<i64>,
}

impl Past {
    /// The histories that a model reads; `None` for one without.
    ///
    /// # Errors
    /// [`Error::Input`] for a history of what the features do not make, [`Error::Note`] where the model does not say which
    /// events are in it.
    pub(super) fn of(bundle: &Bundle, encoder: &Encoder) -> Result<Option<Self>, Error> {
        let features = encoder.features();
        let (mut made, mut words) = (Vec::new(), 0);
        for port in &bundle.manifest.inputs {
            let Some(name) = port.name.strip_prefix(PREFIX).filter(|_| !features.makes(&port.name)) else {
                continue;
            };
            let of = match name {
                MASK if port.dtype == DType::Bool => Of::Mask,
                _ if port.dtype != DType::Bool && (name == LABEL || features.makes(name)) => {
                    let at = words;
                    words += port.shape.iter().skip(1).product::<u32>() as usize;
                    Of::Words {
                        name: name.to_owned(),
                        at,
                    }
                }
                _ => {
                    return Err(Error::Input {
                        name: port.name.clone(),
                    });
                }
            };
            made.push(Made { port: port.clone(), of });
        }
        if made.is_empty() {
            return Ok(None);
        }
        let note = |why| Error::Note {
            note: NOTE_HISTORY,
            why,
        };
        let text = bundle
            .notes
            .get(NOTE_HISTORY)
            .ok_or_else(|| note("is missing: the model reads histories and does not say of which events".to_owned()))?;
        let declared: Declared = serde_json::from_str(text).map_err(|e| note(e.to_string()))?;
        let rule = Rule {
            delay: declared.delay,
            retention: declared.retention,
            max_len: declared.length,
        };
        let ring = Ring::new(rule, 4 * words)?;
        Ok(Some(Self { ring, made, words }))
    }

    /// Goes over the next rows of the log: gives those that are wanted their histories, and remembers all of them. Other rows
    /// are gone afterwards.
    ///
    /// # Errors
    /// [`Error::Late`] for a row that is earlier than one of an earlier batch.
    pub(super) fn over(
        &mut self,
        encoded: &mut Encoded,
        wanted: impl Fn(&Encoded, usize) -> bool,
    ) -> Result<(), Error> {
        let rows: Vec<usize> = (0..encoded.len()).filter(|r| wanted(encoded, *r)).collect();
        let mut place = vec![None; encoded.len()];
        rows.iter().enumerate().for_each(|(n, row)| place[*row] = Some(n));
        let mut inputs: Vec<HostTensor> = self.made.iter().map(|made| made.empty(rows.len())).collect();
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|r| encoded.time[*r]);
        let mut event = vec![0; 4 * self.words];
        for row in order {
            let (key, time) = (encoded.key[row], encoded.time[row]);
            if let Some(n) = place[row] {
                let late = |e| match e {
                    history::Error::Past { now, .. } => Error::Late {
                        row: encoded.row[row],
                        time,
                        now,
                    },
                    e => Error::History(e),
                };
                let history: Vec<history::Past<'_>> = self.ring.history(key, time).map_err(late)?.collect();
                for (made, input) in self.made.iter().zip(&mut inputs) {
                    made.fill(input, n, &history);
                }
            }
            self.event(encoded, row, &mut event)?;
            let ingest = encoded.ingest.as_ref().map(|ingest| ingest[row]);
            self.ring.push(key, time, ingest, encoded.row[row], &event)?;
        }
        if rows.len() < encoded.len() {
            encoded.keep(&rows);
        }
        for (made, input) in self.made.iter().zip(inputs) {
            encoded.inputs.insert(made.port.name.clone(), input);
        }
        Ok(())
    }

    /// What is remembered of a row.
    fn event(&self, encoded: &Encoded, row: usize, event: &mut [u8]) -> Result<(), Error> {
        for made in &self.made {
            let Of::Words { name, at } = &made.of else { continue };
            let refused = || Error::Input {
                name: made.port.name.clone(),
            };
            let words = made.width();
            let place = &mut event[4 * at..4 * (at + words)];
            if name == LABEL && !encoded.inputs.contains_key(LABEL) {
                let label = encoded.label.as_ref().ok_or_else(refused)?[row];
                let side: i32 = if label >= 0.5 { 2 } else { 1 };
                place.copy_from_slice(&side.to_le_bytes());
                continue;
            }
            let tensor = encoded.inputs.get(name).ok_or_else(refused)?;
            let range = row * words..(row + 1) * words;
            match &tensor.data {
                Data::I32(x) if made.port.dtype == DType::I32 => {
                    place.copy_from_slice(bytemuck::cast_slice(x.get(range).ok_or_else(refused)?));
                }
                Data::F32(x) if made.port.dtype == DType::F32 => {
                    place.copy_from_slice(bytemuck::cast_slice(x.get(range).ok_or_else(refused)?));
                }
                _ => return Err(refused()),
            }
        }
        Ok(())
    }
}

impl Made {
    /// Events of a history.
    fn length(&self) -> usize {
        self.port.shape.first().map_or(1, |n| *n as usize)
    }

    /// Words of an event.
    fn width(&self) -> usize {
        self.port.shape.iter().skip(1).product::<u32>() as usize
    }

    /// Histories of so many rows without an event.
    fn empty(&self, rows: usize) -> HostTensor {
        let mut shape = vec![rows];
        shape.extend(self.port.shape.iter().map(|n| *n as usize));
        let n = shape.iter().product();
        match self.port.dtype {
            DType::F32 => HostTensor::f32(&shape, vec![0.0; n]),
            DType::I32 => HostTensor::i32(&shape, vec![0; n]),
            DType::Bool => HostTensor::bool(&shape, vec![false; n]),
        }
    }

    /// The newest events of a row's history, oldest first, nothing behind them.
    fn fill(&self, input: &mut HostTensor, row: usize, history: &[history::Past<'_>]) {
        let (length, width) = (self.length(), self.width());
        let newest = &history[history.len().saturating_sub(length)..];
        let at = match self.of {
            Of::Mask => 0,
            Of::Words { at, .. } => at,
        };
        for (n, event) in newest.iter().enumerate() {
            let place = (row * length + n) * width..(row * length + n + 1) * width;
            let bytes = || event.payload[4 * at..4 * (at + width)].as_chunks().0.iter();
            match &mut input.data {
                Data::Bool(x) => x[place].fill(true),
                Data::I32(x) => x[place]
                    .iter_mut()
                    .zip(bytes())
                    .for_each(|(x, b)| *x = i32::from_le_bytes(*b)),
                Data::F32(x) => x[place]
                    .iter_mut()
                    .zip(bytes())
                    .for_each(|(x, b)| *x = f32::from_le_bytes(*b)),
            }
        }
    }
}
