//! The times of rows.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Error;
use super::cell::Cell;
use super::declare::{Log, Time, TimeFormat};
use super::rows::RowBatch;
use super::sequence;
use super::time::{DAY, Offset, Unit, date, implausible, iso, moment};

/// How much later than its ingestion an event may be: clocks differ.
const SKEW: i64 = 5 * 60_000;

/// Milliseconds since 1970 of each row's event.
pub(super) fn times(batch: &RowBatch, log: &Log) -> Result<Vec<i64>, Error> {
    let times = read(batch, &log.time, log.utc_offset)?;
    let Some(until) = &log.until else { return Ok(times) };
    let limit = match until.as_str() {
        "now" => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(i64::MAX, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        day => date(day).map_or(i64::MAX, |d| d * DAY - log.utc_offset.ms()),
    };
    match times.iter().position(|t| *t >= limit) {
        None => Ok(times),
        Some(row) => {
            let expected = format!("before {}, `until`", moment(limit));
            Err(batch.refused_text(row, name(&log.time), moment(times[row]), &expected))
        }
    }
}

/// Milliseconds since 1970 from which on each row could be read.
pub(super) fn ingest(batch: &RowBatch, log: &Log, times: &[i64]) -> Result<Option<Vec<i64>>, Error> {
    let Some(declared) = &log.ingest else { return Ok(None) };
    let ingest = read(batch, declared, log.utc_offset)?;
    let first = early(times, &ingest).next();
    match first {
        None => Ok(Some(ingest)),
        Some(row) => Err(ingested_early(batch, log, row, times[row], ingest[row])),
    }
}

/// Parts a batch's rows: those that were ingested before they happened are not to be had, the first of them is told.
pub(super) fn quarantined(batch: RowBatch, log: &Log) -> Result<(RowBatch, Option<Error>), Error> {
    let Some(declared) = &log.ingest else {
        return Ok((batch, None));
    };
    let times = times(&batch, log)?;
    let ingest = read(&batch, declared, log.utc_offset)?;
    let Some(first) = early(&times, &ingest).next() else {
        return Ok((batch, None));
    };
    let why = ingested_early(&batch, log, first, times[first], ingest[first]);
    let mut sound = vec![true; batch.len()];
    early(&times, &ingest).for_each(|row| sound[row] = false);
    let sound: Vec<usize> = (0..batch.len()).filter(|row| sound[*row]).collect();
    Ok((batch.take(&sound), Some(why)))
}

/// Rows that happened after they were ingested, by more than clocks differ.
fn early<'a>(times: &'a [i64], ingest: &'a [i64]) -> impl Iterator<Item = usize> + 'a {
    (0..times.len()).filter(|row| times[*row] > ingest[*row].saturating_add(SKEW))
}

fn ingested_early(batch: &RowBatch, log: &Log, row: usize, time: i64, ingest: i64) -> Error {
    let expected = format!("no later than 5 minutes after it was ingested, {}", moment(ingest));
    batch.refused_text(row, name(&log.time), moment(time), &expected)
}

/// The date of each row, such as 20220425.
pub(super) fn days(batch: &RowBatch, log: &Log, times: &[i64]) -> Result<Vec<i32>, Error> {
    let Some(column) = log.day.as_deref() else {
        if log.time.column.is_none() {
            return Err(Error::Declaration {
                origin: format!("`{}`", batch.file),
                why: "days are asked for, and `time` is a place in an order, which has none".to_owned(),
            });
        }
        return Ok(times.iter().map(|t| log.utc_offset.day(*t)).collect());
    };
    let column = column.trim();
    let values = batch.column(column)?;
    let day = |row: usize| {
        let cell = values.cell(row);
        let days = match cell {
            Cell::Int(i) => date(&i.to_string()),
            Cell::Text(t) => date(t),
            Cell::Time(Unit::Day, days) => Some(days),
            Cell::Time(unit, n) => unit
                .to_ms(n)
                .map(|ms| ms.saturating_add(log.utc_offset.ms()).div_euclid(DAY)),
            _ => None,
        };
        let refused = || batch.refused(row, column, cell, "a date such as 20220425 or 2022-04-25");
        Ok(Offset::default().day(days.ok_or_else(refused)?.saturating_mul(DAY)))
    };
    (0..batch.len()).map(day).collect()
}

/// What a time is called in messages.
fn name(time: &Time) -> &str {
    time.column
        .as_deref()
        .or(time.length_of.as_deref())
        .unwrap_or("row")
        .trim()
}

fn read(batch: &RowBatch, time: &Time, offset: Offset) -> Result<Vec<i64>, Error> {
    if time.row {
        return Ok(batch
            .rows
            .iter()
            .map(|r| i64::try_from(*r).unwrap_or(i64::MAX))
            .collect());
    }
    let column = name(time);
    let values = batch.column(column)?;
    if time.length_of.is_some() {
        let length = |row: usize| {
            let cell = values.cell(row);
            let length = sequence::length(cell, time.separator.as_deref());
            length.ok_or_else(|| batch.refused(row, column, cell, "a list"))
        };
        return (0..batch.len()).map(length).collect();
    }
    let at = |row: usize| {
        let cell = values.cell(row);
        moment_of(cell, time, offset).map_err(|expected| batch.refused(row, column, cell, &expected))
    };
    (0..batch.len()).map(at).collect()
}

/// A cell's time, or what it should have been.
fn moment_of(cell: Cell, time: &Time, offset: Offset) -> Result<i64, Cow<'static, str>> {
    let (ms, count, unit) = match (cell, time.unit, time.format) {
        (Cell::Null, ..) => return Err("a time: rows without one belong to no history".into()),
        (Cell::Time(unit, n), ..) | (Cell::Int(n), Some(unit), _) => (unit.to_ms(n), n, unit),
        (Cell::Float(x), Some(unit), _) => fractional(x, unit),
        (Cell::Text(t), Some(unit), _) => match t.parse::<i64>() {
            Ok(n) => (unit.to_ms(n), n, unit),
            Err(_) => t.parse::<f64>().map_or((None, 0, unit), |x| fractional(x, unit)),
        },
        (Cell::Text(t), None, Some(TimeFormat::Iso)) => {
            return checked(iso(t, offset), time, "a time such as 2022-04-25 10:00:00");
        }
        (Cell::Text(t), None, Some(TimeFormat::Date)) => {
            let start = date(t).map(|d| d * DAY - offset.ms());
            return checked(start, time, "a date such as 20220425 or 2022-04-25");
        }
        (Cell::Int(i), None, Some(TimeFormat::Date)) => {
            let start = date(&i.to_string()).map(|d| d * DAY - offset.ms());
            return checked(start, time, "a date such as 20220425");
        }
        (_, unit, _) => (None, 0, unit.unwrap_or(Unit::Ms)),
    };
    let ms = ms.ok_or_else(|| format!("a time in {unit} within i64"))?;
    match implausible(ms, count, unit) {
        Some(why) if time.plausible != Some(false) => Err(why.into()),
        _ => Ok(ms),
    }
}

/// A written time, if it is one of the events' years.
fn checked(ms: Option<i64>, time: &Time, expected: &'static str) -> Result<i64, Cow<'static, str>> {
    let ms = ms.ok_or(expected)?;
    match implausible(ms, ms, Unit::Ms) {
        Some(_) if time.plausible != Some(false) => Err("between 1990 and 2100".into()),
        _ => Ok(ms),
    }
}

/// Seconds and their like with a fraction, as some writers have them.
fn fractional(x: f64, unit: Unit) -> (Option<i64>, i64, Unit) {
    let of_second = match unit {
        Unit::S => 1000.0,
        Unit::Ms => 1.0,
        Unit::Us => 1e-3,
        Unit::Ns => 1e-6,
        Unit::Day => DAY as f64,
    };
    // Beyond 2^53 a float has lost digits of what it counts.
    let sound = x.is_finite() && x.abs() <= 9_007_199_254_740_992.0;
    (sound.then(|| (x * of_second).floor() as i64), x as i64, unit)
}
