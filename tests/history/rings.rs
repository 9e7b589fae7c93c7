//! The ring kernel and its state, the audit.

use std::fs;

use loopfm::history::{Error, Events, Histories, Past, Ring, Rule, Slice, audit, slices};

use super::logs::{Log, rule};
use crate::support::rng::Rng;

/// Bytes that an event brings.
fn payload(event: usize) -> [u8; 3] {
    [event as u8, (event * 7) as u8, 1]
}

/// Of each event of a log in the order of time what its history was when it went by, as the ring has it; the ring is saved and
/// loaded now and then.
fn passed(log: &Log, rule: Rule, rng: &mut Rng, folder: &std::path::Path) -> Vec<(usize, Vec<u32>)> {
    let mut order: Vec<usize> = (0..log.key.len()).collect();
    order.sort_by_key(|e| log.time[*e]);
    let mut ring = Ring::new(rule, 3).unwrap();
    let mut seen = Vec::new();
    for e in order {
        let history: Vec<Past<'_>> = ring.history(log.key[e], log.time[e]).unwrap().collect();
        assert!(history.iter().all(|past| past.payload == payload(past.row as usize)));
        assert!(history.iter().all(|past| past.time == log.time[past.row as usize]));
        seen.push((e, history.iter().map(|past| past.row as u32).collect()));
        if log.keep.as_ref().is_none_or(|keep| keep[e]) {
            ring.push(log.key[e], log.time[e], log.ingest(e), e as u64, &payload(e))
                .unwrap();
        }
        if rng.one_in(60) {
            ring.save(&folder.join("state"), "fm").unwrap();
            let (loaded, of) = Ring::load(&folder.join("state")).unwrap();
            assert_eq!(
                (
                    of.as_str(),
                    loaded.rule(),
                    loaded.last_row(),
                    loaded.now(),
                    loaded.len()
                ),
                ("fm", &rule, ring.last_row(), ring.now(), ring.len())
            );
            ring = loaded;
        }
    }
    seen
}

#[test]
fn rings_and_slices_and_the_definition_agree() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = 0;
    for seed in 0..400 {
        let rng = &mut Rng(seed);
        let (log, rule) = (Log::random(rng), rule(rng));
        // Events of one time and availability stand in the order of the log; the ring sees them so.
        let made = slices(&log.events(), (&log.key, &log.time), &rule).unwrap();
        audit(&log.events(), &made, (&log.key, &log.time), &rule).unwrap();
        for (e, history) in passed(&log, rule, rng, folder.path()) {
            assert_eq!(
                history,
                log.history(log.key[e], log.time[e], &rule),
                "seed {seed}, event {e}, {rule:?}, {log:?}"
            );
            assert_eq!(history, made.of(e), "seed {seed}, event {e}");
            events += history.len();
        }
    }
    assert!(events > 10_000, "{events}");
}

