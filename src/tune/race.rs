//! Who is faster, and by how much more than nothing.
//!
//! Three run in turn: the default, a candidate, and the default once more under another name. What the two that are the
//! same seem to differ by is what a difference means nothing below.

use std::time::{Duration, Instant};

/// Rounds at least, and at most.
const ROUNDS: std::ops::RangeInclusive<usize> = 7..=21;

/// A gain below this is not worth leaving the table for.
pub(super) const LEAST_GAIN: f64 = 0.02;

/// What came of a race.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Race {
    /// Median seconds of the default.
    pub(super) default: f64,
    /// Median seconds of the candidate.
    pub(super) candidate: f64,
    /// Median over rounds of the candidate's time over the default's.
    pub(super) ratio: f64,
    /// How far that ratio is from 1 for the default under another name: the farther quartile.
    pub(super) spread: f64,
}

impl Race {
    /// Runs rounds until they are enough, or until `most` has passed and they are the fewest that tell.
    pub(super) fn run<E>(
        most: Duration,
        default: &mut dyn FnMut() -> Result<f64, E>,
        candidate: &mut dyn FnMut() -> Result<f64, E>,
        control: &mut dyn FnMut() -> Result<f64, E>,
    ) -> Result<Self, E> {
        let start = Instant::now();
        let mut times: [Vec<f64>; 3] = Default::default();
        for round in 0..*ROUNDS.end() {
            if round >= *ROUNDS.start() && start.elapsed() >= most {
                break;
            }
            // Whoever runs first after another may find caches cold: everybody does in turn.
            for i in 0..3 {
                let who = (i + round) % 3;
                let seconds = match who {
                    0 => default()?,
                    1 => candidate()?,
                    _ => control()?,
                };
                times[who].push(seconds);
            }
        }
        let [default, candidate, control] = &times;
        let over = |who: &[f64]| -> Vec<f64> { who.iter().zip(default).map(|(x, a)| x / a).collect() };
        let (same, ratio) = (over(control), over(candidate));
        let apart = |share: f64| (quantile(&same, share) - 1.0).abs();
        Ok(Self {
            default: quantile(default, 0.5),
            candidate: quantile(candidate, 0.5),
            ratio: quantile(&ratio, 0.5),
            spread: apart(0.25).max(apart(0.75)),
        })
    }

    /// Whether the candidate is faster by more than what means nothing. Times that are no numbers mean nothing.
    pub(super) fn won(&self) -> bool {
        let gain = 1.0 - self.ratio;
        gain > self.spread && gain > LEAST_GAIN
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A race of planted times: of each, its seconds and the share by which rounds swing.
    fn race(planted: [(f64, f64); 3]) -> Race {
        let mut round = [0u32; 3];
        let mut next = |who: usize| {
            round[who] += 1;
            // Without a pattern that the three share.
            let swing = f64::from(round[who] * [7, 11, 13][who] % 17) / 8.0 - 1.0;
            Ok::<f64, Infallible>(planted[who].0 * (1.0 + planted[who].1 * swing))
        };
        let next = std::cell::RefCell::new(&mut next);
        let (mut a, mut c, mut b) = (
            || (next.borrow_mut())(0),
            || (next.borrow_mut())(1),
            || (next.borrow_mut())(2),
        );
        Race::run(Duration::ZERO, &mut a, &mut c, &mut b).expect("nothing fails")
    }

    #[test]
    fn a_faster_candidate_wins_and_a_slower_one_does_not() {
        assert!(race([(1.0, 0.01), (0.8, 0.01), (1.0, 0.01)]).won());
        assert!(!race([(1.0, 0.01), (1.2, 0.01), (1.0, 0.01)]).won());
        assert!(!race([(1.0, 0.0), (1.0, 0.0), (1.0, 0.0)]).won());
    }

    #[test]
    fn what_the_same_differs_by_means_nothing() {
        // A tenth faster, where the default differs from itself by more.
        let noisy = race([(1.0, 0.3), (0.9, 0.3), (1.0, 0.3)]);
        assert!(noisy.spread > 0.1 && !noisy.won(), "{noisy:?}");
        // The second of two that are the same is slower whenever it runs: so may a candidate be.
        let biased = race([(1.0, 0.0), (0.9, 0.0), (0.88, 0.0)]);
        assert!(!biased.won(), "{biased:?}");
        assert!(race([(1.0, 0.0), (0.9, 0.0), (0.99, 0.0)]).won());
    }

    #[test]
    fn gains_of_a_hundredth_and_times_of_zero_win_nothing() {
        assert!(!race([(1.0, 0.0), (0.985, 0.0), (1.0, 0.0)]).won());
        assert!(!race([(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]).won());
    }
}
