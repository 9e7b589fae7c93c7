//! Kernels below the roof of what their device can do.

use super::draw::{Chart, Elements, TITLE, WIDTH};
use super::scale::Scale;
use super::style::COLOURS;

/// Rates over intensities, both on logarithmic axes, below the lesser of two limits (Williams, Waterman and Patterson,
/// "Roofline", 2009).
#[derive(Clone, Debug, Default)]
pub struct Roofline {
    /// What is shown.
    pub title: String,
    /// Operations a second at most.
    pub flops: f64,
    /// Bytes a second at most.
    pub bytes: f64,
    /// Kernels.
    pub dots: Vec<RooflineDot>,
}

/// A kernel.
#[derive(Clone, Debug)]
pub struct RooflineDot {
    /// Its name.
    pub name: String,
    /// Operations that it does.
    pub flops: f64,
    /// Bytes that it has to move.
    pub bytes: f64,
    /// Seconds that it takes.
    pub seconds: f64,
}

impl RooflineDot {
    /// Operations a byte, operations a second; `None` of a kernel that has neither.
    fn place(&self) -> Option<(f64, f64)> {
        let (x, y) = (self.flops / self.bytes, self.flops / self.seconds);
        (x.is_normal() && y.is_normal() && x > 0.0 && y > 0.0).then_some((x, y))
    }
}

const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;

impl Chart for Roofline {
    fn title(&self) -> &str {
        &self.title
    }

    fn height(&self) -> f64 {
        TITLE + HEIGHT + 40.0 + 16.0 * self.dots.len() as f64
    }

    fn elements(&self) -> String {
        let mut out = Elements::default();
        out.title(&self.title);
        let ridge = self.flops / self.bytes;
        let places: Vec<(usize, (f64, f64))> = (0..)
            .zip(&self.dots)
            .filter_map(|(i, dot)| Some((i, dot.place()?)))
            .collect();
        let across = decades(places.iter().map(|(_, p)| p.0).chain([ridge / 10.0, ridge * 10.0]));
        let up = decades(places.iter().map(|(_, p)| p.1).chain([self.flops, self.flops / 100.0]));
        let (top, bottom) = (TITLE + 6.0, TITLE + 6.0 + HEIGHT);
        let x = Scale::new((across.0.into(), across.1.into()), (LEFT, WIDTH - 8.0));
        let y = Scale::new((up.0.into(), up.1.into()), (bottom, top));
        for power in up.0..=up.1 {
            let at = y.at(power.into());
            out.line("grid", (LEFT, at), (WIDTH, at));
            out.text((LEFT - 6.0, at + 4.0), "end", "quiet", &power_of_ten(power));
        }
        for power in across.0..=across.1 {
            let at = x.at(power.into());
            out.line("axis", (at, bottom), (at, bottom + 4.0));
            out.text((at, bottom + 16.0), "middle", "quiet", &power_of_ten(power));
        }
        out.line("axis", (LEFT, bottom), (WIDTH, bottom));
        out.text(
            ((LEFT + WIDTH) / 2.0, bottom + 31.0),
            "middle",
            "quiet",
            "FLOP per byte, against FLOP/s",
        );
        // The roof, from where it leaves the bottom to the right edge.
        let (low, right) = (10f64.powi(up.0), 10f64.powi(across.1));
        let foot = (low / self.bytes).max(10f64.powi(across.0));
        let roof = [(foot, foot * self.bytes), (ridge, self.flops), (right, self.flops)];
        out.path("l7", &roof.map(|(a, b)| (x.at(a.log10()), y.at(b.log10()))));
        for (i, (a, b)) in &places {
            let dot = &self.dots[*i];
            let share = 100.0 * b / (a * self.bytes).min(self.flops);
            let words = format!("{}: {share:.0} % of the roof", dot.name);
            let class = format!("f{}", i % COLOURS);
            out.dot(&class, (x.at(a.log10()), y.at(b.log10())), &words);
            let line = bottom + 50.0 + 16.0 * *i as f64;
            out.dot(&class, (LEFT, line - 4.0), &words);
            out.text((LEFT + 10.0, line), "start", "ink", &words);
        }
        out.finish()
    }
}

/// The powers of ten around numbers.
fn decades(numbers: impl Iterator<Item = f64>) -> (i32, i32) {
    let powers = numbers.map(f64::log10).filter(|p| p.is_finite());
    let (low, high) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), p| (a.min(p), b.max(p)));
    if low <= high {
        (low.floor() as i32, (high.ceil() as i32).max(low.floor() as i32 + 1))
    } else {
        (0, 1)
    }
}

fn power_of_ten(power: i32) -> String {
    match power {
        -2..=2 => format!("{}", 10f64.powi(power)),
        _ => format!("1e{power}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_nearer_roof() {
        let dot = |name: &str, flops, bytes, seconds| RooflineDot {
            name: name.into(),
            flops,
            bytes,
            seconds,
        };
        let chart = Roofline {
            title: "kernels".into(),
            flops: 1e9,
            bytes: 1e8,
            dots: vec![
                dot("product", 5e8, 1e6, 1.0),
                dot("lookup", 1e6, 1e8, 4.0),
                dot("nothing", 0.0, 0.0, 1.0),
            ],
        };
        let text = chart.elements();
        assert!(text.contains("product: 50 % of the roof"), "{text}");
        assert!(text.contains("lookup: 25 % of the roof"), "{text}");
        assert!(!text.contains("nothing"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
