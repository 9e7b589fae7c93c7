//! Charts and reports: nothing from elsewhere, nothing unescaped, nothing that is not finite, JSON both ways.

use loopfm::charts::{Bar, Bars, Chart, Column, Columns, Lines, Series, escape, svg};
use loopfm::metrics::{Bootstrap, Measured, Metric, Sample};
use loopfm::random::uniform;
use loopfm::report::{
    Against, Attention, Curve, GapHistogram, LengthHistogram, ModelSize, Period, Report, Role, Storage, Variant,
};

const HOSTILE: &str = "</title><script>alert('x')</script> & \"A\u{0}B\"";

/// A report of made-up numbers, as a run of the loop would give.
fn example() -> Report {
    let n = 1500;
    let at = |stream: u32, i: usize| uniform(3, stream, i as u64);
    let keys: Vec<u64> = (0..n).map(|i| (at(0, i) * 120.0) as u64).collect();
    let labels: Vec<f32> = (0..n).map(|i| f32::from(at(1, i) < 0.3)).collect();
    let sample = Sample::new(
        &keys,
        &labels,
        &Bootstrap {
            resamples: 200,
            ..Bootstrap::default()
        },
    )
    .unwrap();
    let arm = |name: &str, strength: f32, seeds: usize| -> Vec<Measured> {
        let logit = |seed: usize, i: usize| {
            let noise = 2.0 * at(2, i) + 0.2 * at(3 + seed as u32, i) - 1.1;
            strength * (2.0 * labels[i] - 1.0) + noise - 0.8
        };
        let logits = |seed| (0..n).map(|i| logit(seed, i)).collect::<Vec<f32>>();
        (0..seeds)
            .map(|seed| sample.measure(name, &logits(seed)).unwrap())
            .collect()
    };
    let (vm, fm) = (arm("VM", 0.2, 3), arm("FM", 0.4, 1));
    let against = Against { vm: &vm, fm: Some(&fm) };
    let mut report = Report::new("LoopFM on made-up impressions");
    report.protocol.test(&sample);
    report.protocol.data = "Made up by the generator of a test.".into();
    report.protocol.label = "long_view".into();
    report.protocol.seeds = vec![1, 2, 3];
    report.protocol.teaching = "each day by the FM of earlier days only".into();
    report.protocol.history = "event time, strictly before, no delay, newest 20".into();
    report.protocol.storage = "int4 by k-means, 16 centres".into();
    report.protocol.bytes_per_impression = Some(32.0);
    report.protocol.periods = [
        ("FM", 20_220_425, 20_220_430),
        ("VM", 20_220_426, 20_220_504),
        ("test", 20_220_506, 20_220_508),
    ]
    .map(|(name, from, to)| Period {
        name: name.into(),
        from,
        to,
        rows: 123_456,
        users: 9_876,
    })
    .into();
    report.protocol.models = vec![
        ModelSize {
            name: "FM".into(),
            parameters: 768_000,
            what: "dcnv2 with target attention, 64-32".into(),
        },
        ModelSize {
            name: "VM".into(),
            parameters: 66_000,
            what: "deepfm, 6 fields of 8".into(),
        },
    ];
    report.protocol.run = vec![
        ("machine".into(), "2 cores, no GPU".into()),
        ("time".into(), "4 min 10 s".into()),
    ];
    let mut add = |name: &str, role, what: &str, arm: &[Measured]| {
        report
            .variants
            .push(Variant::of(name, role, arm, against).unwrap().says(what));
    };
    let (raw, loopfm, both) = (arm("raw", 0.36, 3), arm("LoopFM", 0.34, 3), arm("both", 0.39, 3));
    add("VM", Role::Base, "no history", &vm);
    add("VM + KD", Role::Claim, "soft labels of the FM", &arm("KD", 0.22, 3));
    add("VM + LoopFM", Role::Claim, "past embeddings, target attention", &loopfm);
    add("VM + LoopFM + raw history", Role::Claim, "both histories", &both);
    add("raw history", Role::Control, "no FM", &raw);
    add(
        "permuted embeddings",
        Role::Control,
        "of other impressions",
        &arm("permuted", 0.199, 3),
    );
    add(
        "random FM",
        Role::Control,
        "an FM that was not trained",
        &arm("random", 0.24, 3),
    );
    add("length only", Role::Control, "how many events", &arm("length", 0.21, 3));
    add("FM", Role::Teacher, "the teacher itself", &fm);
    report.decompose(&vm, &raw, &loopfm, &both).unwrap();
    report
        .warnings
        .push("The FM was trained on 6 days; embeddings of its first day are those of a fresh FM.".into());
    for (name, floor) in [("VM", 0.56), ("VM + LoopFM", 0.537)] {
        let points: Vec<(f64, f64)> = (0..900)
            .map(|i| {
                (
                    f64::from(i) * 512.0,
                    floor + 0.14 * (-f64::from(i) / 150.0).exp() + 0.01 * f64::from(at(9, i as usize)),
                )
            })
            .collect();
        report.curves.push(Curve {
            name: name.into(),
            of: "training loss".into(),
            points,
        });
        let points = (1..9)
            .map(|i| (f64::from(i) * 57_600.0, 0.76 - floor / 10.0 - 0.1 / f64::from(i)))
            .collect();
        report.curves.push(Curve {
            name: name.into(),
            of: "validation AUC".into(),
            points,
        });
    }
    let (mut lengths, mut gaps, mut attention) = (
        LengthHistogram::default(),
        GapHistogram::default(),
        Attention::new("VM + LoopFM", true),
    );
    for i in 0..2000 {
        lengths.add((at(20, i) * at(21, i) * 50.0) as usize);
        let age = (at(22, i) * 20.0).exp() as i64;
        gaps.add(age);
        let weight = 1.0 / (1.0 + (1.0 + age as f32).ln() / 8.0);
        attention.add(&[(age, weight), (1 << 30, 1.0 - weight)]);
    }
    (report.lengths, report.gaps, report.attention) = (lengths.finish(), gaps.finish(), vec![attention]);
    report.spectrum = (0..32).map(|i| 0.09 * (-0.09 * f64::from(i)).exp()).collect();
    for (name, bytes, error, auc) in [
        ("f32", 128.0, 0.0, 0.7424),
        ("f16", 64.0, 1e-7, 0.7424),
        ("int8", 32.0, 0.000_02, 0.7423),
        ("int4", 16.0, 0.0061, 0.7401),
        ("int4 k-means", 16.0, 0.0038, 0.7412),
    ] {
        report.storage.push(Storage {
            name: name.into(),
            bytes,
            error: Some(error),
            auc: Some(auc),
        });
    }
    report
        .notes
        .push("Raw sequences with past labels do as well in AUC and worse in GAUC.".into());
    report
}

