//! A vertical model: trained, chosen by the validation days, tested.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::attention::by_age;
use super::past::{Embeddings, Past, Sources, histories};
use super::spec::Spec;
use super::stream::Stream;
use super::teacher::{LABEL, TEACHER, Taught, split, with_past};
use super::variant::{self, LENGTH, Variant};
use super::{Error, fields, stored};
use crate::data::Encoder;
use crate::history::Histories;
use crate::import::Model;
use crate::random::philox;
use crate::report::Attention;
use crate::tensor::{HostTensor, Tensors};
use crate::train::{self, Event, Split, Trainable, Trainer};

/// What became of a vertical model.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// Logits of the test rows.
    pub logits: Vec<f32>,
    /// How its training went.
    pub course: Course,
}

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Validations: steps done, AUC, log loss.
    pub validations: Vec<(u64, f64, f64)>,
    /// Steps done.
    pub steps: u64,
    /// Parameters of the model.
    pub parameters: usize,
    /// What past events weigh in test rows, by their age; of [`Variant::Loopfm`] with attention alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
}

/// Everything that the vertical models of one seed share.
pub(super) struct School<'a> {
    pub(super) spec: &'a Spec,
    pub(super) stream: &'a Stream,
    pub(super) encoder: &'a Encoder,
    pub(super) columns: Arc<Tensors>,
    pub(super) raw: Arc<Histories>,
    pub(super) seed: u64,
    pub(super) fm: Taught,
    pub(super) random: Option<Taught>,
    splits: Splits,
    loopfm: Arc<Histories>,
    made: Mutex<HashMap<variant::Embeddings, Arc<Embeddings>>>,
}

/// Rows by their use, and their columns.
struct Splits {
    train: (Range<usize>, Split),
    valid: Option<(Range<usize>, Split)>,
    test: (Range<usize>, Split),
}

impl<'a> School<'a> {
    /// Prepares the vertical models of a seed: their foundation model has been over the log.
    pub(super) fn new(
        (spec, stream, encoder): (&'a Spec, &'a Stream, &'a Encoder),
        (columns, raw): (Arc<Tensors>, Arc<Histories>),
        seed: u64,
        (fm, random): (Taught, Option<Taught>),
    ) -> Result<Self, Error> {
        fm.check(&stream.time)?;
        let train = stream.days(spec.split.train);
        if let Some(row) = train.clone().find(|r| fm.version[*r] < 0) {
            return Err(Error::Untaught {
                row,
                day: stream.day[row],
            });
        }
        let mut keep = fm.embedded();
        if spec.history.positives {
            keep.iter_mut()
                .zip(&stream.label)
                .for_each(|(keep, y)| *keep &= *y >= 0.5);
        }
        let loopfm = Arc::new(histories(stream, &spec.history, Some(&keep))?);
        let length = |row: usize| loopfm.of(row).len() as f32 / spec.history.length as f32;
        let rows = stream.rows();
        let more = Tensors::from([
            (TEACHER.to_owned(), HostTensor::f32(&[rows], fm.score.clone())),
            (
                LENGTH.to_owned(),
                HostTensor::f32(&[rows, 1], (0..rows).map(length).collect()),
            ),
        ]);
        let part = |rows: Range<usize>| {
            let columns = split(stream, &rows, &Past::none(), Some(&more));
            (rows, columns)
        };
        let valid = spec.split.valid.map(|days| part(stream.days(days)));
        let splits = Splits {
            train: part(train),
            valid,
            test: part(stream.days(spec.split.test)),
        };
        Ok(Self {
            spec,
            stream,
            encoder,
            columns,
            raw,
            seed,
            fm,
            random,
            splits,
            loopfm,
            made: Mutex::default(),
        })
    }

    /// Trains and tests a variant.
    pub(super) fn learn(&self, variant: Variant) -> Result<(Learnt, Model), Error> {
        let spec = self.training(variant)?;
        let mut trainer = Trainer::new(Trainable::of_architecture(&spec.architecture()?, spec.seed)?, &spec)?;
        let sources = Sources {
            columns: Arc::clone(&self.columns),
            raw: Arc::clone(&self.raw),
            loopfm: match variant.embeddings() {
                Some(e) => Some((Arc::clone(&self.loopfm), self.embeddings(e)?)),
                None => None,
            },
        };
        let past = Past::new(trainer.graph(), &sources)?;
        let of = |(rows, base): &(Range<usize>, Split)| with_past(base, &past, rows);
        let Splits { train, valid, test } = &self.splits;
        let valid = valid.as_ref().map(of);
        let mut course = Course::default();
        let learnt = trainer.learn(&of(train), valid.as_ref(), &mut |event| {
            if let Event::Validation(v) = event {
                course.validations.push((v.step, v.auc, v.log_loss));
            }
        })?;
        course.steps = learnt.steps;
        course.parameters = learnt.model.weights.values().map(|w| w.data.len()).sum();
        let rows = of(test);
        let out = train::score(&learnt.model, &["logit"], &rows)?;
        if variant == Variant::Loopfm {
            let (time, first) = (&self.stream.time, test.0.start);
            let ages = |row: usize| {
                let events = self.loopfm.of(first + row).iter();
                events.map(|e| time[first + row] - time[*e as usize]).collect()
            };
            course.attention = by_age(variant.title(), &spec, &learnt.model, &rows, ages)?;
        }
        let logits = out.get("logit").and_then(HostTensor::as_f32).unwrap_or(&[]).to_vec();
        Ok((Learnt { logits, course }, learnt.model))
    }

    /// The declaration of a variant's training.
    pub(super) fn training(&self, variant: Variant) -> Result<train::Spec, Error> {
        let plain = toml::Table::try_from(&self.spec.vm.train).map_err(|e| Error::Declared { why: e.to_string() })?;
        let mut table = variant.laid_over(&plain, &self.spec.vm.with);
        let embeddings = variant.embeddings().map(|e| self.embeddings(e)).transpose()?;
        let width = embeddings.map(|e| e.width);
        if let (Some(width), Some(toml::Value::Table(loopfm))) =
            (width, table.get_mut("model").and_then(|m| m.get_mut("loopfm")))
        {
            loopfm.insert("width".into(), (width as i64).into());
        }
        let mut spec: train::Spec = table.try_into().map_err(|e: toml::de::Error| Error::Declared {
            why: format!("variant `{}`: {e}", variant.key()),
        })?;
        spec.seed = self.seed;
        spec.data.label = LABEL.to_owned();
        if let Some(d) = &mut spec.loss.distillation {
            d.teacher = TEACHER.to_owned();
        }
        fields::sized(&mut spec.model, &self.encoder.vocabulary_sizes());
        Ok(spec)
    }

    fn embeddings(&self, which: variant::Embeddings) -> Result<Arc<Embeddings>, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.get(&which) {
            return Ok(Arc::clone(made));
        }
        let new = Arc::new(self.make(which)?);
        made.insert(which, Arc::clone(&new));
        Ok(new)
    }

