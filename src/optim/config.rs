//! What an optimiser is made of: rules, groups of parameters, schedules. Plain data, as a specification spells it.

use serde::{Deserialize, Serialize};

use super::Error;

/// How a gradient becomes an update. Formulas and defaults are PyTorch's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `b' = momentum b + g; p' = p - lr b'`; without momentum no state.
    Sgd,
    /// `s' = s + g^2; p' = p - lr g / (sqrt(s') + eps)`.
    Adagrad,
    /// Adagrad with one sum for each row of a table: the mean of `g^2` over the row. Parameters of one axis get
    /// [`Rule::Adagrad`].
    RowwiseAdagrad,
    /// `m' = b1 m + (1 - b1) g; v' = b2 v + (1 - b2) g^2; p' = p - lr m^ / (sqrt(v^) + eps)`, `m^` and `v^` without
    /// their bias towards zero. With [`Group::weight_decay`] it is AdamW.
    #[default]
    Adam,
    /// Not trained.
    Frozen,
}

/// What holds for some parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// Names of the parameters, `*` standing for any text; `tables` takes those that are only looked up by row.
    pub params: Vec<String>,
    /// The rule.
    pub rule: Rule,
    /// Factor of the schedule's learning rate.
    pub lr: f64,
    /// Of [`Rule::Sgd`].
    pub momentum: f64,
    /// Added to the divisor.
    pub eps: f64,
    /// `l2 p` is added to the gradient: the gradient of `l2 / 2 |p|^2`, which the reported loss leaves out.
    pub l2: f64,
    /// `lr weight_decay p` is taken off the parameter itself.
    pub weight_decay: f64,
    /// Tables change in the rows that the batch looked up, and there alone, in values and in state: a step costs what
    /// the batch does, not what the table does. Rows that no batch asks for neither decay nor drift with old momentum.
    /// Parameters that are no tables are not concerned.
    pub lazy: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            params: vec!["*".to_owned()],
            rule: Rule::Adam,
            lr: 1.0,
            momentum: 0.0,
            eps: 1e-8,
            l2: 0.0,
            weight_decay: 0.0,
            lazy: false,
        }
    }
}

impl Group {
    /// Whether a parameter belongs here.
    #[must_use]
    pub fn takes(&self, name: &str, is_table: bool) -> bool {
        let fits = |pattern: &String| (pattern == "tables" && is_table) || matches(pattern, name);
        self.params.iter().any(fits)
    }
}

/// An optimiser: the first group that takes a parameter governs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Optimiser {
    /// Groups in order; a parameter that none takes is left as it is.
    pub groups: Vec<Group>,
    /// Of Adam: how much of the gradient's mean and of its square's mean each step keeps.
    pub betas: (f64, f64),
    /// Greatest norm of all gradients together; larger ones are scaled down to it.
    pub clip: Option<f64>,
}

impl Default for Optimiser {
    fn default() -> Self {
        Self {
            groups: vec![Group::default()],
            betas: (0.9, 0.999),
            clip: None,
        }
    }
}

impl Optimiser {
    /// Whether every number means something.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        for beta in [self.betas.0, self.betas.1] {
            within("betas", beta, (0.0..1.0).contains(&beta), "from 0 to below 1")?;
        }
        if let Some(clip) = self.clip {
            within("clip", clip, clip > 0.0 && clip.is_finite(), "a finite number above 0")?;
        }
        for group in &self.groups {
            within(
                "momentum",
                group.momentum,
                (0.0..1.0).contains(&group.momentum),
                "from 0 to below 1",
            )?;
            let amounts = [
                ("lr", group.lr),
                ("eps", group.eps),
                ("l2", group.l2),
                ("weight-decay", group.weight_decay),
            ];
            for (name, x) in amounts {
                amount(name, x)?;
            }
        }
        Ok(())
    }
}

fn amount(name: &'static str, x: f64) -> Result<(), Error> {
    within(name, x, x.is_finite() && x >= 0.0, "a finite number from 0 on")
}

fn within(name: &'static str, seen: f64, is_within: bool, expected: &'static str) -> Result<(), Error> {
    if is_within {
        Ok(())
    } else {
        Err(Error::Setting { name, seen, expected })
    }
}

/// The learning rate over the steps: linear warm-up, then decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schedule {
    /// The learning rate after warm-up.
    pub lr: f64,
    /// Steps over which it rises from zero; the first step already has `lr / warmup`.
    pub warmup: u64,
    /// What follows.
    pub decay: Decay,
    /// Steps, warm-up included, after which decay ends; it needs a number.
    pub steps: u64,
    /// Share of `lr` that is left at the end of a decay.
    pub floor: f64,
}

/// How a learning rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Not at all.
    #[default]
    Constant,
    /// In a straight line.
    Linear,
    /// As half a cosine.
    Cosine,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            warmup: 0,
            decay: Decay::Constant,
            steps: 0,
            floor: 0.0,
        }
    }
}

impl Schedule {
    /// Whether every number means something.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        amount("lr", self.lr)?;
        within("floor", self.floor, (0.0..=1.0).contains(&self.floor), "from 0 to 1")?;
        let ends = self.decay == Decay::Constant || self.steps > self.warmup;
        within(
            "steps",
            self.steps as f64,
            ends,
            "above `warmup` for a learning rate that decays",
        )
    }

    /// The learning rate of a step, counted from 1.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.lr * step as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1);
        let gone = ((step - self.warmup) as f64 / span as f64).min(1.0);
        let left = match self.decay {
            Decay::Constant => return self.lr,
            Decay::Linear => 1.0 - gone,
            Decay::Cosine => 0.5 + 0.5 * (std::f64::consts::PI * gone).cos(),
        };
        self.lr * (self.floor + (1.0 - self.floor) * left)
    }
}

/// Whether `pattern`, in which `*` stands for any text, spells `name`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name
            .strip_prefix(head)
            .is_some_and(|tail| (0..=tail.len()).any(|i| tail.get(i..).is_some_and(|t| matches(rest, t)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("embedding.*.weight", "embedding.item.weight", true),
            ("*.bias", "mlp.0.bias", true),
            ("*.bias", "mlp.0.bias2", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn schedules() {
        let s = Schedule {
            lr: 2.0,
            warmup: 4,
            decay: Decay::Linear,
            steps: 12,
            floor: 0.5,
        };
        assert_eq!([1, 2, 4, 8, 12, 99].map(|t| s.at(t)), [0.5, 1.0, 2.0, 1.5, 1.0, 1.0]);
        let cosine = Schedule {
            decay: Decay::Cosine,
            floor: 0.0,
            warmup: 0,
            steps: 8,
            ..s
        };
        assert!((cosine.at(4) - 1.0).abs() < 1e-15 && cosine.at(8).abs() < 1e-15);
        assert_eq!(Schedule::default().at(1), 1e-3);
    }
}
