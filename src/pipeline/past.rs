//! What of the past a row sees: slices of the log become inputs of a model, batch by batch.

use std::sync::Arc;

use super::Error;
use super::stream::Stream;
use crate::history::{Events, Histories, slices};
use crate::ir::Graph;
use crate::tensor::{Data, HostTensor, Tensors};
use crate::train::{Gather, Gathered};

use super::spec::History;

/// A side of events that says what came of them: 1 nothing, 2 the label's event, 0 where there is no event.
pub const LABEL_SIDE: &str = "label";

/// Embeddings of impressions, by row of the stream.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// Numbers of an embedding.
    pub width: usize,
    /// `[rows, width]`.
    pub values: Vec<f32>,
}

impl Embeddings {
    fn of(&self, row: u32) -> &[f32] {
        let at = row as usize * self.width;
        &self.values[at..at + self.width]
    }
}

/// The history of every row of a stream: of all events, or of those that are kept.
///
/// # Errors
/// What the rule is refused for.
pub fn histories(stream: &Stream, history: &History, keep: Option<&[bool]>) -> Result<Histories, Error> {
    let events = Events {
        key: &stream.key,
        time: &stream.time,
        ingest: stream.ingest.as_deref(),
        keep,
    };
    Ok(slices(&events, (&stream.key, &stream.time), &history.rule())?)
}

/// What histories are made of.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Columns of the log and, for [`LABEL_SIDE`], what came of events.
    pub columns: Arc<Tensors>,
    /// Of raw events.
    pub raw: Arc<Histories>,
    /// Of embedded events, and their embeddings.
    pub loopfm: Option<(Arc<Histories>, Arc<Embeddings>)>,
}

impl Sources {
    /// Columns that a history may read.
    #[must_use]
    pub fn columns(stream: &Stream) -> Tensors {
        let mut columns = stream.columns.clone();
        let side = stream.label.iter().map(|y| if *y >= 0.5 { 2 } else { 1 }).collect();
        columns.insert(SIDE_COLUMN.to_owned(), HostTensor::i32(&[stream.rows()], side));
        columns
    }
}

/// Where what came of an impression stands: under a name that no input of the row can have.
const SIDE_COLUMN: &str = "past.label";

/// Makes the histories that a model reads, for training and for tests.
#[derive(Debug)]
pub struct Past {
    first: usize,
    made: Arc<Vec<(Gathered, From)>>,
}

/// What an input is made of.
#[derive(Debug)]
enum From {
    Mask(Arc<Histories>),
    Column(Arc<Histories>, Arc<Tensors>, String),
    Embeddings(Arc<Histories>, Arc<Embeddings>),
}

impl Past {
    /// The inputs of a graph that are no columns of the log.
    ///
    /// # Errors
    /// [`Error::Input`] for a history of what is not there.
    pub fn new(graph: &Graph, sources: &Sources) -> Result<Self, Error> {
        let mut made = Vec::new();
        for (_, name, ty) in graph.inputs() {
            if name.starts_with("step.") || sources.columns.contains_key(name) {
                continue;
            }
            let extents = ty.shape.per_row()[1..].to_vec();
            if let Some(from) = from(name, sources)? {
                made.push((
                    Gathered {
                        name: name.to_owned(),
                        dtype: ty.dtype,
                        extents,
                    },
                    from,
                ));
            }
        }
        Ok(Self {
            first: 0,
            made: Arc::new(made),
        })
    }

    /// No history at all.
    pub(super) fn none() -> Self {
        Self {
            first: 0,
            made: Arc::default(),
        }
    }

    /// The same for data whose row 0 is row `first` of the stream.
    #[must_use]
    pub fn from(&self, first: usize) -> Arc<dyn Gather> {
        Arc::new(Self {
            first,
            made: Arc::clone(&self.made),
        })
    }
}

/// What an input of a history's name is made of; inputs of other names are columns.
fn from(name: &str, sources: &Sources) -> Result<Option<From>, Error> {
    let (histories, of) = match (name.strip_prefix("hist_"), name.strip_prefix("loopfm")) {
        (Some(of), _) => (&sources.raw, of),
        (_, Some(of)) => {
            let Some((histories, embeddings)) = &sources.loopfm else {
                return Err(Error::Input { name: name.to_owned() });
            };
            if of.is_empty() {
                return Ok(Some(From::Embeddings(histories.clone(), embeddings.clone())));
            }
            (histories, of.trim_start_matches('_'))
        }
        _ => return Ok(None),
    };
    let column = if of == LABEL_SIDE { SIDE_COLUMN } else { of };
    Ok(Some(match of {
        "mask" => From::Mask(histories.clone()),
        _ if sources.columns.contains_key(column) => {
            From::Column(histories.clone(), sources.columns.clone(), column.to_owned())
        }
        _ => return Err(Error::Input { name: name.to_owned() }),
    }))
}

impl Gather for Past {
    fn inputs(&self) -> Vec<Gathered> {
        self.made.iter().map(|(made, _)| made.clone()).collect()
    }

    fn gather(&self, rows: &[usize], into: &mut Tensors) {
        let rows: Vec<usize> = rows.iter().map(|r| r + self.first).collect();
        for (made, from) in self.made.iter() {
            let length = made.extents.first().copied().unwrap_or(1);
            let data = match from {
                From::Mask(h) => Data::Bool(filled(h, &rows, length, 1, |_, place| place.fill(true))),
                From::Embeddings(h, e) => Data::F32(filled(h, &rows, length, e.width, |event, place| {
                    place.copy_from_slice(e.of(event));
                })),
                From::Column(h, columns, name) => column(h, &columns[name], &rows, length),
            };
            let mut shape = vec![rows.len()];
            shape.extend(&made.extents);
            debug_assert_eq!(data.dtype(), made.dtype);
            into.insert(made.name.clone(), HostTensor { shape, data });
        }
    }
}

/// A column of past events.
fn column(h: &Histories, column: &HostTensor, rows: &[usize], length: usize) -> Data {
    fn of<T: Copy + Default>(h: &Histories, x: &[T], all: usize, rows: &[usize], length: usize) -> Vec<T> {
        let width = x.len() / all.max(1);
        filled(h, rows, length, width, |event, place| {
            place.copy_from_slice(&x[event as usize * width..][..width]);
        })
    }
    let all = column.shape[0];
    match &column.data {
        Data::F32(x) => Data::F32(of(h, x, all, rows, length)),
        Data::I32(x) => Data::I32(of(h, x, all, rows, length)),
        Data::Bool(x) => Data::Bool(of(h, x, all, rows, length)),
    }
}

/// `[rows, length, width]`: the newest `length` events of each row, oldest first, nothing behind them.
fn filled<T: Copy + Default>(
    h: &Histories,
    rows: &[usize],
    length: usize,
    width: usize,
    fill: impl Fn(u32, &mut [T]),
) -> Vec<T> {
    let mut out = vec![T::default(); rows.len() * length * width];
    if out.is_empty() {
        return out;
    }
    for (place, row) in out.chunks_exact_mut(length * width).zip(rows) {
        let events = h.of(*row);
        let newest = &events[events.len().saturating_sub(length)..];
        for (place, event) in place.chunks_exact_mut(width).zip(newest) {
            fill(*event, place);
        }
    }
    out
}
