//! What variants are called, and how exact a precision is.

use super::{Precision, Rung, Variant};

impl Rung {
    /// All, most capable first.
    pub const ALL: [Self; 3] = [Self::Native, Self::Packed, Self::F32];

    /// Its name, as `--variant` and reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Packed => "packed",
            Self::F32 => "f32",
        }
    }
}

impl Variant {
    /// `PROFILE/RUNG`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.profile, self.rung.name())
    }
}

impl Precision {
    /// Greatest error that is to be expected of an output, over its greatest absolute value.
    #[must_use]
    pub fn tolerance(self) -> f64 {
        match self {
            Self::F16 => 5e-3,
            Self::F32 => 2e-5,
        }
    }
}
