//! Numbers as tables show them.

use crate::metrics::{Interval, Metric};

/// Columns of the table of variants.
pub(super) const HEADING: [&str; 10] = [
    "variant",
    "AUC",
    "gain in AUC",
    "p",
    "TR (AUC)",
    "TR (NE)",
    "NE",
    "log loss",
    "GAUC",
    "calibration",
];

/// A number with a true minus sign.
pub(super) fn number(x: f64, digits: usize) -> String {
    if !x.is_finite() {
        return "\u{2013}".into();
    }
    let text = format!("{x:.digits$}");
    // What rounds to nothing has no sign.
    let negative = text.starts_with('-') && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    let bare = text.trim_start_matches('-');
    if negative {
        format!("\u{2212}{bare}")
    } else {
        bare.to_owned()
    }
}

/// The same with its sign, as gains have.
pub(super) fn signed(x: f64, digits: usize) -> String {
    let text = number(x, digits);
    let positive = x.is_finite() && !text.starts_with('\u{2212}') && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if positive { format!("+{text}") } else { text }
}

/// Thousands apart.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// A p that is too small to be spelt out is said to be so.
pub(super) fn p(p: Option<f64>) -> String {
    match p {
        None => "\u{2013}".into(),
        Some(p) if p < 1e-4 => "< 0.0001".into(),
        Some(p) => number(p, 4),
    }
}

/// A number above, its interval below.
pub(super) fn cell(value: Option<Interval>, digits: usize, show: fn(f64, usize) -> String) -> String {
    let two = |i: Interval| {
        let range = format!("{} to {}", show(i.low, digits), show(i.high, digits));
        format!("{}\n{range}", show(i.value, digits))
    };
    value.map_or_else(|| "\u{2013}".into(), two)
}

/// Digits that a metric is shown with.
pub(super) fn digits(metric: Metric) -> usize {
    match metric {
        Metric::Calibration => 3,
        Metric::Auc | Metric::Gauc | Metric::LogLoss | Metric::Ne => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_tables_show_them() {
        assert_eq!(
            (number(-0.012_34, 3), number(-0.000_04, 4)),
            ("\u{2212}0.012".into(), "0.0000".into())
        );
        assert_eq!(
            (signed(0.5, 1), signed(-0.5, 1), signed(0.0, 1)),
            ("+0.5".into(), "\u{2212}0.5".into(), "0.0".into())
        );
        assert_eq!(
            (count(0), count(1_000), count(25_029_426)),
            ("0".into(), "1,000".into(), "25,029,426".into())
        );
        assert_eq!(
            (p(Some(0.000_01)), p(Some(0.0321)), p(None)),
            ("< 0.0001".into(), "0.0321".into(), "\u{2013}".into())
        );
        assert_eq!(number(f64::NAN, 2), "\u{2013}");
    }
}
