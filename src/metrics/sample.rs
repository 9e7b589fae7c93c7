//! The rows that variants are measured on, and a variant's figures on them and on all resamples of their users.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bootstrap::LANES;
use super::loss::{entropy, loss_of_logit, sigmoid};
use super::{Bootstrap, Error, Figures, Metric};

/// Rows in a word that also holds two flags.
const MAX_ROWS: usize = 1 << 30;

/// Rows to measure on: a user's key and a label each.
#[derive(Clone, Debug)]
pub struct Sample {
    bootstrap: Bootstrap,
    /// Of each row: its user's rank among the keys.
    user: Vec<u32>,
    label: Vec<bool>,
    /// Of each user.
    users: Vec<User>,
    digest: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct User {
    rows: f64,
    positives: f64,
}

impl User {
    fn has_both(self) -> bool {
        self.positives > 0.0 && self.positives < self.rows
    }
}

/// A variant's figures: on all rows, and on each resample of their users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// On all rows.
    pub figures: Figures,
    /// On each resample; empty lists do not occur.
    pub resamples: Vec<Figures>,
    /// Which rows, users and resamples these are: figures of equal ones are paired.
    pub on: String,
    /// Share of resamples in an interval.
    pub level: f64,
}

/// A variant's predictions, prepared: nothing is sorted again per resample.
struct Prepared {
    /// Rows by ascending logit: user, whether the next row has another logit, and the label, in one word.
    ranked: Vec<u32>,
    /// Of each user.
    sums: Vec<Sums>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    loss: f64,
    predicted: f64,
    /// Own AUC times rows; 0 with one label alone.
    area: f64,
}

impl Sample {
    /// Takes rows by their users' keys and labels, which are 0 or 1.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`], [`Error::Lengths`], [`Error::Label`], [`Error::TooManyRows`], [`Error::Bootstrap`].
    pub fn new(keys: &[u64], labels: &[f32], bootstrap: &Bootstrap) -> Result<Self, Error> {
        bootstrap.check()?;
        let (rows, seen) = (keys.len(), labels.len());
        match rows {
            0 => return Err(Error::Empty),
            _ if rows != seen => return Err(lengths("labels", rows, seen)),
            _ if rows > MAX_ROWS => return Err(Error::TooManyRows { seen: rows }),
            _ => {}
        }
        if let Some(row) = labels.iter().position(|y| *y != 0.0 && *y != 1.0) {
            let value = labels[row];
            return Err(Error::Label { row, value });
        }
        let mut distinct = keys.to_vec();
        distinct.par_sort_unstable();
        distinct.dedup();
        let rank = |key: &u64| distinct.partition_point(|k| k < key) as u32;
        let user: Vec<u32> = keys.par_iter().map(rank).collect();
        let mut users = vec![User::default(); distinct.len()];
        for (user, y) in user.iter().zip(labels) {
            users[*user as usize].rows += 1.0;
            users[*user as usize].positives += f64::from(*y);
        }
        Ok(Self {
            bootstrap: *bootstrap,
            user,
            label: labels.iter().map(|y| *y == 1.0).collect(),
            users,
            digest: digest(keys, labels, bootstrap),
        })
    }

