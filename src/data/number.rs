//! Numbers: from a cell to an input.

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::feature::Transform;

/// Values of which quantiles are taken, at most: all of them up to here, then every second one, every fourth one ...
const SAMPLE: usize = 1 << 20;

/// A cell's number: `Ok(None)` for nothing, else what it should have been.
pub(super) fn of_cell(cell: Cell) -> Result<Option<f64>, &'static str> {
    let x = match cell {
        Cell::Null => return Ok(None),
        Cell::Int(i) => i as f64,
        Cell::Unsigned(u) => u as f64,
        Cell::Bool(b) => f64::from(u8::from(b)),
        Cell::Float(x) => x,
        Cell::Text(t) => t.trim().parse().map_err(|_| "a number")?,
        Cell::Time(..) | Cell::List(..) => return Err("a number"),
    };
    match x {
        x if x.is_nan() => Ok(None),
        x if x.is_finite() => Ok(Some(x)),
        _ => Err("a finite number"),
    }
}

/// Mean and standard deviation of the rows fitted on, as the number stood before `standardise`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

/// Applies transforms in order; `moments` are of the one that standardises.
pub(super) fn transformed(mut x: f64, steps: &[Transform], moments: Option<Moments>) -> Result<f64, &'static str> {
    for step in steps {
        x = match *step {
            Transform::Log1p if x <= -1.0 => return Err("above -1, where `log1p` begins"),
            Transform::Log1p => x.ln_1p(),
            Transform::Scale(by) => x * by,
            Transform::Clip(least, most) => x.clamp(least, most),
            Transform::Standardise => match moments {
                // What never varies says nothing.
                Some(m) if m.deviation > 0.0 => (x - m.mean) / m.deviation,
                _ => 0.0,
            },
        };
    }
    match (x as f32).is_finite() {
        true => Ok(x),
        false => Err("a number that its transforms keep within f32"),
    }
}

/// Steps before the one that standardises, if one does.
pub(super) fn before_standardise(steps: &[Transform]) -> Option<&[Transform]> {
    let at = steps.iter().position(|t| *t == Transform::Standardise)?;
    Some(&steps[..at])
}

/// Mean and variance in one pass (Welford).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Welford {
    n: u64,
    mean: f64,
    squares: f64,
}

impl Welford {
    pub(super) fn push(&mut self, x: f64) {
        self.n += 1;
        let off = x - self.mean;
        self.mean += off / self.n as f64;
        self.squares += off * (x - self.mean);
    }

    pub(super) fn moments(&self) -> Moments {
        let variance = if self.n == 0 { 0.0 } else { self.squares / self.n as f64 };
        Moments {
            mean: self.mean,
            deviation: variance.sqrt(),
        }
    }
}

/// Values of a stream at equal distances: memory is bounded, and the same stream leaves the same values.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    values: Vec<f64>,
    stride: u64,
    seen: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            stride: 1,
            seen: 0,
        }
    }
}

impl Sample {
    pub(super) fn push(&mut self, x: f64) {
        if self.seen.is_multiple_of(self.stride) {
            self.values.push(x);
        }
        self.seen += 1;
        if self.values.len() > SAMPLE {
            let mut place = 0_usize;
            self.values.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// Where `n` buckets of about as many values each end; fewer where values repeat.
    pub(super) fn borders(mut self, n: u32) -> Vec<f64> {
        self.values.sort_unstable_by(f64::total_cmp);
        let count = self.values.len();
        let at = |i: u32| (u64::from(i) * count as u64 / u64::from(n)) as usize;
        let mut borders: Vec<f64> = (1..n).filter_map(|i| self.values.get(at(i)).copied()).collect();
        borders.dedup();
        // A border at the least value would leave a bucket empty.
        if borders.first() == self.values.first() {
            borders.drain(..borders.len().min(1));
        }
        borders
    }
}

/// A number's bucket: 1 below the first border, one more from each border on.
pub(super) fn bucket(x: f64, borders: &[f64]) -> i32 {
    borders.partition_point(|b| *b <= x) as i32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_more_than_is_kept() {
        let mut sample = Sample::default();
        for i in 0..3_000_000_u32 {
            // Odd, so that every residue comes once.
            sample.push(f64::from(i.wrapping_mul(2_654_435_761) % 3_000_000));
        }
        assert!(sample.values.len() <= SAMPLE);
        for (i, b) in sample.borders(10).iter().enumerate() {
            let expected = 300_000.0 * (i + 1) as f64;
            assert!((b - expected).abs() < 30_000.0, "{b} for {expected}");
        }
    }

    #[test]
    fn buckets_begin_at_borders() {
        let found: Vec<i32> = [-1.0, 0.0, 0.5, 1.0, 9.0]
            .iter()
            .map(|x| bucket(*x, &[0.0, 1.0]))
            .collect();
        assert_eq!(found, [1, 2, 2, 3, 3]);
        let mut sample = Sample::default();
        (0..10).for_each(|_| sample.push(3.0));
        assert!(sample.borders(4).is_empty());
    }
}
