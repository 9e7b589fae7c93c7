//! One feature of a batch of rows.

use super::Error;
use super::encoder::Encoder;
use super::feature::{End, Keep, Part, Transform};
use super::features::{Ids, Input, Of};
use super::lookup::{for_each_id, found};
use super::number::{bucket, of_cell, transformed};
use super::rows::RowBatch;
use crate::tensor::HostTensor;

/// What became of a feature.
pub(super) struct Made<'a> {
    pub(super) tensor: HostTensor,
    /// A mask or a flag.
    pub(super) beside: Option<(&'a str, HostTensor)>,
    /// Ids without a row.
    pub(super) unknown: Option<u64>,
}

impl From<HostTensor> for Made<'_> {
    fn from(tensor: HostTensor) -> Self {
        Self {
            tensor,
            beside: None,
            unknown: None,
        }
    }
}

/// Leaves of a row's items those that are kept.
type Cut<'a> = dyn FnMut(&mut Vec<i32>) + 'a;

impl Encoder {
    /// Makes an input.
    pub(super) fn input<'a>(&self, input: &'a Input, batch: &RowBatch, times: &[i64]) -> Result<Made<'a>, Error> {
        let rows = batch.len();
        match &input.of {
            Of::Id { ids, .. } => self.id_input(input, ids, batch),
            Of::Sequence {
                length,
                keep,
                newest,
                mask,
                ids,
                ..
            } => {
                let mut cut = |items: &mut Vec<i32>| kept(items, *length, *keep, *newest);
                self.sequence(input, ids, (*length, &mut cut), mask.as_deref(), batch)
            }
            Of::Number { flag, .. } => self.number(input, flag.as_deref(), batch),
            Of::Buckets { borders, .. } => {
                let borders = self.borders(&input.name, borders);
                let mut out = vec![0; rows];
                self.for_each_number(input, batch, |row, x, _| {
                    out[row] = x.map_or(0, |x| bucket(x, borders));
                })?;
                Ok(HostTensor::i32(&[rows], out).into())
            }
            Of::Time(part) => {
                let offset = self.features().declared.log.utc_offset;
                let of = |t: &i64| match part {
                    Part::Hour => offset.hour(*t) + 1,
                    Part::Weekday => offset.weekday(*t) + 1,
                };
                Ok(HostTensor::i32(&[rows], times.iter().map(of).collect()).into())
            }
        }
    }

    /// `[rows]`.
    fn id_input<'a>(&self, input: &'a Input, ids: &Ids, batch: &RowBatch) -> Result<Made<'a>, Error> {
        let (lookup, mut unknown) = (self.lookup(ids), 0);
        let mut out = vec![0; batch.len()];
        for_each_id(&input.of, batch, &mut |row, id| {
            out[row] = found(&lookup, ids, input, batch, row, id, &mut unknown)?;
            Ok(())
        })?;
        Ok(Made {
            unknown: Some(unknown),
            ..HostTensor::i32(&[batch.len()], out).into()
        })
    }

    /// `[rows, 1]`.
    fn number<'a>(&self, input: &'a Input, flag: Option<&'a str>, batch: &RowBatch) -> Result<Made<'a>, Error> {
        let shape = [batch.len(), 1];
        let (mut out, mut absent) = (vec![0.0; batch.len()], vec![0.0; batch.len()]);
        self.for_each_number(input, batch, |row, x, missing| {
            out[row] = x.unwrap_or(0.0) as f32;
            absent[row] = f32::from(u8::from(missing));
        })?;
        Ok(Made {
            beside: flag.map(|name| (name, HostTensor::f32(&shape, absent))),
            ..HostTensor::f32(&shape, out).into()
        })
    }

    /// Calls `each` with every row, its number after all transforms, and whether it was missing.
    fn for_each_number(
        &self,
        input: &Input,
        batch: &RowBatch,
        mut each: impl FnMut(usize, Option<f64>, bool),
    ) -> Result<(), Error> {
        let (column, missing, steps): (&str, Option<f64>, &[Transform]) = match &input.of {
            Of::Number {
                column,
                missing,
                transform,
                ..
            }
            | Of::Buckets {
                column,
                missing,
                transform,
                ..
            } => (column, *missing, transform),
            Of::Id { .. } | Of::Sequence { .. } | Of::Time(_) => return Ok(()),
        };
        let moments = self.moments(&input.name);
        let cells = batch.column(column)?;
        for row in 0..batch.len() {
            let cell = cells.cell(row);
            let refused = |expected| batch.refused(row, column, cell, expected);
            let there = of_cell(cell).map_err(refused)?;
            let x = there.or(missing).map(|x| transformed(x, steps, moments));
            each(row, x.transpose().map_err(refused)?, there.is_none());
        }
        Ok(())
    }

    /// `[rows, length]`, oldest first, padded with 0 behind.
    fn sequence<'a>(
        &self,
        input: &Input,
        ids: &Ids,
        (length, cut): (usize, &mut Cut<'_>),
        mask: Option<&'a str>,
        batch: &RowBatch,
    ) -> Result<Made<'a>, Error> {
        let (lookup, mut unknown) = (self.lookup(ids), 0);
        let shape = [batch.len(), length];
        let mut out = vec![0; batch.len() * length];
        let mut there = vec![false; batch.len() * length];
        let (mut items, mut current) = (Vec::new(), 0);
        let mut put = |row: usize, items: &mut Vec<i32>| {
            cut(items);
            out[row * length..][..items.len()].copy_from_slice(items);
            there[row * length..][..items.len()].fill(true);
            items.clear();
        };
        // Rows come in their order.
        for_each_id(&input.of, batch, &mut |row, id| {
            if row != current {
                put(current, &mut items);
                current = row;
            }
            items.push(found(&lookup, ids, input, batch, row, id, &mut unknown)?);
            Ok(())
        })?;
        if !batch.is_empty() {
            put(current, &mut items);
        }
        Ok(Made {
            unknown: Some(unknown),
            beside: mask.map(|name| (name, HostTensor::bool(&shape, there))),
            ..HostTensor::i32(&shape, out).into()
        })
    }
}

/// Leaves the items kept, oldest first.
fn kept(items: &mut Vec<i32>, length: usize, keep: Keep, newest: End) {
    if newest == End::First {
        items.reverse();
    }
    match keep {
        Keep::Oldest => items.truncate(length),
        Keep::Newest => drop(items.drain(..items.len().saturating_sub(length))),
    }
}
