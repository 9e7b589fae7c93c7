//! On what and by which rules variants were compared.

use serde::{Deserialize, Serialize};

use crate::metrics::Sample;

/// The experiment, as far as figures mean something else under another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocol {
    /// Which data, with attribution.
    pub data: String,
    /// The column that is predicted.
    pub label: String,
    /// What each span of days was used for, in order of time.
    pub periods: Vec<Period>,
    /// Seeds that every variant was trained with.
    pub seeds: Vec<i64>,
    /// Models and their sizes.
    pub models: Vec<ModelSize>,
    /// How embeddings came about: `the FM is fixed after its days`, `each day by the FM of earlier days only`.
    pub teaching: String,
    /// Rules of histories: clock, delay, retention, length.
    pub history: String,
    /// How an embedding is stored, and in how many bytes an impression.
    pub storage: String,
    /// Bytes that an impression takes in the embedding log.
    pub bytes_per_impression: Option<f64>,
    /// Rows that were measured on.
    pub test_rows: u64,
    /// Their users.
    pub test_users: u64,
    /// Of these, users with both labels, which GAUC counts, and their rows.
    pub ranked: (u64, u64),
    /// Share of positive rows among the measured.
    pub base_rate: f64,
    /// Resamples of users that intervals come from.
    pub resamples: u32,
    /// Share of them that an interval holds.
    pub level: f64,
    /// What ran it: version, machine, seconds.
    pub run: Vec<(String, String)>,
}

/// A span of days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// `FM`, `log`, `VM`, `test`.
    pub name: String,
    /// First day, as 20220425.
    pub from: i32,
    /// Last day.
    pub to: i32,
    /// Impressions.
    pub rows: u64,
    /// Users.
    pub users: u64,
}

/// How large a model is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelSize {
    /// Its name.
    pub name: String,
    /// Numbers that training finds.
    pub parameters: u64,
    /// Architecture and widths, in a few words.
    pub what: String,
}

/// A form that embeddings may be stored in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// `f16`, `int8`, `int4 k-means`, `PCA 32 f16`.
    pub name: String,
    /// Bytes an impression.
    pub bytes: f64,
    /// Mean squared error of the embedding that is read back, over its variance.
    pub error: Option<f64>,
    /// AUC of the VM that reads it.
    pub auc: Option<f64>,
}

impl Protocol {
    /// Fills in what a sample knows: rows, users, base rate, resamples.
    pub fn test(&mut self, sample: &Sample) {
        let (users, rows) = sample.ranked_users();
        self.test_rows = sample.rows() as u64;
        self.test_users = sample.users() as u64;
        self.ranked = (users as u64, rows as u64);
        self.base_rate = sample.base_rate();
        self.resamples = sample.bootstrap().resamples;
        self.level = sample.bootstrap().level;
    }
}
