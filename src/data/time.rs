//! Event time: units that are declared or typed, never guessed; calendar days at an offset from UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;

/// Events are of the years 1990 to 2099: what lies outside is a unit mistaken.
const PLAUSIBLE: std::ops::Range<i64> = 631_152_000_000..4_102_444_800_000;

/// What an integer of a time column counts since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// Days: dates of Parquet files alone.
    #[serde(skip)]
    Day,
}

impl Unit {
    const COUNTED: [Self; 4] = [Self::S, Self::Ms, Self::Us, Self::Ns];

    /// Milliseconds, rounded to the past; `None` beyond i64.
    #[must_use]
    pub fn to_ms(self, count: i64) -> Option<i64> {
        match self {
            Self::Day => count.checked_mul(DAY),
            Self::S => count.checked_mul(1000),
            Self::Ms => Some(count),
            Self::Us => Some(count.div_euclid(1_000)),
            Self::Ns => Some(count.div_euclid(1_000_000)),
        }
    }

    /// The unit with which a count is a plausible time.
    fn of(count: i64) -> Option<Self> {
        let fits = |u: &Self| u.to_ms(count).is_some_and(|ms| PLAUSIBLE.contains(&ms));
        Self::COUNTED.into_iter().find(fits)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S => "s",
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
            Self::Day => "days",
        })
    }
}

/// What is wrong with milliseconds that `count` in `unit` is, if anything is.
pub(super) fn implausible(ms: i64, count: i64, unit: Unit) -> Option<String> {
    if PLAUSIBLE.contains(&ms) {
        return None;
    }
    let with = match Unit::of(count) {
        Some(other) if other != unit => {
            format!(
                "; with unit = \"{other}\" it would be {}",
                moment(other.to_ms(count).unwrap_or(0))
            )
        }
        _ => String::new(),
    };
    Some(format!(
        "between 1990 and 2100: in {unit} it is {}{with} (`plausible = false` takes any time)",
        moment(ms)
    ))
}

/// An offset from UTC, such as `+08:00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(i64);

impl Offset {
    /// Milliseconds to add to UTC.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.0
    }

    /// The calendar date of a time, such as 20220425.
    #[must_use]
    pub fn day(self, ms: i64) -> i32 {
        let (year, month, day) = civil(self.local(ms).div_euclid(DAY));
        (year.clamp(-200_000, 200_000) * 10_000 + month * 100 + day) as i32
    }

    /// The hour of the day, 0 to 23.
    #[must_use]
    pub fn hour(self, ms: i64) -> i32 {
        (self.local(ms).rem_euclid(DAY) / 3_600_000) as i32
    }

    /// The day of the week, Monday 0 to Sunday 6.
    #[must_use]
    pub fn weekday(self, ms: i64) -> i32 {
        // 1 January 1970 was a Thursday.
        (self.local(ms).div_euclid(DAY) + 3).rem_euclid(7) as i32
    }

    fn local(self, ms: i64) -> i64 {
        ms.saturating_add(self.0)
    }
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            if text == "Z" {
                return Some(0);
            }
            let (sign, rest) = match text.split_at_checked(1)? {
                ("+", rest) => (1, rest),
                ("-", rest) => (-1, rest),
                _ => return None,
            };
            let (h, m) = rest.split_once(':')?;
            let (h, m) = (digits(h, 2)?, digits(m, 2)?);
            (h <= 14 && m < 60).then_some(sign * (h * 60 + m) * 60_000)
        };
        let refused = || format!("{text:?} is no offset from UTC such as \"+08:00\"");
        parsed().map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.abs() / 60_000;
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Serialize for Offset {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Days from one to another, both included, such as `20220425..20220504`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// First day.
    pub first: i32,
    /// Last day.
    pub last: i32,
}

impl Days {
    /// Whether `day` is one of them.
    #[must_use]
    pub fn contains(self, day: i32) -> bool {
        (self.first..=self.last).contains(&day)
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let day = |text: &str| date(text).map(|d| Offset(0).day(d * DAY));
        match (day(first), day(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?} is no range of days such as 20220425..20220504")),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}

impl Serialize for Days {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Days since 1970 of `20220425` or `2022-04-25`.
pub(super) fn date(text: &str) -> Option<i64> {
    let (year, month, day) = match text.len() {
        8 => (text.get(..4)?, text.get(4..6)?, text.get(6..)?),
        10 => {
            let mut parts = text.split('-');
            (parts.next()?, parts.next()?, parts.next()?)
        }
        _ => return None,
    };
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let days = days(year, month, day);
    // A day that no month has comes back as another one.
    ((1..=12).contains(&month) && civil(days) == (year, month, day)).then_some(days)
}

/// Milliseconds of `2022-04-25T10:00:00.5+08:00`: blank or `T` between date and time, seconds and their fraction may be
/// absent; at `offset` where none is given.
pub(super) fn iso(text: &str, offset: Offset) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = date(day)?.checked_mul(DAY)?;
    let Some(rest) = rest.strip_prefix(['T', ' ']) else {
        return rest.is_empty().then(|| day - offset.ms());
    };
    let at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(at);
    let offset = if zone.is_empty() { offset } else { zone.parse().ok()? };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(|p| digits(p, 2));
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let whole = parts.next().is_none() && h < 24 && m < 60 && s < 60;
    let sound = whole && fraction.len() <= 9 && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    sound.then_some(day + ((h * 60 + m) * 60 + s) * 1000 + ms - offset.ms())
}

/// A time as text, in UTC.
pub(super) fn moment(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY));
    let of_day = ms.rem_euclid(DAY) / 1000;
    let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02} UTC")
}

fn digits(text: &str, n: usize) -> Option<i64> {
    (text.len() == n && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Year, month and day of a day since 1970 (Hinnant's algorithm: years begin in March, eras of 400 of them).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * march + 2) / 5 + 1, (march + 2) % 12 + 1);
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_back() {
        for day in (-800_000..800_000).step_by(37) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
        assert_eq!(civil(19_107), (2022, 4, 25));
        assert_eq!(date("2022-02-29"), None);
        assert_eq!(date("20240229"), Some(19_782));
        assert_eq!(date("2022-13-01"), None);
    }

    #[test]
    fn times_at_an_offset() {
        let china: Offset = "+08:00".parse().expect("an offset");
        let ms = 1_650_812_741_436; // a Sunday
        assert_eq!((china.day(ms), china.hour(ms), china.weekday(ms)), (20_220_424, 23, 6));
        assert_eq!(
            (china.day(ms + 3_600_000), china.weekday(ms + 3_600_000)),
            (20_220_425, 0)
        );
        assert_eq!(Offset::default().day(ms), 20_220_424);
        assert_eq!(iso("2022-04-24T15:05:41.436Z", china), Some(ms));
        assert_eq!(iso("2022-04-24 23:05:41.436", china), Some(ms));
        assert_eq!(iso("2022-04-24 23:05", china), Some(ms - 41_436));
        for bad in [
            "2022-04-24x",
            "2022-04-24 24:00",
            "2022-04-24 1:00",
            "2022-04-24 01:00:00.",
            "é022-04-24 ",
            "2022-04-24 01:00:00.12é",
        ] {
            assert_eq!(iso(bad, china), None, "{bad}");
        }
        assert!("+8".parse::<Offset>().is_err());
    }

    #[test]
    fn a_mistaken_unit_is_named() {
        let seconds = 1_650_812_741;
        let why = implausible(seconds, seconds, Unit::Ms).expect("1970");
        assert!(why.contains("unit = \"s\""), "{why}");
        assert_eq!(implausible(seconds * 1000, seconds, Unit::S), None);
    }
}
