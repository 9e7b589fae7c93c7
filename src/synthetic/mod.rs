//! Streams of impressions in which it is known what a history tells: the test bed of LoopFM's theory.
//!
//! Every user has two hidden bits that never change. `taste` is read by a feature that the VM sees, but only through noise, so that
//! past readings tell more than the present one: that is I_temporal. `extra` is read by a feature that only the FM
//! sees, and lives on in the FM's embeddings of past impressions: that is I_cross, and how much it weighs is the
//! feature gap. A label is drawn with the logit
//!
//! ```text
//! bias + item * (kind of item) + temporal * taste + gap * extra        each of them -1 or 1
//! ```
//!
//! An ideal FM's embedding of an impression is what it read, each bit of it flipped with the probabilities at which
//! compression loses it ([`Teacher`]). Everything being bits, the entropy of the label given what a model may see is a
//! finite sum: [`World::risk`] is exact, and so are the parts of the gain ([`World::informations`]) and transfer ratios. The
//! best prediction of every row ([`Stream::logits`]) tells what a perfect learner would measure.
//!
//! | dial | what it moves |
//! |---|---|
//! | [`World::temporal`], [`World::noise`] | I_temporal |
//! | [`World::gap`], [`Teacher::noise`] | I_cross and the FM's lead |
//! | [`Teacher::lost_taste`], [`Teacher::lost_extra`] | I_residual, what is left of I_cross |
//! | events of a user, and the history's length | all of them |
//!
//! ```
//! use loopfm::synthetic::{Teacher, View, World};
//!
//! let (world, fm) = (World::default(), Teacher::default());
//! let parts = world.informations(&fm, 10)?; // in nats, with 10 past events
//! assert!(parts.temporal > 0.0 && parts.cross > 0.0 && parts.residual.abs() < 1e-12);
//! let blurred = Teacher { lost_taste: 0.2, ..fm };
//! assert!(world.informations(&blurred, 10)?.residual > 0.0);
//!
//! let stream = World { users: 50, events: 4, ..world }.generate(&fm)?;
//! assert_eq!(stream.key.len(), 200);
//! assert_eq!(stream.inputs["item"].shape, [200]);
//! assert_eq!(stream.embedding.shape, [200, 2]);
//! let best = stream.logits(View::LoopFm, 10);
//! assert_eq!(best.len(), 200);
//! # Ok::<(), loopfm::synthetic::Error>(())
//! ```

mod bayes;
mod stream;

pub use stream::Stream;

use serde::{Deserialize, Serialize};

/// The dials of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct World {
    /// Users.
    pub users: u32,
    /// Impressions of each.
    pub events: u32,
    /// Of these, on one day.
    pub per_day: u32,
    /// Items; the kind of an item is whether its id is odd.
    pub items: u32,
    /// The logit's constant.
    pub bias: f64,
    /// Weight of the item's kind, which the VM sees.
    pub item: f64,
    /// Weight of the user's taste, which the VM reads through noise.
    pub temporal: f64,
    /// Chance that a reading of the taste is wrong: 1e-9 to 1/2, where it tells nothing.
    pub noise: f64,
    /// Weight of the bit that only the FM reads: the feature gap.
    pub gap: f64,
    /// Where chance starts.
    pub seed: i32,
}

impl Default for World {
    fn default() -> Self {
        Self {
            users: 1000,
            events: 20,
            per_day: 4,
            items: 64,
            bias: -1.0,
            item: 0.5,
            temporal: 1.0,
            noise: 0.3,
            gap: 1.0,
            seed: 1,
        }
    }
}

/// An ideal FM and what compression leaves of its embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Teacher {
    /// Chance that its reading of the extra bit is wrong: 1e-9 to 1/2, where it has no such feature.
    pub noise: f64,
    /// Chance that compression turns the taste's reading in an embedding: at most 1/2, where nothing is left.
    pub lost_taste: f64,
    /// The same of the extra bit's reading.
    pub lost_extra: f64,
}

impl Default for Teacher {
    fn default() -> Self {
        Self {
            noise: 0.2,
            lost_taste: 0.0,
            lost_extra: 0.0,
        }
    }
}

/// What a predictor may see. All see the present impression as the VM does; past impressions are the newest of the user's
/// own, without their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Nothing else: the plain VM.
    Base,
    /// Past impressions as the VM sees them: raw history.
    Raw,
    /// The FM's embeddings of past impressions.
    LoopFm,
    /// Both.
    Both,
    /// The present impression as the FM sees it: the teacher.
    Teacher,
}

/// A dial that is turned too far.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Error {
    #[error("`{dial}` is {value}; it must be {range}")]
    Dial {
        dial: &'static str,
        value: f64,
        range: &'static str,
    },
}

impl Error {
    /// What a command ends with: 1, input refused.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        1
    }
}

impl World {
    fn check(&self, teacher: &Teacher) -> Result<(), Error> {
        let counts = [
            ("users", self.users),
            ("events", self.events),
            ("per_day", self.per_day),
            ("items", self.items),
        ];
        for (dial, count) in counts {
            let value = f64::from(count);
            within(dial, value, (1..=1 << 24).contains(&count), "from 1 to 16777216")?;
        }
        let rows = f64::from(self.users) * f64::from(self.events);
        within("users * events", rows, rows <= f64::from(1 << 30), "at most 1073741824")?;
        let weights = [
            ("bias", self.bias),
            ("item", self.item),
            ("temporal", self.temporal),
            ("gap", self.gap),
        ];
        for (dial, value) in weights {
            within(dial, value, value.abs() <= 20.0, "a number from -20 to 20")?;
        }
        for (dial, value) in [("noise", self.noise), ("teacher.noise", teacher.noise)] {
            within(dial, value, (1e-9..=0.5).contains(&value), "from 1e-9 to 0.5")?;
        }
        for (dial, value) in [("lost_taste", teacher.lost_taste), ("lost_extra", teacher.lost_extra)] {
            within(dial, value, (0.0..=0.5).contains(&value), "from 0 to 0.5")?;
        }
        Ok(())
    }
}

fn within(dial: &'static str, value: f64, sound: bool, range: &'static str) -> Result<(), Error> {
    if sound {
        Ok(())
    } else {
        Err(Error::Dial { dial, value, range })
    }
}
