//! The foundation model on a log: never does it embed what it has learnt from.

use std::ops::Range;

use super::Error;
use super::past::{Past, Sources};
use super::spec::{Fm, Mode, Spec};
use super::stream::{Stream, stretch};
use crate::bundle::Precision;
use crate::compile;
use crate::import::Model;
use crate::tensor::{HostTensor, Tensors};
use crate::train::{self, Split, Trainable, Trainer};

/// What a foundation model left of the impressions that it met.
#[derive(Clone, Debug, PartialEq)]
pub struct Taught {
    /// Numbers of an embedding.
    pub width: usize,
    /// `[rows, width]`; 0 where there is none.
    pub embeddings: Vec<f32>,
    /// Its probability of every impression; 0 where there is none.
    pub score: Vec<f32>,
    /// Which version embedded each impression, -1 where none did.
    pub version: Vec<i32>,
    /// The time of the last impression that each version had learnt from, ms since 1970.
    pub cutoffs: Vec<i64>,
    /// Rows of the tables that `items` names, by row of the stream; empty without such.
    pub items: Vec<f32>,
    /// Fingerprint of each version, compiled with weights in f16; empty for one that embedded nothing.
    pub fms: Vec<String>,
}

/// The cut-off of a model that has learnt from nothing.
pub const NEVER: i64 = i64::MIN;

impl Taught {
    /// Refuses an embedding by a model that may have seen what came of its impression: of each row the version says when it
    /// last learnt, and that must be before the row. Whoever reads embeddings asks this first.
    ///
    /// # Errors
    /// [`Error::Leak`], [`Error::Version`], naming the row.
    pub fn check(&self, time: &[i64]) -> Result<(), Error> {
        for (row, (version, time)) in self.version.iter().zip(time).enumerate() {
            let Ok(version) = usize::try_from(*version) else {
                continue;
            };
            match self.cutoffs.get(version) {
                Some(cutoff) if cutoff < time => {}
                Some(cutoff) => {
                    return Err(Error::Leak {
                        row,
                        time: *time,
                        cutoff: *cutoff,
                    });
                }
                None => return Err(Error::Version { row, version }),
            }
        }
        Ok(())
    }

    /// Fingerprint of the last version, the one that goes on after the log.
    #[must_use]
    pub fn fm(&self) -> &str {
        self.fms.last().map_or("", String::as_str)
    }

    /// Which impressions have an embedding.
    #[must_use]
    pub fn embedded(&self) -> Vec<bool> {
        self.version.iter().map(|v| *v >= 0).collect()
    }
}

/// A stretch of the stream: embedded first where it is, then learnt from where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    rows: Range<usize>,
    embed: bool,
    learn: bool,
}

/// The stretches in order of time.
fn blocks(stream: &Stream, spec: &Spec) -> Vec<Block> {
    let known = stream.days(spec.split.fm);
    let rest = Block {
        rows: known.end..stream.rows(),
        embed: true,
        learn: false,
    };
    if spec.fm.mode == Mode::Fixed {
        return vec![
            Block {
                rows: known,
                embed: false,
                learn: true,
            },
            rest,
        ];
    }
    let of = |row: usize| match spec.fm.block_hours {
        None => i64::from(stream.day[row]),
        Some(hours) => stream.time[row].div_euclid(3_600_000 * i64::from(hours)),
    };
    let (mut all, mut at) = (Vec::new(), known.start);
    while at < known.end {
        let end = (at..known.end).find(|r| of(*r) != of(at)).unwrap_or(known.end);
        // Before the first block nothing is known that an embedding could hold.
        all.push(Block {
            rows: at..end,
            embed: at > known.start,
            learn: true,
        });
        at = end;
    }
    all.push(rest);
    all
}

/// Runs a foundation model over the log: trained, or as it starts (the control that never learns).
///
/// # Errors
/// What training fails with, [`Error::Leak`] were it ever to embed what it has learnt from.
pub fn teach(
    stream: &Stream,
    spec: &Spec,
    sources: &Sources,
    train: &train::Spec,
    learns: bool,
) -> Result<(Taught, Model), Error> {
    let mut trainer = Trainer::new(Trainable::of_architecture(&train.architecture()?, train.seed)?, train)?;
    let past = Past::new(trainer.graph(), sources)?;
    let rows = stream.rows();
    let mut taught = Taught {
        width: 0,
        embeddings: Vec::new(),
        score: vec![0.0; rows],
        version: vec![-1; rows],
        cutoffs: vec![NEVER],
        items: Vec::new(),
        fms: vec![String::new()],
    };
    for block in blocks(stream, spec).into_iter().filter(|b| !b.rows.is_empty()) {
        let split = split(stream, &block.rows, &past, None);
        if block.embed {
            embed(&trainer, &spec.fm, &split, &block.rows, stream, &mut taught)?;
        }
        if block.learn && learns {
            trainer.learn(&split, None, &mut |_| {})?;
            taught.cutoffs.push(stream.time[block.rows.end - 1]);
            taught.fms.push(String::new());
        }
    }
    taught.check(&stream.time)?;
    let model = as_it_is(&trainer)?;
    taught.name(&model)?;
    Ok((taught, model))
}

fn as_it_is(trainer: &Trainer) -> Result<Model, Error> {
    Ok(Model {
        name: "fm".to_owned(),
        graph: trainer.graph().clone(),
        weights: trainer.weights()?,
    })
}

impl Taught {
    /// Says whose the newest version is.
    fn name(&mut self, model: &Model) -> Result<(), Error> {
        match self.fms.last_mut() {
            Some(fm) if fm.is_empty() => *fm = fingerprint(model)?,
            _ => {}
        }
        Ok(())
    }
}

