//! Shapes whose sizes are numbers or multiples of the batch.

use std::fmt;

/// One extent: a number, or a multiple of a size known only when a batch arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// A number.
    Fixed(usize),
    /// `k * rows`; rows are candidates or impressions.
    Rows(usize),
    /// `k * requests`.
    Requests(usize),
}

/// The symbolic sizes of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Candidates, impressions or users in the batch.
    pub rows: usize,
    /// Requests in the batch.
    pub requests: usize,
}

impl Sizes {
    /// One row of one request: the sizes at which a row-local graph shows what happens to a row.
    pub const ONE: Self = Self { rows: 1, requests: 1 };
}

impl Dim {
    /// Whether the extent depends on the batch.
    #[must_use]
    pub fn is_symbolic(self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    /// The number itself, or the factor before `rows` or `requests`.
    #[must_use]
    pub fn factor(self) -> usize {
        match self {
            Self::Fixed(n) | Self::Rows(n) | Self::Requests(n) => n,
        }
    }

    /// The extent in a batch of these sizes.
    #[must_use]
    pub fn at(self, sizes: Sizes) -> usize {
        match self {
            Self::Fixed(n) => n,
            Self::Rows(k) => k * sizes.rows,
            Self::Requests(k) => k * sizes.requests,
        }
    }

    /// The same kind of extent with another factor.
    #[must_use]
    pub fn with_factor(self, n: usize) -> Self {
        match self {
            Self::Fixed(_) => Self::Fixed(n),
            Self::Rows(_) => Self::Rows(n),
            Self::Requests(_) => Self::Requests(n),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (k, name) = match text.split_once('*') {
            Some((k, name)) => (k.parse().ok().filter(|k| *k > 1)?, name),
            None => match text.parse() {
                Ok(n) => return Some(Self::Fixed(n)),
                Err(_) => (1, text),
            },
        };
        match name {
            "rows" => Some(Self::Rows(k)),
            "requests" => Some(Self::Requests(k)),
            _ => None,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (k, name) = match *self {
            Self::Fixed(n) => return write!(f, "{n}"),
            Self::Rows(k) => (k, "rows"),
            Self::Requests(k) => (k, "requests"),
        };
        if k == 1 {
            f.write_str(name)
        } else {
            write!(f, "{k}*{name}")
        }
    }
}

/// Extents of a value, outermost first; at most one is symbolic (`infer` sees to it).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A shape of plain numbers.
    #[must_use]
    pub fn fixed(extents: &[usize]) -> Self {
        Self(extents.iter().map(|&n| Dim::Fixed(n)).collect())
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The symbolic axis and its extent, if there is one.
    #[must_use]
    pub fn symbolic(&self) -> Option<(usize, Dim)> {
        self.0.iter().copied().enumerate().find(|(_, d)| d.is_symbolic())
    }

    /// The extents in a batch of these sizes.
    #[must_use]
    pub fn at(&self, sizes: Sizes) -> Vec<usize> {
        self.0.iter().map(|d| d.at(sizes)).collect()
    }

    /// Number of elements in a batch of these sizes.
    #[must_use]
    pub fn numel(&self, sizes: Sizes) -> usize {
        self.0.iter().map(|d| d.at(sizes)).product()
    }

    /// Extents of what one row (or one request) holds: the symbolic extent becomes its factor.
    #[must_use]
    pub fn per_row(&self) -> Vec<usize> {
        self.at(Sizes::ONE)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}
