//! A storage as it is asked for, before scale and centres are known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Storage;

/// How embeddings are to be stored. What a [`Storage`] has besides, scale or centres, is fitted to a sample of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As they are.
    F32,
    /// Halves.
    F16,
    /// Signed bytes.
    Int8,
    /// Half bytes, for elements of -1..1.
    Int4,
    /// Half bytes that stand for sixteen fitted centres.
    KMeans4,
}

impl Form {
    /// Every one, the larger first.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Int8, Self::Int4, Self::KMeans4];

    /// The name under which files and commands know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::KMeans4 => "kmeans4",
        }
    }

    /// The storage, where there is nothing to fit.
    #[must_use]
    pub fn plain(self) -> Option<Storage> {
        match self {
            Self::F32 => Some(Storage::F32),
            Self::F16 => Some(Storage::F16),
            Self::Int4 => Some(Storage::Int4),
            Self::Int8 | Self::KMeans4 => None,
        }
    }

    /// Whether a storage is of this form.
    #[must_use]
    pub fn is_of(self, storage: &Storage) -> bool {
        self.name() == storage.name()
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|form| form.name() == text);
        found.ok_or_else(|| format!("known are {}", Self::ALL.map(Self::name).join(", ")))
    }
}
