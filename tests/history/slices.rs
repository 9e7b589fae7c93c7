//! The slice kernel.

use loopfm::history::{Events, Histories, Rule, slices};

use super::logs::{Log, rule};
use crate::support::rng::Rng;

fn histories(log: &Log, queries: &(Vec<u64>, Vec<i64>), rule: &Rule) -> Histories {
    slices(&log.events(), (&queries.0, &queries.1), rule).unwrap()
}

#[test]
fn slices_are_what_the_definition_says() {
    let (mut events, mut appended) = (0, 0);
    for seed in 0..1000 {
        let rng = &mut Rng(seed);
        let (log, rule) = (Log::random(rng), rule(rng));
        let queries = log.queries(rng);
        let made = histories(&log, &queries, &rule);
        for (q, (key, t)) in queries.0.iter().zip(&queries.1).enumerate() {
            let expected = log.history(*key, *t, &rule);
            assert_eq!(made.of(q), expected, "seed {seed}, query {q} at {t}, {rule:?}, {log:?}");
            events += expected.len();
        }
        appended += usize::from(made.order.len() > made.events);
        let mut each = made.order[..made.events].to_vec();
        each.sort_unstable();
        let kept = |e: &u32| log.keep.as_ref().is_none_or(|keep| keep[*e as usize]);
        assert!(
            each.into_iter().eq((0..log.key.len() as u32).filter(kept)),
            "seed {seed}: events once each"
        );
    }
    assert!(
        events > 50_000 && appended > 20,
        "{events} events, {appended} logs with histories that are no run"
    );
}

#[test]
fn histories_do_not_change_when_the_log_grows() {
    for seed in 0..200 {
        let rng = &mut Rng(seed);
        let (log, rule) = (Log::random(rng), rule(rng));
        let cut = rng.below(60) as i64;
        let before: Vec<usize> = (0..log.key.len()).filter(|&e| log.time[e] < cut).collect();
        let mut queries = log.queries(rng);
        let early: Vec<bool> = queries.1.iter().map(|t| *t <= cut).collect();
        let mut keep = early.iter();
        queries.0.retain(|_| *keep.next().unwrap());
        queries.1.retain(|t| *t <= cut);
        let (whole, part) = (
            histories(&log, &queries, &rule),
            histories(&log.select(&before), &queries, &rule),
        );
        for q in 0..queries.0.len() {
            let known: Vec<u32> = part.of(q).iter().map(|e| before[*e as usize] as u32).collect();
            assert_eq!(whole.of(q), known, "seed {seed}, query {q}, cut at {cut}");
        }
    }
}

#[test]
fn histories_know_no_date() {
    for seed in 0..200 {
        let rng = &mut Rng(seed);
        let (log, rule) = (Log::random(rng), rule(rng));
        let queries = log.queries(rng);
        let by = rng.pick(&[-1_700_000_000_000, 1, 1_700_000_000_000]);
        let mut moved = log.clone();
        let mut later = queries.clone();
        let shift = |t: &mut i64| *t = t.saturating_add(by);
        moved
            .time
            .iter_mut()
            .chain(moved.ingest.iter_mut().flatten())
            .for_each(shift);
        later.1.iter_mut().for_each(shift);
        assert_eq!(
            histories(&log, &queries, &rule),
            histories(&moved, &later, &rule),
            "seed {seed}"
        );
    }
}

#[test]
fn the_order_of_the_log_does_not_matter() {
    for seed in 0..200 {
        let rng = &mut Rng(seed);
        let (log, rule) = (Log::random(rng), rule(rng));
        let queries = log.queries(rng);
        let order = rng.shuffled(log.key.len());
        let (made, again) = (
            histories(&log, &queries, &rule),
            histories(&log.select(&order), &queries, &rule),
        );
        // Events of one time that become available in one instant may change places.
        let seen = |e: usize| (log.time[e], rule.available(log.time[e], log.ingest(e)));
        for q in 0..queries.0.len() {
            let one = made.of(q).iter().map(|e| seen(*e as usize));
            let other = again.of(q).iter().map(|e| seen(order[*e as usize]));
            assert!(one.eq(other), "seed {seed}, query {q}");
        }
    }
}

