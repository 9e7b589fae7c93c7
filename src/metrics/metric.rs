//! The figures of a variant by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A figure that a variant is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Area under the ROC curve.
    Auc,
    /// Mean AUC of the users who have both labels, weighted by their impressions.
    Gauc,
    /// Mean logistic loss, in nats.
    LogLoss,
    /// Normalised entropy: logistic loss over the entropy of the base rate.
    Ne,
    /// Mean prediction over mean label.
    Calibration,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 5] = [Self::Auc, Self::Gauc, Self::LogLoss, Self::Ne, Self::Calibration];

    /// The heading of its column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auc => "AUC",
            Self::Gauc => "GAUC",
            Self::LogLoss => "log loss",
            Self::Ne => "NE",
            Self::Calibration => "calibration",
        }
    }

    /// How much better `to` is than `from`: positive is better, whichever way the metric points.
    #[must_use]
    pub fn gain(self, from: f64, to: f64) -> f64 {
        match self {
            Self::Auc | Self::Gauc => to - from,
            Self::LogLoss | Self::Ne => from - to,
            Self::Calibration => (from - 1.0).abs() - (to - 1.0).abs(),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The figures of one variant on one set of rows; absent where there is one class alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the metric of its name")]
pub struct Figures {
    pub auc: Option<f64>,
    pub gauc: Option<f64>,
    pub log_loss: Option<f64>,
    pub ne: Option<f64>,
    pub calibration: Option<f64>,
}

impl Figures {
    /// A figure by its name.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Auc => self.auc,
            Metric::Gauc => self.gauc,
            Metric::LogLoss => self.log_loss,
            Metric::Ne => self.ne,
            Metric::Calibration => self.calibration,
        }
    }

    /// Means over several, as over seeds; absent where one of them is.
    #[must_use]
    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> Option<f64>| {
            let sum: Option<f64> = all.iter().map(of).sum();
            sum.filter(|_| !all.is_empty()).map(|sum| sum / all.len() as f64)
        };
        Self {
            auc: mean(|f| f.auc),
            gauc: mean(|f| f.gauc),
            log_loss: mean(|f| f.log_loss),
            ne: mean(|f| f.ne),
            calibration: mean(|f| f.calibration),
        }
    }
}
