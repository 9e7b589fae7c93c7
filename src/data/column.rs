//! Raw columns of a batch of rows.

use std::fmt;
use std::sync::Arc;

use super::cell::Cell;
use super::time::Unit;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Integers of any width.
    Int,
    /// Floats of any width.
    Float,
    /// Truth values.
    Bool,
    /// Texts; of CSV files everything is.
    Text,
    /// A time type of Parquet.
    Time(Unit),
    /// Lists.
    List(Box<Kind>),
    /// What no feature can be made of.
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int => f.write_str("integers"),
            Self::Float => f.write_str("floats"),
            Self::Bool => f.write_str("truth values"),
            Self::Text => f.write_str("text"),
            Self::Time(Unit::Day) => f.write_str("dates"),
            Self::Time(unit) => write!(f, "times in {unit}"),
            Self::List(of) => write!(f, "lists of {of}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// Rows of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub(super) values: Values,
    /// Which rows hold a value; without it all do.
    pub(super) valid: Option<Vec<bool>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Int(Vec<i64>),
    Unsigned(Vec<u64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Texts),
    Time(Unit, Vec<i64>),
    List(Lists),
    /// Rows of another column, each any number of times; nothing where there is no row.
    Picked(Arc<Column>, Arc<[Option<u32>]>),
}

/// Texts in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// Lists one after another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lists {
    pub(super) ends: Vec<usize>,
    pub(super) items: Box<Column>,
}

impl Lists {
    fn range(&self, row: usize) -> (usize, usize) {
        (if row == 0 { 0 } else { self.ends[row - 1] }, self.ends[row])
    }
}

impl Column {
    /// Integers.
    #[must_use]
    pub fn ints(values: Vec<i64>) -> Self {
        Values::Int(values).into()
    }

    /// Floats; NaN is nothing.
    #[must_use]
    pub fn floats(values: Vec<f64>) -> Self {
        Values::Float(values).into()
    }

    /// Texts.
    #[must_use]
    pub fn texts<T: AsRef<str>>(values: &[T]) -> Self {
        let mut texts = Texts::default();
        values.iter().for_each(|t| texts.push(t.as_ref()));
        Values::Text(texts).into()
    }

    /// Lists of integers.
    #[must_use]
    pub fn int_lists<T: AsRef<[i64]>>(values: &[T]) -> Self {
        let mut ends = Vec::with_capacity(values.len());
        let mut items = Vec::new();
        for list in values {
            items.extend_from_slice(list.as_ref());
            ends.push(items.len());
        }
        let items = Box::new(Self::ints(items));
        Values::List(Lists { ends, items }).into()
    }

    /// The same with nothing in the rows that are `false`.
    ///
    /// # Panics
    /// If there are not as many: a mistake of the caller.
    #[must_use]
    pub fn valid(mut self, valid: Vec<bool>) -> Self {
        assert_eq!(valid.len(), self.len(), "a truth value for each row");
        self.valid = Some(valid);
        self
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Int(v) | Values::Time(_, v) => v.len(),
            Values::Unsigned(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Bool(v) => v.len(),
            Values::Text(v) => v.ends.len(),
            Values::List(v) => v.ends.len(),
            Values::Picked(_, rows) => rows.len(),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.values {
            Values::Int(_) | Values::Unsigned(_) => Kind::Int,
            Values::Float(_) => Kind::Float,
            Values::Bool(_) => Kind::Bool,
            Values::Text(_) => Kind::Text,
            Values::Time(unit, _) => Kind::Time(*unit),
            Values::List(lists) => Kind::List(Box::new(lists.items.kind())),
            Values::Picked(of, _) => of.kind(),
        }
    }

    /// The value of a row.
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        if self.valid.as_ref().is_some_and(|v| !v[row]) {
            return Cell::Null;
        }
        match &self.values {
            Values::Int(v) => Cell::Int(v[row]),
            Values::Unsigned(v) => i64::try_from(v[row]).map_or(Cell::Unsigned(v[row]), Cell::Int),
            Values::Float(v) if v[row].is_nan() => Cell::Null,
            Values::Float(v) => Cell::Float(v[row]),
            Values::Bool(v) => Cell::Bool(v[row]),
            Values::Text(v) => Cell::Text(v.get(row)),
            Values::Time(unit, v) => Cell::Time(*unit, v[row]),
            Values::List(v) => {
                let (from, to) = v.range(row);
                Cell::List(&v.items, from, to)
            }
            Values::Picked(of, rows) => rows[row].map_or(Cell::Null, |row| of.cell(row as usize)),
        }
    }

