//! Nothing from the future, nothing of an impression's own label, and nothing at all where there is nothing to know.

use loopfm::metrics::auc;
use loopfm::pipeline::{Spec, Variant};

use super::log::{Folder, Row, draw, rows};

/// The foundation model also reads what came of past events.
fn knowing(folder: &Folder) -> Spec {
    let text = super::log::LOOP.replace(
        "autoencoder = { of",
        "history = { length = 8, of = [\"item\", \"kind\"], side = [{ name = \"label\", vocabulary = 3, width = 2 }] }\nautoencoder = { of",
    );
    folder.write("loop.toml", &text);
    folder.spec()
}

#[test]
fn what_comes_later_changes_nothing_before() {
    let clean = rows();
    // From the fifth day on everything is another thing: items, labels, users, and twice as much of it.
    let at = clean.len() * 5 / 8;
    let mut poisoned = clean.clone();
    for (n, r) in poisoned[at..].iter_mut().enumerate() {
        (r.item, r.label) = ((r.item + 1) % 40, n % 3 == 0);
    }
    poisoned.extend(clean[at..].iter().map(|r| Row { user: 0, ..r.clone() }));
    let embedded = |rows: &[Row]| {
        let folder = Folder::new(rows);
        let spec = Spec {
            variants: vec![Variant::Vm],
            ..knowing(&folder)
        };
        let mut fm = folder.run(&spec).fm.remove(0);
        let end = at * fm.width;
        fm.embeddings.truncate(end);
        (fm.embeddings, fm.score[..at].to_vec(), fm.version[..at].to_vec())
    };
    let (clean, poisoned) = (embedded(&clean), embedded(&poisoned));
    assert!(clean.0.iter().any(|x| *x != 0.0));
    assert!(clean == poisoned, "embeddings of earlier days know of later ones");
}

#[test]
fn labels_of_the_test_days_change_no_prediction() {
    let clean = rows();
    let mut flipped = clean.clone();
    let at = clean.len() * 6 / 8;
    flipped[at..].iter_mut().for_each(|r| r.label = !r.label);
    let predictions = |rows: &[Row]| {
        let folder = Folder::new(rows);
        let variants = vec![Variant::Loopfm, Variant::Raw, Variant::KdLoopfm, Variant::RawLabels];
        folder
            .run(&Spec {
                variants,
                ..folder.spec()
            })
            .learnt
    };
    let (clean, flipped) = (predictions(&clean), predictions(&flipped));
    for v in [Variant::Vm, Variant::Loopfm, Variant::Raw, Variant::KdLoopfm] {
        assert_eq!(clean[&v][0].logits, flipped[&v][0].logits, "{}", v.key());
    }
    // What reads past labels reads those of earlier test impressions.
    assert_ne!(
        clean[&Variant::RawLabels][0].logits,
        flipped[&Variant::RawLabels][0].logits
    );
}

#[test]
fn labels_without_meaning_are_not_predicted() {
    let mut rows = rows();
    let labels: Vec<bool> = rows.iter().map(|r| r.label).collect();
    for i in (1..rows.len()).rev() {
        let j = draw(i as u64 + 1, [i as u32, 0, 99]) as usize;
        (rows[i].label, rows[j].label) = (rows[j].label, rows[i].label);
    }
    assert_ne!(labels, rows.iter().map(|r| r.label).collect::<Vec<_>>());
    let folder = Folder::new(&rows);
    let variants = vec![
        Variant::Loopfm,
        Variant::LoopfmLabels,
        Variant::RawLabels,
        Variant::KdLoopfm,
    ];
    let finished = folder.run(&Spec {
        variants,
        ..knowing(&folder)
    });
    let test = finished.stream.days(finished_test());
    let classes: Vec<bool> = finished.stream.label[test].iter().map(|y| *y > 0.5).collect();
    let (up, n) = (classes.iter().filter(|y| **y).count() as f64, classes.len() as f64);
    let sigma = ((n + 1.0) / (12.0 * up * (n - up))).sqrt();
    for (variant, learnt) in &finished.learnt {
        let scores: Vec<f64> = learnt[0].logits.iter().map(|z| f64::from(*z)).collect();
        let auc = auc(&scores, &classes).unwrap();
        assert!(
            (auc - 0.5).abs() < 3.0 * sigma,
            "{}: {auc}, sigma {sigma}",
            variant.key()
        );
    }
}

fn finished_test() -> loopfm::pipeline::Range {
    loopfm::pipeline::Range {
        first: 20220607,
        last: 20220608,
    }
}
