//! The report as Markdown.

use std::fmt::Write;

use super::html::{day, reading, sentences};
use super::numbers::{HEADING, count, digits, number, p, signed};
use super::{Protocol, Report, Variant};
use crate::metrics::{Interval, Metric};

pub(super) fn text(report: &Report) -> String {
    let mut out = format!("# {}\n\n", line(&report.title));
    for warning in &report.warnings {
        let _ = writeln!(out, "> {}\n", line(warning));
    }
    if !report.variants.is_empty() {
        out.push_str(&variants(report));
        let _ = writeln!(out, "\n\u{00b1}: half the interval. {}\n", reading(report));
        for sentence in sentences(report) {
            let _ = writeln!(out, "- {}", line(&sentence));
        }
        for variant in &report.variants {
            for refusal in &variant.refusals {
                let _ = writeln!(out, "- {}: {}", line(&variant.name), line(refusal));
            }
        }
        out.push('\n');
    }
    for d in &report.decompositions {
        let part = |i: Interval| format!("{} \u{00b1} {}", signed(i.value, 4), number((i.high - i.low) / 2.0, 4));
        let _ = writeln!(
            out,
            "Gain in {}: temporal {} + cross {} \u{2212} residual {} = LoopFM {}.\n",
            d.metric,
            part(d.temporal),
            part(d.cross),
            part(d.residual),
            part(d.loopfm)
        );
    }
    for refusal in &report.refusals {
        let _ = writeln!(out, "{}\n", line(refusal));
    }
    let periods = report.protocol.periods.iter().map(|d| {
        let days = format!("{} to {}", day(d.from), day(d.to));
        (
            d.name.clone(),
            format!("{days}, {} rows, {} users", count(d.rows), count(d.users)),
        )
    });
    let models = report.protocol.models.iter().map(|m| {
        let parts = [format!("{} parameters", count(m.parameters)), m.what.clone()];
        let told: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        (m.name.clone(), told.join(", "))
    });
    for (name, text) in periods.chain(models).chain(facts(&report.protocol)) {
        let _ = writeln!(out, "- {}: {}", line(&name), line(&text));
    }
    for note in &report.notes {
        let _ = writeln!(out, "\n{}", line(note));
    }
    out
}

/// The table, its columns as wide as they need to be, so that a terminal shows it too.
fn variants(report: &Report) -> String {
    let row = |v: &Variant| {
        let show = |i: Option<Interval>, text: fn(f64, usize) -> String, digits| {
            i.map_or_else(|| "\u{2013}".into(), |i| text(i.value, digits))
        };
        // Half the interval tells how many digits count.
        let gain = v.gain(Metric::Auc);
        let reach = |i: Interval| format!("{} \u{00b1} {}", signed(i.value, 4), number((i.high - i.low) / 2.0, 4));
        let value = |metric| show(v.value(metric), number, digits(metric));
        let [auc, gauc, loss, ne, calibration] = Metric::ALL.map(value);
        let gain_cell = gain.map_or_else(|| "\u{2013}".into(), |g| reach(g.value));
        let ratio = |metric| show(v.ratio(metric), number, 2);
        let (of_auc, of_ne) = (ratio(Metric::Auc), ratio(Metric::Ne));
        let name = line(&v.name).replace('|', "\\|");
        let test = p(gain.and_then(|g| g.p));
        [name, auc, gain_cell, test, of_auc, of_ne, ne, loss, gauc, calibration]
    };
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.extend(report.variants.iter().map(row));
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: [usize; 10] = std::array::from_fn(width);
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let pad = |(c, cell): (usize, &String)| {
            let room = " ".repeat(widths[c] - cell.chars().count());
            if c == 0 {
                format!("{cell}{room}")
            } else {
                format!("{room}{cell}")
            }
        };
        let cells: Vec<String> = row.iter().enumerate().map(pad).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
        if i == 0 {
            let rule = |c: usize| {
                if c == 0 {
                    "-".repeat(widths[c])
                } else {
                    "-".repeat(widths[c] - 1) + ":"
                }
            };
            let _ = writeln!(
                out,
                "| {} |",
                (0..widths.len()).map(rule).collect::<Vec<_>>().join(" | ")
            );
        }
    }
    out
}

/// What the protocol says in words.
pub(super) fn facts(p: &Protocol) -> Vec<(String, String)> {
    let seeds: Vec<String> = p.seeds.iter().map(ToString::to_string).collect();
    let named = [
        ("data", p.data.clone()),
        ("label", p.label.clone()),
        ("embeddings", p.teaching.clone()),
        ("histories", p.history.clone()),
        ("storage", p.storage.clone()),
        ("seeds", seeds.join(", ")),
    ];
    let named = named.into_iter().map(|(name, text)| (name.to_owned(), text));
    named
        .chain(p.run.iter().cloned())
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

/// Text on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
