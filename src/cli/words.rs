//! Numbers and names as people read them.

use crate::bundle::{Port, Precision, Space};
pub(super) use crate::report::count;

/// `1 row`, `2 rows`.
pub(super) fn many(n: usize, one: &str, more: &str) -> String {
    format!("{} {}", count(n as u64), if n == 1 { one } else { more })
}

/// Bytes, in units of 1000.
pub(super) fn bytes(n: u64) -> String {
    scaled(n as f64, "B")
}

/// Floating-point operations.
pub(super) fn flop(n: f64) -> String {
    scaled(n, "FLOP")
}

fn scaled(n: f64, unit: &str) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.iter().find(|(step, _)| n >= *step) {
        Some((step, prefix)) => format!("{:.2} {prefix}{unit}", n / step),
        None => format!("{n} {unit}"),
    }
}

/// A time in the unit that suits it.
pub(super) fn seconds(s: f64) -> String {
    match s {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} us", s * 1e6),
    }
}

/// `f32[rows, 8]`.
pub(super) fn port(port: &Port) -> String {
    let space = match port.space {
        Space::Rows => "rows",
        Space::Requests => "requests",
    };
    let factor = match port.factor {
        1 => String::new(),
        n => format!("{n}*"),
    };
    let inner: String = port.shape.iter().map(|n| format!(", {n}")).collect();
    format!("{}[{factor}{space}{inner}]", port.dtype)
}

/// How weights are stored.
pub(super) fn precision(precision: Precision) -> &'static str {
    match precision {
        Precision::F16 => "f16",
        Precision::F32 => "f32",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([999, 1_390_000].map(bytes), ["999 B", "1.39 MB"]);
        assert_eq!([0.0000015, 0.25, 3.0].map(seconds), ["1.5 us", "250.00 ms", "3.00 s"]);
    }
}
