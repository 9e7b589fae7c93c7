//! The report as a page.

use super::numbers::{HEADING, cell, count, digits, number, p, signed};
use super::{Report, Role, Variant, figures};
use crate::charts::{Chart, Page};
use crate::metrics::{Interval, Metric};

pub(super) fn page(report: &Report) -> String {
    let mut page = Page::new(&report.title);
    page.remark(&report.protocol.data);
    page.warnings(&report.warnings);
    facts(report, &mut page);
    variants(report, &mut page);
    claims(report, &mut page);
    decomposition(report, &mut page);
    storage(report, &mut page);
    let curves = figures::curves(report);
    section(&mut page, "Training", &curves);
    let columns = figures::columns(report);
    section(&mut page, "Histories and embeddings", &columns);
    protocol(report, &mut page);
    page.finish()
}

fn section<C: Chart>(page: &mut Page, title: &str, charts: &[C]) {
    if charts.is_empty() {
        return;
    }
    page.section(title);
    let charts: Vec<&dyn Chart> = charts.iter().map(|c| c as &dyn Chart).collect();
    page.figures(&charts);
}

fn facts(report: &Report, page: &mut Page) {
    let p = &report.protocol;
    let mut facts = Vec::new();
    let best = report.variants.iter().filter(|v| v.role == Role::Claim);
    let best = best.max_by(|a, b| auc_gain(a).total_cmp(&auc_gain(b)));
    if let Some((claim, gain)) = best.and_then(|v| Some((v, v.gain(Metric::Auc)?))) {
        facts.push((claim.name.as_str(), format!("{} AUC", signed(gain.value.value, 4))));
    }
    facts.push(("test rows", count(p.test_rows)));
    facts.push(("test users", count(p.test_users)));
    facts.push(("seeds", p.seeds.len().to_string()));
    if let Some(bytes) = p.bytes_per_impression {
        facts.push((
            "bytes per impression",
            number(bytes, if bytes.fract() == 0.0 { 0 } else { 1 }),
        ));
    }
    page.facts(&facts);
}

fn auc_gain(v: &Variant) -> f64 {
    v.gain(Metric::Auc).map_or(f64::NEG_INFINITY, |g| g.value.value)
}

fn variants(report: &Report, page: &mut Page) {
    if report.variants.is_empty() {
        return;
    }
    page.section("Variants");
    let row = |v: &Variant| {
        let value = |metric| cell(v.value(metric), digits(metric), number);
        let gain = v.gain(Metric::Auc);
        let ratio = |metric| cell(v.ratio(metric), 2, number);
        let name = format!("{}\n{}", v.name, v.what);
        let gain_cell = cell(gain.map(|g| g.value), 4, signed);
        let test = p(gain.and_then(|g| g.p));
        let [auc, gauc, loss, ne, calibration] = Metric::ALL.map(value);
        let (of_auc, of_ne) = (ratio(Metric::Auc), ratio(Metric::Ne));
        vec![name, auc, gain_cell, test, of_auc, of_ne, ne, loss, gauc, calibration]
    };
    page.table(&HEADING, &report.variants.iter().map(row).collect::<Vec<_>>());
    page.remark(&format!(
        "Small: intervals. {} In the charts claims are blue, controls orange, the FM green.",
        reading(report)
    ));
    let charts = [
        figures::values(report, Metric::Auc),
        figures::transfer(report, Metric::Auc),
    ];
    let more = [
        figures::values(report, Metric::Ne),
        figures::transfer(report, Metric::Ne),
    ];
    let charts: Vec<_> = charts.into_iter().chain(more).flatten().collect();
    page.figures(&charts.iter().map(|c| c as &dyn Chart).collect::<Vec<_>>());
    let told = report
        .variants
        .iter()
        .flat_map(|v| v.refusals.iter().map(|r| format!("{}: {r}", v.name)));
    for refusal in told {
        page.remark(&refusal);
    }
}

/// How the table is to be read.
pub(super) fn reading(report: &Report) -> String {
    let p = &report.protocol;
    format!(
        "Means over {} seeds; {} % intervals by {} resamples of the {} test users, the same for all variants. Gain and p: AUC over the plain VM, paired t-test over seeds. TR: the gain's share of the FM's lead; none where that lead is within two standard errors. NE: log loss over the entropy of the base rate ({}). GAUC: the {} users with both labels, {} rows.",
        p.seeds.len(),
        number(100.0 * p.level, 0),
        count(u64::from(p.resamples)),
        count(p.test_users),
        number(p.base_rate, 4),
        count(p.ranked.0),
        count(p.ranked.1)
    )
}

/// Every claim with its controls beside it.
fn claims(report: &Report, page: &mut Page) {
    let claims: Vec<&Variant> = report.variants.iter().filter(|v| v.role == Role::Claim).collect();
    if claims.is_empty() {
        return;
    }
    page.section("Claims and their controls");
    for line in sentences(report) {
        page.paragraph(&line);
    }
    let charts: Vec<_> = claims
        .iter()
        .filter_map(|c| figures::beside(report, c, Metric::Auc))
        .collect();
    page.figures(&charts.iter().map(|c| c as &dyn Chart).collect::<Vec<_>>());
}