    fn make(&self, which: variant::Embeddings) -> Result<Embeddings, Error> {
        let fm = &self.fm;
        let all = |values: &[f32]| Embeddings {
            width: values.len() / self.stream.rows().max(1),
            values: values.to_vec(),
        };
        let as_stored = |fm: &Taught, values: &[f32]| {
            let storage = stored::storage(self.spec.fm.storage, fm, self.splits.train.0.clone())?;
            Ok(all(&stored::read_back(&storage, values, fm.width)?))
        };
        let random = self.random.as_ref().unwrap_or(fm);
        match which {
            variant::Embeddings::Fm => as_stored(fm, &fm.embeddings),
            variant::Embeddings::Permuted => as_stored(fm, &permuted(fm, self.seed)),
            variant::Embeddings::Random => as_stored(random, &random.embeddings),
            variant::Embeddings::Score => Ok(all(&fm.score)),
            variant::Embeddings::Items => Ok(all(&fm.items)),
        }
    }
}

/// Embeddings with places changed among those of one version: whose impression it was is lost, nothing else.
fn permuted(fm: &Taught, seed: u64) -> Vec<f32> {
    let mut out = fm.embeddings.clone();
    for version in 0..fm.cutoffs.len() as i32 {
        let rows: Vec<usize> = (0..fm.version.len()).filter(|r| fm.version[*r] == version).collect();
        let mut order = rows.clone();
        for i in (1..order.len()).rev() {
            let [a, b, ..] = philox(
                [i as u32, version as u32, 0, PERMUTATION],
                [seed as u32, (seed >> 32) as u32],
            );
            let random = u128::from((u64::from(a) << 32) | u64::from(b));
            order.swap(i, ((random * (i as u128 + 1)) >> 64) as usize);
        }
        for (to, from) in rows.iter().zip(&order) {
            out[to * fm.width..][..fm.width].copy_from_slice(&fm.embeddings[from * fm.width..][..fm.width]);
        }
    }
    out
}

/// The stream of random numbers that permutations draw from.
const PERMUTATION: u32 = 0x7065_726d;
