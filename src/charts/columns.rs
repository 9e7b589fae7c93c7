//! Columns beside each other: histograms, shares by bins, spectra.

use super::draw::{Chart, Elements, TITLE, WIDTH, width_of};
use super::scale::{Scale, label, span, ticks};
use super::style::COLOURS;

/// Columns from zero, with a line over them if wanted.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// What is shown.
    pub title: String,
    /// What the columns stand along.
    pub x: String,
    /// From left to right.
    pub columns: Vec<Column>,
    /// A second number of each column on the same axis, as a line, and its name: a running sum, an even share.
    pub line: Option<(String, Vec<f64>)>,
    /// Their colour, by number.
    pub colour: usize,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What stands below it.
    pub name: String,
    /// How high it is.
    pub value: f64,
}

impl Column {
    /// A column.
    #[must_use]
    pub fn new(name: &str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            value,
        }
    }
}

const HEIGHT: f64 = 150.0;
const LEFT: f64 = 46.0;
/// Where columns end: half a name may stand beyond it.
const RIGHT: f64 = WIDTH - 14.0;
/// Names below the columns at most: more would touch.
const NAMES: usize = 14;

impl Chart for Columns {
    fn title(&self) -> &str {
        &self.title
    }

    fn height(&self) -> f64 {
        self.bottom() + self.room_for_names() + 20.0
    }

    fn elements(&self) -> String {
        let mut out = Elements::default();
        out.title(&self.title);
        let over = self.line.iter().flat_map(|(_, ys)| ys.iter().copied());
        let values = self.columns.iter().map(|c| c.value).chain(over);
        let range = span(values.chain([0.0]));
        let (top, bottom) = (self.bottom() - HEIGHT, self.bottom());
        let scale = Scale::new(range, (bottom, top));
        let (places, digits) = ticks(range, 5);
        for y in places {
            out.line("grid", (LEFT, scale.at(y)), (RIGHT, scale.at(y)));
            out.text((LEFT - 6.0, scale.at(y) + 4.0), "end", "quiet", &label(y, digits));
        }
        let class = format!("f{}", self.colour % COLOURS);
        let width = self.width();
        let middle = |i: usize| LEFT + width * (i as f64 + 0.5);
        for (i, column) in self.columns.iter().enumerate().filter(|(_, c)| c.value.is_finite()) {
            let half = (width * 0.4).max(0.5);
            let words = format!("{}: {}", column.name, label(column.value, digits + 2));
            let corner = (middle(i) - half, scale.at(0.0));
            out.bar(&class, corner, (middle(i) + half, scale.at(column.value)), &words);
        }
        out.line("axis", (LEFT, scale.at(0.0)), (RIGHT, scale.at(0.0)));
        if let Some((name, ys)) = &self.line {
            let finite = ys.iter().enumerate().filter(|(_, y)| y.is_finite());
            let points: Vec<(f64, f64)> = finite.map(|(i, y)| (middle(i), scale.at(*y))).collect();
            let colour = (self.colour + 1) % COLOURS;
            out.path(&format!("l{colour}"), &points);
            out.text((WIDTH, 13.0), "end", &format!("f{colour}"), name);
        }
        let every = self.columns.len().div_ceil(NAMES).max(1);
        for (i, column) in self.columns.iter().enumerate().step_by(every) {
            if self.slants() {
                out.slanted((middle(i) + 4.0, bottom + 13.0), &column.name);
            } else {
                out.text((middle(i), bottom + 15.0), "middle", "quiet", &column.name);
            }
        }
        let below = self.height() - 6.0;
        out.text(((LEFT + WIDTH) / 2.0, below), "middle", "quiet", &self.x);
        out.finish()
    }
}

impl Columns {
    fn bottom(&self) -> f64 {
        TITLE + 6.0 + HEIGHT
    }

    fn width(&self) -> f64 {
        (RIGHT - LEFT) / self.columns.len().max(1) as f64
    }

    fn longest(&self) -> f64 {
        self.columns.iter().map(|c| width_of(&c.name)).fold(0.0, f64::max)
    }

    /// Names that would touch each other run up to the right.
    fn slants(&self) -> bool {
        let every = self.columns.len().div_ceil(NAMES).max(1);
        self.longest() > self.width() * every as f64 - 4.0
    }

    fn room_for_names(&self) -> f64 {
        if self.slants() {
            (self.longest() * 0.58 + 8.0).clamp(20.0, 90.0)
        } else {
            20.0
        }
    }
}
