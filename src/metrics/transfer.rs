//! The transfer ratio: what share of a teacher's lead reaches its student.

use serde::{Deserialize, Serialize};

use super::{Error, Figures, Interval, Measured, Metric, interval};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Teachers {
    /// A channel's gain over the plain VM, by the FM's lead over it.
    One,
    /// The gain of a VM by a better teacher, by the better teacher's lead over the first: the paper's two-teacher form.
    Two,
}

/// A transfer ratio and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which of both forms.
    pub teachers: Teachers,
    /// In which metric.
    pub metric: Metric,
    /// What the student gains.
    pub gain: Interval,
    /// What the teacher leads by.
    pub lead: Interval,
    /// The gain over the lead: negative where the channel harms.
    pub ratio: Interval,
}

/// A gain over a lead of this standard error.
///
/// # Errors
///
/// [`Error::WithinNoise`] where the lead is not above two standard errors: of a teacher that does not lead, or not surely, there
/// is no share.
pub fn share_of_lead(metric: Metric, gain: f64, lead: f64, se: f64) -> Result<f64, Error> {
    // So put that NaN is refused too.
    if lead > 0.0 && lead >= 2.0 * se && gain.is_finite() {
        return Ok(gain / lead);
    }
    let (what, value) = ("the teacher's lead", lead);
    Err(Error::WithinNoise {
        what,
        metric,
        value,
        se,
    })
}

/// Transfer ratio of a channel: (NE of VM - NE of VM with it) / (NE of VM - NE of FM), and likewise in other metrics
/// with signs so that better is positive. Each variant is given by its measurements, one a seed.
///
/// # Errors
///
/// [`Error::WithinNoise`] where the FM's lead is below two standard errors (of users and of seeds); those of [`interval`].
pub fn transfer_ratio(
    metric: Metric,
    vm: &[Measured],
    with_channel: &[Measured],
    fm: &[Measured],
) -> Result<Transfer, Error> {
    ratio(Teachers::One, metric, [vm, with_channel], [vm, fm])
}

/// Transfer ratio between two teachers: (NE of the VM taught by the first - NE of the VM taught by the second) / (NE of the first -
/// NE of the second).
///
/// # Errors
///
/// [`Error::WithinNoise`] where the second teacher's lead is below two standard errors; those of [`interval`].
pub fn transfer_ratio_of_teachers(
    metric: Metric,
    students: [&[Measured]; 2],
    teachers: [&[Measured]; 2],
) -> Result<Transfer, Error> {
    ratio(Teachers::Two, metric, students, teachers)
}

fn ratio(
    form: Teachers,
    metric: Metric,
    students: [&[Measured]; 2],
    teachers: [&[Measured]; 2],
) -> Result<Transfer, Error> {
    let all = [students[0], students[1], teachers[0], teachers[1]];
    let gain = |f: &[Figures]| Some(metric.gain(f[0].get(metric)?, f[1].get(metric)?));
    let (gain_of, lead_of) = (|f: &[Figures]| gain(&f[..2]), |f: &[Figures]| gain(&f[2..]));
    let lead = interval(&all, lead_of)?;
    let gain = interval(&all, gain_of)?;
    let value = share_of_lead(metric, gain.value, lead.value, lead.se())?;
    Ok(Transfer {
        teachers: form,
        metric,
        gain,
        lead,
        ratio: Interval {
            value,
            ..interval(&all, |f| Some(gain_of(f)? / lead_of(f)?))?
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        assert_eq!(share_of_lead(Metric::Ne, 0.5, 0.25, 0.1), Ok(2.0));
        assert_eq!(share_of_lead(Metric::Ne, -0.5, 0.25, 0.1), Ok(-2.0));
        for (lead, se) in [
            (0.25, 0.126),
            (-0.25, 0.01),
            (0.0, 0.0),
            (f64::NAN, 0.0),
            (0.25, f64::NAN),
        ] {
            let refused = share_of_lead(Metric::Ne, 0.5, lead, se);
            assert!(matches!(refused, Err(Error::WithinNoise { .. })), "{lead} {se}");
        }
    }
}
