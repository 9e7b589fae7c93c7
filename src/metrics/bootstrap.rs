//! How often a user counts in a resample.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::random::philox;

/// How users are resampled. Each counts a Poisson(1) number of times, which is resampling with replacement where the
/// number of users drawn is left to chance (Hanley and MacGibbon 2006; Chamandy et al. 2012). The number is a function of the
/// seed, the resample and the user's rank among the keys: the same for every variant and any number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// How many resamples, at least 2.
    pub resamples: u32,
    /// Where chance starts.
    pub seed: i32,
    /// Share of resamples that an interval holds.
    pub level: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 1000,
            seed: 1,
            level: 0.95,
        }
    }
}

/// Resamples that are worked on at once: a row's or a user's loads serve all of them.
pub(super) const LANES: usize = 8;

/// Keeps these numbers apart from other uses of the seed.
const STREAM: u32 = 0x626f_6f74;

impl Bootstrap {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.resamples >= 2 && self.level > 0.0 && self.level < 1.0 {
            return Ok(());
        }
        let (resamples, level) = (self.resamples, self.level);
        Err(Error::Bootstrap { resamples, level })
    }

    /// How often each user counts in resamples `LANES * block ..`.
    pub(super) fn weights(&self, block: u32, users: usize) -> Vec<[f32; LANES]> {
        let thresholds = thresholds();
        let weight = |word: u32| thresholds.iter().filter(|t| word >= **t).count() as f32;
        let user = |user: usize| {
            let words = |half: u32| {
                let counter = [user as u32, 2 * block + half, 0, STREAM];
                philox(counter, [self.seed.cast_unsigned(), 0])
            };
            let ([a, b, c, d], [e, f, g, h]) = (words(0), words(1));
            [a, b, c, d, e, f, g, h].map(weight)
        };
        (0..users).map(user).collect()
    }
}

/// A uniform word counts as often as it reaches one of these: 2^32 times the distribution function of Poisson(1).
fn thresholds() -> [u32; 12] {
    let (mut below, mut term) = (0.0, (-1.0f64).exp());
    std::array::from_fn(|k| {
        below += term;
        term /= (k + 1) as f64;
        (below * 2f64.powi(32)) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_count_once_in_the_mean_and_with_variance_one() {
        let bootstrap = Bootstrap::default();
        let weights: Vec<f64> = (0..40)
            .flat_map(|block| bootstrap.weights(block, 1000).concat())
            .map(f64::from)
            .collect();
        let n = weights.len() as f64;
        let mean = weights.iter().sum::<f64>() / n;
        let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n;
        let zeros = weights.iter().filter(|w| **w == 0.0).count() as f64 / n;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.015, "{variance}");
        assert!((zeros - (-1.0f64).exp()).abs() < 0.005, "{zeros}");
        assert_ne!(bootstrap.weights(0, 100), bootstrap.weights(1, 100));
    }
}
