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
/// beyond the arguments: 8 bytes a kept event and 12 a query, and those of the key with the most events and queries.
///
/// # Errors
/// Columns of different lengths, negative spans of the rule, more events or queries than can be numbered.
pub fn slices(events: &Events<'_>, queries: (&[u64], &[i64]), rule: &Rule) -> Result<Histories, Error> {
    events.check()?;
    rule.check()?;
    same_length("query times", queries.1.len(), queries.0.len())?;
    let seen = events.len().max(queries.0.len());
    if seen >= u32::MAX as usize {
        return Err(Error::TooMany { seen });
    }
    let mut groups = Groups::new(events.key, |event| events.kept(event));
    let (mut order, starts) = groups.events().into_parts();
    let asked = groups.members(queries.0);
    let mut slices = vec![Slice::default(); queries.0.len()];
    let (mut key, mut apart) = (Key::default(), Vec::new());
    for (group, bounds) in starts.windows(2).enumerate() {
        let (from, to) = (bounds[0] as usize, bounds[1] as usize);
        key.sort(events, rule, &mut order[from..to]);
        let mut near = 0;
        for query in asked.of(group) {
            let t = queries.1[*query as usize];
            near = before(&key.available, t, near);
            slices[*query as usize] = match key.newest(near, t, rule) {
                Newest::Run(run) => Slice {
                    start: (from + run.start) as u32,
                    len: run.len() as u32,
                },
                Newest::Apart(places) => {
                    let start = order.len() + apart.len();
                    let seen = start + places.len();
                    if seen >= u32::MAX as usize {
                        return Err(Error::TooMany { seen });
                    }
                    apart.extend(places.iter().map(|place| order[from + place]));
                    Slice {
                        start: start as u32,
                        len: places.len() as u32,
                    }
                }
            };
        }
    }
    let events = order.len();
    order.append(&mut apart);
    Ok(Histories { order, events, slices })
}

/// The events of one key by availability. All keys take turns in it, so that what is looked up lies close together.
#[derive(Default)]
struct Key {
    available: Vec<i64>,
    /// Of the following only where the rule has a retention: times, ..
    time: Vec<i64>,
    /// .. the greatest time up to each event, ..
    newest: Vec<i64>,
    /// .. and the least from it on.
    oldest: Vec<i64>,
    sorting: Vec<(i64, i64, u32)>,
}

/// The newest events that are remembered.
enum Newest {
    /// They stand side by side.
    Run(std::ops::Range<usize>),
    /// Some between them are forgotten.
    Apart(Vec<usize>),
}

impl Key {
    /// Sorts the key's events.
    fn sort(&mut self, events: &Events<'_>, rule: &Rule, order: &mut [u32]) {
        let entry = |event: &u32| {
            (
                events.available(*event as usize, rule),
                events.time[*event as usize],
                *event,
            )
        };
        self.sorting.clear();
        self.sorting.extend(order.iter().map(entry));
        if !self.sorting.is_sorted() {
            sort(&mut self.sorting);
            order
                .iter_mut()
                .zip(&self.sorting)
                .for_each(|(event, by)| *event = by.2);
        }
        self.available.clear();
        self.available.extend(self.sorting.iter().map(|by| by.0));
        if rule.retention.is_some() {
            self.time.clear();
            self.time.extend(self.sorting.iter().map(|by| by.1));
            running(&mut self.newest, self.time.iter(), i64::MIN, i64::max);
            running(&mut self.oldest, self.time.iter().rev(), i64::MAX, i64::min);
            self.oldest.reverse();
        }
    }

    /// Of the first `end` events those of a history at `t`.
    fn newest(&self, end: usize, t: i64, rule: &Rule) -> Newest {
        let most = end.saturating_sub(rule.max_len);
        if rule.retention.is_none() {
            return Newest::Run(most..end);
        }
        let oldest = rule.oldest(t);
        // Before this one all are forgotten; mostly none is behind it.
        let first = self.newest[..end].partition_point(|newest| *newest < oldest);
        let run = first.max(most);
        let remembered = |time: &i64| *time >= oldest;
        if run == end || self.oldest[run] >= oldest || self.time[run..end].iter().all(remembered) {
            return Newest::Run(run..end);
        }
        let places = (first..end).rev().filter(|place| remembered(&self.time[*place]));
        let mut places: Vec<usize> = places.take(rule.max_len).collect();
        places.reverse();
        Newest::Apart(places)
    }
}

/// Replaces `into` by what folding has come to at each of `values`.
fn running<'a>(into: &mut Vec<i64>, values: impl Iterator<Item = &'a i64>, first: i64, fold: fn(i64, i64) -> i64) {
    into.clear();
    into.extend(values.scan(first, |so_far, value| {
        *so_far = fold(*so_far, *value);
        Some(*so_far)
    }));
}

/// Sorts. Events of a log are nearly in order: most stand in their place, late ones a little behind it.
fn sort(events: &mut [(i64, i64, u32)]) {
    let mut moves = 8 * events.len();
    for at in 1..events.len() {
        let event = events[at];
        let behind = events[..at]
            .iter()
            .rev()
            .take(moves)
            .take_while(|e| **e > event)
            .count();
        if behind == moves {
            return events.sort_unstable();
        }
        moves -= behind;
        events.copy_within(at - behind..at, at - behind + 1);
        events[at - behind] = event;
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
