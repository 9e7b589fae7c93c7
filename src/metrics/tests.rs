//! Figures on resamples against the dull way: repeat each user's rows as often as the user counts.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use super::*;
use crate::random::uniform;

/// Rows of a few users, with ties among logits and users of one label alone.
fn rows(n: usize) -> (Vec<u64>, Vec<f32>, Vec<f32>) {
    let at = |stream: u32, i: usize| uniform(5, stream, i as u64);
    let keys = (0..n).map(|i| (at(0, i) * at(1, i) * 23.0) as u64 * 977 + 5).collect();
    let labels = (0..n).map(|i| f32::from(at(2, i) < 0.3)).collect();
    let logits = (0..n).map(|i| (at(3, i) * 12.0).floor() / 4.0 - 2.5).collect();
    (keys, labels, logits)
}

fn close(a: Option<f64>, b: Option<f64>) {
    match (a, b) {
        (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "{a} {b}"),
        (a, b) => assert_eq!(a, b),
    }
}

/// What the rows say when each user is there so often.
fn dull(keys: &[u64], labels: &[f32], logits: &[f32], times: impl Fn(u64) -> usize) -> Figures {
    let (mut k, mut y, mut z) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..keys.len() {
        for copy in 0..times(keys[row]) {
            k.push(keys[row] * 100 + copy as u64);
            y.push(labels[row] == 1.0);
            z.push(f64::from(logits[row]));
        }
    }
    let p: Vec<f64> = z.iter().map(|z| sigmoid(*z)).collect();
    let log_loss = log_loss_of_logits(&z, &y);
    let base = y.iter().filter(|y| **y).count() as f64 / y.len() as f64;
    Figures {
        auc: auc(&z, &y),
        gauc: gauc(&k, &z, &y).map(|g| g.value),
        log_loss,
        ne: log_loss.and_then(|loss| normalised_entropy(loss, base)),
        calibration: Calibration::of(&p, &y, Binning::Width, 10).and_then(|c| c.ratio),
    }
}

#[test]
fn resamples_are_what_repeated_rows_say() {
    for (n, seed) in [(400, 1), (60, 2), (9, 3)] {
        let (keys, labels, logits) = rows(n);
        let bootstrap = Bootstrap {
            resamples: 19,
            seed,
            level: 0.9,
        };
        let sample = Sample::new(&keys, &labels, &bootstrap).unwrap();
        let measured = sample.measure("x", &logits).unwrap();
        let mut users = keys.clone();
        users.sort_unstable();
        users.dedup();
        let expect = |seen: &Figures, times: &dyn Fn(u64) -> usize| {
            let dull = dull(&keys, &labels, &logits, times);
            for metric in Metric::ALL {
                close(seen.get(metric), dull.get(metric));
            }
        };
        expect(&measured.figures, &|_| 1);
        assert_eq!(measured.resamples.len(), 19);
        for (r, seen) in measured.resamples.iter().enumerate() {
            let weights = bootstrap.weights(r as u32 / 8, users.len());
            expect(seen, &|key| weights[users.binary_search(&key).unwrap()][r % 8] as usize);
        }
        let (groups, rows) = sample.ranked_users();
        let z: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
        let y: Vec<bool> = labels.iter().map(|y| *y == 1.0).collect();
        let direct = gauc(&keys, &z, &y).map(|g| (g.groups, g.rows, g.all_groups));
        assert_eq!(direct.unwrap_or((0, 0, users.len())), (groups, rows, sample.users()));
    }
}

#[test]
fn any_number_of_threads_says_the_same() {
    let (keys, labels, logits) = rows(300);
    let measure = || {
        let sample = Sample::new(&keys, &labels, &Bootstrap::default()).unwrap();
        sample.measure("x", &logits).unwrap()
    };
    let with = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(measure)
    };
    assert_eq!(with(1), with(5));
    // A file keeps them to the bit.
    let text = serde_json::to_string(&with(2)).unwrap();
    assert_eq!(serde_json::from_str::<Measured>(&text).unwrap(), with(1));
}

