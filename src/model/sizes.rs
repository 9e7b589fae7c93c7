//! Numbers and lists of a specification, bounded while they are read.

use serde::{Deserialize, Serialize};

/// Most fields, inputs or layers in a list.
const MAX_LIST: usize = 1024;

/// The extent of an axis. Bounds keep every product of a model's sizes far from overflow.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(try_from = "u64")]
pub(super) struct Size<const MAX: usize>(pub(super) usize);

/// Neurons, embedding widths, positions.
pub(super) type Width = Size<65_536>;
/// Rows of a table.
pub(super) type Vocabulary = Size<{ 1 << 31 }>;
/// Heads of an attention.
pub(super) type Heads = Size<64>;

impl<const MAX: usize> TryFrom<u64> for Size<MAX> {
    type Error = String;

    fn try_from(n: u64) -> Result<Self, String> {
        match usize::try_from(n) {
            Ok(n) if (1..=MAX).contains(&n) => Ok(Self(n)),
            _ => Err(format!("{n} is not within 1..={MAX}")),
        }
    }
}

/// Width of a position's embedding; 0 for none.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(try_from = "u64")]
pub(super) struct Position(pub(super) usize);

impl TryFrom<u64> for Position {
    type Error = String;

    fn try_from(n: u64) -> Result<Self, String> {
        match usize::try_from(n) {
            Ok(n) if n <= 65_536 => Ok(Self(n)),
            _ => Err(format!("{n} is not within 0..=65536")),
        }
    }
}

/// A share of what is dropped: at least 0, below 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(try_from = "f32")]
pub(super) struct Rate(pub(super) f32);

impl TryFrom<f32> for Rate {
    type Error = String;

    fn try_from(x: f32) -> Result<Self, String> {
        if (0.0..1.0).contains(&x) {
            Ok(Self(x))
        } else {
            Err(format!("dropout {x} is not within 0..1"))
        }
    }
}

/// A list of bounded length.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Vec<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> TryFrom<Vec<T>> for List<T> {
    type Error = String;

    fn try_from(list: Vec<T>) -> Result<Self, String> {
        if list.len() <= MAX_LIST {
            Ok(Self(list))
        } else {
            Err(format!("{} items, at most {MAX_LIST} are read", list.len()))
        }
    }
}