/// Events that must not be known at an instant are put into the log, as they are in real ones: of that very instant, later,
/// earlier but learnt of too late, earlier but not yet computed. None may appear.
#[test]
fn no_history_is_poisoned() {
    let mut clean = 0;
    for seed in 0..300 {
        let rng = &mut Rng(seed);
        let (mut log, rule) = (Log::random(rng), rule(rng));
        let t = rng.below(100) as i64;
        let first = log.key.len();
        for key in log.key.clone() {
            match rng.below(4) {
                0 => log.push(key, t, t - 1),
                1 => log.push(key, t + 1 + rng.below(50) as i64, t - 1),
                2 if log.ingest.is_some() => log.push(key, t - 1, t + rng.below(5) as i64),
                _ => log.push(key, t - rng.below(rule.delay as usize + 1) as i64, t - 20),
            }
        }
        let shuffled = rng.shuffled(log.key.len());
        let log = log.select(&shuffled);
        let queries: Vec<(u64, i64)> = (0..100)
            .map(|_| (rng.pick(&[log.key.as_slice(), &[0]].concat()), t - rng.below(30) as i64))
            .collect();
        let queries = queries.into_iter().unzip();
        let made = histories(&log, &queries, &rule);
        for q in 0..100 {
            let poisoned = made.of(q).iter().find(|e| shuffled[**e as usize] >= first);
            assert_eq!(poisoned, None, "seed {seed}, query {q}");
            clean += made.of(q).len();
        }
    }
    assert!(clean > 10_000, "{clean} events in histories");
}

#[test]
fn odd_logs_have_histories() {
    let empty = Events {
        key: &[],
        time: &[],
        ingest: None,
        keep: None,
    };
    let made = slices(&empty, (&[7], &[3]), &Rule::newest(5)).unwrap();
    assert!(made.of(0).is_empty() && made.order.is_empty());
    let ends = Events {
        key: &[0, 0, u64::MAX],
        time: &[i64::MIN, i64::MAX, 0],
        ingest: None,
        keep: None,
    };
    let rule = Rule {
        delay: i64::MAX,
        retention: Some(i64::MAX),
        max_len: usize::MAX,
    };
    let made = slices(&ends, (&[0, u64::MAX, 0], &[i64::MAX, i64::MAX, 0]), &rule).unwrap();
    assert!((0..3).all(|q| made.of(q).is_empty()));
    let made = slices(&ends, (&[0, u64::MAX], &[i64::MAX, 1]), &Rule::newest(usize::MAX)).unwrap();
    assert_eq!([made.of(0), made.of(1)], [[0], [2]]);
}

#[test]
fn wrong_columns_and_rules_are_named() {
    let refused =
        |events: Events<'_>, times: &[i64], rule: Rule| slices(&events, (&[1], times), &rule).unwrap_err().to_string();
    let events = Events {
        key: &[1, 2],
        time: &[1, 2],
        ingest: None,
        keep: None,
    };
    let rule = Rule::newest(5);
    assert_eq!(
        refused(Events { time: &[1], ..events }, &[1], rule),
        "column `time` has 1 rows, `key` has 2"
    );
    assert_eq!(
        refused(
            Events {
                ingest: Some(&[]),
                ..events
            },
            &[1],
            rule
        ),
        "column `ingest` has 0 rows, `key` has 2"
    );
    assert_eq!(
        refused(
            Events {
                keep: Some(&[true; 3]),
                ..events
            },
            &[1],
            rule
        ),
        "column `keep` has 3 rows, `key` has 2"
    );
    assert_eq!(
        refused(events, &[], rule),
        "column `query times` has 0 rows, `key` has 1"
    );
    assert_eq!(
        refused(events, &[1], Rule { delay: -1, ..rule }),
        "`delay` is -1, it must be 0 or more milliseconds"
    );
    assert_eq!(
        refused(
            events,
            &[1],
            Rule {
                retention: Some(-5),
                ..rule
            }
        ),
        "`retention` is -5, it must be 0 or more milliseconds"
    );
}

#[test]
fn long_histories_in_no_order() {
    for seed in 0..6 {
        let rng = &mut Rng(seed);
        // Far from sorted, nearly sorted, reversed.
        let reach = [400, 20, 1][seed as usize % 3];
        let time: Vec<i64> = (0..400)
            .map(|e| {
                if reach == 1 {
                    400 - e
                } else {
                    e + rng.below(reach) as i64
                }
            })
            .collect();
        let log = Log {
            key: vec![7; 400],
            ingest: Some(time.iter().map(|t| t + rng.below(60) as i64).collect()),
            keep: None,
            time,
        };
        let queries = (vec![7; 460], (0..460).rev().collect());
        for retention in [None, Some(50)] {
            let rule = Rule {
                delay: 3,
                retention,
                max_len: 20,
            };
            let made = histories(&log, &queries, &rule);
            for (q, t) in queries.1.iter().enumerate() {
                assert_eq!(made.of(q), log.history(7, *t, &rule), "seed {seed}, {t}, {rule:?}");
            }
        }
    }
}
