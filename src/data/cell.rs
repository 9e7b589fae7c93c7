//! One value of a raw column.

use std::fmt;

use super::column::Column;
use super::id::Id;
use super::time::Unit;

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing; NaN is nothing too.
    Null,
    /// An integer.
    Int(i64),
    /// An integer above i64.
    Unsigned(u64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// A time, counted since 1970.
    Time(Unit, i64),
    /// A list.
    List(&'a Column, usize, usize),
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Int(i) => write!(f, "{i}"),
            Self::Unsigned(u) => write!(f, "{u}"),
            Self::Float(x) => write!(f, "{x}"),
            Self::Bool(b) => write!(f, "{b}"),
            // A cell may be a whole book.
            Self::Text(t) => write!(f, "{:?}", t.chars().take(60).collect::<String>()),
            Self::Time(unit, n) => write!(f, "{n} {unit}"),
            Self::List(_, from, to) => write!(f, "a list of {}", to - from),
        }
    }
}

impl<'a> Cell<'a> {
    /// The id that it is: `Ok(None)` for nothing; an error, what it should have been, for what is none. `spelt` lends the
    /// text of what is no i64.
    pub(super) fn id<'b>(self, spelt: &'b mut String) -> Result<Option<Id<'b>>, &'static str>
    where
        'a: 'b,
    {
        Ok(Some(match self {
            Cell::Null => return Ok(None),
            Cell::Int(i) => Id::Int(i),
            Cell::Bool(b) => Id::Int(i64::from(b)),
            Cell::Text(t) => Id::of(t),
            Cell::Unsigned(u) => {
                *spelt = u.to_string();
                Id::Text(spelt)
            }
            // Columns of integers with gaps come as floats from some writers.
            Cell::Float(x) if x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0 => Id::Int(x as i64),
            Cell::Float(_) => return Err("an id: a float that is no integer up to 2^53 is none"),
            Cell::Time(..) | Cell::List(..) => return Err("an id: an integer or a text"),
        }))
    }
}
