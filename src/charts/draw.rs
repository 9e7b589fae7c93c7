//! What all charts are drawn with.

use std::fmt::Write;

use super::{escape, style};

/// Width of every chart, in units of which a letter is 12 high: narrow, so that a phone need not shrink it much.
pub(super) const WIDTH: f64 = 480.0;
/// Room for the title, and for the legend or what stands below the axis.
pub(super) const TITLE: f64 = 24.0;

/// Something that can be drawn.
pub trait Chart {
    /// Its title, as read aloud to who does not see it.
    fn title(&self) -> &str;
    /// How high it is, in units of which it is 480 wide.
    fn height(&self) -> f64;
    /// Its elements, with the origin at its top left corner.
    fn elements(&self) -> String;
}

/// Charts below each other, as an SVG file.
#[must_use]
pub fn svg(charts: &[&dyn Chart]) -> String {
    let height: f64 = charts.iter().map(|c| c.height() + 12.0).sum::<f64>() + 12.0;
    let title: Vec<&str> = charts.iter().map(|c| c.title()).collect();
    let mut out = opening(&title.join(", "), WIDTH + 24.0, height, 1.5);
    let rules = style::of_charts() + &style::of_ground();
    let _ = writeln!(out, "<style>{rules}</style>");
    out.push_str("<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n");
    let mut y = 12.0;
    for chart in charts {
        let _ = writeln!(out, "<g transform=\"translate(12 {y})\">\n{}</g>", chart.elements());
        y += chart.height() + 12.0;
    }
    out + "</svg>\n"
}

/// A chart within a page that has the rules of [`style`].
pub(super) fn inline(chart: &dyn Chart) -> String {
    opening(chart.title(), WIDTH, chart.height(), 1.0) + &chart.elements() + "</svg>"
}

fn opening(title: &str, width: f64, height: f64, zoom: f64) -> String {
    let (w, h) = (width * zoom, height * zoom);
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"{title}\">\n"
    )
}

/// Elements, one a line.
#[derive(Default)]
pub(super) struct Elements(String);

impl Elements {
    pub(super) fn finish(self) -> String {
        self.0
    }

    pub(super) fn title(&mut self, title: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"0\" y=\"13\" class=\"ink\" font-weight=\"600\">{}</text>",
            escape(title)
        );
    }

    /// Words; `anchor` is start, middle or end.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: &str, class: &str, words: &str) {
        let words = escape(words);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>"
        );
    }

    /// Words that run up to the right and end at a place.
    pub(super) fn slanted(&mut self, (x, y): (f64, f64), words: &str) {
        let words = escape(words);
        let _ = writeln!(
            self.0,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-38)\" text-anchor=\"end\" class=\"quiet\" \
             font-size=\"11\">{words}</text>"
        );
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.0,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    pub(super) fn dashed(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.0,
            "<line class=\"axis\" stroke-dasharray=\"3 3\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A box between two corners, which says words to whoever points at it.
    pub(super) fn bar(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64), words: &str) {
        let (x, y, w, h) = (x1.min(x2), y1.min(y2), (x2 - x1).abs(), (y2 - y1).abs());
        let words = escape(words);
        let _ = writeln!(
            self.0,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"1.5\">\
             <title>{words}</title></rect>"
        );
    }

    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), words: &str) {
        let words = escape(words);
        let _ = writeln!(
            self.0,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{words}</title></circle>"
        );
    }

    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.0,
            "<polyline class=\"{class}\" stroke-width=\"1.6\" stroke-linejoin=\"round\" points=\"{points}\"/>"
        );
    }
}

/// About how wide words are.
pub(super) fn width_of(words: &str) -> f64 {
    words.chars().count() as f64 * 7.2
}

/// Words that fit into so many letters.
pub(super) fn shortened(words: &str, letters: usize) -> String {
    if words.chars().count() <= letters {
        return words.to_owned();
    }
    words
        .chars()
        .take(letters.saturating_sub(1))
        .chain(['\u{2026}'])
        .collect()
}
