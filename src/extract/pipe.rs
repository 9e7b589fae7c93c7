//! The threads of an extraction and the queues between them.
//!
//! A thread owns its ends of queues: when it ends, whatever the reason, those who fill a queue that nobody reads and those
//! who read one that nobody fills end as well.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::segments::{Embedded, Rows};
use super::work::Work;
use super::{Busy, Error, Progress};
use crate::data::{Encoded, RowBatch};
use crate::embeddings::Writer;
use crate::tensor::Tensors;

/// Batches that wait between two threads.
const QUEUE: usize = 2;
/// Batches that are encoded at once.
const ENCODING: usize = 2;
/// Batches that run at once: one goes in, one computes, one comes back.
const RUNNING: usize = 3;

/// A batch with its place in the log.
type Placed<T> = (u64, T);

/// What has been done.
pub(super) struct Done {
    /// Rows written.
    pub(super) rows: u64,
    pub(super) busy: Busy,
    /// A batch to measure the model by.
    pub(super) sample: Option<Tensors>,
}

/// What all threads see.
struct Common {
    failed: Mutex<Option<Error>>,
    sample: Mutex<Option<Tensors>>,
    /// Nanoseconds of work, as in [`Busy`].
    spent: [AtomicU64; 4],
}

/// Places in [`Common::spent`].
#[derive(Clone, Copy)]
enum Stage {
    Read,
    Encode,
    Run,
    Write,
}

impl Common {
    /// Notes an error; the first one is the run's. To be called before the thread's queue closes: whoever finds a queue closed
    /// and no error takes it for the end of the log.
    fn note(&self, result: Result<(), Error>) {
        if let Err(e) = result {
            lock(&self.failed).get_or_insert(e);
        }
    }

    fn has_failed(&self) -> bool {
        lock(&self.failed).is_some()
    }

    fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent[stage as usize].fetch_add(took, Ordering::Relaxed);
        done
    }

    fn busy(&self) -> Busy {
        let seconds = |stage: Stage| self.spent[stage as usize].load(Ordering::Relaxed) as f64 / 1e9;
        Busy {
            reading: seconds(Stage::Read),
            encoding: seconds(Stage::Encode),
            running: seconds(Stage::Run),
            writing: seconds(Stage::Write),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs them all.
pub(super) fn run(
    x: &Work<'_>,
    writer: &mut Writer,
    found: u64,
    observe: &(dyn Fn(Progress) + Sync),
) -> Result<Done, Error> {
    let after = writer.last_row();
    let common = Common {
        failed: Mutex::new(None),
        sample: Mutex::new(None),
        spent: Default::default(),
    };
    let mut written = 0;
    let (raw, raw_out) = bounded::<Placed<RowBatch>>(QUEUE);
    let (ready, ready_out) = bounded::<Placed<(Encoded, Tensors)>>(QUEUE);
    let (done, done_out) = bounded::<Placed<Embedded>>(QUEUE);
    let (full, full_out) = bounded::<Rows>(1);
    thread::scope(|scope| {
        let common = &common;
        scope.spawn(move || common.note(read(x, common, after, &raw)));
        // Histories follow the order of the log.
        let encoding = if x.past.is_some() { 1 } else { ENCODING };
        for _ in 0..encoding {
            let (raw, ready) = (raw_out.clone(), ready.clone());
            scope.spawn(move || common.note(encode(x, common, after, &raw, &ready)));
        }
        for _ in 0..RUNNING {
            let (ready, done) = (ready_out.clone(), done.clone());
            scope.spawn(move || common.note(compute(x, common, &ready, &done)));
        }
        drop((raw_out, ready, ready_out, done));
        scope.spawn(move || collect(x, common, done_out, &full));
        for rows in full_out {
            let wrote = common.timed(Stage::Write, || rows.write(&x.header, writer));
            match wrote {
                Ok(()) => written += rows.len() as u64,
                Err(e) => {
                    common.note(Err(e.into()));
                    break;
                }
            }
            observe(Progress {
                rows: found + written,
                of: x.log.rows(),
            });
        }
    });
    let busy = common.busy();
    let into = |poisoned: PoisonError<_>| poisoned.into_inner();
    match common.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(Done {
            rows: written,
            busy,
            sample: common.sample.into_inner().unwrap_or_else(into),
        }),
    }
}

/// Reads the rows that are not committed yet. A closed queue means that another thread has failed and said why.
fn read(x: &Work<'_>, common: &Common, after: Option<u64>, out: &Sender<Placed<RowBatch>>) -> Result<(), Error> {
    let mut batches = x.batches();
    let mut place = 0;
    while let Some(batch) = common.timed(Stage::Read, || batches.next()) {
        // What is committed is the past of what is not.
        let batch = if x.past.is_some() { batch? } else { batch?.after(after) };
        if batch.is_empty() {
            continue;
        }
        if common.has_failed() || out.send((place, batch)).is_err() {
            return Ok(());
        }
        place += 1;
    }
    Ok(())
}

fn encode(
    x: &Work<'_>,
    common: &Common,
    after: Option<u64>,
    from: &Receiver<Placed<RowBatch>>,
    out: &Sender<Placed<(Encoded, Tensors)>>,
) -> Result<(), Error> {
    let (mut past, mut without) = (x.past.clone(), 0);
    for (place, batch) in from {
        let made = common.timed(Stage::Encode, || x.encode(past.as_mut(), &batch, after))?;
        let Some((encoded, inputs)) = made else {
            // Rows that are but remembered; then this thread is the only one of its kind.
            without += 1;
            continue;
        };
        let place = place - without;
        if place == 0 {
            *lock(&common.sample) = Some(inputs.clone());
        }
        if out.send((place, (encoded, inputs))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn compute(
    x: &Work<'_>,
    common: &Common,
    from: &Receiver<Placed<(Encoded, Tensors)>>,
    out: &Sender<Placed<Embedded>>,
) -> Result<(), Error> {
    for (place, (encoded, inputs)) in from {
        let (codes, score) = common.timed(Stage::Run, || x.codes(&inputs))?;
        if out.send((place, Embedded { encoded, codes, score })).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Puts batches in their order and cuts them into segments. What came before an error is whole, but where it ends is not where
/// a segment would.
fn collect(x: &Work<'_>, common: &Common, from: Receiver<Placed<Embedded>>, out: &Sender<Rows>) {
    let bytes = x.header.storage.row_bytes(x.header.width);
    let (mut early, mut next, mut rows) = (BTreeMap::new(), 0, Rows::default());
    for (place, batch) in from {
        early.insert(place, batch);
        while let Some(batch) = early.remove(&next) {
            next += 1;
            rows.add(batch);
        }
        while rows.len() >= x.options.segment {
            if out.send(rows.take(x.options.segment, bytes)).is_err() {
                return;
            }
        }
    }
    if rows.len() > 0 && !common.has_failed() {
        // Closed only after an error, which is noted.
        let _ = out.send(rows);
    }
}

/// The model's own rate: one batch again and again, as many at once as in a run.
pub(super) fn kernel_rate(x: &Work<'_>, batch: &Tensors) -> Result<f64, Error> {
    let rows = batch.values().next().and_then(|t| t.shape.first()).copied();
    let (done, start, failed) = (AtomicU64::new(0), Instant::now(), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..RUNNING {
            scope.spawn(|| {
                while start.elapsed() < Duration::from_secs(1) {
                    if let Err(e) = x.session.run(batch) {
                        lock(&failed).get_or_insert(e);
                        return;
                    }
                    done.fetch_add(rows.unwrap_or(0) as u64, Ordering::Relaxed);
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e.into()),
        None => Ok(done.into_inner() as f64 / start.elapsed().as_secs_f64()),
    }
}
