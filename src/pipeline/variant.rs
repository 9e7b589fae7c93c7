//! What is compared with the plain vertical model.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::spec::{Fm, With};

/// A vertical model and what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The plain model.
    Vm,
    /// The foundation model's predictions teach it.
    Kd,
    /// Past events as they are, no foundation model.
    Raw,
    /// The same with what came of them.
    RawLabels,
    /// What the foundation model left of past events.
    Loopfm,
    /// The same with what came of them.
    LoopfmLabels,
    /// Both histories.
    LoopfmRaw,
    /// Both channels of the foundation model.
    KdLoopfm,
    /// Control: embeddings change places with those of other impressions, of all users.
    Permuted,
    /// Control: a foundation model that never learnt.
    RandomFm,
    /// Control: past predictions for past embeddings.
    SoftLabel,
    /// Control: rows of the foundation model's tables for its embeddings.
    ItemOnly,
    /// Control: the sum of past embeddings, whatever the candidate.
    SumPool,
    /// Control: how many past embeddings there are, and no more.
    LengthOnly,
}

/// Which embeddings histories are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Embeddings {
    Fm,
    Permuted,
    Random,
    Score,
    Items,
}

impl Variant {
    /// Every one, in the order of reports.
    pub const ALL: [Self; 14] = [
        Self::Vm,
        Self::Kd,
        Self::Raw,
        Self::RawLabels,
        Self::Loopfm,
        Self::LoopfmLabels,
        Self::LoopfmRaw,
        Self::KdLoopfm,
        Self::Permuted,
        Self::RandomFm,
        Self::SoftLabel,
        Self::ItemOnly,
        Self::SumPool,
        Self::LengthOnly,
    ];

    /// Its name in files.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Kd => "kd",
            Self::Raw => "raw",
            Self::RawLabels => "raw-labels",
            Self::Loopfm => "loopfm",
            Self::LoopfmLabels => "loopfm-labels",
            Self::LoopfmRaw => "loopfm-raw",
            Self::KdLoopfm => "kd-loopfm",
            Self::Permuted => "permuted",
            Self::RandomFm => "random-fm",
            Self::SoftLabel => "soft-label",
            Self::ItemOnly => "item-only",
            Self::SumPool => "sum-pool",
            Self::LengthOnly => "length-only",
        }
    }

    /// What it is called.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Vm => "VM",
            Self::Kd => "VM + KD",
            Self::Raw => "VM + raw history, no FM",
            Self::RawLabels => "VM + raw history with past labels, no FM",
            Self::Loopfm => "VM + LoopFM",
            Self::LoopfmLabels => "VM + LoopFM with past labels",
            Self::LoopfmRaw => "VM + LoopFM + raw history",
            Self::KdLoopfm => "VM + KD + LoopFM",
            Self::Permuted => "control: embeddings permuted between impressions",
            Self::RandomFm => "control: FM that never learnt",
            Self::SoftLabel => "control: past predictions as a 1-d sequence",
            Self::ItemOnly => "control: item embeddings alone",
            Self::SumPool => "control: embeddings summed",
            Self::LengthOnly => "control: length of the history alone",
        }
    }

    /// Whether it is there to be beaten.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(
            self,
            Self::Permuted | Self::RandomFm | Self::SoftLabel | Self::ItemOnly | Self::SumPool | Self::LengthOnly
        )
    }

    /// The tables of `vm.with` that it takes.
    fn takes(self, with: &With) -> Vec<Option<&Table>> {
        let (kd, raw, loopfm) = (with.kd.as_ref(), with.raw.as_ref(), with.loopfm.as_ref());
        match self {
            Self::Vm | Self::LengthOnly => vec![],
            Self::Kd => vec![kd],
            Self::Raw => vec![raw],
            Self::RawLabels => vec![with.raw_labels.as_ref()],
            Self::LoopfmLabels => vec![with.loopfm_labels.as_ref()],
            Self::LoopfmRaw => vec![loopfm, raw],
            Self::KdLoopfm => vec![kd, loopfm],
            Self::Loopfm | Self::Permuted | Self::RandomFm | Self::SoftLabel | Self::ItemOnly | Self::SumPool => {
                vec![loopfm]
            }
        }
    }

    /// What a declaration must hold for it.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Self::Vm | Self::LengthOnly => "nothing",
            Self::Kd => "`vm.with.kd`",
            Self::Raw => "`vm.with.raw`",
            Self::RawLabels => "`vm.with.raw-labels`",
            Self::LoopfmLabels => "`vm.with.loopfm-labels`",
            Self::LoopfmRaw => "`vm.with.loopfm` and `vm.with.raw`",
            Self::KdLoopfm => "`vm.with.kd` and `vm.with.loopfm`",
            Self::ItemOnly => "`vm.with.loopfm` and `fm.items`",
            Self::Loopfm | Self::Permuted | Self::RandomFm | Self::SoftLabel | Self::SumPool => "`vm.with.loopfm`",
        }
    }

    pub(super) fn allowed(self, with: &With, fm: &Fm) -> bool {
        self.takes(with).iter().all(Option::is_some) && (self != Self::ItemOnly || !fm.items.is_empty())
    }

    /// The embeddings that it reads.
    pub(super) fn embeddings(self) -> Option<Embeddings> {
        match self {
            Self::Vm | Self::Kd | Self::Raw | Self::RawLabels => None,
            Self::Loopfm | Self::LoopfmLabels | Self::LoopfmRaw | Self::KdLoopfm | Self::SumPool => {
                Some(Embeddings::Fm)
            }
            // Of embeddings it reads how many there are.
            Self::LengthOnly => Some(Embeddings::Fm),
            Self::Permuted => Some(Embeddings::Permuted),
            Self::RandomFm => Some(Embeddings::Random),
            Self::SoftLabel => Some(Embeddings::Score),
            Self::ItemOnly => Some(Embeddings::Items),
        }
    }

    /// Whether these have been through the storage of the log.
    pub(super) fn reads_stored(self) -> bool {
        use Embeddings::{Fm, Permuted, Random};
        self != Self::LengthOnly && matches!(self.embeddings(), Some(Fm | Permuted | Random))
    }

    /// The declaration of its training: the plain one, with what it takes laid over.
    pub(super) fn laid_over(self, plain: &Table, with: &With) -> Table {
        let mut made = plain.clone();
        for table in self.takes(with).into_iter().flatten() {
            lay(&mut made, table);
        }
        if self == Self::SumPool
            && let Some(Value::Table(loopfm)) = made.get_mut("model").and_then(|m| m.get_mut("loopfm"))
        {
            loopfm.retain(|key, _| !matches!(key, "heads" | "position" | "layers" | "softmax" | "target"));
            loopfm.insert("encoder".into(), "sum".into());
        }
        if self == Self::LengthOnly
            && let Some(Value::Table(model)) = made.get_mut("model")
        {
            let length = Table::from_iter([("name".to_owned(), LENGTH.into()), ("width".to_owned(), 1.into())]);
            let dense = model.entry("dense").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(dense) = dense {
                dense.push(Value::Table(length));
            }
        }
        made
    }
}

/// The input of [`Variant::LengthOnly`].
pub(super) const LENGTH: &str = "history_length";

/// Puts the values of a table over those of another one; tables within go the same way.
fn lay(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay(under, over),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}
