//! Runs: what comes out, what is kept, what is refused.

use std::sync::Mutex;

use loopfm::metrics::{Bootstrap, Metric};
use loopfm::pipeline::{Error, Progress, Spec, Variant, run};

use super::log::{Folder, LOOP, rows};

#[test]
fn every_variant_reports_and_loopfm_helps() {
    let folder = Folder::new(&rows());
    let spec = folder.spec();
    let finished = folder.run(&spec);
    assert_eq!(finished.learnt.len(), Variant::ALL.len());
    let report = finished
        .report(
            &spec,
            &Bootstrap {
                resamples: 200,
                ..Bootstrap::default()
            },
        )
        .unwrap();
    let auc = |v: Variant| {
        let found = report.variants.iter().find(|r| r.name == v.title()).unwrap();
        found.value(Metric::Auc).unwrap().value
    };
    let text = report.to_markdown();
    assert!(auc(Variant::Loopfm) > auc(Variant::Vm) + 0.03, "{text}");
    assert!(auc(Variant::Loopfm) > auc(Variant::Permuted) + 0.03, "{text}");
    assert_eq!(report.protocol.periods.len(), 4);
    assert_eq!(report.protocol.label, "long");
    assert!(report.lengths.is_some() && report.gaps.is_some() && !report.curves.is_empty());
    let all: f64 = report.spectrum.iter().sum();
    assert!((all - 1.0).abs() < 1e-9 && report.spectrum.is_sorted_by(|a, b| a >= b));
    // Shares of histories: bins weigh what all of an even attention do, as a whole.
    let [attention] = &report.attention[..] else {
        panic!("one model attends by shares: {:?}", report.attention)
    };
    assert_eq!(
        (attention.name.as_str(), attention.shares),
        (Variant::Loopfm.title(), true)
    );
    let bins = attention.bins();
    let ages = report.gaps.as_ref().unwrap();
    let of = |pick: fn(&(&str, f64, f64)) -> f64| -> f64 {
        let share = |name: &str| ages.bins.iter().find(|b| b.0 == name).unwrap().1;
        bins.iter().map(|b| share(b.0) * pick(b)).sum()
    };
    assert!(bins.len() > 2 && (of(|b| b.1) - of(|b| b.2)).abs() < 1e-5, "{bins:?}");
    assert!(bins.iter().any(|b| (b.1 - b.2).abs() > 1e-4), "{bins:?}");
}

#[test]
fn finished_trainings_are_kept_and_equal() {
    let folder = Folder::new(&rows());
    let spec = Spec {
        variants: vec![Variant::Loopfm, Variant::Kd],
        ..folder.spec()
    };
    let went = Mutex::new(Vec::new());
    let observe = |p: &Progress<'_>| {
        if let Progress::Done { what, took, .. } = p {
            went.lock().unwrap().push(((*what).to_owned(), took.is_some()));
        }
    };
    let first = run(&spec, &folder.options(), &observe).unwrap();
    assert!(went.lock().unwrap().drain(..).all(|(_, done)| done));
    // One is lost, one damaged, the rest found.
    std::fs::remove_file(folder.path().join("out/runs/kd-1.safetensors")).unwrap();
    std::fs::write(folder.path().join("out/runs/vm-1.safetensors"), "no tensors").unwrap();
    let again = run(&spec, &folder.options(), &observe).unwrap();
    let mut done: Vec<String> = went
        .lock()
        .unwrap()
        .drain(..)
        .filter(|(_, done)| *done)
        .map(|(what, _)| what)
        .collect();
    done.sort();
    assert_eq!(done, ["kd", "vm"]);
    assert_eq!(again.learnt, first.learnt);
    assert_eq!(again.fm, first.fm);
    // Another declaration is another experiment.
    let other = Spec {
        history: loopfm::pipeline::History {
            length: 3,
            ..spec.history
        },
        ..spec
    };
    run(&other, &folder.options(), &observe).unwrap();
    assert!(went.lock().unwrap().iter().all(|(_, done)| *done));
}

#[test]
fn threads_change_nothing() {
    let folder = Folder::new(&rows());
    let spec = Spec {
        variants: vec![Variant::Loopfm],
        seeds: vec![1, 2],
        ..folder.spec()
    };
    let both = folder.run(&spec);
    let alone = Folder::new(&rows());
    let options = loopfm::pipeline::Options {
        threads: 1,
        ..alone.options()
    };
    let one = run(&spec, &options, &|_| {}).unwrap();
    assert_eq!(both.learnt, one.learnt);
    assert_ne!(both.learnt[&Variant::Vm][0], both.learnt[&Variant::Vm][1]);
}

#[test]
fn fixed_models_embed_what_comes_after_their_days() {
    let folder = Folder::new(&rows());
    folder.write(
        "loop.toml",
        &LOOP
            .replace("prequential", "fixed")
            .replace("20220602..20220605", "20220604..20220605")
            .replace("20220601..20220605", "20220601..20220603"),
    );
    let spec = Spec {
        variants: vec![Variant::Loopfm],
        ..folder.spec()
    };
    let finished = folder.run(&spec);
    let (fm, stream) = (&finished.fm[0], &finished.stream);
    let first = fm.version.iter().position(|v| *v >= 0).unwrap();
    assert_eq!(stream.day[first], 20220604);
    assert!(fm.version[first..].iter().all(|v| *v == 1));
    assert_eq!(fm.cutoffs[1], stream.time[first - 1]);
}

#[test]
fn refusals() {
    let folder = Folder::new(&rows());
    let refused = |from: &str, to: &str| {
        assert!(LOOP.contains(from), "{from}");
        let path = folder.write("loop.toml", &LOOP.replace(from, to));
        let read = Spec::read(&path).and_then(|spec| run(&spec, &folder.options(), &|_| {}).map(drop));
        let e = read.err().unwrap_or(Error::Stopped);
        assert_eq!(e.exit_code(), 1, "{e}");
        e.to_string()
    };
    let cases = [
        (
            "valid = \"20220606\"",
            "valid = \"20220605\"",
            "`split.valid` is 20220605..20220605, it must be after `split.train`",
        ),
        (
            "mode = \"prequential\"",
            "mode = \"fixed\"",
            "it must be after `split.fm`",
        ),
        (
            "fm = \"20220601..20220605\"",
            "fm = \"20220601..20220607\"",
            "it must be before `split.test`",
        ),
        ("20220602..20220605", "20220601..20220605", "has no embedding"),
        ("20220607..20220608", "20220701..20220702", "has no impressions"),
        ("seeds = [1]", "seeds = [1, 1]", "numbers that differ"),
        ("length = 8\n[fm]", "length = 0\n[fm]", "`history.length`"),
        ("layers = [\"embedding\"]", "layers = [\"nothing\"]", "nothing"),
        ("items = [\"item\", \"kind\"]", "items = [\"price\"]", "`price`"),
        ("files = [\"log.csv\"]", "files = [\"other.csv\"]", "other.csv"),
        (
            "name = \"made up\"",
            "name = \"made up\"\nvariants = [\"best\"]",
            "best",
        ),
    ];
    for (from, to, words) in cases {
        let seen = refused(from, to);
        assert!(seen.contains(words), "{to}: {seen}");
    }
}
