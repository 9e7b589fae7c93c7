//! What the best predictor knows, and what it loses: exact, by summing over all that can be seen.

use super::{Error, Teacher, View, World};
use crate::metrics::{Decomposition, Metric, entropy, sigmoid};

/// Evidence on a hidden bit: the chance to see it, and the log-odds for the bit that it leaves.
type Evidence = Vec<(f64, f64)>;

/// Log-odds that one reading gives, wrong with this chance.
pub(super) fn weight(noise: f64) -> f64 {
    ((1.0 - noise) / noise).ln()
}

/// Chance that a reading is wrong which is turned once more with another chance.
pub(super) fn twice(noise: f64, turned: f64) -> f64 {
    noise * (1.0 - turned) + (1.0 - noise) * turned
}

impl World {
    /// Share of positive labels.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`].
    pub fn base_rate(&self) -> Result<f64, Error> {
        self.check(&Teacher::default())?;
        let signs = [-1.0, 1.0];
        let rate = |kind: f64| self.probability(kind, 0.0, 0.0);
        Ok(signs.map(rate).iter().sum::<f64>() / 2.0)
    }

    /// Probability of a positive label, given the item's kind and log-odds on both hidden bits.
    pub(super) fn probability(&self, kind: f64, taste: f64, extra: f64) -> f64 {
        let given = |t: f64, e: f64| sigmoid(self.bias + self.item * kind + self.temporal * t + self.gap * e);
        let (t, e) = (sigmoid(taste), sigmoid(extra));
        let with_extra = t * given(1.0, 1.0) + (1.0 - t) * given(-1.0, 1.0);
        let without = t * given(1.0, -1.0) + (1.0 - t) * given(-1.0, -1.0);
        e * with_extra + (1.0 - e) * without
    }

    /// Bayes risk: entropy of a label, in nats, given what a view shows, with so many past impressions. No predictor's
    /// log loss is lower.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`].
    pub fn risk(&self, teacher: &Teacher, view: View, past: u32) -> Result<f64, Error> {
        self.check(teacher)?;
        let now = readings(self.noise, 1);
        let taste = match view {
            View::Base | View::Teacher => now,
            // An embedding's reading of what is known tells nothing more.
            View::Raw | View::Both => joined(&now, &readings(self.noise, past)),
            View::LoopFm => joined(&now, &readings(twice(self.noise, teacher.lost_taste), past)),
        };
        let extra = match view {
            View::Base | View::Raw => readings(0.5, 0),
            View::LoopFm | View::Both => readings(twice(teacher.noise, teacher.lost_extra), past),
            View::Teacher => readings(teacher.noise, 1),
        };
        let mut risk = 0.0;
        for kind in [-1.0, 1.0] {
            for (p, taste) in &taste {
                for (q, extra) in &extra {
                    risk += 0.5 * p * q * entropy(self.probability(kind, *taste, *extra));
                }
            }
        }
        Ok(risk)
    }

    /// The parts of LoopFM's gain in log loss (nats), with so many past impressions. Over [`entropy`] of the base rate they are those in
    /// NE.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`].
    pub fn informations(&self, teacher: &Teacher, past: u32) -> Result<Decomposition, Error> {
        let risk = |view| self.risk(teacher, view, past);
        let (base, raw) = (risk(View::Base)?, risk(View::Raw)?);
        let (loopfm, both) = (risk(View::LoopFm)?, risk(View::Both)?);
        Ok(Decomposition::of(Metric::LogLoss, base, raw, loopfm, both))
    }

    /// LoopFM's gain over the FM's lead; `None` where the FM does not lead.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`].
    pub fn transfer(&self, teacher: &Teacher, past: u32) -> Result<Option<f64>, Error> {
        let gain = self.informations(teacher, past)?.loopfm;
        let lead = self.risk(teacher, View::Base, past)? - self.risk(teacher, View::Teacher, past)?;
        Ok((lead > 1e-12).then(|| gain / lead))
    }

