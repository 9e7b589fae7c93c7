//! Lines over a common axis.

use super::draw::{Chart, Elements, TITLE, WIDTH, width_of};
use super::scale::{Scale, label, span, ticks};
use super::style::COLOURS;

/// Lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// What it is shown along.
    pub x: String,
    /// One colour each.
    pub series: Vec<Series>,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, by ascending x; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Whether each point gets a dot. Without dots, neighbours among very many are drawn as their mean.
    pub dots: bool,
}

impl Series {
    /// A line without dots.
    #[must_use]
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            points,
            dots: false,
        }
    }

    /// The same with a dot at each point.
    #[must_use]
    pub fn dotted(self) -> Self {
        Self { dots: true, ..self }
    }

    fn drawn(&self) -> Vec<(f64, f64)> {
        let finite = |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite();
        let points: Vec<(f64, f64)> = self.points.iter().filter(finite).copied().collect();
        if self.dots { points } else { thinned(&points) }
    }
}

const HEIGHT: f64 = 170.0;
const LEFT: f64 = 52.0;
/// Points of a line at most: more cannot be told apart.
const POINTS: usize = 480;

impl Chart for Lines {
    fn title(&self) -> &str {
        &self.title
    }

    fn height(&self) -> f64 {
        self.top() + HEIGHT + 36.0
    }

    fn elements(&self) -> String {
        let mut out = Elements::default();
        out.title(&self.title);
        let lines: Vec<Vec<(f64, f64)>> = self.series.iter().map(Series::drawn).collect();
        let all = || lines.iter().flatten();
        let (across, up) = (span(all().map(|p| p.0)), span(all().map(|p| p.1)));
        let (top, bottom) = (self.top(), self.top() + HEIGHT);
        let x = Scale::new(across, (LEFT, WIDTH - 16.0));
        let y = Scale::new(up, (bottom, top));
        let (places, digits) = ticks(up, 6);
        for at in places {
            out.line("grid", (LEFT, y.at(at)), (WIDTH, y.at(at)));
            out.text((LEFT - 6.0, y.at(at) + 4.0), "end", "quiet", &label(at, digits));
        }
        let (places, digits) = ticks(across, 5);
        for at in places {
            out.line("axis", (x.at(at), bottom), (x.at(at), bottom + 4.0));
            out.text((x.at(at), bottom + 16.0), "middle", "quiet", &label(at, digits));
        }
        out.line("axis", (LEFT, bottom), (WIDTH, bottom));
        out.text(((LEFT + WIDTH) / 2.0, bottom + 31.0), "middle", "quiet", &self.x);
        for (i, (series, points)) in self.series.iter().zip(&lines).enumerate() {
            let colour = i % COLOURS;
            let places: Vec<(f64, f64)> = points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
            out.path(&format!("l{colour}"), &places);
            for (place, point) in places.iter().zip(points).filter(|_| series.dots || points.len() == 1) {
                let words = format!("{}: {} at {}", series.name, label(point.1, 5), label(point.0, 0));
                out.dot(&format!("f{colour}"), *place, &words);
            }
        }
        for (i, (name, at)) in self.series.iter().zip(self.legend()).enumerate() {
            let class = format!("f{}", i % COLOURS);
            out.bar(&class, (at.0, at.1 - 5.0), (at.0 + 12.0, at.1 - 2.0), &name.name);
            out.text((at.0 + 17.0, at.1), "start", "ink", &name.name);
        }
        out.finish()
    }
}

impl Lines {
    /// Where the names stand: below the title, in as many rows as they need.
    fn legend(&self) -> Vec<(f64, f64)> {
        let (mut x, mut y) = (0.0, TITLE + 8.0);
        let mut places = Vec::new();
        for series in &self.series {
            let width = width_of(&series.name) + 32.0;
            if x > 0.0 && x + width > WIDTH {
                (x, y) = (0.0, y + 16.0);
            }
            places.push((x, y));
            x += width;
        }
        places
    }

    fn top(&self) -> f64 {
        self.legend().last().map_or(TITLE, |at| at.1 + 4.0) + 10.0
    }
}

/// At most [`POINTS`] means of neighbours.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let n = points.len().div_ceil(POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    points.chunks(n).map(mean).collect()
}
