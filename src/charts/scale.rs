//! From numbers to places, and numbers as text.

/// A straight map from a range of numbers to a range of places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    pub(super) fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    pub(super) fn at(self, x: f64) -> f64 {
        let share = (x - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// Least and greatest of the finite numbers. A single one gets some room, none at all the unit interval.
pub(super) fn span(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = numbers.filter(|x| x.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    match low.partial_cmp(&high) {
        Some(std::cmp::Ordering::Less) => (low, high),
        Some(std::cmp::Ordering::Equal) => {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low - room, high + room)
        }
        _ => (0.0, 1.0),
    }
}

/// Round numbers within a range, about so many, and the digits after the point that tell them apart.
pub(super) fn ticks((low, high): (f64, f64), about: usize) -> (Vec<f64>, usize) {
    let rough = (high - low) / about.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|s| s * power)
        .into_iter()
        .find(|s| *s >= rough);
    let step = step.filter(|s| s.is_normal()).unwrap_or(1.0);
    let digits = (-(step * 1.001).log10().floor()).clamp(0.0, 12.0) as usize;
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    // A range that is all but a point beside its own size has no numbers between.
    let count = (last - first).clamp(0.0, 20.0) as usize;
    ((0..=count).map(|i| (first + i as f64) * step).collect(), digits)
}

/// A number of a tick; thousands and millions short.
pub(super) fn label(x: f64, digits: usize) -> String {
    let x = if x == 0.0 { 0.0 } else { x };
    let short = |x: f64, unit: &str| {
        let text = format!("{x:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned() + unit
    };
    match x.abs() {
        a if digits == 0 && a >= 1e6 => short(x / 1e6, "M"),
        a if digits == 0 && a >= 1e4 => short(x / 1e3, "k"),
        _ => format!("{x:.digits$}").replace('-', "\u{2212}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers() {
        let close = |seen: (Vec<f64>, usize), expected: &[f64], digits| {
            assert_eq!(seen.0.len(), expected.len(), "{seen:?}");
            assert!(
                seen.0.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
                "{seen:?}"
            );
            assert_eq!(seen.1, digits);
        };
        close(ticks((0.0, 1.0), 5), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1);
        close(ticks((0.697, 0.753), 4), &[0.70, 0.72, 0.74], 2);
        close(ticks((0.0, 43_000.0), 4), &[0.0, 20_000.0, 40_000.0], 0);
        close(ticks((-0.0013, 0.0008), 3), &[-0.001, 0.0], 3);
        assert!(ticks((1e300, 1e300 * (1.0 + 1e-15)), 4).0.len() < 30);
        assert!(ticks((0.0, f64::MIN_POSITIVE / 4.0), 4).0.len() < 30);
    }

    #[test]
    fn numbers_as_text() {
        assert_eq!(label(-0.0, 2), "0.00");
        assert_eq!(label(-0.02, 2), "\u{2212}0.02");
        assert_eq!(
            (label(20_000.0, 0), label(1_500_000.0, 0)),
            ("20k".into(), "1.5M".into())
        );
    }

    #[test]
    fn spans() {
        assert_eq!(span([3.0, f64::NAN, 1.0, f64::INFINITY].into_iter()), (1.0, 3.0));
        assert_eq!(span([0.0].into_iter()), (-1.0, 1.0));
        assert_eq!(span(std::iter::empty()), (0.0, 1.0));
    }
}
