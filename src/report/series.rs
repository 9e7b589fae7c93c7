//! What is drawn beside the table: curves, histograms, attention by age.

use serde::{Deserialize, Serialize};

/// A training curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Which model, and seed if there are several.
    pub name: String,
    /// What it shows: curves of the same are drawn together.
    pub of: String,
    /// Rows trained on, and the value.
    pub points: Vec<(f64, f64)>,
}

/// Counts, or means, in bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Each bin's name and value.
    pub bins: Vec<(String, f64)>,
    /// In one line: mean, median, share of nothing.
    pub note: String,
}

/// Mean attention weight by the age of the event that gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// Of which model.
    pub name: String,
    /// Whether the weights of a history sum to 1; else they are scores.
    pub shares: bool,
    sums: Vec<f64>,
    counts: Vec<u64>,
    /// Sum over events of one over their history's length.
    even: Vec<f64>,
}

/// Where bins of age end, in milliseconds, and their names.
const GAPS: [(i64, &str); 10] = [
    (60_000, "< 1 min"),
    (600_000, "1\u{2013}10 min"),
    (3_600_000, "10\u{2013}60 min"),
    (4 * 3_600_000, "1\u{2013}4 h"),
    (8 * 3_600_000, "4\u{2013}8 h"),
    (24 * 3_600_000, "8\u{2013}24 h"),
    (3 * 86_400_000, "1\u{2013}3 d"),
    (7 * 86_400_000, "3\u{2013}7 d"),
    (30 * 86_400_000, "7\u{2013}30 d"),
    (i64::MAX, "> 30 d"),
];

/// Names of the bins of age that [`gap_bin`] counts in.
#[must_use]
pub fn gap_bins() -> Vec<&'static str> {
    GAPS.iter().map(|(_, name)| *name).collect()
}

/// The bin of an age in milliseconds.
#[must_use]
pub fn gap_bin(milliseconds: i64) -> usize {
    GAPS.partition_point(|(end, _)| *end <= milliseconds)
        .min(GAPS.len() - 1)
}

/// Counts ages of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GapHistogram {
    counts: [u64; GAPS.len()],
}

impl GapHistogram {
    /// Counts an event so many milliseconds old.
    pub fn add(&mut self, milliseconds: i64) {
        self.counts[gap_bin(milliseconds)] += 1;
    }

    /// Shares of the bins from the first to the last that has events; nothing without events.
    #[must_use]
    pub fn finish(&self) -> Option<Bins> {
        let all: u64 = self.counts.iter().sum();
        let share = |n: &u64| *n as f64 / all as f64;
        let named = gap_bins()
            .into_iter()
            .zip(&self.counts)
            .map(|(name, n)| (name.to_owned(), share(n)));
        let last = self.counts.iter().rposition(|n| *n > 0)?;
        Some(Bins {
            bins: named.take(last + 1).collect(),
            note: format!("{all} events in histories"),
        })
    }
}

/// Counts lengths of histories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LengthHistogram {
    counts: Vec<u64>,
}

impl LengthHistogram {
    /// Counts a history of so many events.
    pub fn add(&mut self, length: usize) {
        if self.counts.len() <= length {
            self.counts.resize(length + 1, 0);
        }
        self.counts[length] += 1;
    }

    /// Shares in at most about 20 bins, of which empty histories are the first; nothing without histories.
    #[must_use]
    pub fn finish(&self) -> Option<Bins> {
        let all: u64 = self.counts.iter().sum();
        let (empty, rest) = self.counts.split_first()?;
        let width = rest.len().div_ceil(20).max(1);
        let share = |n: u64| n as f64 / all as f64;
        let mut bins = vec![("0".to_owned(), share(*empty))];
        for (i, part) in rest.chunks(width).enumerate() {
            let (from, to) = (i * width + 1, i * width + part.len());
            let name = if from == to {
                format!("{from}")
            } else {
                format!("{from}\u{2013}{to}")
            };
            bins.push((name, share(part.iter().sum())));
        }
        let events: f64 = self
            .counts
            .iter()
            .enumerate()
            .map(|(n, count)| n as f64 * *count as f64)
            .sum();
        let mean = events / all as f64;
        let none = 100.0 * share(*empty);
        let note = format!("mean length {mean:.1}; {none:.1} % of {all} histories are empty");
        (all > 0).then_some(Bins { bins, note })
    }
}

