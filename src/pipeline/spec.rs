//! `loop.toml`: the whole experiment as it is declared.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::variant::Variant;
use crate::embeddings::Form;
use crate::history::Rule;
use crate::train::{self, read_toml};

/// An experiment: a log, a foundation model, a vertical model with and without what the former leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// What the report is called.
    pub name: String,
    /// Everything is trained once for each.
    pub seeds: Vec<u64>,
    /// The log.
    pub log: Log,
    /// Which days are for what.
    pub split: Split,
    /// What a history may hold.
    #[serde(default)]
    pub history: History,
    /// The foundation model.
    pub fm: Fm,
    /// The vertical model.
    pub vm: Vm,
    /// What is compared; without it, every variant and control that `vm.with` allows for.
    #[serde(default)]
    pub variants: Vec<Variant>,
}

/// Where impressions come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    /// What the columns are: `features.toml`, relative to this file.
    pub features: PathBuf,
    /// Files, patterns and folders, relative to the folder of the data.
    pub files: Vec<PathBuf>,
    /// Of a log without dates: so many stretches of as many rows each, numbered from 1, stand for days.
    pub chunks: Option<u32>,
}

/// Days by their use, `first..last`, both included; 20220425, or a number of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Split {
    /// Days that vocabularies and statistics are fitted on; without it those of `fm`.
    pub features: Option<Range>,
    /// Days that the foundation model learns from.
    pub fm: Range,
    /// Days that the vertical model learns from.
    pub train: Range,
    /// Days that choose its best epoch; without them the last one counts.
    pub valid: Option<Range>,
    /// Days that it is measured on.
    pub test: Range,
}

/// `first..last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    /// First day.
    pub first: i32,
    /// Last day.
    pub last: i32,
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((&text, &text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "{text:?} is no range of days such as \"20220425..20220504\" or \"1..4\""
            )),
        }
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        format!("{}..{}", range.first, range.last)
    }
}

/// Of which past events histories are made. Always of those strictly before the impression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct History {
    /// Most events.
    pub length: usize,
    /// Milliseconds until an event can be used.
    pub delay: i64,
    /// Milliseconds after which it is forgotten.
    pub retention: Option<i64>,
    /// Whether events with label 0 are left out of what the foundation model leaves.
    pub positives: bool,
}

impl Default for History {
    fn default() -> Self {
        Self {
            length: 50,
            delay: 0,
            retention: None,
            positives: false,
        }
    }
}

impl History {
    /// As the kernels take it.
    #[must_use]
    pub fn rule(&self) -> Rule {
        Rule {
            delay: self.delay,
            retention: self.retention,
            max_len: self.length,
        }
    }
}

/// How the foundation model meets the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It learns from its days and then embeds the days after them (the paper).
    Fixed,
    /// Each block of its days is embedded by what it has learnt from earlier ones, then learnt from; the days after them are
    /// embedded by the last state.
    Prequential,
}

/// The foundation model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fm {
    /// How it meets the log.
    pub mode: Mode,
    /// Hours of a block; without a number a day is a block.
    pub block_hours: Option<u32>,
    /// Its outputs that are kept of each impression, side by side: `embedding`, or layers named in `extract`.
    pub layers: Vec<String>,
    /// How these are stored: vertical models read what is left of them.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub storage: Form,
    /// Columns whose tables make up the embedding of the control without interactions.
    #[serde(default)]
    pub items: Vec<String>,
    /// Model, batches, optimiser, loss. An epoch is one over a block.
    pub train: train::Spec,
}

fn whole() -> Form {
    Form::F32
}

fn is_whole(form: &Form) -> bool {
    *form == Form::F32
}

/// The vertical model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Vm {
    /// Model, batches, optimiser, loss, and when to stop.
    pub train: train::Spec,
    /// What the variants change in `train`.
    pub with: With,
}

/// Tables that are laid over `vm.train` for what a variant has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct With {
    /// A head that the foundation model's predictions train.
    pub kd: Option<toml::Table>,
    /// Histories of raw events.
    pub raw: Option<toml::Table>,
    /// The same with what came of them.
    pub raw_labels: Option<toml::Table>,
    /// Histories of embeddings.
    pub loopfm: Option<toml::Table>,
    /// The same with what came of the events.
    pub loopfm_labels: Option<toml::Table>,
}

impl Spec {
    /// Reads a file; `log.features` is relative to it.
    ///
    /// # Errors
    /// [`Error::Train`] with the line at fault, what [`Spec::check`] refuses.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut spec: Self = read_toml(path)?;
        spec.log.features = path.parent().unwrap_or(Path::new("")).join(&spec.log.features);
        spec.check()?;
        Ok(spec)
    }

    /// Whether the parts fit each other.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<(), Error> {
        let refused = |name: &'static str, seen: String, expected: String| Err(Error::Setting { name, seen, expected });
        let Split {
            fm, train, valid, test, ..
        } = &self.split;
        let text = |r: &Range| String::from(*r);
        let mut before = ("split.train", train);
        for (name, next) in valid.iter().map(|v| ("split.valid", v)).chain([("split.test", test)]) {
            if next.first <= before.1.last {
                return refused(name, text(next), format!("after `{}`, {}", before.0, text(before.1)));
            }
            before = (name, next);
        }
        if self.fm.mode == Mode::Fixed && train.first <= fm.last {
            let after = format!(
                "after `split.fm`, {}: it is embedded by a foundation model that has learnt from these",
                text(fm)
            );
            return refused("split.train", text(train), after);
        }
        if fm.last >= test.first {
            return refused("split.fm", text(fm), format!("before `split.test`, {}", text(test)));
        }
        if self.seeds.is_empty() {
            return refused("seeds", "empty".into(), "at least one number".into());
        }
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        seeds.dedup();
        if seeds.len() != self.seeds.len() {
            return refused("seeds", format!("{:?}", self.seeds), "numbers that differ".into());
        }
        if self.fm.layers.is_empty() {
            return refused("fm.layers", "empty".into(), "at least one output of the model".into());
        }
        if self.history.length == 0 {
            return refused("history.length", "0".into(), "at least 1".into());
        }
        if self.fm.block_hours == Some(0) || self.log.chunks == Some(0) {
            return refused("fm.block-hours and log.chunks", "0".into(), "at least 1".into());
        }
        self.fm.train.check()?;
        self.vm.train.check()?;
        match self.variants.iter().find(|v| !v.allowed(&self.vm.with, &self.fm)) {
            None => Ok(()),
            Some(v) => refused(
                "variants",
                v.key().to_owned(),
                format!("declared: it needs {}", v.needs()),
            ),
        }
    }

    /// The variants to run, the plain model first.
    #[must_use]
    pub fn variants(&self) -> Vec<Variant> {
        let asked = |v: &Variant| *v == Variant::Vm || self.variants.is_empty() || self.variants.contains(v);
        let allowed = |v: &Variant| v.allowed(&self.vm.with, &self.fm);
        Variant::ALL
            .iter()
            .copied()
            .filter(|v| asked(v) && allowed(v))
            .collect()
    }
}
