//! Histories of a whole log at once.

use super::keys::Groups;
use super::{Error, Events, Rule, same_length};

/// A history: `len` entries of [`Histories::order`] from `start` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The oldest event's place.
    pub start: u32,
    /// How many events.
    pub len: u32,
}

/// Histories of queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histories {
    /// Event numbers: all kept events by key, then by availability, time and place in the log. After [`Histories::events`]
    /// of them follow histories that are no run of this order: those in which a late event has been forgotten before
    /// earlier ones that came in time.
    pub order: Vec<u32>,
    /// How many entries of `order` are the sorted events, each once.
    pub events: usize,
    /// One a query.
    pub slices: Vec<Slice>,
}

impl Histories {
    /// The events of a query's history, oldest first.
    ///
    /// # Panics
    /// If there is no such query.
    #[must_use]
    pub fn of(&self, query: usize) -> &[u32] {
        let Slice { start, len } = self.slices[query];
        &self.order[start as usize..][..len as usize]
    }
}

/// The history of each query `(key, t)`, at most [`Rule::max_len`] events each.
///
/// Linear in events and queries where both come roughly in the order of time; any order gives the same histories. Peak memory
/// beyond the arguments: 32 bytes a kept event and 8 a query, 16 more an event where the rule has a retention and the
/// events an ingest clock.
///
/// # Errors
/// Columns of different lengths, negative spans of the rule, more events than can be numbered.
pub fn slices(events: &Events<'_>, queries: (&[u64], &[i64]), rule: &Rule) -> Result<Histories, Error> {
    events.check()?;
    rule.check()?;
    same_length("query times", queries.1.len(), queries.0.len())?;
    if events.len() >= u32::MAX as usize {
        return Err(Error::TooMany { seen: events.len() });
    }
    let mut groups = Groups::new(events.key, |event| events.kept(event));
    let sorted = Sorted::new(events, rule, &mut groups);
    sorted.answer(queries, rule, &groups)
}

/// Kept events by key and availability.
struct Sorted {
    order: Vec<u32>,
    available: Vec<i64>,
    late: Option<Late>,
}

/// What retention needs where events may become available in another order than they happen in.
struct Late {
    time: Vec<i64>,
    /// The greatest time from a group's first event up to this one.
    newest: Vec<i64>,
}

impl Sorted {
    /// Sorts; takes the groups' numbers of events for it, which are not needed any more.
    fn new(events: &Events<'_>, rule: &Rule, groups: &mut Groups) -> Self {
        let n = groups.starts.last().map_or(0, |n| *n as usize);
        let (mut order, mut available) = (vec![0; n], vec![0; n]);
        let mut next = groups.starts.clone();
        for (event, group) in std::mem::take(&mut groups.of).into_iter().enumerate() {
            if group != Groups::NONE {
                let at = &mut next[group as usize];
                order[*at as usize] = event as u32;
                available[*at as usize] = events.available(event, rule);
                *at += 1;
            }
        }
        let mut late = (rule.retention.is_some() && events.ingest.is_some()).then(|| Late {
            time: Vec::with_capacity(n),
            newest: Vec::with_capacity(n),
        });
        let mut sorting = Vec::new();
        for group in groups.starts.windows(2) {
            let range = group[0] as usize..group[1] as usize;
            let (order, available) = (&mut order[range.clone()], &mut available[range]);
            // Without an ingest clock events of one availability are of one time, and stand in the log's order already.
            if events.ingest.is_some() || !available.is_sorted() {
                let key = |(event, available): (&u32, &i64)| (*available, events.time[*event as usize], *event);
                sorting.clear();
                sorting.extend(order.iter().zip(&*available).map(key));
                sorting.sort_unstable();
                for ((order, available), key) in order.iter_mut().zip(available).zip(&sorting) {
                    (*available, _, *order) = *key;
                }
            }
            if let Some(late) = &mut late {
                late.add(order.iter().map(|event| events.time[*event as usize]));
            }
        }
        Self { order, available, late }
    }

