//! Proof that histories hold nothing that could not be known.

use std::fmt;

use serde::Serialize;

use super::{Error, Events, Histories, Rule, Slice};

/// What histories hold, each event of each history looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Histories.
    pub queries: u64,
    /// Of them without an event.
    pub empty: u64,
    /// Of them with as many events as the rule allows.
    pub full: u64,
    /// Events in all histories.
    pub events: u64,
    /// The greatest `time of event - time of query` in ms: below 0, or there would be no audit. `None` without events.
    pub nearest: Option<i64>,
    /// The least of these.
    pub farthest: Option<i64>,
    /// How many histories are how long: `[from, to, count]`, both ends included.
    pub lengths: Vec<[u64; 3]>,
    /// How many events are how long before their query: `[from, to, count]` in ms, the upper end excluded.
    pub gaps: Vec<[u64; 3]>,
}

/// Bounds of gaps: a second, ten, a minute, ten, an hour, six, a day, a week, 30 days.
const GAPS: [u64; 10] = [
    0,
    1_000,
    10_000,
    60_000,
    600_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
    2_592_000_000,
];

/// Looks at every event of every history: it is the query's key's, was available before the query and is not forgotten, no
/// history is longer than the rule allows or holds an event twice. It shares no code with what makes histories.
///
/// Histories are gone through by where they start, so that what those of a key share is looked up once: beyond the
/// arguments this takes 8 bytes a query.
///
/// # Errors
/// An event that breaks a rule, and how.
pub fn audit(
    events: &Events<'_>,
    histories: &Histories,
    queries: (&[u64], &[i64]),
    rule: &Rule,
) -> Result<Audit, Error> {
    events.check()?;
    super::same_length("query times", queries.1.len(), queries.0.len())?;
    super::same_length("histories", histories.slices.len(), queries.0.len())?;
    let mut audit = Audit {
        queries: queries.0.len() as u64,
        ..Audit::default()
    };
    let mut lengths = vec![0; 66];
    let mut gaps = Gaps::default();
    for query in by_start(&histories.slices)? {
        let (key, t) = (queries.0[query], queries.1[query]);
        let history = of(histories, query)?;
        if history.len() > rule.max_len {
            return Err(broken(
                query,
                t,
                None,
                format!("{} events, at most {} are allowed", history.len(), rule.max_len),
            ));
        }
        let mut before = None;
        for event in history {
            gaps.add(look(events, *event as usize, (query, key, t), rule, &mut before)?);
        }
        audit.events += history.len() as u64;
        audit.empty += u64::from(history.is_empty());
        audit.full += u64::from(history.len() == rule.max_len);
        lengths[(usize::BITS - history.len().leading_zeros()) as usize] += 1;
    }
    if audit.events > 0 {
        // The greatest difference is the smallest gap.
        let difference = |gap: u64| i64::try_from(gap).map_or(i64::MIN, |gap| -gap);
        (audit.nearest, audit.farthest) = (Some(difference(gaps.least)), Some(difference(gaps.most)));
    }
    let range = |(bits, count): (usize, u64)| match bits {
        0 => [0, 0, count],
        _ => [1 << (bits - 1), (1 << (bits - 1)) * 2 - 1, count],
    };
    let longest = lengths.iter().rposition(|count| *count > 0).map_or(0, |at| at + 1);
    audit.lengths = lengths.into_iter().take(longest).enumerate().map(range).collect();
    let end = |at: usize| GAPS.get(at + 1).copied().unwrap_or(u64::MAX);
    audit.gaps = gaps
        .counts
        .into_iter()
        .enumerate()
        .map(|(at, count)| [GAPS[at], end(at), count])
        .collect();
    Ok(audit)
}

/// Queries in the order of their histories' places.
fn by_start(slices: &[Slice]) -> Result<impl Iterator<Item = usize>, Error> {
    if slices.len() >= u32::MAX as usize {
        return Err(Error::TooMany { seen: slices.len() });
    }
    let mut order: Vec<(u32, u32)> = slices.iter().map(|slice| slice.start).zip(0..).collect();
    order.sort_unstable();
    Ok(order.into_iter().map(|(_, query)| query as usize))
}