#[test]
fn a_report_in_three_forms() {
    let report = example();
    let html = report.to_html();
    let folder = tempfile::tempdir().unwrap();
    report.write(&folder.path().join("new")).unwrap();
    let read = Report::read(&folder.path().join("new/report.json")).unwrap();
    assert_eq!(read, report);
    assert_eq!(
        std::fs::read_to_string(folder.path().join("new/report.html")).unwrap(),
        html
    );
    if let Some(dump) = std::env::var_os("LOOPFM_DUMP") {
        report.write(std::path::Path::new(&dump)).unwrap();
    }
    for part in [
        "<h2>Variants</h2>",
        "<h2>Claims and their controls</h2>",
        "<h2>What the gain is made of</h2>",
        "Attention by age",
        "Spectrum of the embeddings",
        "2022-05-06 to 2022-05-08",
        "random FM",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Every claim says what its controls reach.
    assert!(html.contains("VM + LoopFM gains +"));
    assert!(html.contains("Beside it: raw history +"), "controls");
    let text = report.to_markdown();
    let table: Vec<&str> = text.lines().filter(|l| l.starts_with('|')).collect();
    assert_eq!(table.len(), 2 + report.variants.len());
    let width = |l: &&str| l.chars().count();
    assert!(table.iter().map(width).all(|w| w == width(&table[0])), "{text}");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let html = example().to_html();
    for outside in ["<script", "http:", "https:", "url(", "@import", "<link", "<img", "src="] {
        let found = html.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "{outside}");
    }
    for wrong in ["NaN", "inf", "undefined"] {
        assert!(
            !html.contains(&format!("\"{wrong}")) && !html.contains(&format!(",{wrong}")),
            "{wrong}"
        );
    }
    assert_eq!(html, example().to_html(), "the same numbers make the same bytes");
}