#[test]
fn rings_answer_later_queries() {
    for seed in 0..200 {
        let rng = &mut Rng(seed);
        let (log, rule) = (Log::random(rng), rule(rng));
        let mut ring = Ring::new(rule, 0).unwrap();
        for e in 0..log.key.len() {
            if log.keep.as_ref().is_none_or(|keep| keep[e]) {
                ring.push(log.key[e], log.time[e], log.ingest(e), e as u64, &[])
                    .unwrap();
            }
        }
        for (key, t) in std::iter::zip(log.queries(rng).0, log.queries(rng).1) {
            match ring.history(key, t) {
                Err(Error::Past { now, .. }) => assert!(t < now),
                history => {
                    let history: Vec<u32> = history.unwrap().map(|past| past.row as u32).collect();
                    assert_eq!(
                        history,
                        log.history(key, t, &rule),
                        "seed {seed}, {t}, {rule:?}, {log:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn rings_stay_small_and_states_are_a_function_of_events() {
    let folder = tempfile::tempdir().unwrap();
    let rule = Rule {
        delay: 30,
        retention: Some(100_000),
        max_len: 20,
    };
    let (mut ring, mut often) = (Ring::new(rule, 4).unwrap(), Ring::new(rule, 4).unwrap());
    let rng = &mut Rng(3);
    for e in 0..20_000u32 {
        let (key, time) = (rng.below(10) as u64, i64::from(e) * 5);
        let ingest = Some(time + rng.below(60) as i64);
        for ring in [&mut ring, &mut often] {
            ring.push(key, time, ingest, e.into(), &e.to_le_bytes()).unwrap();
        }
        if e % 100 == 0 {
            often.forget();
        }
        assert!(ring.len().0 <= 10 * 2 * 24, "{:?}", ring.len());
    }
    let saved = |ring: &mut Ring, name: &str| {
        ring.save(&folder.path().join(name), "fm").unwrap();
        fs::read(folder.path().join(name)).unwrap()
    };
    let state = saved(&mut ring, "one");
    assert!(state == saved(&mut often, "other"));
    assert!(state == saved(&mut Ring::load(&folder.path().join("one")).unwrap().0, "again"));
}

#[test]
fn states_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut ring = Ring::new(Rule::newest(5), 2).unwrap();
    for e in 0..30 {
        ring.push(e % 4, e as i64, None, e, &[1, 2]).unwrap();
    }
    ring.save(&path, "fm").unwrap();
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 2;
        fs::write(&path, &bad).unwrap();
        let e = Ring::load(&path).unwrap_err();
        assert!([1, 5, 6].contains(&e.exit_code()), "{at}: {e}");
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert_eq!(Ring::load(&path).unwrap_err().exit_code(), 5);
    assert_eq!(
        ring.push(1, 40, None, 40, &[1]).unwrap_err().to_string(),
        "an event brings 1 bytes, each must bring 2"
    );
    let early = ring.history(1, 28).err().unwrap().to_string();
    assert_eq!(
        early,
        "a history at 28 was asked for after an event of 29: what it needs may be forgotten"
    );
    assert!(
        Ring::new(
            Rule {
                delay: -1,
                ..Rule::newest(5)
            },
            0
        )
        .is_err()
    );
}

#[test]
fn audits_find_what_must_not_be() {
    let events = Events {
        key: &[1, 1, 1, 2, 1],
        time: &[10, 20, 30, 5, 12],
        ingest: Some(&[10, 20, 30, 5, 40]),
        keep: Some(&[true, true, true, true, true]),
    };
    let rule = Rule {
        delay: 2,
        retention: Some(25),
        max_len: 3,
    };
    let queries: (&[u64], &[i64]) = (&[1], &[30]);
    let sound = slices(&events, queries, &rule).unwrap();
    let report = audit(&events, &sound, queries, &rule).unwrap();
    assert_eq!(
        (report.events, report.nearest, report.farthest),
        (2, Some(-10), Some(-20))
    );
    assert!(
        report
            .to_string()
            .contains("max(time of event - time of row) = -10 ms < 0"),
        "{report}"
    );
    let with = |order: &[u32]| Histories {
        order: order.to_vec(),
        events: order.len(),
        slices: vec![Slice {
            start: 0,
            len: order.len() as u32,
        }],
    };
    let found =
        |order: &[u32], events: Events<'_>| audit(&events, &with(order), queries, &rule).unwrap_err().to_string();
    let cases: [(&[u32], &str); 7] = [
        (&[0, 2], "query 0 at 30: event 2 is of time 30, not before it"),
        (
            &[0, 4],
            "query 0 at 30: event 4 is of time 12, available from 40 on, not before it",
        ),
        (&[3, 0], "query 0 at 30: event 3 is of key 0x2, not 0x1"),
        (&[1, 0], "query 0 at 30: event 0 comes twice, or after a newer one"),
        (&[0, 0], "query 0 at 30: event 0 comes twice, or after a newer one"),
        (&[9], "query 0 at 30: event 9 there are 5 events"),
        (&[0, 0, 0, 0], "query 0 at 30: 4 events, at most 3 are allowed"),
    ];
    for (order, expected) in cases {
        assert_eq!(found(order, events), format!("the histories are not sound: {expected}"));
    }
    let kept = found(
        &[0, 1],
        Events {
            keep: Some(&[false, true, true, true, true]),
            ..events
        },
    );
    assert!(
        kept.ends_with("event 0 is none of those that histories are made of"),
        "{kept}"
    );
    let old = audit(
        &events,
        &sound,
        queries,
        &Rule {
            retention: Some(15),
            ..rule
        },
    )
    .unwrap_err()
    .to_string();
    assert!(
        old.ends_with("event 0 is of time 10, longer ago than the retention"),
        "{old}"
    );
}
