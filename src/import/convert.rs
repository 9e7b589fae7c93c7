//! From element types of files to those of graphs: exact or refused.

use std::fmt;
use std::path::Path;

use half::{bf16, f16};

use super::Error;
use crate::container::{Dtype, Entry};
use crate::ir::TensorType;
use crate::tensor::{DType, Data, HostTensor, Shape};

impl Entry {
    /// The type that a graph gives to this tensor, if it takes its element type at all.
    #[must_use]
    pub fn graph_type(&self) -> Option<TensorType> {
        let dtype = match self.dtype {
            Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 => DType::F32,
            Dtype::I32 | Dtype::I64 => DType::I32,
            Dtype::BOOL | Dtype::U8 => DType::Bool,
            _ => return None,
        };
        Some(TensorType::new(dtype, Shape::fixed(&self.extents())))
    }
}

/// A weight with elements that are infinite or no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// Name of the weight.
    pub tensor: String,
    /// How many such elements it has.
    pub count: usize,
    /// Row-major index of the first one.
    pub first: usize,
}

impl NonFinite {
    /// Counts them in a tensor, if there are any.
    #[must_use]
    pub fn find(name: &str, tensor: &HostTensor) -> Option<Self> {
        let elements = tensor.as_f32()?;
        let first = elements.iter().position(|x| !x.is_finite())?;
        Some(Self {
            tensor: name.to_owned(),
            count: elements[first..].iter().filter(|x| !x.is_finite()).count(),
            first,
        })
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, count, first } = self;
        write!(f, "tensor `{tensor}`: {count} elements, the first is element {first}")
    }
}

/// The tensor of a file's bytes.
///
/// # Errors
/// [`Error`] naming the element that a graph's type cannot hold, or the element type that no graph has.
pub(super) fn tensor(path: &Path, entry: &Entry, bytes: &[u8]) -> Result<HostTensor, Error> {
    let out_of_range = |index: usize, value: String, to| Error::OutOfRange {
        path: path.to_path_buf(),
        tensor: entry.name.clone(),
        index,
        value,
        to,
    };
    let data = match entry.dtype {
        Dtype::F32 => Data::F32(elements(bytes, f32::from_le_bytes)),
        Dtype::F16 => Data::F32(elements(bytes, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Data::F32(elements(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F64 => Data::F32(try_elements(bytes, f64::from_le_bytes, |index, x| {
            let near = x as f32;
            if near.is_infinite() && x.is_finite() {
                Err(out_of_range(index, x.to_string(), "f32"))
            } else {
                Ok(near)
            }
        })?),
        Dtype::I32 => Data::I32(elements(bytes, i32::from_le_bytes)),
        Dtype::I64 => Data::I32(try_elements(bytes, i64::from_le_bytes, |index, x| {
            i32::try_from(x).map_err(|_| out_of_range(index, x.to_string(), "i32"))
        })?),
        Dtype::BOOL | Dtype::U8 => Data::Bool(try_elements(bytes, u8::from_le_bytes, |index, x| match x {
            0 | 1 => Ok(x == 1),
            value => Err(Error::NotBool {
                path: path.to_path_buf(),
                tensor: entry.name.clone(),
                index,
                value,
            }),
        })?),
        seen => {
            return Err(Error::Dtype {
                path: path.to_path_buf(),
                tensor: entry.name.clone(),
                seen,
            });
        }
    };
    Ok(HostTensor {
        shape: entry.extents(),
        data,
    })
}

fn elements<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| read(*chunk)).collect()
}

fn try_elements<const N: usize, S, T>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> S,
    narrow: impl Fn(usize, S) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let chunks = bytes.as_chunks().0.iter().enumerate();
    chunks.map(|(i, chunk)| narrow(i, read(*chunk))).collect()
}