/// How long before their queries events are.
struct Gaps {
    least: u64,
    most: u64,
    counts: [u64; GAPS.len()],
    /// The bin of the last one, which mostly is the next one's.
    bin: usize,
}

impl Default for Gaps {
    fn default() -> Self {
        Self {
            least: u64::MAX,
            most: 0,
            counts: [0; GAPS.len()],
            bin: 0,
        }
    }
}

impl Gaps {
    fn add(&mut self, gap: u64) {
        self.least = self.least.min(gap);
        self.most = self.most.max(gap);
        if gap < GAPS[self.bin] || GAPS.get(self.bin + 1).is_some_and(|end| gap >= *end) {
            self.bin = GAPS.partition_point(|bound| *bound <= gap) - 1;
        }
        self.counts[self.bin] += 1;
    }
}

fn of(histories: &Histories, query: usize) -> Result<&[u32], Error> {
    let slice = histories.slices[query];
    let range = slice.start as usize..slice.start as usize + slice.len as usize;
    histories.order.get(range).ok_or_else(|| Error::Broken {
        why: format!("the history of query {query} ends beyond the last event"),
    })
}

/// How long before the query an event is, if it may be in its history.
fn look(
    events: &Events<'_>,
    event: usize,
    (query, key, t): (usize, u64, i64),
    rule: &Rule,
    before: &mut Option<(i64, i64, usize)>,
) -> Result<u64, Error> {
    let broken = |why: String| Err(broken(query, t, Some(event), why));
    if event >= events.len() {
        return broken(format!("there are {} events", events.len()));
    }
    let time = events.time[event];
    if time >= t {
        return broken(format!("is of time {time}, not before it"));
    }
    let available = events.available(event, rule);
    if available >= t {
        return broken(format!(
            "is of time {time}, available from {available} on, not before it"
        ));
    }
    if events.key[event] != key {
        return broken(format!("is of key {:#x}, not {key:#x}", events.key[event]));
    }
    if !events.kept(event) {
        return broken("is none of those that histories are made of".to_owned());
    }
    if rule
        .retention
        .is_some_and(|retention| t.abs_diff(time) > retention.cast_unsigned())
    {
        return broken(format!("is of time {time}, longer ago than the retention"));
    }
    let place = (available, time, event);
    if before.is_some_and(|before| before >= place) {
        return broken("comes twice, or after a newer one".to_owned());
    }
    *before = Some(place);
    Ok(t.abs_diff(time))
}

fn broken(query: usize, t: i64, event: Option<usize>, why: String) -> Error {
    let event = event.map_or(String::new(), |event| format!("event {event} "));
    Error::Broken {
        why: format!("query {query} at {t}: {event}{why}"),
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "histories  {} ({} empty, {} full)",
            self.queries, self.empty, self.full
        )?;
        writeln!(f, "events     {}", self.events)?;
        match (self.nearest, self.farthest) {
            (Some(near), Some(far)) => {
                writeln!(
                    f,
                    "max(time of event - time of row) = {near} ms < 0; the farthest is {far} ms"
                )?;
            }
            _ => writeln!(f, "no event is in any history")?,
        }
        writeln!(f, "lengths")?;
        for [from, to, count] in &self.lengths {
            let range = if from == to {
                from.to_string()
            } else {
                format!("{from}-{to}")
            };
            writeln!(f, "  {range:>12} {}", row(*count, self.queries))?;
        }
        writeln!(f, "time before the row")?;
        let names = ["1 s", "10 s", "1 min", "10 min", "1 h", "6 h", "1 d", "7 d", "30 d"];
        for ([_, _, count], at) in self.gaps.iter().zip(0..) {
            let range = names
                .get(at)
                .map_or("30 d or more".to_owned(), |name| format!("under {name}"));
            writeln!(f, "  {range:>12} {}", row(*count, self.events))?;
        }
        Ok(())
    }
}

/// A count, its share and a bar.
fn row(count: u64, of: u64) -> String {
    let share = count as f64 / of.max(1) as f64;
    let line = format!(
        "{count:>12} {:>5.1} % {}",
        100.0 * share,
        "#".repeat((40.0 * share).round() as usize)
    );
    line.trim_end().to_owned()
}
