//! Colours, for a light and a dark ground.

use std::fmt::Write;

/// Ground, ink, quiet ink, grid.
const GROUND: [&str; 2] = ["#fdfdfc", "#16181c"];
const INK: [&str; 2] = ["#1d1f23", "#e6e6e3"];
const QUIET: [&str; 2] = ["#5f646d", "#a0a5ad"];
const GRID: [&str; 2] = ["#e3e4e6", "#30343b"];
const PANEL: [&str; 2] = ["#f3f4f5", "#1f2227"];
const WARNING: [&str; 2] = ["#fff4dc", "#3a2f16"];

/// Series can be told apart without seeing red and green apart.
const SERIES: [[&str; 2]; 8] = [
    ["#2b6cb0", "#6aaaf0"],
    ["#d9660a", "#f5a35c"],
    ["#2f8f5b", "#63c993"],
    ["#b23a6f", "#e684b0"],
    ["#7a5bb5", "#b49bea"],
    ["#147d8a", "#5cc4cf"],
    ["#8a6d1f", "#d4b45a"],
    ["#6b7280", "#b3b9c4"],
];

/// How many series differ in colour.
pub(super) const COLOURS: usize = SERIES.len();

/// Rules for charts.
pub(super) fn of_charts() -> String {
    both(|out, i| {
        let (ink, quiet, grid) = (INK[i], QUIET[i], GRID[i]);
        let _ = write!(
            out,
            "svg .ink{{fill:{ink}}}svg .quiet{{fill:{quiet}}}svg .grid{{stroke:{grid}}}\
             svg .axis{{stroke:{quiet}}}svg .whisker{{stroke:{ink}}}"
        );
        for (n, colour) in SERIES.iter().enumerate() {
            let colour = colour[i];
            let _ = write!(out, "svg .f{n}{{fill:{colour}}}svg .l{n}{{stroke:{colour};fill:none}}");
        }
    })
}

/// The ground of a chart that is a file of its own.
pub(super) fn of_ground() -> String {
    both(|out, i| {
        let _ = write!(out, "svg .ground{{fill:{}}}", GROUND[i]);
    })
}

/// Rules for pages.
pub(super) fn of_page() -> String {
    let colours = both(|out, i| {
        let _ = write!(
            out,
            "body{{background:{};color:{}}}.quiet,figcaption,th{{color:{}}}th,td{{border-color:{}}}\
             th:first-child,td:first-child{{background:{}}}.panel{{background:{}}}.warning{{background:{}}}a{{color:{}}}",
            GROUND[i], INK[i], QUIET[i], GRID[i], GROUND[i], PANEL[i], WARNING[i], SERIES[0][i]
        );
    });
    include_str!("page.css").replace('\n', "") + &colours
}

/// Rules on a light ground, then those on a dark one.
fn both(rules: impl Fn(&mut String, usize)) -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    rules(&mut light, 0);
    rules(&mut dark, 1);
    format!("{light}@media(prefers-color-scheme:dark){{{dark}}}")
}
