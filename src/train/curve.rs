//! The training curve as a picture: loss above, AUC below, over steps.

use std::fmt::Write;

use super::Event;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 28.0;
/// Points of a line at most: more cannot be told apart.
const POINTS: usize = 600;

/// A line of a panel.
struct Series {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
    dots: bool,
}

/// The picture of a run's events, as SVG.
pub(super) fn svg(events: &[Event]) -> String {
    let (mut loss, mut auc, mut valid_loss, mut valid_auc) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Step(line) => {
                loss.push((line.step as f64, line.loss));
                auc.extend(line.auc.map(|auc| (line.step as f64, auc)));
            }
            Event::Validation(line) => {
                valid_loss.push((line.step as f64, line.log_loss));
                valid_auc.push((line.step as f64, line.auc));
            }
            Event::Checkpoint { .. } | Event::Start { .. } | Event::Note { .. } => {}
        }
    }
    let train = |points| Series {
        name: "training",
        colour: "#4477aa",
        points: thinned(points),
        dots: false,
    };
    let valid = |points| Series {
        name: "validation",
        colour: "#cc6677",
        points,
        dots: true,
    };
    let (w, h) = (LEFT + WIDTH + 16.0, 2.0 * (TOP + HEIGHT + 24.0));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    panel(&mut out, 0.0, "loss", &[train(loss), valid(valid_loss)]);
    panel(&mut out, TOP + HEIGHT + 24.0, "AUC", &[train(auc), valid(valid_auc)]);
    out + "</svg>\n"
}

fn panel(out: &mut String, y: f64, title: &str, series: &[Series]) {
    let all = || series.iter().flat_map(|s| &s.points).filter(|(_, y)| y.is_finite());
    let span = |of: fn(&(f64, f64)) -> f64| {
        let least = all().map(of).fold(f64::INFINITY, f64::min);
        let most = all().map(of).fold(f64::NEG_INFINITY, f64::max);
        // A single value gets some room, an empty panel the unit square.
        match least.partial_cmp(&most) {
            Some(std::cmp::Ordering::Less) => (least, most),
            Some(std::cmp::Ordering::Equal) => (least - 0.5, most + 0.5),
            _ => (0.0, 1.0),
        }
    };
    let ((x0, x1), (y0, y1)) = (span(|p| p.0), span(|p| p.1));
    let at = |p: &(f64, f64)| {
        let across = LEFT + WIDTH * (p.0 - x0) / (x1 - x0);
        (across, y + TOP + HEIGHT * (y1 - p.1) / (y1 - y0))
    };
    let top = y + TOP;
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#bbb\"/>"
    );
    let mut text = |x: f64, y: f64, anchor: &str, colour: &str, words: &str| {
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>"
        );
    };
    text(LEFT, top - 8.0, "start", "black", title);
    text(LEFT - 6.0, top + 10.0, "end", "black", &number(y1));
    text(LEFT - 6.0, top + HEIGHT, "end", "black", &number(y0));
    text(LEFT, top + HEIGHT + 16.0, "start", "black", &number(x0));
    text(
        LEFT + WIDTH,
        top + HEIGHT + 16.0,
        "end",
        "black",
        &format!("step {}", number(x1)),
    );
    for (i, s) in series.iter().enumerate() {
        text(LEFT + WIDTH - 80.0 * i as f64, top - 8.0, "end", s.colour, s.name);
    }
    for s in series {
        let points: Vec<(f64, f64)> = s.points.iter().filter(|(_, y)| y.is_finite()).map(at).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (colour, path) = (s.colour, path.join(" "));
        let _ = writeln!(out, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>");
        for (x, y) in points.iter().filter(|_| s.dots) {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
}

/// At most [`POINTS`] means of neighbours.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let n = points.len().div_ceil(POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    points.chunks(n).map(mean).collect()
}

fn number(x: f64) -> String {
    if x.fract() == 0.0 {
        format!("{x}")
    } else {
        format!("{x:.4}")
    }
}
