//! The report's charts.

use super::series::Bins;
use super::{Report, Role};
use crate::charts::{Bar, Bars, Column, Columns, Lines, Series};
use crate::metrics::{Interval, Metric};

/// A colour a role, the same in all charts.
fn colour(role: Role) -> usize {
    match role {
        Role::Base => 7,
        Role::Claim => 0,
        Role::Control => 1,
        Role::Teacher => 2,
    }
}

fn whisker(i: Interval) -> Option<(f64, f64)> {
    Some((i.low, i.high))
}

/// A metric of all variants, as bars that start at the base.
pub(super) fn values(report: &Report, metric: Metric) -> Option<Bars> {
    let base = report.base()?.value(metric)?.value;
    let bar = |v: &super::Variant| {
        let value = v.value(metric)?;
        Some(Bar::new(&v.name, value.value, whisker(value)).coloured(colour(v.role)))
    };
    Some(Bars {
        title: format!("{metric}, from the plain VM's on"),
        origin: base,
        bars: report.variants.iter().filter_map(bar).collect(),
        marks: Vec::new(),
        digits: 4,
    })
}

/// Transfer ratios of all variants that have one.
pub(super) fn transfer(report: &Report, metric: Metric) -> Option<Bars> {
    let bar = |v: &super::Variant| {
        let ratio = v.ratio(metric)?;
        Some(Bar::new(&v.name, ratio.value, whisker(ratio)).coloured(colour(v.role)))
    };
    let bars: Vec<Bar> = report.variants.iter().filter_map(bar).collect();
    (!bars.is_empty()).then(|| Bars {
        title: format!("Transfer ratio in {metric}"),
        origin: 0.0,
        bars,
        marks: vec![(1.0, "FM".into())],
        digits: 2,
    })
}

/// A claim's gain and those of its controls.
pub(super) fn beside(report: &Report, claim: &super::Variant, metric: Metric) -> Option<Bars> {
    let own = claim.gain(metric)?;
    let bar =
        |v: &super::Variant, gain: Interval| Bar::new(&v.name, gain.value, whisker(gain)).coloured(colour(v.role));
    let controls = report.variants.iter().filter(|v| v.is_control_of(&claim.name));
    let mut bars = vec![bar(claim, own.value)];
    bars.extend(controls.filter_map(|v| Some(bar(v, v.gain(metric)?.value))));
    Some(Bars {
        title: format!("{}: gain in {metric} beside its controls", claim.name),
        origin: 0.0,
        bars,
        marks: Vec::new(),
        digits: 4,
    })
}

/// The parts of LoopFM's gain.
pub(super) fn parts(report: &Report) -> Vec<Bars> {
    let chart = |d: &crate::metrics::Decomposed| Bars {
        title: format!("What the gain in {} is made of", d.metric),
        origin: 0.0,
        bars: [
            ("temporal", d.temporal, 1),
            ("+ cross", d.cross, 3),
            ("\u{2212} residual", d.residual, 7),
            ("= LoopFM", d.loopfm, 0),
        ]
        .map(|(name, part, colour)| Bar::new(name, part.value, whisker(part)).coloured(colour))
        .into(),
        marks: Vec::new(),
        digits: 4,
    };
    report.decompositions.iter().map(chart).collect()
}

/// Training curves, one chart for each thing they show.
pub(super) fn curves(report: &Report) -> Vec<Lines> {
    let mut charts: Vec<Lines> = Vec::new();
    for curve in &report.curves {
        let line = Series::new(&curve.name, curve.points.clone());
        let line = if curve.points.len() <= 30 { line.dotted() } else { line };
        if let Some(chart) = charts.iter_mut().find(|c| c.title == curve.of) {
            chart.series.push(line);
            continue;
        }
        charts.push(Lines {
            title: curve.of.clone(),
            x: "rows trained on".into(),
            series: vec![line],
        });
    }
    charts
}

/// Lengths and ages of histories, attention, spectrum.
pub(super) fn columns(report: &Report) -> Vec<Columns> {
    let mut charts = Vec::new();
    let binned = |bins: &Bins, title: &str, x: &str, colour| Columns {
        title: title.into(),
        x: format!("{x} ({})", bins.note),
        columns: bins.bins.iter().map(|(name, y)| Column::new(name, *y)).collect(),
        line: None,
        colour,
    };
    charts.extend(
        report
            .lengths
            .iter()
            .map(|b| binned(b, "Length of histories: share of rows", "events", 0)),
    );
    charts.extend(
        report
            .gaps
            .iter()
            .map(|b| binned(b, "Age of events: share of events", "age", 5)),
    );
    for attention in &report.attention {
        let bins = attention.bins();
        charts.push(Columns {
            title: format!("Attention by age: {}", attention.name),
            x: match attention.shares {
                true => "age of the event; mean weight of one event".into(),
                false => "age of the event; mean score of one event".into(),
            },
            columns: bins
                .iter()
                .map(|(name, weight, _)| Column::new(name, *weight))
                .collect(),
            // Scores have no sum that all could share.
            line: attention
                .shares
                .then(|| ("if all got the same".into(), bins.iter().map(|b| b.2).collect())),
            colour: 4,
        });
    }
    if !report.spectrum.is_empty() {
        charts.push(spectrum(&report.spectrum));
    }
    charts
}

fn spectrum(shares: &[f64]) -> Columns {
    let mut sum = 0.0;
    let sums = shares.iter().map(|share| {
        sum += share;
        sum
    });
    Columns {
        title: "Spectrum of the embeddings: share of variance".into(),
        x: format!(
            "principal direction ({})",
            [4, 8]
                .map(|n| format!("first {n}: {:.1} %", 100.0 * shares.iter().take(n).sum::<f64>()))
                .join(", ")
        ),
        line: Some(("sum so far".into(), sums.collect())),
        columns: shares
            .iter()
            .enumerate()
            .map(|(i, s)| Column::new(&format!("{}", i + 1), *s))
            .collect(),
        colour: 2,
    }
}