impl Attention {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(name: &str, shares: bool) -> Self {
        Self {
            name: name.to_owned(),
            shares,
            sums: vec![0.0; GAPS.len()],
            counts: vec![0; GAPS.len()],
            even: vec![0.0; GAPS.len()],
        }
    }

    /// Adds the attention that a history's events got: each event's age in milliseconds and weight.
    pub fn add(&mut self, events: &[(i64, f32)]) {
        for (age, weight) in events {
            let bin = gap_bin(*age);
            self.sums[bin] += f64::from(*weight);
            self.counts[bin] += 1;
            self.even[bin] += 1.0 / events.len() as f64;
        }
    }

    /// Adds what another one has counted.
    pub fn join(&mut self, other: &Self) {
        let add = |into: &mut Vec<f64>, from: &[f64]| into.iter_mut().zip(from).for_each(|(x, y)| *x += y);
        add(&mut self.sums, &other.sums);
        add(&mut self.even, &other.even);
        self.counts.iter_mut().zip(&other.counts).for_each(|(x, y)| *x += y);
    }

    /// Of each bin of age with events: its name, the mean weight, and the mean weight if all events of a history got
    /// the same.
    #[must_use]
    pub fn bins(&self) -> Vec<(&'static str, f64, f64)> {
        let bin = |(i, name)| {
            let n = *self.counts.get(i)? as f64;
            (n > 0.0).then(|| (name, self.sums[i] / n, self.even[i] / n))
        };
        gap_bins().into_iter().enumerate().filter_map(bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let bins = gap_bins();
        let named = |ms| bins[gap_bin(ms)];
        assert_eq!(
            (named(0), named(-5), named(59_999), named(60_000)),
            ("< 1 min", "< 1 min", "< 1 min", bins[1])
        );
        assert_eq!((named(7 * 86_400_000), named(i64::MAX)), (bins[8], "> 30 d"));
        let mut gaps = GapHistogram::default();
        assert_eq!(gaps.finish(), None);
        for age in [1, 2, 61_000, 700_000] {
            gaps.add(age);
        }
        let shares: Vec<f64> = gaps.finish().expect("events").bins.iter().map(|b| b.1).collect();
        assert_eq!(shares, [0.5, 0.25, 0.25]);
    }

    #[test]
    fn lengths() {
        let mut lengths = LengthHistogram::default();
        assert_eq!(lengths.finish(), None);
        for length in [0, 0, 1, 5] {
            lengths.add(length);
        }
        let bins = lengths.finish().expect("histories");
        assert_eq!(bins.bins.len(), 6);
        assert_eq!((bins.bins[0].1, bins.bins[5].clone()), (0.5, ("5".into(), 0.25)));
        assert_eq!(bins.note, "mean length 1.5; 50.0 % of 4 histories are empty");
        lengths.add(100);
        assert_eq!(
            lengths.finish().expect("histories").bins.last().expect("bins").0,
            "96\u{2013}100"
        );
    }

    #[test]
    fn attention_beside_an_even_one() {
        let mut attention = Attention::new("vm", true);
        attention.add(&[(10, 0.75), (700_000, 0.25)]);
        attention.add(&[(10, 1.0)]);
        attention.add(&[]);
        let once = attention.bins();
        attention.join(&attention.clone());
        assert_eq!(attention.bins(), once);
        attention.join(&Attention::new("other seed", true));
        let bins = attention.bins();
        assert_eq!(bins, [("< 1 min", 0.875, 0.75), ("10\u{2013}60 min", 0.25, 0.5)]);
    }
}