/// What a bundle of the model is known by; kernels do not count.
fn fingerprint(model: &Model) -> Result<String, Error> {
    let mut options = compile::Options::new(Precision::F16);
    options.profiles.clear();
    let bundle = compile::compile(&model.name, &model.graph, &model.weights, &options)?;
    Ok(bundle.manifest.fingerprint)
}

/// What the model as it is leaves of a block.
fn embed(
    trainer: &Trainer,
    fm: &Fm,
    split: &Split,
    rows: &Range<usize>,
    stream: &Stream,
    taught: &mut Taught,
) -> Result<(), Error> {
    let model = as_it_is(trainer)?;
    let mut wanted: Vec<&str> = fm.layers.iter().map(String::as_str).collect();
    wanted.push("prob");
    taught.name(&model)?;
    let out = train::score(&model, &wanted, split)?;
    let layers: Vec<&[f32]> = fm.layers.iter().map(|name| floats(&out, name)).collect();
    put(&mut taught.embeddings, &mut taught.width, &layers, rows, stream.rows());
    taught.score[rows.clone()].copy_from_slice(floats(&out, "prob"));
    taught.version[rows.clone()].fill((taught.cutoffs.len() - 1) as i32);
    if !fm.items.is_empty() {
        let tables: Vec<Vec<f32>> = fm
            .items
            .iter()
            .map(|item| rows_of(&model, stream, item, rows))
            .collect::<Result<_, _>>()?;
        let tables: Vec<&[f32]> = tables.iter().map(Vec::as_slice).collect();
        put(&mut taught.items, &mut 0, &tables, rows, stream.rows());
    }
    Ok(())
}

/// Puts layers side by side into their rows of `[all, width]`.
fn put(into: &mut Vec<f32>, width: &mut usize, layers: &[&[f32]], rows: &Range<usize>, all: usize) {
    let widths: Vec<usize> = layers.iter().map(|x| x.len() / rows.len()).collect();
    *width = widths.iter().sum();
    into.resize(all * *width, 0.0);
    for (n, place) in into[rows.start * *width..rows.end * *width]
        .chunks_exact_mut((*width).max(1))
        .enumerate()
    {
        let mut at = 0;
        for (layer, width) in layers.iter().zip(&widths) {
            place[at..at + width].copy_from_slice(&layer[n * width..][..*width]);
            at += width;
        }
    }
}

/// The rows of a feature's table that a stretch of the log leads to.
fn rows_of(model: &Model, stream: &Stream, item: &str, rows: &Range<usize>) -> Result<Vec<f32>, Error> {
    let missing = || Error::Item { name: item.to_owned() };
    let table = model
        .weights
        .get(&format!("embedding.{item}.weight"))
        .ok_or_else(missing)?;
    let (ids, x) = (stream.columns.get(item).and_then(HostTensor::as_i32), table.as_f32());
    let (ids, x) = (ids.ok_or_else(missing)?, x.ok_or_else(missing)?);
    let width = table.shape.get(1).copied().ok_or_else(missing)?;
    let row = |id: &i32| {
        x.get(*id as usize * width..(*id as usize + 1) * width)
            .ok_or_else(missing)
    };
    let found: Result<Vec<&[f32]>, Error> = ids[rows.clone()].iter().map(row).collect();
    Ok(found?.concat())
}

fn floats<'a>(tensors: &'a Tensors, name: &str) -> &'a [f32] {
    tensors.get(name).and_then(HostTensor::as_f32).unwrap_or(&[])
}

/// The name of the labels' column.
pub(super) const LABEL: &str = "loopfm.label";
/// The name of the column of a teacher's probabilities.
pub(super) const TEACHER: &str = "loopfm.teacher";

/// A stretch of the stream as training reads it.
pub(super) fn split(stream: &Stream, rows: &Range<usize>, past: &Past, more: Option<&Tensors>) -> Split {
    let mut columns = stream.part(rows.clone());
    columns.insert(
        LABEL.to_owned(),
        HostTensor::f32(&[rows.len()], stream.label[rows.clone()].to_vec()),
    );
    for (name, column) in more.into_iter().flatten() {
        columns.insert(name.clone(), stretch(column, stream.rows(), rows.clone()));
    }
    Split::columns(columns).with(past.from(rows.start))
}

/// The same data for a model that reads another past.
pub(super) fn with_past(base: &Split, past: &Past, rows: &Range<usize>) -> Split {
    base.with(past.from(rows.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taught(version: Vec<i32>, cutoffs: Vec<i64>) -> Taught {
        let rows = version.len();
        Taught {
            width: 0,
            embeddings: Vec::new(),
            score: vec![0.0; rows],
            version,
            cutoffs,
            items: Vec::new(),
            fms: vec![String::new(); 2],
        }
    }

    #[test]
    fn no_impression_is_embedded_by_a_model_that_saw_it() {
        let time = [10, 20, 30];
        assert!(taught(vec![-1, 0, 1], vec![NEVER, 29]).check(&time).is_ok());
        let seen = taught(vec![-1, 1, 1], vec![NEVER, 20]).check(&time);
        assert!(
            matches!(
                seen,
                Err(Error::Leak {
                    row: 1,
                    time: 20,
                    cutoff: 20
                })
            ),
            "{seen:?}"
        );
        let unknown = taught(vec![-1, 2, 1], vec![NEVER, 5]).check(&time);
        assert!(
            matches!(unknown, Err(Error::Version { row: 1, version: 2 })),
            "{unknown:?}"
        );
    }
}