/// A sentence on each claim, with what of its gain each control has too.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let sure = |g: Interval| {
        if g.low > 0.0 || g.high < 0.0 {
            ""
        } else {
            ", which is within noise"
        }
    };
    let sentence = |claim: &Variant| {
        let own = claim.gain(Metric::Auc)?.value;
        let control = |v: &Variant| {
            let gain = v.gain(Metric::Auc)?.value;
            let share = 100.0 * gain.value / own.value;
            let of_it = if own.low > 0.0 {
                format!(", {} % of it", number(share, 0))
            } else {
                String::new()
            };
            Some(format!("{} {}{of_it}", v.name, signed(gain.value, 4)))
        };
        let controls = report.variants.iter().filter(|v| v.is_control_of(&claim.name));
        let controls: Vec<String> = controls.filter_map(control).collect();
        let beside = if controls.is_empty() {
            "No control stands beside it.".to_owned()
        } else {
            format!("Beside it: {}.", controls.join("; "))
        };
        let gain = signed(own.value, 4);
        Some(format!("{} gains {gain} AUC{}. {beside}", claim.name, sure(own)))
    };
    report
        .variants
        .iter()
        .filter(|v| v.role == Role::Claim)
        .filter_map(sentence)
        .collect()
}

fn decomposition(report: &Report, page: &mut Page) {
    if report.decompositions.is_empty() && report.refusals.is_empty() {
        return;
    }
    page.section("What the gain is made of");
    page.paragraph(
        "Temporal: what the raw history tells without an FM. Cross: what embeddings tell beyond it. Residual: what they have \
         lost of it. Temporal + cross \u{2212} residual is LoopFM's gain.",
    );
    if !report.decompositions.is_empty() {
        let row = |d: &crate::metrics::Decomposed| {
            let parts = [d.temporal, d.cross, d.residual, d.loopfm, d.both];
            let cells = parts.iter().map(|part| cell(Some(*part), 4, signed));
            std::iter::once(d.metric.to_string()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = report.decompositions.iter().map(row).collect();
        page.table(&["gain in", "temporal", "cross", "residual", "LoopFM", "both"], &rows);
    }
    for refusal in &report.refusals {
        page.remark(refusal);
    }
    let charts = figures::parts(report);
    page.figures(&charts.iter().map(|c| c as &dyn Chart).collect::<Vec<_>>());
}

fn storage(report: &Report, page: &mut Page) {
    if report.storage.is_empty() {
        return;
    }
    page.section("Storage of embeddings");
    let optional = |x: Option<f64>, digits| x.map_or_else(|| "\u{2013}".into(), |x| number(x, digits));
    let row = |s: &super::Storage| {
        let bytes = number(s.bytes, if s.bytes.fract() == 0.0 { 0 } else { 1 });
        vec![
            s.name.clone(),
            bytes,
            s.error.map_or_else(|| "\u{2013}".into(), small),
            optional(s.auc, 4),
        ]
    };
    let rows: Vec<Vec<String>> = report.storage.iter().map(row).collect();
    page.table(
        &["form", "bytes per impression", "squared error / variance", "AUC"],
        &rows,
    );
}

/// An error: as it is, or by its power of ten where it is small.
fn small(x: f64) -> String {
    if x != 0.0 && x.abs() < 1e-3 {
        format!("{x:.1e}")
    } else {
        number(x, 4)
    }
}

fn protocol(report: &Report, page: &mut Page) {
    let p = &report.protocol;
    page.section("Protocol");
    if !p.periods.is_empty() {
        let row = |d: &super::Period| {
            let days = if d.from == d.to {
                day(d.from)
            } else {
                format!("{} to {}", day(d.from), day(d.to))
            };
            vec![d.name.clone(), days, count(d.rows), count(d.users)]
        };
        page.table(
            &["period", "days", "rows", "users"],
            &p.periods.iter().map(row).collect::<Vec<_>>(),
        );
    }
    if !p.models.is_empty() {
        let row = |m: &super::ModelSize| vec![m.name.clone(), count(m.parameters), m.what.clone()];
        let rows: Vec<Vec<String>> = p.models.iter().map(row).collect();
        page.table(&["model", "parameters", "what "], &rows);
    }
    let rows: Vec<Vec<String>> = super::markdown::facts(p)
        .into_iter()
        .map(|(name, text)| vec![name, text])
        .collect();
    page.table(&["", " "], &rows);
    for note in &report.notes {
        page.paragraph(note);
    }
    page.remark(&format!("Written by loopfm {}.", env!("CARGO_PKG_VERSION")));
}

/// 20220425 as a date.
pub(super) fn day(day: i32) -> String {
    format!("{:04}-{:02}-{:02}", day / 10_000, day / 100 % 100, day % 100)
}
