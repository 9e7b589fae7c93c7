//! Figures of many measurements.

use serde::Serialize;

/// What many times come to, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Stats {
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Stats {
    /// `None` of nothing. A percentile is the least time that so many per cent of all times do not exceed.
    pub(super) fn of(times: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = times.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let percentile = |p: usize| sorted[(n * p).div_ceil(100).clamp(1, n) - 1];
        (n > 0).then(|| Self {
            min: sorted[0],
            mean: sorted.iter().sum::<f64>() / n as f64,
            p50: percentile(50),
            p90: percentile(90),
            p95: percentile(95),
            p99: percentile(99),
            max: sorted[n - 1],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let s = Stats::of((1..=100).rev().map(f64::from)).expect("a hundred");
        assert_eq!(
            [s.min, s.p50, s.p90, s.p95, s.p99, s.max],
            [1.0, 50.0, 90.0, 95.0, 99.0, 100.0]
        );
        assert_eq!(s.mean, 50.5);
        assert_eq!(Stats::of([2.0]).map(|s| (s.p50, s.p99)), Some((2.0, 2.0)));
        assert_eq!(Stats::of([]), None);
    }
}
