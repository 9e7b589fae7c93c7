//! Ids: integers and texts, told apart by what they say and not by how a file stores them.

use std::fmt;

/// An id as it is counted, looked up and hashed. The integer 12 and the text `12` are one id, so that a CSV file and a
/// Parquet file of the same log give the same rows; `012`, `+12` and `12.0` are texts of their own. Integers beyond i64
/// are their decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id<'a> {
    /// An integer.
    Int(i64),
    /// Anything else.
    Text(&'a str),
}

impl<'a> Id<'a> {
    /// The id that a text is.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        // Nineteen digits and a sign are the longest i64.
        let canonical = match text.as_bytes() {
            [b'0'] => true,
            [b'-', b'1'..=b'9', rest @ ..] | [b'1'..=b'9', rest @ ..] => {
                rest.len() <= 18 && rest.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        };
        match canonical.then(|| text.parse()) {
            Some(Ok(i)) => Self::Int(i),
            _ => Self::Text(text),
        }
    }

    /// 64 bits of the id under a seed: FNV-1a over the bytes of its decimal or own text, from the offset basis xor the
    /// seed, finished as SplitMix64 does. Of the id alone: the same on every machine and in every version.
    #[must_use]
    pub fn hash(&self, seed: u64) -> u64 {
        let start = 0xcbf2_9ce4_8422_2325 ^ seed;
        match self {
            Self::Text(t) => mixed(fnv(start, t.as_bytes())),
            Self::Int(i) => {
                let mut digits = [0; 20];
                let mut at = digits.len();
                let mut rest = i.unsigned_abs();
                loop {
                    at -= 1;
                    digits[at] = b'0' + (rest % 10) as u8;
                    rest /= 10;
                    if rest == 0 {
                        break;
                    }
                }
                let start = if *i < 0 { fnv(start, b"-") } else { start };
                mixed(fnv(start, &digits[at..]))
            }
        }
    }

    /// The hash that stands for a user in histories and embedding logs: seed 0, never 0.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.hash(0).max(1)
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(i) => write!(f, "{i}"),
            Self::Text(t) => write!(f, "{t:?}"),
        }
    }
}

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finaliser of SplitMix64: every bit of the argument reaches every bit of the result.
fn mixed(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_integers_are_integers() {
        assert_eq!(Id::of("12"), Id::Int(12));
        assert_eq!(Id::of("-9223372036854775808"), Id::Int(i64::MIN));
        assert_eq!(Id::of("0"), Id::Int(0));
        for text in ["", "-", "012", "-0", "+1", "1.0", " 1", "9223372036854775808", "1_0"] {
            assert_eq!(Id::of(text), Id::Text(text));
        }
    }

    #[test]
    fn hashes_are_for_ever() {
        assert_eq!(Id::Int(-120).hash(7), Id::Text("-120").hash(7));
        assert_eq!(Id::Int(0).hash(0), mixed(fnv(0xcbf2_9ce4_8422_2325, b"0")));
        // FNV-1a of "a" as published.
        assert_eq!(fnv(0xcbf2_9ce4_8422_2325, b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