#[test]
fn names_are_escaped_wherever_they_stand() {
    assert_eq!(
        escape("<a href='b'>&\"\u{0}"),
        "&lt;a href=&#39;b&#39;&gt;&amp;&quot;\u{fffd}"
    );
    let mut report = example();
    report.title = HOSTILE.into();
    report.protocol.data = HOSTILE.into();
    report.protocol.run.push((HOSTILE.into(), HOSTILE.into()));
    report.warnings.push(HOSTILE.into());
    report.notes.push(HOSTILE.into());
    report.refusals.push(HOSTILE.into());
    report.variants[1].name = HOSTILE.into();
    report.variants[1].what = HOSTILE.into();
    report.variants[1].refusals.push(HOSTILE.into());
    report.curves[0].name = HOSTILE.into();
    report.curves[0].of = HOSTILE.into();
    report.attention[0].name = HOSTILE.into();
    report.storage[0].name = HOSTILE.into();
    if let Some(lengths) = &mut report.lengths {
        lengths.bins[0].0 = HOSTILE.into();
        lengths.note = HOSTILE.into();
    }
    let html = report.to_html();
    assert!(!html.contains("<script") && !html.contains('\u{0}'));
    assert_eq!(html.matches("</title>").count(), html.matches("<title>").count());
    let markdown = report.to_markdown();
    assert!(markdown.lines().next().unwrap().starts_with("# </title>"));
}

#[test]
fn what_is_not_finite_is_not_drawn() {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e300,
        -1e300,
        0.0,
        f64::MIN_POSITIVE,
    ];
    let bars = Bars {
        title: "bars".into(),
        bars: odd.map(|x| Bar::new("x", x, Some((x, x * 2.0)))).into(),
        marks: vec![(f64::NAN, "mark".into())],
        ..Bars::default()
    };
    let columns = Columns {
        title: "columns".into(),
        columns: odd.map(|x| Column::new("x", x)).into(),
        line: Some(("line".into(), odd.into())),
        ..Columns::default()
    };
    let lines = Lines {
        title: "lines".into(),
        series: vec![
            Series::new("x", odd.iter().map(|x| (*x, *x)).collect()),
            Series::new("none", Vec::new()),
        ],
        ..Lines::default()
    };
    let empty: [&dyn Chart; 3] = [&Bars::default(), &Columns::default(), &Lines::default()];
    for chart in [&bars as &dyn Chart, &columns, &lines].into_iter().chain(empty) {
        let text = svg(&[chart]);
        for wrong in ["NaN", "inf"] {
            assert!(!text.contains(wrong), "{wrong} in {text}");
        }
        assert!(text.ends_with("</svg>\n"));
    }
    let empty = Report::default();
    assert!(empty.to_html().ends_with("</html>\n") && empty.to_markdown().starts_with("# "));
}

#[test]
fn ratios_within_noise_are_told_not_shown() {
    let keys: Vec<u64> = (0..200).map(|i| i / 4).collect();
    let labels: Vec<f32> = (0..200).map(|i| f32::from(i % 3 == 0)).collect();
    let sample = Sample::new(&keys, &labels, &Bootstrap::default()).unwrap();
    let noise = |stream| -> Vec<f32> { (0..200).map(|i| uniform(1, stream, i)).collect() };
    let [vm, fm, with] = [0, 1, 2].map(|s| [sample.measure("x", &noise(s)).unwrap()]);
    let against = Against { vm: &vm, fm: Some(&fm) };
    let variant = Variant::of("VM + LoopFM", Role::Claim, &with, against).unwrap();
    assert!(variant.ratio(Metric::Ne).is_none() && variant.transfer.is_empty());
    assert!(
        variant.refusals.iter().any(|r| r.contains("within noise")),
        "{:?}",
        variant.refusals
    );
    let mut report = Report::new("noise");
    report.variants = vec![Variant::of("VM", Role::Base, &vm, against).unwrap(), variant];
    report.decompose(&vm, &vm, &vm, &vm).unwrap();
    assert!(report.decompositions.is_empty());
    assert!(report.to_html().contains("is within noise") && report.to_markdown().contains("is within noise"));
}
