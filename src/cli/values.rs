//! Values that flags take.

use std::str::FromStr;

use clap::ValueEnum;

use crate::bundle::{Precision, Rung};
use crate::fuse::Profile;
use crate::run::{AdapterQuery, VariantChoice};

/// Kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum DeviceArg {
    #[default]
    Auto,
    Gpu,
    Cpu,
}

/// Storage of weights.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PrecisionArg {
    F16,
    F32,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F16 => Self::F16,
            PrecisionArg::F32 => Self::F32,
        }
    }
}

/// A set of kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VariantArg(pub(super) VariantChoice);

impl FromStr for VariantArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rung = |name: &str| Rung::ALL.into_iter().find(|r| r.name() == name);
        let unknown = |name: &str| format!("`{name}` is no rung: native, packed, f32");
        let (profile, rung) = match text.split_once('/') {
            Some((profile, name)) => (Some(profile), Some(rung(name).ok_or_else(|| unknown(name))?)),
            None => match rung(text) {
                Some(rung) => (None, Some(rung)),
                None => (Some(text), None),
            },
        };
        Ok(Self(VariantChoice {
            profile: profile.map(str::to_owned),
            rung,
        }))
    }
}

pub(super) fn profile(name: &str) -> Result<&'static Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let known: Vec<&str> = Profile::ALL.iter().chain(Profile::ON_REQUEST).map(|p| p.name).collect();
        format!("profiles are {}", known.join(", "))
    })
}

pub(super) fn adapter(text: &str) -> Result<AdapterQuery, String> {
    match text.parse() {
        Ok(index) => Ok(AdapterQuery::Index(index)),
        Err(_) if text.is_empty() => Err("a name or an index".into()),
        Err(_) => Ok(AdapterQuery::Name(text.to_owned())),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let fits = |s: &f64| (0.0..=86_400.0).contains(s);
    text.parse()
        .ok()
        .filter(fits)
        .ok_or_else(|| "0 to 86400 seconds".into())
}

pub(super) fn bound(text: &str) -> Result<f64, String> {
    let fits = |x: &f64| *x >= 0.0;
    text.parse()
        .ok()
        .filter(fits)
        .ok_or_else(|| "a number from 0 on".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants() {
        let parsed = |text: &str| text.parse::<VariantArg>().map(|v| (v.0.profile, v.0.rung));
        assert_eq!(parsed("packed"), Ok((None, Some(Rung::Packed))));
        assert_eq!(parsed("portable"), Ok((Some("portable".into()), None)));
        assert_eq!(parsed("portable/f32"), Ok((Some("portable".into()), Some(Rung::F32))));
        assert!(parsed("portable/f64").is_err());
    }
}

/// A variant by its key.
#[cfg(all(feature = "data", feature = "train"))]
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyArg(pub(super) crate::pipeline::Variant);

#[cfg(all(feature = "data", feature = "train"))]
impl FromStr for KeyArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use crate::pipeline::Variant;
        let known = || Variant::ALL.map(Variant::key).join(", ");
        let found = Variant::ALL.into_iter().find(|v| v.key() == text);
        found.map(Self).ok_or_else(|| format!("known are {}", known()))
    }
}
