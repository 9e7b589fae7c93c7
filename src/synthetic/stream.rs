//! Rows of a stream, in order of time.

use super::bayes::{twice, weight};
use super::{Error, Teacher, View, World};
use crate::metrics::logit;
use crate::random::uniform;
use crate::tensor::{HostTensor, Tensors};

/// 2022-04-25, 00:00 UTC, in milliseconds since 1970.
const START: i64 = 1_650_844_800_000;
const DAY: f64 = 86_400_000.0;

/// Impressions, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// The user's key; 0 does not occur.
    pub key: Vec<u64>,
    /// Milliseconds since 1970, UTC. The first day is 2022-04-25.
    pub time: Vec<i64>,
    /// The day, counted from 0.
    pub day: Vec<u32>,
    /// 0 or 1.
    pub label: Vec<f32>,
    /// `item` and `reading`, which the VM sees, `extra`, which is the FM's: `i32[rows]`, below
    /// [`World::items`], 2 and 2.
    pub inputs: Tensors,
    /// What compression leaves of an ideal FM's embedding, `f32[rows, 2]`: its readings of both bits, -1 or 1.
    pub embedding: HostTensor,
    /// The ideal FM's prediction, as a logit.
    pub score: Vec<f32>,
    world: World,
    teacher: Teacher,
    /// Of each row: place among all events, user by user.
    place: Vec<u32>,
    /// Of each event, user by user.
    events: Vec<Event>,
}

/// What is seen of an impression.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Event {
    item: u32,
    reading: bool,
    extra: bool,
    /// After compression.
    kept_reading: bool,
    kept_extra: bool,
    label: bool,
    time: i64,
}

/// Uses of chance.
#[derive(Clone, Copy)]
enum Draw {
    Taste,
    Extra,
    Item,
    Reading,
    ExtraReading,
    Label,
    LostTaste,
    LostExtra,
    Time,
}

impl World {
    /// The stream, and what an ideal FM makes of it. Users, items and labels do not depend on the teacher.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`].
    pub fn generate(&self, teacher: &Teacher) -> Result<Stream, Error> {
        self.check(teacher)?;
        let count = self.users * self.events;
        let events: Vec<Event> = (0..count).map(|place| self.event(teacher, place)).collect();
        let mut place: Vec<u32> = (0..count).collect();
        place.sort_by_key(|p| (events[*p as usize].time, *p));
        let rows = place.len();
        let column = |of: &dyn Fn(&Event) -> u32| {
            let values = place.iter().map(|p| of(&events[*p as usize]).cast_signed());
            HostTensor::i32(&[rows], values.collect())
        };
        let inputs = Tensors::from([
            ("item".to_owned(), column(&|e| e.item)),
            ("reading".to_owned(), column(&|e| u32::from(e.reading))),
            ("extra".to_owned(), column(&|e| u32::from(e.extra))),
        ]);
        let kept = |p: &u32| {
            let e = &events[*p as usize];
            [e.kept_reading, e.kept_extra].map(|bit| if bit { 1.0 } else { -1.0 })
        };
        let mut stream = Stream {
            key: place.iter().map(|p| u64::from(p / self.events) + 1).collect(),
            time: place.iter().map(|p| events[*p as usize].time).collect(),
            day: place.iter().map(|p| p % self.events / self.per_day).collect(),
            label: place
                .iter()
                .map(|p| f32::from(u8::from(events[*p as usize].label)))
                .collect(),
            inputs,
            embedding: HostTensor::f32(&[rows, 2], place.iter().flat_map(kept).collect()),
            score: Vec::new(),
            world: *self,
            teacher: *teacher,
            place,
            events,
        };
        stream.score = stream.logits(View::Teacher, 0);
        Ok(stream)
    }

    fn draw(&self, what: Draw, index: u32) -> f64 {
        f64::from(uniform(self.seed, 0x5746_0000 + what as u32, u64::from(index)))
    }

    fn event(&self, teacher: &Teacher, place: u32) -> Event {
        let (user, nth) = (place / self.events, place % self.events);
        let (taste, extra) = (self.draw(Draw::Taste, user) < 0.5, self.draw(Draw::Extra, user) < 0.5);
        let item = (self.draw(Draw::Item, place) * f64::from(self.items)) as u32;
        let turned = |what, chance: f64| self.draw(what, place) < chance;
        let sign = |bit: bool| if bit { f64::INFINITY } else { f64::NEG_INFINITY };
        let p = self.probability(kind(item, self.items), sign(taste), sign(extra));
        let reading = taste ^ turned(Draw::Reading, self.noise);
        let seen = extra ^ turned(Draw::ExtraReading, teacher.noise);
        let within = (f64::from(nth % self.per_day) + self.draw(Draw::Time, place)) / f64::from(self.per_day);
        Event {
            item,
            reading,
            extra: seen,
            kept_reading: reading ^ turned(Draw::LostTaste, teacher.lost_taste),
            kept_extra: seen ^ turned(Draw::LostExtra, teacher.lost_extra),
            label: turned(Draw::Label, p),
            time: START + (DAY * (f64::from(nth / self.per_day) + within)) as i64,
        }
    }
}

/// -1 or 1.
fn kind(item: u32, items: u32) -> f64 {
    // One item alone is of both kinds by turns in no way that anyone sees: it is even.
    if items > 1 && item % 2 == 1 { 1.0 } else { -1.0 }
}

impl Stream {
    /// The best prediction of every row, as a logit, from what a view shows; histories hold at most so many events.
    #[must_use]
    pub fn logits(&self, view: View, past: u32) -> Vec<f32> {
        self.place
            .iter()
            .map(|place| self.logit(view, past, *place) as f32)
            .collect()
    }

    fn logit(&self, view: View, past: u32, place: u32) -> f64 {
        let (world, teacher) = (&self.world, &self.teacher);
        let now = &self.events[place as usize];
        let first = place - (place % world.events).min(past);
        let history = &self.events[first as usize..place as usize];
        let sum = |bit: fn(&Event) -> bool| history.iter().map(|e| sign(bit(e))).sum::<f64>();
        let present = sign(now.reading) * weight(world.noise);
        let taste = match view {
            View::Base | View::Teacher => 0.0,
            View::Raw | View::Both => sum(|e| e.reading) * weight(world.noise),
            View::LoopFm => sum(|e| e.kept_reading) * weight(twice(world.noise, teacher.lost_taste)),
        };
        let extra = match view {
            View::Base | View::Raw => 0.0,
            View::LoopFm | View::Both => sum(|e| e.kept_extra) * weight(twice(teacher.noise, teacher.lost_extra)),
            View::Teacher => sign(now.extra) * weight(teacher.noise),
        };
        logit(world.probability(kind(now.item, world.items), present + taste, extra))
    }
}

fn sign(bit: bool) -> f64 {
    if bit { 1.0 } else { -1.0 }
}
