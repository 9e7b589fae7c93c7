//! A row of the table: what a variant reached, what it gained, what share of the teacher's lead that is.

use serde::{Deserialize, Serialize};

use crate::metrics::{Error, Interval, Measured, Metric, Transfer, difference, interval, transfer_ratio};

/// What a variant is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The VM that others are compared with.
    Base,
    /// A VM with something that is claimed to help.
    Claim,
    /// A VM that shows what the claim owes to something else.
    Control,
    /// The FM.
    Teacher,
}

/// A figure with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Of this metric.
    pub metric: Metric,
    /// Mean over seeds, with the interval by resampling users.
    pub value: Interval,
}

/// A gain over the base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// In this metric; positive is better.
    pub metric: Metric,
    /// Mean over seeds, with the interval by resampling users.
    pub value: Interval,
    /// Two-sided p of the paired t-test over seeds; absent with one seed.
    pub p: Option<f64>,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// What it is, or what it shows, in a few words.
    pub what: String,
    /// Claims that a control stands beside, by name; all of them where empty.
    pub beside: Vec<String>,
    /// Seeds it was trained with.
    pub seeds: u32,
    /// Its figures.
    pub values: Vec<Value>,
    /// Its gains over the base.
    pub gains: Vec<Gain>,
    /// Transfer ratios.
    pub transfer: Vec<Transfer>,
    /// Why there is no figure, gain or ratio where there is none.
    pub refusals: Vec<String>,
}

/// What a variant is measured against; one measurement a seed.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The plain VM.
    pub vm: &'a [Measured],
    /// The teacher, where there is one.
    pub fm: Option<&'a [Measured]>,
}

impl Variant {
    /// A variant from its measurements, one a seed; the same number as the base has, or one.
    ///
    /// # Errors
    ///
    /// Those of [`interval`] but for figures of one class alone and ratios within noise, which [`Variant::refusals`] tells.
    pub fn of(name: &str, role: Role, own: &[Measured], against: Against<'_>) -> Result<Self, Error> {
        let mut found = Self {
            name: name.to_owned(),
            role,
            what: String::new(),
            beside: Vec::new(),
            seeds: own.len() as u32,
            values: Vec::new(),
            gains: Vec::new(),
            transfer: Vec::new(),
            refusals: Vec::new(),
        };
        for metric in Metric::ALL {
            let value = interval(&[own], |f| f[0].get(metric));
            let told = |metric: Metric| format!("No {metric}");
            if let Some(value) = told_or(value, told(metric), &mut found.refusals)? {
                found.values.push(Value { metric, value });
            } else {
                continue;
            }
            if role == Role::Base || metric == Metric::Calibration {
                continue;
            }
            let gain = difference(metric, against.vm, own);
            if let Some(value) = told_or(gain, format!("No gain in {metric}"), &mut found.refusals)? {
                let p = p_value(metric, against.vm, own);
                found.gains.push(Gain { metric, value, p });
            }
        }
        if let (Role::Claim | Role::Control, Some(fm)) = (role, against.fm) {
            for metric in [Metric::Ne, Metric::Auc] {
                let ratio = transfer_ratio(metric, against.vm, own, fm);
                let what = format!("No transfer ratio in {metric}");
                found.transfer.extend(told_or(ratio, what, &mut found.refusals)?);
            }
        }
        Ok(found)
    }

    /// With words on what it is.
    #[must_use]
    pub fn says(self, what: &str) -> Self {
        let what = what.to_owned();
        Self { what, ..self }
    }

    /// A control of these claims alone.
    #[must_use]
    pub fn beside(self, claims: &[&str]) -> Self {
        let beside = claims.iter().map(|c| (*c).to_owned()).collect();
        Self { beside, ..self }
    }

    /// A figure.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<Interval> {
        self.values.iter().find(|v| v.metric == metric).map(|v| v.value)
    }

    /// A gain over the base.
    #[must_use]
    pub fn gain(&self, metric: Metric) -> Option<Gain> {
        self.gains.iter().find(|g| g.metric == metric).copied()
    }

    /// A transfer ratio.
    #[must_use]
    pub fn ratio(&self, metric: Metric) -> Option<Interval> {
        self.transfer.iter().find(|t| t.metric == metric).map(|t| t.ratio)
    }

    pub(super) fn is_control_of(&self, claim: &str) -> bool {
        self.role == Role::Control && (self.beside.is_empty() || self.beside.iter().any(|c| c == claim))
    }
}

/// Whether a report says so instead of not being made.
pub(super) fn is_told(e: &Error) -> bool {
    matches!(
        e,
        Error::WithinNoise { .. } | Error::FewResamples { .. } | Error::OneClass { .. }
    )
}

fn told_or<T>(found: Result<T, Error>, what: String, refusals: &mut Vec<String>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if is_told(&e) => {
            refusals.push(format!("{what}: {e}."));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Of the paired test over seeds, where there are pairs.
#[cfg(feature = "data")]
fn p_value(metric: Metric, from: &[Measured], to: &[Measured]) -> Option<f64> {
    let values = |of: &[Measured]| of.iter().map(|m| m.figures.get(metric)).collect::<Option<Vec<f64>>>();
    crate::metrics::paired_t(&values(from)?, &values(to)?)
        .ok()
        .map(|test| test.p)
}

/// Student's distribution comes with the feature `data`.
#[cfg(not(feature = "data"))]
fn p_value(_: Metric, _: &[Measured], _: &[Measured]) -> Option<f64> {
    None
}