#[test]
fn standard_errors_are_those_of_independent_users() {
    // One row a user: the standard error of a mean is known.
    let n = 2000;
    let (_, labels, logits) = rows(n);
    let keys: Vec<u64> = (0..n as u64).collect();
    let sample = Sample::new(&keys, &labels, &Bootstrap::default()).unwrap();
    let one = [sample.measure("x", &logits).unwrap()];
    let found = interval(&[&one], |f| f[0].log_loss).unwrap();
    let pairs = || logits.iter().zip(&labels).map(|(z, y)| (f64::from(*z), *y == 1.0));
    let losses: Vec<f64> = pairs().map(|(z, y)| log_loss_of_logits(&[z], &[y]).unwrap()).collect();
    let expected = paired::deviation(&losses) / (n as f64).sqrt();
    assert!(
        (found.se_users / expected - 1.0).abs() < 0.08,
        "{} {expected}",
        found.se_users
    );
    assert!((found.high - found.low) / (2.0 * 1.96 * expected) > 0.9);
    assert!(found.low < found.value && found.value < found.high);
    assert_eq!(found.se_seeds, None);

    // Ten copies of each user's row are one user still: a row bootstrap would be too sure.
    let ten = |x: &[f32]| x.iter().flat_map(|x| [*x; 10]).collect::<Vec<_>>();
    let keys: Vec<u64> = keys.iter().flat_map(|k| [*k; 10]).collect();
    let sample = Sample::new(&keys, &ten(&labels), &Bootstrap::default()).unwrap();
    let many = [sample.measure("x", &ten(&logits)).unwrap()];
    let again = interval(&[&many], |f| f[0].log_loss).unwrap();
    assert!((again.se_users / found.se_users - 1.0).abs() < 1e-9);
}

#[test]
fn what_variants_share_cancels() {
    let (keys, labels, logits) = rows(400);
    let sample = Sample::new(&keys, &labels, &Bootstrap::default()).unwrap();
    let shifted: Vec<f32> = logits
        .iter()
        .zip(&labels)
        .map(|(z, y)| z + 0.01 * (2.0 * y - 1.0))
        .collect();
    let a = [sample.measure("a", &logits).unwrap()];
    let b = [sample.measure("b", &shifted).unwrap()];
    let alone = interval(&[&a], |f| f[0].log_loss).unwrap();
    let gain = difference(Metric::LogLoss, &a, &b).unwrap();
    assert!(
        gain.low > 0.0 && gain.se_users < alone.se_users / 20.0,
        "{gain:?} {alone:?}"
    );
    let same = difference(Metric::Ne, &a, &a).unwrap();
    assert_eq!((same.value, same.low, same.high), (0.0, 0.0, 0.0));
}

/// A variant whose logits are the label's direction, so strong, plus noise of a seed.
fn variant(sample: &Sample, labels: &[f32], strength: f32, seeds: usize) -> Vec<Measured> {
    let noise = |seed: usize, row: usize| uniform(11, seed as u32, row as u64) - 0.5;
    let logit = |seed: usize, (row, y): (usize, &f32)| strength * (2.0 * y - 1.0) + noise(seed, row) - 0.8;
    let logits = |seed| {
        labels
            .iter()
            .enumerate()
            .map(|row| logit(seed, row))
            .collect::<Vec<_>>()
    };
    (0..seeds)
        .map(|seed| sample.measure("v", &logits(seed)).unwrap())
        .collect()
}

#[test]
fn ratios_and_parts_have_intervals_and_are_refused_within_noise() {
    let (keys, labels, _) = rows(600);
    let sample = Sample::new(&keys, &labels, &Bootstrap::default()).unwrap();
    let arm = |strength| variant(&sample, &labels, strength, 3);
    let (vm, with, fm) = (arm(0.05), arm(0.15), arm(0.25));
    for metric in [Metric::Ne, Metric::Auc, Metric::LogLoss] {
        let found = transfer_ratio(metric, &vm, &with, &fm).unwrap();
        let mean = |arm: &[Measured]| arm.iter().map(|m| m.get(metric).unwrap()).sum::<f64>() / 3.0;
        let expected = metric.gain(mean(&vm), mean(&with)) / metric.gain(mean(&vm), mean(&fm));
        assert!((found.ratio.value - expected).abs() < 1e-12);
        assert!(found.ratio.low < expected && expected < found.ratio.high);
        assert!(found.ratio.se_seeds.is_some() && found.lead.se_seeds.unwrap() > 0.0);
        assert!((0.3..0.8).contains(&expected), "{expected}");
        // Harm is a ratio too.
        assert!(transfer_ratio(metric, &with, &vm, &fm).unwrap().ratio.high < 0.0);
        // A teacher that does not lead teaches nothing.
        let refused = transfer_ratio(metric, &vm, &with, &vm[..1]).unwrap_err();
        assert!(matches!(refused, Error::WithinNoise { .. }), "{refused}");
        assert!(transfer_ratio(metric, &fm, &with, &vm).is_err());
    }
    // Denominators are the same: shares of NE are shares of log loss.
    let of = |metric| transfer_ratio(metric, &vm, &with, &fm).unwrap().ratio.value;
    assert!((of(Metric::Ne) - of(Metric::LogLoss)).abs() < 1e-12);
    let two = transfer_ratio_of_teachers(Metric::Ne, [&vm, &with], [&with, &fm]).unwrap();
    assert_eq!(
        (two.teachers, two.gain),
        (Teachers::Two, difference(Metric::Ne, &vm, &with).unwrap())
    );

    let parts = decompose(Metric::Ne, &vm, &with, &with, &fm).unwrap();
    let value = |i: Interval| i.value;
    let sum = value(parts.temporal) + value(parts.cross) - value(parts.residual);
    assert_eq!(sum, value(parts.loopfm));
    assert!(decompose(Metric::Ne, &with, &vm, &vm, &vm).unwrap().loopfm.value < 0.0);
    let refused = decompose(Metric::Ne, &vm, &with, &vm, &fm).unwrap_err();
    assert!(refused.to_string().contains("within noise"), "{refused}");
}