    /// Rows to measure on.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.user.len()
    }

    /// Their users.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// How its users are resampled.
    #[must_use]
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// Users with both labels, and their rows: what GAUC counts.
    #[must_use]
    pub fn ranked_users(&self) -> (usize, usize) {
        let both = || self.users.iter().filter(|u| u.has_both());
        (both().count(), both().map(|u| u.rows as usize).sum())
    }

    /// Share of positive rows.
    #[must_use]
    pub fn base_rate(&self) -> f64 {
        self.users.iter().map(|u| u.positives).sum::<f64>() / self.rows() as f64
    }

    /// Measures predictions of these rows, given as logits.
    ///
    /// # Errors
    ///
    /// [`Error::Lengths`], [`Error::Logit`].
    pub fn measure(&self, name: &str, logits: &[f32]) -> Result<Measured, Error> {
        let prepared = self.prepare(name, logits)?;
        let once = vec![[1.0; LANES]; self.users()];
        let blocks = self.bootstrap.resamples.div_ceil(LANES as u32);
        let block = |block| self.figures(&prepared, &self.bootstrap.weights(block, self.users()));
        let mut resamples: Vec<Figures> = (0..blocks).into_par_iter().flat_map_iter(block).collect();
        resamples.truncate(self.bootstrap.resamples as usize);
        Ok(Measured {
            name: name.to_owned(),
            figures: self.figures(&prepared, &once)[0],
            resamples,
            on: self.digest.clone(),
            level: self.bootstrap.level,
        })
    }

    fn prepare(&self, name: &str, logits: &[f32]) -> Result<Prepared, Error> {
        let (rows, seen) = (self.rows(), logits.len());
        if rows != seen {
            return Err(lengths("logits", rows, seen));
        }
        if let Some(row) = logits.iter().position(|z| !z.is_finite()) {
            let (of, value) = (name.to_owned(), logits[row]);
            return Err(Error::Logit { of, row, value });
        }
        let mut sums = vec![Sums::default(); self.users()];
        for (row, z) in logits.iter().enumerate() {
            let sums = &mut sums[self.user[row] as usize];
            sums.loss += loss_of_logit(f64::from(*z), self.label[row]);
            sums.predicted += sigmoid(f64::from(*z));
        }
        // Adding 0 makes -0 and 0 one number; all are finite.
        let mut order: Vec<(f32, u32)> = logits.iter().map(|z| z + 0.0).zip(0..).collect();
        order.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut ranked = Vec::with_capacity(rows);
        for (at, (z, row)) in order.iter().enumerate() {
            let last = order.get(at + 1).is_none_or(|next| next.0 != *z);
            let row = *row as usize;
            ranked.push(self.user[row] << 2 | u32::from(last) << 1 | u32::from(self.label[row]));
        }
        self.areas_of_users(&ranked, &mut sums);
        Ok(Prepared { ranked, sums })
    }

    /// Every user's AUC, in one pass over the rows of all.
    fn areas_of_users(&self, ranked: &[u32], sums: &mut [Sums]) {
        #[derive(Clone, Copy, Default)]
        struct Rank {
            won: f64,
            negatives: f64,
            /// Rows of the logit that was seen last.
            up: f64,
            down: f64,
            logit: usize,
        }
        let settle = |r: &mut Rank| {
            r.won += r.up * (r.negatives + r.down / 2.0);
            r.negatives += r.down;
            (r.up, r.down) = (0.0, 0.0);
        };
        let mut ranks = vec![Rank::default(); sums.len()];
        let mut logit = 0;
        for word in ranked {
            let rank = &mut ranks[(word >> 2) as usize];
            if rank.logit != logit {
                settle(rank);
                rank.logit = logit;
            }
            *(if word & 1 == 1 { &mut rank.up } else { &mut rank.down }) += 1.0;
            logit += usize::from(word & 2 != 0);
        }
        for ((rank, user), sums) in ranks.iter_mut().zip(&self.users).zip(sums) {
            settle(rank);
            if user.has_both() {
                sums.area = rank.won / (user.positives * (user.rows - user.positives)) * user.rows;
            }
        }
    }

    /// Figures where each user counts so often, for several such weightings at once.
    fn figures(&self, prepared: &Prepared, weights: &[[f32; LANES]]) -> [Figures; LANES] {
        let areas = areas(&prepared.ranked, weights);
        let mut total = [[0.0; 6]; LANES];
        for ((user, sums), weights) in self.users.iter().zip(&prepared.sums).zip(weights) {
            let ranked = if user.has_both() { user.rows } else { 0.0 };
            let terms = [user.rows, user.positives, sums.loss, sums.predicted, sums.area, ranked];
            for (total, weight) in total.iter_mut().zip(weights) {
                for (total, term) in total.iter_mut().zip(terms) {
                    *total += f64::from(*weight) * term;
                }
            }
        }
        std::array::from_fn(|lane| {
            let [rows, positives, loss, predicted, area, ranked] = total[lane];
            let over = |x: f64, y: f64| (y > 0.0).then(|| x / y);
            let log_loss = over(loss, rows);
            Figures {
                auc: areas[lane],
                gauc: over(area, ranked),
                log_loss,
                ne: log_loss.and_then(|loss| over(loss, entropy(positives / rows))),
                calibration: over(predicted, positives),
            }
        })
    }
}

impl Measured {
    /// A figure on all rows.
    ///
    /// # Errors
    ///
    /// [`Error::OneClass`] where it has none.
    pub fn get(&self, metric: Metric) -> Result<f64, Error> {
        let of = || self.name.clone();
        self.figures
            .get(metric)
            .ok_or_else(|| Error::OneClass { metric, of: of() })
    }
}

/// AUC where each user counts so often. Sums are of integers and below 2^53, so exact.
fn areas(ranked: &[u32], weights: &[[f32; LANES]]) -> [Option<f64>; LANES] {
    let zero = [0.0; LANES];
    let (mut won, mut negatives, mut positives, mut up, mut down) = (zero, zero, zero, zero, zero);
    for word in ranked {
        let weights = &weights[(word >> 2) as usize];
        let side = if word & 1 == 1 { &mut up } else { &mut down };
        for (side, weight) in side.iter_mut().zip(weights) {
            *side += f64::from(*weight);
        }
        if word & 2 != 0 {
            for lane in 0..LANES {
                won[lane] += up[lane] * (negatives[lane] + down[lane] / 2.0);
                positives[lane] += up[lane];
                negatives[lane] += down[lane];
            }
            (up, down) = (zero, zero);
        }
    }
    std::array::from_fn(|lane| {
        let pairs: f64 = positives[lane] * negatives[lane];
        (pairs > 0.0).then(|| won[lane] / pairs)
    })
}

fn lengths(what: &'static str, rows: usize, seen: usize) -> Error {
    Error::Lengths { what, rows, seen }
}

/// Names rows and resamples.
fn digest(keys: &[u64], labels: &[f32], bootstrap: &Bootstrap) -> String {
    let mut hash = blake3::Hasher::new();
    for key in keys {
        hash.update(&key.to_le_bytes());
    }
    for label in labels {
        hash.update(&[u8::from(*label == 1.0)]);
    }
    hash.update(&bootstrap.resamples.to_le_bytes());
    hash.update(&bootstrap.seed.to_le_bytes());
    hash.finalize().to_hex()[..16].to_owned()
}
