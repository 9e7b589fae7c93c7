//! Weights as a bundle stores them: neutral layout, storage precision.

use half::f16;

use crate::container::Dtype;
use crate::tensor::{Data, HostTensor};

/// Element type of a stored weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Half-precision float.
    F16,
    /// Float.
    F32,
    /// Integer.
    I32,
    /// Truth value, one byte, 0 or 1.
    Bool,
}

impl Storage {
    /// The name in the file's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::F32 => "F32",
            Self::I32 => "I32",
            Self::Bool => "BOOL",
        }
    }

    /// Bytes of an element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
        }
    }

    pub(super) fn dtype(self) -> Dtype {
        match self {
            Self::F16 => Dtype::F16,
            Self::F32 => Dtype::F32,
            Self::I32 => Dtype::I32,
            Self::Bool => Dtype::BOOL,
        }
    }

    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        [Self::F16, Self::F32, Self::I32, Self::Bool]
            .into_iter()
            .find(|s| s.dtype() == dtype)
    }
}

/// A dense row-major tensor as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Element type.
    pub storage: Storage,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements, little-endian; as many bytes as type and extents need.
    pub bytes: Vec<u8>,
}

impl StoredTensor {
    /// A weight in the storage type that mirrors its own: floats as F32.
    #[must_use]
    pub fn from_host(tensor: &HostTensor) -> Self {
        let (storage, bytes) = match &tensor.data {
            Data::F32(v) => (Storage::F32, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::I32(v) => (Storage::I32, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::Bool(v) => (Storage::Bool, v.iter().map(|x| u8::from(*x)).collect()),
        };
        Self {
            storage,
            shape: tensor.shape.clone(),
            bytes,
        }
    }

    /// A weight with its floats rounded to the nearest half, ties to even; other types as [`StoredTensor::from_host`].
    /// Whether the values fit is the caller's to know.
    #[must_use]
    pub fn from_host_as_f16(tensor: &HostTensor) -> Self {
        match &tensor.data {
            Data::F32(v) => Self {
                storage: Storage::F16,
                shape: tensor.shape.clone(),
                bytes: v.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            },
            Data::I32(_) | Data::Bool(_) => Self::from_host(tensor),
        }
    }

    /// The weight with the values that storage has left it, halves widened.
    #[must_use]
    pub fn to_host(&self) -> HostTensor {
        let data = match self.storage {
            Storage::F16 => Data::F32(self.elements(|b| f16::from_le_bytes(b).to_f32()).collect()),
            Storage::F32 => Data::F32(self.elements(f32::from_le_bytes).collect()),
            Storage::I32 => Data::I32(self.elements(i32::from_le_bytes).collect()),
            Storage::Bool => Data::Bool(self.bytes.iter().map(|b| *b != 0).collect()),
        };
        HostTensor {
            shape: self.shape.clone(),
            data,
        }
    }

    /// Why the bytes are not what type and extents promise, if they are not.
    pub(super) fn fault(&self) -> Option<String> {
        let expected = self
            .shape
            .iter()
            .try_fold(self.storage.size(), |n, e| n.checked_mul(*e));
        if expected != Some(self.bytes.len()) {
            let (name, shape, seen) = (self.storage.name(), &self.shape, self.bytes.len());
            return Some(format!("{name} {shape:?} does not take {seen} bytes"));
        }
        let odd = |b: &u8| self.storage == Storage::Bool && *b > 1;
        let at = self.bytes.iter().position(odd)?;
        Some(format!("element {at} is no truth value"))
    }

    fn elements<const N: usize, T>(&self, read: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
        self.bytes.as_chunks().0.iter().map(move |chunk| read(*chunk))
    }
}
