//! What is kept of what a foundation model left: vertical models read that, and a log holds it.

use std::ops::Range;
use std::path::Path;

use super::Error;
use super::past::LABEL_SIDE;
use super::spec::{Mode, Spec};
use super::stream::Stream;
use super::teacher::{NEVER, Taught};
use crate::compress::{self, SAMPLE};
use crate::embeddings::{self, Form, Header, Log, Segment, Storage, Writer};
use crate::report;

/// Rows of a segment.
const SEGMENT: usize = 1 << 18;

/// The storage of a form for the embeddings of one foundation model: scale and centres are fitted on the vertical model's
/// training days, as nothing later is known when the first embedding is stored.
pub(super) fn storage(form: Form, fm: &Taught, train: Range<usize>) -> Result<Storage, Error> {
    let step = (train.len() * fm.width).div_ceil(SAMPLE).max(1);
    let row = |r: usize| &fm.embeddings[r * fm.width..][..fm.width];
    let sample: Vec<f32> = train.step_by(step).flat_map(row).copied().collect();
    Ok(compress::fit(form, &sample)?)
}

/// What is read of embeddings `[rows, width]` that were stored.
pub(super) fn read_back(storage: &Storage, values: &[f32], width: usize) -> Result<Vec<f32>, Error> {
    let mut codes = Vec::new();
    storage.encode(values, width, &mut codes)?;
    Ok(storage.decode(&codes, width))
}

/// What each form costs and loses of the embeddings of some rows: squared error over variance.
pub(super) fn table(fm: &Taught, train: &Range<usize>, rows: &Range<usize>) -> Result<Vec<report::Storage>, Error> {
    let values = &fm.embeddings[rows.start * fm.width..rows.end * fm.width];
    let variance = variance(values, fm.width);
    let line = |form: Form| {
        let storage = storage(form, fm, train.clone())?;
        let back = read_back(&storage, values, fm.width)?;
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        let error = values.iter().zip(&back).map(square).sum::<f64>() / values.len().max(1) as f64;
        Ok(report::Storage {
            name: form.name().to_owned(),
            bytes: storage.row_bytes(fm.width) as f64,
            error: (variance > 0.0).then(|| error / variance),
            auc: None,
        })
    };
    Form::ALL.into_iter().map(line).collect()
}

/// Mean over the columns of the variance of each.
fn variance(values: &[f32], width: usize) -> f64 {
    let rows = (values.len() / width.max(1)).max(1) as f64;
    let column = |c: usize| {
        let x = || values.iter().skip(c).step_by(width).map(|x| f64::from(*x));
        let mean = x().sum::<f64>() / rows;
        x().map(|x| (x - mean).powi(2)).sum::<f64>() / rows
    };
    (0..width).map(column).sum::<f64>() / width.max(1) as f64
}

/// Writes a log of everything that a foundation model embedded, in order of time: `row` counts the impressions of the
/// stream, side `label` says what came of each. Goes on with a log that an earlier run has begun.
pub(super) fn write_log(dir: &Path, spec: &Spec, stream: &Stream, fm: &Taught) -> Result<(), Error> {
    let storage = storage(spec.fm.storage, fm, stream.days(spec.split.train))?;
    let stretches = stretches(&fm.version);
    let done = same_so_far(dir, fm, &stretches)?;
    for (rows, version) in &stretches[done..] {
        let mut writer = Writer::open(dir, &header(spec, stream, fm, *version, &storage))?;
        let mut codes = Vec::new();
        let values = &fm.embeddings[rows.start * fm.width..rows.end * fm.width];
        storage.encode(values, fm.width, &mut codes)?;
        let row: Vec<u64> = (rows.start as u64..rows.end as u64).collect();
        let label = |y: &f32| if *y >= 0.5 { 2 } else { 1 };
        writer.append(&Segment {
            key: &stream.key[rows.clone()],
            time: &stream.time[rows.clone()],
            ingest: stream.ingest.as_ref().map(|ingest| &ingest[rows.clone()]),
            row: &row,
            score: Some(&fm.score[rows.clone()]),
            side: &[stream.label[rows.clone()].iter().map(label).collect()],
            codes: &codes,
        })?;
    }
    Ok(())
}

fn header(spec: &Spec, stream: &Stream, fm: &Taught, version: usize, storage: &Storage) -> Header {
    Header {
        fm: fm.fms[version].clone(),
        cutoff: Some(fm.cutoffs[version]).filter(|cutoff| *cutoff != NEVER),
        width: fm.width,
        storage: storage.clone(),
        ingest: stream.ingest.is_some(),
        score: true,
        side: vec![LABEL_SIDE.to_owned()],
        prequential: spec.fm.mode == Mode::Prequential,
        leak: None,
    }
}

/// Neighbouring rows that one version embedded, no more than a segment holds.
fn stretches(version: &[i32]) -> Vec<(Range<usize>, usize)> {
    let (mut all, mut at) = (Vec::new(), 0);
    for rows in version.chunk_by(|a, b| a == b) {
        let end = at + rows.len();
        if let Ok(version) = usize::try_from(rows[0]) {
            let starts = (at..end).step_by(SEGMENT);
            all.extend(starts.map(|start| (start..end.min(start + SEGMENT), version)));
        }
        at = end;
    }
    all
}

/// How many segments a log has already; they must be those that would be written.
fn same_so_far(dir: &Path, fm: &Taught, stretches: &[(Range<usize>, usize)]) -> Result<usize, Error> {
    let log = match Log::open(dir) {
        Ok(log) => log,
        // Whatever else is wrong with it the writer says.
        Err(_) => return Ok(0),
    };
    let planned = |n: usize| {
        stretches
            .get(n)
            .map(|(rows, version)| (rows, fm.fms[*version].as_str()))
    };
    for (n, there) in log.segments().iter().enumerate() {
        let rows = planned(n).map(|(rows, _)| [rows.start as u64, rows.end as u64 - 1]);
        let seen = planned(n).map_or("", |(_, fm)| fm);
        if seen != there.fm || rows != Some(there.row) {
            return Err(Error::Log(embeddings::Error::OtherFm {
                dir: dir.into(),
                seen: seen.to_owned(),
                expected: there.fm.clone(),
            }));
        }
    }
    Ok(log.segments().len())
}
