//! Bars with whiskers, one below the other.

use super::draw::{Chart, Elements, TITLE, WIDTH, shortened, width_of};
use super::scale::{Scale, label, span, ticks};
use super::style::COLOURS;

/// Horizontal bars with whiskers, from a common origin.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// Where bars start: 0, or what the others are compared with.
    pub origin: f64,
    /// From top to bottom.
    pub bars: Vec<Bar>,
    /// Numbers that get a line across, and their names.
    pub marks: Vec<(f64, String)>,
    /// Digits after the point of the numbers beside the bars.
    pub digits: usize,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Where it ends; a bar that is not finite is named but not drawn.
    pub value: f64,
    /// The ends of its whisker.
    pub whisker: Option<(f64, f64)>,
    /// Its colour, by number.
    pub colour: usize,
}

impl Bar {
    /// A bar of the first colour.
    #[must_use]
    pub fn new(name: &str, value: f64, whisker: Option<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            value,
            whisker,
            colour: 0,
        }
    }

    /// The same in another colour.
    #[must_use]
    pub fn coloured(self, colour: usize) -> Self {
        Self { colour, ..self }
    }
}

const ROW: f64 = 24.0;
const LETTERS: usize = 28;

impl Chart for Bars {
    fn title(&self) -> &str {
        &self.title
    }

    fn height(&self) -> f64 {
        self.top() + ROW * self.bars.len() as f64 + 26.0
    }

    fn elements(&self) -> String {
        let mut out = Elements::default();
        out.title(&self.title);
        let longest = self.bars.iter().map(|b| width_of(&shortened(&b.name, LETTERS)));
        let left = longest.fold(40.0, f64::max) + 10.0;
        let digits = if self.digits == 0 { 4 } else { self.digits };
        let numbers = self.bars.iter().map(|b| width_of(&label(b.value, digits)));
        let right = WIDTH - numbers.fold(30.0, f64::max) - 8.0;
        let range = self.range();
        let scale = Scale::new(range, (left, right));
        let bottom = self.top() + ROW * self.bars.len() as f64;
        let (places, precision) = ticks(range, 4);
        for x in places {
            out.line("grid", (scale.at(x), self.top()), (scale.at(x), bottom));
            out.text((scale.at(x), bottom + 15.0), "middle", "quiet", &label(x, precision));
        }
        for (i, bar) in self.bars.iter().enumerate() {
            let y = self.top() + ROW * (i as f64 + 0.5);
            out.text((left - 10.0, y + 4.0), "end", "ink", &shortened(&bar.name, LETTERS));
            if !bar.value.is_finite() {
                out.text((left + 4.0, y + 4.0), "start", "quiet", "no value");
                continue;
            }
            let number = label(bar.value, digits);
            let class = format!("f{}", bar.colour % COLOURS);
            let words = format!("{}: {number}", bar.name);
            let (from, to) = (scale.at(self.origin), scale.at(bar.value));
            out.bar(&class, (from, y - 7.0), (to, y + 7.0), &words);
            if let Some((low, high)) = bar.whisker.filter(|(low, high)| low.is_finite() && high.is_finite()) {
                let (low, high) = (scale.at(low), scale.at(high));
                out.line("whisker", (low, y), (high, y));
                for end in [low, high] {
                    out.line("whisker", (end, y - 4.0), (end, y + 4.0));
                }
            }
            out.text((WIDTH, y + 4.0), "end", "ink", &number);
        }
        let origin = scale.at(self.origin);
        out.line("axis", (origin, self.top()), (origin, bottom));
        for (x, name) in self.marks.iter().filter(|(x, _)| x.is_finite()) {
            out.dashed((scale.at(*x), self.top() - 2.0), (scale.at(*x), bottom));
            out.text((scale.at(*x), self.top() - 5.0), "middle", "quiet", name);
        }
        out.finish()
    }
}

impl Bars {
    fn top(&self) -> f64 {
        TITLE + if self.marks.is_empty() { 0.0 } else { 14.0 }
    }

    fn range(&self) -> (f64, f64) {
        let ends = self.bars.iter().flat_map(|b| {
            let (low, high) = b.whisker.unwrap_or((b.value, b.value));
            [b.value, low, high]
        });
        let marks = self.marks.iter().map(|(x, _)| *x);
        let (low, high) = span(ends.chain(marks).chain([self.origin]));
        let room = (high - low) * 0.03;
        let beyond = |x: f64, room: f64| if x == self.origin { x } else { x + room };
        (beyond(low, -room), beyond(high, room))
    }
}