    /// What the second teacher's embeddings gain over the first one's, over the second teacher's lead; `None` where it does
    /// not lead.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`].
    pub fn transfer_of_teachers(&self, teachers: [&Teacher; 2], past: u32) -> Result<Option<f64>, Error> {
        let fall = |view| -> Result<f64, Error> {
            Ok(self.risk(teachers[0], view, past)? - self.risk(teachers[1], view, past)?)
        };
        let (gain, lead) = (fall(View::LoopFm)?, fall(View::Teacher)?);
        Ok((lead > 1e-12).then(|| gain / lead))
    }
}

/// So many readings of a bit that is 1 half of the time: by how many of them say 1, which is all that matters.
fn readings(noise: f64, count: u32) -> Evidence {
    let n = f64::from(count);
    // Chance of `k` ones of `n`, of which each is one with chance `p`; by logarithms, for long histories.
    let mut choose = 0.0f64;
    (0..=count)
        .map(|k| {
            let k = f64::from(k);
            if k > 0.0 {
                choose += ((n - k + 1.0) / k).ln();
            }
            let chance = |p: f64| (choose + k * p.ln() + (n - k) * (1.0 - p).ln()).exp();
            (
                0.5 * (chance(noise) + chance(1.0 - noise)),
                (2.0 * k - n) * weight(noise),
            )
        })
        .collect()
}

/// Independent evidence on the same bit.
fn joined(a: &Evidence, b: &Evidence) -> Evidence {
    // Readings are independent given the bit, not by themselves: the chance of both is a sum over the bit.
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    pairs
        .map(|((p, x), (q, y))| {
            let bit = |sign: f64| 2.0 * sigmoid(sign * x) * p * sigmoid(sign * y) * q;
            (bit(1.0) + bit(-1.0), x + y)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_sum_to_one() {
        for evidence in [
            readings(0.3, 0),
            readings(0.1, 60),
            joined(&readings(0.2, 3), &readings(0.4, 7)),
        ] {
            let all: f64 = evidence.iter().map(|(p, _)| p).sum();
            assert!((all - 1.0).abs() < 1e-12, "{all}");
            let mean: f64 = evidence.iter().map(|(p, odds)| p * sigmoid(*odds)).sum();
            assert!((mean - 0.5).abs() < 1e-12, "{mean}");
        }
        // One reading and another are two readings.
        let two: f64 = readings(0.3, 2).iter().map(|(p, odds)| p * odds * odds).sum();
        let joint: f64 = joined(&readings(0.3, 1), &readings(0.3, 1))
            .iter()
            .map(|(p, odds)| p * odds * odds)
            .sum();
        assert!((two - joint).abs() < 1e-12);
    }

    /// A risk by spelling out every history of two events, bit by bit.
    #[test]
    fn risks_by_every_history() {
        let world = World::default();
        let teacher = Teacher {
            noise: 0.2,
            lost_taste: 0.1,
            lost_extra: 0.05,
        };
        let bit = |word: u32, i: u32| word >> i & 1 == 1;
        let reads = |same: bool, noise: f64| if same { 1.0 - noise } else { noise };
        let (taste_noise, extra_noise) = (twice(0.3, 0.1), twice(0.2, 0.05));
        let mut expected = 0.0;
        // Seen: kind, present reading, two past readings each of taste and extra. Hidden: taste, extra.
        for seen in 0..64 {
            let (mut all, mut positive) = (0.0, 0.0);
            for hidden in 0..4 {
                let (taste, extra) = (bit(hidden, 0), bit(hidden, 1));
                let mut p = 0.125 * reads(bit(seen, 1) == taste, 0.3);
                for i in [2, 3] {
                    p *= reads(bit(seen, i) == taste, taste_noise) * reads(bit(seen, i + 2) == extra, extra_noise);
                }
                let sign = |b: bool| if b { 1.0 } else { -1.0 };
                let logit = -1.0 + 0.5 * sign(bit(seen, 0)) + sign(taste) + sign(extra);
                all += p;
                positive += p * sigmoid(logit);
            }
            expected += all * entropy(positive / all);
        }
        let risk = world.risk(&teacher, View::LoopFm, 2).expect("sound dials");
        assert!((risk - expected).abs() < 1e-12, "{risk} {expected}");
    }
}
