//! Why there is no figure.

use super::Metric;

/// Predictions, labels or figures of which nothing can be said.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("no rows to measure on")]
    Empty,
    #[error("{rows} rows, but {seen} {what}")]
    Lengths {
        what: &'static str,
        rows: usize,
        seen: usize,
    },
    #[error("{seen} rows, at most 1073741824 are measured at once")]
    TooManyRows { seen: usize },
    #[error("row {row}: label {value}, labels are 0 or 1")]
    Label { row: usize, value: f32 },
    #[error("`{of}`, row {row}: logit {value} is not finite")]
    Logit { of: String, row: usize, value: f32 },
    #[error("{resamples} resamples at level {level}: at least 2 are needed, and a level between 0 and 1")]
    Bootstrap { resamples: u32, level: f64 },
    #[error("`{a}` and `{b}` were measured on other rows, or with other resamples: their difference has no interval")]
    NotPaired { a: String, b: String },
    #[error("variants of {a} and {b} seeds: pairs need the same number, or 1")]
    Seeds { a: usize, b: usize },
    #[error("no {metric} of `{of}`: one class alone")]
    OneClass { metric: Metric, of: String },
    #[error("{used} of {resamples} resamples have a value, at least half must")]
    FewResamples { used: usize, resamples: usize },
    #[error("a paired test of {a} and {b} values: it takes the same number, at least 2")]
    Pairs { a: usize, b: usize },
    #[error("pair {pair}: {value} is not finite")]
    NotFinite { pair: usize, value: f64 },
    #[error("all {pairs} differences are {difference}: without spread there is no test")]
    NoSpread { pairs: usize, difference: f64 },
    #[error(
        "{what} of {value:.6} in {metric} is within noise (standard error {se:.6}, 2 of them are needed): nothing is \
         divided by it"
    )]
    WithinNoise {
        what: &'static str,
        metric: Metric,
        value: f64,
        se: f64,
    },
}

impl Error {
    /// What a command ends with: 1, input refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        1
    }
}
