//! The threads of an extraction and the queues between them.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Error, Extraction, Progress};
use crate::data::{Encoded, RowBatch};
use crate::embeddings::{Segment, Writer};
use crate::tensor::Tensors;

/// Batches that wait between two threads.
const QUEUE: usize = 2;
/// Batches that run at once.
const RUNNING: usize = 2;

/// A batch with its place in the log.
type Placed<T> = (u64, T);

/// A batch that has been through the model.
struct Embedded {
    encoded: Encoded,
    values: Vec<f32>,
    score: Vec<f32>,
}

/// Runs them all. How many rows were written, and a batch to measure the model by.
pub(super) fn run(
    x: &Extraction<'_>,
    writer: &mut Writer,
    found: u64,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<(u64, Option<Tensors>), Error> {
    let after = writer.last_row();
    let failed = Mutex::new(None);
    let fail = |e: Error| {
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
    };
    let sample = Mutex::new(None);
    let mut written = 0;
    thread::scope(|scope| {
        let (raw, raw_out) = sync_channel::<Placed<RowBatch>>(QUEUE);
        let (ready, ready_out) = sync_channel::<Placed<(Encoded, Tensors)>>(QUEUE);
        let (done, done_out) = sync_channel::<Placed<Embedded>>(QUEUE);
        scope.spawn(|| read(x, after, raw).unwrap_or_else(fail));
        scope.spawn(|| encode(x, raw_out, ready, &sample).unwrap_or_else(fail));
        let ready_out = Mutex::new(ready_out);
        let ready_out = &ready_out;
        thread::scope(|inner| {
            for _ in 0..RUNNING {
                let done = done.clone();
                inner.spawn(move || compute(x, ready_out, done).unwrap_or_else(fail));
            }
            drop(done);
            let mut segments = Segments::new(x, writer, found, observe);
            match segments.take(done_out) {
                // What came before an error is whole, but where it ends is not where a segment would.
                Ok(()) if failed.lock().unwrap_or_else(PoisonError::into_inner).is_none() => {
                    segments.flush().unwrap_or_else(fail);
                }
                Ok(()) => {}
                Err(e) => fail(e),
            }
            written = segments.written;
        });
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok((written, sample.into_inner().unwrap_or_else(PoisonError::into_inner))),
    }
}

/// Reads the rows that are not committed yet. A closed queue means that another thread has failed and said why.
fn read(x: &Extraction<'_>, after: Option<u64>, out: SyncSender<Placed<RowBatch>>) -> Result<(), Error> {
    let mut place = 0;
    for batch in x.log.batches(x.options.days) {
        let batch = batch?.after(after);
        if batch.is_empty() {
            continue;
        }
        if out.send((place, batch)).is_err() {
            return Ok(());
        }
        place += 1;
    }
    Ok(())
}

fn encode(
    x: &Extraction<'_>,
    from: Receiver<Placed<RowBatch>>,
    out: SyncSender<Placed<(Encoded, Tensors)>>,
    sample: &Mutex<Option<Tensors>>,
) -> Result<(), Error> {
    for (place, batch) in from {
        let mut encoded = x.encoder.encode(&batch)?;
        x.refuse_known(&encoded)?;
        let inputs = x.inputs(&mut encoded)?;
        if place == 0 {
            *sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(inputs.clone());
        }
        if out.send((place, (encoded, inputs))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn compute(
    x: &Extraction<'_>,
    from: &Mutex<Receiver<Placed<(Encoded, Tensors)>>>,
    out: SyncSender<Placed<Embedded>>,
) -> Result<(), Error> {
    loop {
        let next = from.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((place, (encoded, inputs))) = next else {
            return Ok(());
        };
        let (values, score) = x.embed(&inputs)?;
        if out.send((place, Embedded { encoded, values, score })).is_err() {
            return Ok(());
        }
    }
}

/// Batches in their order, cut into segments.
struct Segments<'a> {
    x: &'a Extraction<'a>,
    writer: &'a mut Writer,
    observe: &'a (dyn Fn(Progress) + Sync),
    found: u64,
    written: u64,
    key: Vec<u64>,
    time: Vec<i64>,
    ingest: Vec<i64>,
    row: Vec<u64>,
    score: Vec<f32>,
    codes: Vec<u8>,
}

impl<'a> Segments<'a> {
    fn new(x: &'a Extraction<'a>, writer: &'a mut Writer, found: u64, observe: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Self {
            x,
            writer,
            observe,
            found,
            written: 0,
            key: Vec::new(),
            time: Vec::new(),
            ingest: Vec::new(),
            row: Vec::new(),
            score: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn take(&mut self, from: Receiver<Placed<Embedded>>) -> Result<(), Error> {
        let (mut early, mut next) = (BTreeMap::new(), 0);
        for (place, batch) in from {
            early.insert(place, batch);
            while let Some(batch) = early.remove(&next) {
                next += 1;
                self.add(batch)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, batch: Embedded) -> Result<(), Error> {
        let header = &self.x.header;
        header.storage.encode(&batch.values, header.width, &mut self.codes)?;
        self.key.extend(batch.encoded.key);
        self.time.extend(batch.encoded.time);
        self.ingest.extend(batch.encoded.ingest.into_iter().flatten());
        self.row.extend(batch.encoded.row);
        self.score.extend(batch.score);
        while self.key.len() >= self.x.options.segment {
            self.append(self.x.options.segment)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.append(self.key.len())
    }

    /// Writes the first rows that wait as a segment.
    fn append(&mut self, rows: usize) -> Result<(), Error> {
        let header = &self.x.header;
        let bytes = rows * header.storage.row_bytes(header.width);
        self.writer.append(&Segment {
            key: &self.key[..rows],
            time: &self.time[..rows],
            ingest: header.ingest.then(|| &self.ingest[..rows]),
            row: &self.row[..rows],
            score: Some(&self.score[..rows]),
            side: &[],
            codes: &self.codes[..bytes],
        })?;
        self.key.drain(..rows);
        self.time.drain(..rows);
        self.ingest.drain(..rows.min(self.ingest.len()));
        self.row.drain(..rows);
        self.score.drain(..rows);
        self.codes.drain(..bytes);
        self.written += rows as u64;
        (self.observe)(Progress {
            rows: self.found + self.written,
            of: self.x.log.rows(),
        });
        Ok(())
    }
}