#[test]
fn refusals_name_the_row() {
    let new = |keys: &[u64], labels: &[f32]| Sample::new(keys, labels, &Bootstrap::default()).unwrap_err();
    assert_eq!(new(&[], &[]), Error::Empty);
    assert_eq!(new(&[1], &[0.0, 1.0]).to_string(), "1 rows, but 2 labels");
    assert_eq!(
        new(&[1, 2], &[0.0, 0.5]).to_string(),
        "row 1: label 0.5, labels are 0 or 1"
    );
    assert!(matches!(new(&[1], &[f32::NAN]), Error::Label { row: 0, .. }));
    let few = Bootstrap {
        resamples: 1,
        ..Bootstrap::default()
    };
    assert!(matches!(Sample::new(&[1], &[1.0], &few), Err(Error::Bootstrap { .. })));

    let sample = Sample::new(&[1, 2], &[0.0, 1.0], &Bootstrap::default()).unwrap();
    let nan = sample.measure("vm", &[0.0, f32::NAN]).unwrap_err();
    assert_eq!(nan.to_string(), "`vm`, row 1: logit NaN is not finite");
    assert!(matches!(sample.measure("vm", &[0.0]), Err(Error::Lengths { .. })));
    let other = Sample::new(&[1, 3], &[0.0, 1.0], &Bootstrap::default()).unwrap();
    let (a, b) = (
        sample.measure("a", &[0.0, 1.0]).unwrap(),
        other.measure("b", &[0.0, 1.0]).unwrap(),
    );
    let refused = difference(Metric::Auc, std::slice::from_ref(&a), &[b]).unwrap_err();
    assert!(matches!(refused, Error::NotPaired { .. }), "{refused}");
    let seeds = difference(
        Metric::LogLoss,
        &[a.clone(), a.clone()],
        &[a.clone(), a.clone(), a.clone()],
    );
    assert_eq!(seeds, Err(Error::Seeds { a: 2, b: 3 }));
    assert_eq!(difference(Metric::Auc, &[], &[a]), Err(Error::Empty));
}

#[test]
fn one_class_has_no_area() {
    let sample = Sample::new(&[1, 1, 2], &[1.0, 1.0, 1.0], &Bootstrap::default()).unwrap();
    let one = sample.measure("vm", &[0.5, 0.1, -0.3]).unwrap();
    assert_eq!((one.figures.auc, one.figures.gauc, one.figures.ne), (None, None, None));
    assert!(one.figures.log_loss.is_some());
    assert!(matches!(one.get(Metric::Auc), Err(Error::OneClass { .. })));
    let gain = difference(Metric::Auc, std::slice::from_ref(&one), std::slice::from_ref(&one));
    assert!(matches!(
        gain,
        Err(Error::FewResamples {
            used: 0,
            resamples: 1000
        })
    ));
}

#[test]
#[ignore = "a measurement: 3,000,000 rows of 200,000 users, 1,000 resamples"]
fn three_million_rows() {
    let n = 3_000_000;
    let at = |stream: u32, i: usize| uniform(5, stream, i as u64);
    let keys: Vec<u64> = (0..n).map(|i| (at(0, i) * 200_000.0) as u64).collect();
    let labels: Vec<f32> = (0..n).map(|i| f32::from(at(1, i) < 0.3)).collect();
    let logits: Vec<f32> = (0..n).map(|i| 4.0 * at(2, i) - 3.0 + labels[i]).collect();
    let sample = Sample::new(&keys, &labels, &Bootstrap::default()).unwrap();
    let measured = sample.measure("x", &logits).unwrap();
    assert_eq!(measured.resamples.len(), 1000);
    assert!(interval(&[&[measured]], |f| f[0].auc).unwrap().se_users < 0.001);
}