    /// Rows of a column that many batches share, without a copy of them.
    pub(super) fn picked(of: &Arc<Self>, rows: &Arc<[Option<u32>]>) -> Self {
        Values::Picked(Arc::clone(of), Arc::clone(rows)).into()
    }

    /// The same in memory of its own.
    fn owned(self) -> Self {
        match &self.values {
            Values::Picked(of, rows) => of.take(&rows.iter().map(|r| r.map(|r| r as usize)).collect::<Vec<_>>()),
            _ => self,
        }
    }

    /// Puts the rows of a column of the same kind behind its own.
    pub(super) fn append(&mut self, other: Self) {
        let other = other.owned();
        if let Values::Picked(..) = &self.values {
            *self = self.clone().owned();
        }
        let rows = self.len();
        if self.valid.is_some() || other.valid.is_some() {
            let more = other.valid.clone().unwrap_or_else(|| vec![true; other.len()]);
            self.valid.get_or_insert_with(|| vec![true; rows]).extend(more);
        }
        match (&mut self.values, other.values) {
            (Values::Int(a), Values::Int(b)) | (Values::Time(_, a), Values::Time(_, b)) => a.extend(b),
            (Values::Unsigned(a), Values::Unsigned(b)) => a.extend(b),
            (Values::Float(a), Values::Float(b)) => a.extend(b),
            (Values::Bool(a), Values::Bool(b)) => a.extend(b),
            (Values::Text(a), Values::Text(b)) => {
                let start = a.bytes.len();
                a.bytes.push_str(&b.bytes);
                a.ends.extend(b.ends.iter().map(|end| start + end));
            }
            (Values::List(a), Values::List(b)) => {
                let start = a.items.len();
                a.items.append(*b.items);
                a.ends.extend(b.ends.iter().map(|end| start + end));
            }
            // Batches of one file are of one kind.
            _ => {}
        }
    }

    /// Some of the rows, any number of times each; nothing where there is no row.
    pub(super) fn take(&self, rows: &[Option<usize>]) -> Self {
        fn picked<T: Copy + Default>(v: &[T], rows: &[Option<usize>]) -> Vec<T> {
            rows.iter().map(|r| r.map_or_else(T::default, |r| v[r])).collect()
        }
        let values = match &self.values {
            Values::Int(v) => Values::Int(picked(v, rows)),
            Values::Unsigned(v) => Values::Unsigned(picked(v, rows)),
            Values::Float(v) => Values::Float(picked(v, rows)),
            Values::Bool(v) => Values::Bool(picked(v, rows)),
            Values::Time(unit, v) => Values::Time(*unit, picked(v, rows)),
            Values::Text(v) => {
                let mut texts = Texts::default();
                rows.iter().for_each(|r| texts.push(r.map_or("", |r| v.get(r))));
                Values::Text(texts)
            }
            Values::List(v) => {
                let (mut ends, mut items) = (Vec::with_capacity(rows.len()), Vec::new());
                for (from, to) in rows.iter().map(|r| r.map_or((0, 0), |r| v.range(r))) {
                    items.extend((from..to).map(Some));
                    ends.push(items.len());
                }
                let items = Box::new(v.items.take(&items));
                Values::List(Lists { ends, items })
            }
            Values::Picked(of, from) => {
                let rows: Vec<_> = rows.iter().map(|r| r.and_then(|r| from[r])).collect();
                return Self::picked(of, &rows.into());
            }
        };
        let absent = self.valid.is_some() || rows.iter().any(Option::is_none);
        let there = |r: &Option<usize>| r.is_some_and(|r| self.valid.as_ref().is_none_or(|v| v[r]));
        Self {
            values,
            valid: absent.then(|| rows.iter().map(there).collect()),
        }
    }
}

impl From<Values> for Column {
    fn from(values: Values) -> Self {
        Self { values, valid: None }
    }
}
