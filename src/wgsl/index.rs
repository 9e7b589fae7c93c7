//! Indices as sums of loop variables, so that reshapes, concats and 16-byte loads are decided while the shader is
//! written and not while it runs.

use std::rc::Rc;

/// A variable of the shader with a known exclusive bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Atom {
    /// Its name in the shader.
    pub(super) name: Rc<str>,
    /// It is always less than this.
    pub(super) bound: u32,
    /// Depth of the scope that defines it.
    pub(super) depth: usize,
}

/// `constant + sum of coefficient * atom`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ix {
    terms: Vec<(u32, Atom)>,
    constant: u32,
}

impl Ix {
    /// A number.
    pub(super) fn constant(c: u32) -> Self {
        Self {
            terms: Vec::new(),
            constant: c,
        }
    }

    /// A variable. One that can only be 0 is 0.
    pub(super) fn atom(a: Atom) -> Self {
        if a.bound <= 1 {
            Self::default()
        } else {
            Self {
                terms: vec![(1, a)],
                constant: 0,
            }
        }
    }

    /// A variable by name.
    pub(super) fn opaque(name: &str, bound: u32, depth: usize) -> Self {
        Self::atom(Atom {
            name: name.into(),
            bound,
            depth,
        })
    }

    /// The number, if it is one.
    pub(super) fn as_constant(&self) -> Option<u32> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// Least and greatest value.
    pub(super) fn range(&self) -> (u64, u64) {
        let least = u64::from(self.constant);
        (
            least,
            least
                + self
                    .terms
                    .iter()
                    .map(|(c, a)| u64::from(*c) * u64::from(a.bound - 1))
                    .sum::<u64>(),
        )
    }

    /// Whether every value is a multiple of `n`.
    pub(super) fn is_multiple(&self, n: u32) -> bool {
        self.constant.is_multiple_of(n) && self.terms.iter().all(|(c, _)| c.is_multiple_of(n))
    }

    /// The same of what depends on variables.
    pub(super) fn terms_are_multiples(&self, n: u32) -> bool {
        self.terms.iter().all(|(c, _)| c.is_multiple_of(n))
    }

    /// What does not depend on variables.
    pub(super) fn offset(&self) -> u32 {
        self.constant
    }

    /// The terms that are multiples of `n`, and the rest.
    pub(super) fn whole(&self, n: u32) -> (Self, Self) {
        let (whole, part): (Vec<_>, Vec<_>) = self.terms.iter().cloned().partition(|(c, _)| c % n == 0);
        let constant = self.constant % n;
        let whole = Self {
            terms: whole,
            constant: self.constant - constant,
        };
        (whole, Self { terms: part, constant })
    }

    /// Depth of the innermost scope it depends on.
    pub(super) fn depth(&self) -> usize {
        self.terms.iter().map(|(_, a)| a.depth).max().unwrap_or(0)
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.constant += other.constant;
        for (c, a) in &other.terms {
            match sum.terms.iter_mut().find(|(_, b)| a == b) {
                Some((d, _)) => *d += c,
                None => sum.terms.push((*c, a.clone())),
            }
        }
        sum
    }

    pub(super) fn plus_constant(&self, c: u32) -> Self {
        self.plus(&Self::constant(c))
    }

    /// Less a constant that is not above its least value.
    pub(super) fn minus_constant(&self, c: u32) -> Self {
        Self {
            constant: self.constant - c,
            ..self.clone()
        }
    }

    pub(super) fn times(&self, k: u32) -> Self {
        if k == 0 {
            return Self::default();
        }
        Self {
            terms: self.terms.iter().map(|(c, a)| (c * k, a.clone())).collect(),
            constant: self.constant * k,
        }
    }

    /// Divided by a number that it is a multiple of.
    pub(super) fn divided(&self, n: u32) -> Self {
        Self {
            terms: self.terms.iter().map(|(c, a)| (c / n, a.clone())).collect(),
            constant: self.constant / n,
        }
    }

    /// Quotient and remainder by `n` when both are sums again.
    pub(super) fn split(&self, n: u32) -> Option<(Self, Self)> {
        let (whole, rest) = self.whole(n);
        (rest.range().1 < u64::from(n)).then(|| (whole.divided(n), rest))
    }

    /// WGSL text, parenthesised where it is a sum or product.
    pub(super) fn text(&self) -> String {
        let mut parts: Vec<String> = self
            .terms
            .iter()
            .map(|(c, a)| {
                if *c == 1 {
                    a.name.to_string()
                } else {
                    format!("{} * {c}u", a.name)
                }
            })
            .collect();
        if self.constant > 0 || parts.is_empty() {
            parts.push(format!("{}u", self.constant));
        }
        match parts.as_slice() {
            [one] if !one.contains(' ') => one.clone(),
            _ => format!("({})", parts.join(" + ")),
        }
    }
}

/// Row-major position of an index.
pub(super) fn flat(shape: &[usize], ix: &[Ix]) -> Ix {
    let mut sum = Ix::default();
    for (&n, i) in shape.iter().zip(ix) {
        sum = sum.times(small(n)).plus(i);
    }
    sum
}

/// A size as the shader's integers have it.
pub(super) fn small(n: usize) -> u32 {
    u32::try_from(n).expect("per-row sizes are checked against 2^31 when the graph is placed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(name: &str, bound: u32) -> Ix {
        Ix::atom(Atom {
            name: name.into(),
            bound,
            depth: 0,
        })
    }

    #[test]
    fn a_flat_index_splits_back() {
        let (t, e) = (atom("t", 50), atom("e", 16).times(4));
        let f = flat(&[50, 64], &[t.clone(), e.clone()]);
        assert_eq!(f.split(64), Some((t, e.clone())));
        assert_eq!(f.split(32), None, "columns reach beyond 32");
        assert!(f.is_multiple(4));
        assert_eq!(f.range(), (0, 50 * 64 - 4));
        assert_eq!(e.plus_constant(3).text(), "(e * 4u + 3u)");
    }
}
