//! Element types of values in a graph.

use std::fmt;

/// Element type of a value. Storage precision (f16, bf16, f64 in files) is not a type of the graph:
/// a weight is `f32` here whatever its file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 32-bit signed integer: ids, positions, lengths.
    I32,
    /// Truth value; four bytes on a device, one in files.
    Bool,
}

impl DType {
    /// The name used in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::Bool => "bool",
        }
    }

    /// The type that `name` spells, if any.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::F32, Self::I32, Self::Bool]
            .into_iter()
            .find(|d| d.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