    fn answer(mut self, queries: (&[u64], &[i64]), rule: &Rule, groups: &Groups) -> Result<Histories, Error> {
        let events = self.order.len();
        let mut slices = Vec::with_capacity(queries.0.len());
        // Queries of a key mostly come in the order of time: each is looked for where the one before was found.
        let mut found = vec![0; groups.starts.len()];
        for (key, t) in queries.0.iter().zip(queries.1) {
            let Some(group) = groups.rank.get(key).map(|rank| *rank as usize) else {
                slices.push(Slice::default());
                continue;
            };
            let (from, to) = (groups.starts[group] as usize, groups.starts[group + 1] as usize);
            let guess: &mut u32 = &mut found[group];
            let seen = before(&self.available[from..to], *t, *guess as usize);
            *guess = seen as u32;
            let slice = match &self.late {
                None => self.run(from, from + seen, *t, rule),
                Some(late) => late.slice(&mut self.order, from, from + seen, *t, rule)?,
            };
            slices.push(slice);
        }
        Ok(Histories {
            order: self.order,
            events,
            slices,
        })
    }

    /// The newest of events `from..end` at `t`, where times are in the order of availability.
    fn run(&self, from: usize, end: usize, t: i64, rule: &Rule) -> Slice {
        let start = from.max(end.saturating_sub(rule.max_len));
        let forgotten = match rule.retention {
            None => 0,
            Some(_) => {
                let oldest = rule.oldest(t);
                self.available[start..end].partition_point(|available| available.saturating_sub(rule.delay) < oldest)
            }
        };
        Slice {
            start: (start + forgotten) as u32,
            len: (end - start - forgotten) as u32,
        }
    }
}

impl Late {
    /// Adds a group's times, in the order of availability.
    fn add(&mut self, times: impl Iterator<Item = i64>) {
        let mut newest = i64::MIN;
        for time in times {
            newest = newest.max(time);
            self.time.push(time);
            self.newest.push(newest);
        }
    }

    /// The newest of events `from..end` at `t`; appended to `order` if they are no run of it.
    fn slice(&self, order: &mut Vec<u32>, from: usize, end: usize, t: i64, rule: &Rule) -> Result<Slice, Error> {
        let oldest = rule.oldest(t);
        // Before this one all are forgotten; mostly none is behind it.
        let first = from + self.newest[from..end].partition_point(|newest| *newest < oldest);
        let run = first.max(end.saturating_sub(rule.max_len));
        let remembered = |at: &usize| self.time[*at] >= oldest;
        // Without an exit this is eight comparisons at a time.
        if self.time[run..end]
            .iter()
            .fold(true, |all, time| all & (*time >= oldest))
        {
            return Ok(Slice {
                start: run as u32,
                len: (end - run) as u32,
            });
        }
        let mut history: Vec<usize> = (first..end).rev().filter(remembered).take(rule.max_len).collect();
        history.reverse();
        let appended = order.len();
        if appended + history.len() >= u32::MAX as usize {
            return Err(Error::TooMany {
                seen: appended + history.len(),
            });
        }
        let slice = Slice {
            start: appended as u32,
            len: history.len() as u32,
        };
        for at in history {
            order.push(order[at]);
        }
        Ok(slice)
    }
}

/// How many of the ascending `times` are before `t`; near `guess` it is found at once.
fn before(times: &[i64], t: i64, guess: usize) -> usize {
    // All before `low` are before `t`, none from `high` on is.
    let (mut low, mut high) = (0, times.len());
    let mut step = 1;
    if guess > 0 && times[guess - 1] >= t {
        high = guess - 1;
        while step <= high {
            if times[high - step] < t {
                low = high - step + 1;
                break;
            }
            high -= step;
            step *= 2;
        }
    } else {
        low = guess;
        while low + step <= times.len() {
            if times[low + step - 1] >= t {
                high = low + step - 1;
                break;
            }
            low += step;
            step *= 2;
        }
    }
    low + times[low..high].partition_point(|time| *time < t)
}
