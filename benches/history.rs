//! Histories: 5,000,000 events of 100,000 keys, a few of which have thousands, and the last 50 of each event.
//!
//! - `time-order`: events and queries in the order of time, as logs are; the peak of memory is printed with it, columns
//!   and answers included.
//! - `shuffled`: in no order.
//! - `two-clocks`: one event in four is learnt of up to six hours late, and forgotten after 30 days.
//! - `ring`, `ring-two-clocks`: in one pass, each event asking for its history and then joining those of its key.
//! - `audit`, `audit-two-clocks`: every event of every history looked at.

mod clock;

use std::time::Duration;

use clock::Clock;
use criterion::Criterion;
use loopfm::history::{Error, Events, Histories, Ring, Rule, audit, slices};
use loopfm::random::uniform;

const EVENTS: usize = 5_000_000;
const KEYS: f32 = 100_000.0;

struct Log {
    key: Vec<u64>,
    time: Vec<i64>,
    ingest: Option<Vec<i64>>,
}

impl Log {
    /// Sixty days, a key's share falling as a power of its rank: the first key has about 7,000 events, half of all have
    /// fewer than 40.
    fn new() -> Self {
        let draw = |event: usize| uniform(1, 0, event as u64);
        let key = |event| ((KEYS * draw(event).powf(1.75)) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            key: (0..EVENTS).map(key).collect(),
            time: (0..EVENTS as i64)
                .map(|event| 1_700_000_000_000 + event * 1037)
                .collect(),
            ingest: None,
        }
    }

    fn shuffled(mut self) -> Self {
        for i in (1..EVENTS).rev() {
            let j = (uniform(2, 0, i as u64) * (i + 1) as f32) as usize % (i + 1);
            self.key.swap(i, j);
            self.time.swap(i, j);
        }
        self
    }

    fn late(mut self) -> Self {
        let late = |(event, time): (usize, &i64)| match uniform(3, 0, event as u64) {
            share if share < 0.25 => time + (share * 4.0 * 6.0 * 3.6e6) as i64,
            _ => time + 10,
        };
        self.ingest = Some(self.time.iter().enumerate().map(late).collect());
        self
    }

    fn events(&self) -> Events<'_> {
        Events {
            key: &self.key,
            time: &self.time,
            ingest: self.ingest.as_deref(),
            keep: None,
        }
    }

    fn histories(&self, rule: &Rule) -> Histories {
        slices(&self.events(), (&self.key, &self.time), rule).expect("a log of equal columns")
    }

    /// The sum of the rows in all histories, as a ring has them.
    fn passed(&self, rule: &Rule) -> Result<u64, Error> {
        let (mut ring, mut rows) = (Ring::new(*rule, 0)?, 0);
        for event in 0..EVENTS {
            let (key, time) = (self.key[event], self.time[event]);
            rows += ring.history(key, time)?.map(|past| past.row).sum::<u64>();
            let ingest = self.ingest.as_ref().map(|ingest| ingest[event]);
            ring.push(key, time, ingest, event as u64, &[])?;
        }
        Ok(rows)
    }
}

fn main() {
    let clock = Clock::new(false);
    eprintln!("{}", clock.name());
    let mut criterion = Criterion::default().with_measurement(clock).configure_from_args();
    let mut group = criterion.benchmark_group("history");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(10));
    let last_50 = Rule::newest(50);
    let month = Rule {
        retention: Some(30 * 86_400_000),
        ..last_50
    };
    let unchanged = |log| log;
    let cases = [
        ("time-order", unchanged as fn(Log) -> Log, last_50),
        ("shuffled", Log::shuffled, last_50),
        ("two-clocks", Log::late, month),
    ];
    for (name, change, rule) in cases {
        let log = change(Log::new());
        let elements: u64 = log.histories(&rule).slices.iter().map(|s| u64::from(s.len)).sum();
        eprintln!("{name}: {elements} elements{}", peak());
        group.bench_function(name, |b| b.iter(|| log.histories(&rule)));
    }
    for (name, change, rule) in [
        ("", unchanged as fn(Log) -> Log, last_50),
        ("-two-clocks", Log::late, month),
    ] {
        let log = change(Log::new());
        group.bench_function(format!("ring{name}"), |b| {
            b.iter(|| log.passed(&rule).expect("events in the order of time"));
        });
        let histories = log.histories(&rule);
        let audited = || audit(&log.events(), &histories, (&log.key, &log.time), &rule).expect("sound histories");
        group.bench_function(format!("audit{name}"), |b| b.iter(audited));
    }
    group.finish();
    criterion.final_summary();
}

/// The most memory that this process has held so far.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or(String::new(), |peak| format!(", peak of memory {}", peak.trim()))
}
