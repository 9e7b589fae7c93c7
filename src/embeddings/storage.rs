//! How an embedding's elements are stored.

use half::f16;
use serde::{Deserialize, Serialize};

use super::Error;

/// What is kept of each element. Rows begin at a byte; a row of half bytes holds the first element in the lower half of its first
/// byte, and the last byte's upper half is 0 where the width is odd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "dtype", rename_all = "lowercase", deny_unknown_fields)]
pub enum Storage {
    /// All of it, little-endian.
    F32,
    /// The nearest half, little-endian; of zeros the positive one.
    F16,
    /// A signed byte: `clamp(round(x * (1 / scale)), -127, 127)`, ties to even.
    /// Not `x / scale`: devices round products correctly, and quotients each in their way.
    Int8 {
        /// What a step of one stands for.
        scale: f32,
    },
    /// `clamp(round(8x), -8, 7)`, ties to even, stored with 8 added: for elements of -1..1.
    Int4,
    /// Which of 16 centres is nearest, of two as near the lower one.
    KMeans4 {
        /// Ascending.
        centres: [f32; 16],
    },
}

impl Storage {
    /// The name under which files and commands know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 { .. } => "int8",
            Self::Int4 => "int4",
            Self::KMeans4 { .. } => "kmeans4",
        }
    }

    /// Bytes of a row of `width` elements.
    #[must_use]
    pub fn row_bytes(&self, width: usize) -> usize {
        match self {
            Self::F32 => 4 * width,
            Self::F16 => 2 * width,
            Self::Int8 { .. } => width,
            Self::Int4 | Self::KMeans4 { .. } => width.div_ceil(2),
        }
    }

    /// What the sixteen codes of half a byte stand for, where there are such.
    #[must_use]
    pub fn table(&self) -> Option<[f32; 16]> {
        match self {
            Self::F32 | Self::F16 | Self::Int8 { .. } => None,
            Self::Int4 => Some(std::array::from_fn(|code| (code as f32 - 8.0) / 8.0)),
            Self::KMeans4 { centres } => Some(*centres),
        }
    }

    /// The fifteen bounds between neighbouring centres: an element's code is how many of them are below it.
    #[must_use]
    pub fn bounds(centres: &[f32; 16]) -> [f32; 15] {
        std::array::from_fn(|i| (f64::midpoint(centres[i].into(), centres[i + 1].into())) as f32)
    }

    /// Whether scale and centres can be worked with.
    ///
    /// # Errors
    /// Naming the one that cannot.
    pub fn check(&self) -> Result<(), Error> {
        let setting = |name, seen, expected| Err(Error::Setting { name, seen, expected });
        match self {
            Self::Int8 { scale } if !(scale.is_normal() && *scale > 0.0) => {
                setting("scale", format!("{scale:?}"), "a positive number")
            }
            Self::KMeans4 { centres } if !(centres.iter().all(|c| c.is_finite()) && centres.is_sorted()) => {
                setting("centres", format!("{centres:?}"), "finite and ascending")
            }
            _ => Ok(()),
        }
    }

    /// Appends the codes of `values`, rows of `width` each.
    ///
    /// # Errors
    /// Naming row and element of the first value that is not finite, or beyond the halves.
    pub fn encode(&self, values: &[f32], width: usize, codes: &mut Vec<u8>) -> Result<(), Error> {
        let limit = if *self == Self::F16 { 65_519.99 } else { f32::MAX };
        // A NaN is within no bounds.
        if let Some(at) = values.iter().position(|x| !(-limit..=limit).contains(x)) {
            return Err(Error::Value {
                row: at / width,
                element: at % width,
                seen: values[at],
                storage: self.name(),
            });
        }
        codes.reserve(values.len() / width.max(1) * self.row_bytes(width));
        match self {
            Self::F32 => codes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
            Self::F16 => codes.extend(values.iter().flat_map(|x| half(*x).to_le_bytes())),
            Self::Int8 { scale } => {
                let steps = 1.0 / scale;
                let code = |x: &f32| (x * steps).round_ties_even().clamp(-127.0, 127.0) as i8;
                codes.extend(values.iter().map(|x| code(x).cast_unsigned()));
            }
            Self::Int4 => {
                let code = |x: f32| (8.0 * x).round_ties_even().clamp(-8.0, 7.0) as i8;
                pack(values, width, codes, |x| (code(x) + 8).cast_unsigned());
            }
            Self::KMeans4 { centres } => {
                let bounds = Self::bounds(centres);
                pack(values, width, codes, |x| bounds.iter().map(|b| u8::from(x > *b)).sum());
            }
        }
        Ok(())
    }

    /// Refuses codes of halves that stand for no number, as a device makes them of elements beyond the halves.
    ///
    /// # Errors
    /// As [`Storage::encode`].
    pub fn check_codes(&self, codes: &[u8], width: usize) -> Result<(), Error> {
        if *self != Self::F16 {
            return Ok(());
        }
        let halves = || codes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b));
        match halves().position(|h| !h.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::Value {
                row: at / width.max(1),
                element: at % width.max(1),
                seen: halves().nth(at).unwrap_or(f16::NAN).to_f32(),
                storage: self.name(),
            }),
        }
    }

    /// What the codes of rows of `width` elements stand for.
    #[must_use]
    pub fn decode(&self, codes: &[u8], width: usize) -> Vec<f32> {
        let mut values = vec![0.0; codes.len() / self.row_bytes(width).max(1) * width];
        let decoder = Decoder::new(self);
        let rows = codes.chunks_exact(self.row_bytes(width).max(1));
        for (row, out) in rows.zip(values.chunks_exact_mut(width.max(1))) {
            decoder.row(row, out);
        }
        values
    }
}

/// The nearest half, of zeros the positive one.
fn half(x: f32) -> f16 {
    let half = f16::from_f32(x);
    if half == f16::ZERO { f16::ZERO } else { half }
}

/// Two codes a byte.
fn pack(values: &[f32], width: usize, codes: &mut Vec<u8>, code: impl Fn(f32) -> u8) {
    for row in values.chunks_exact(width.max(1)) {
        let byte = |pair: &[f32]| code(pair[0]) | pair.get(1).map_or(0, |x| code(*x) << 4);
        codes.extend(row.chunks(2).map(byte));
    }
}

/// Decodes row after row.
#[derive(Clone, Debug)]
pub struct Decoder {
    storage: Storage,
    /// Both elements of a byte, where two share one.
    pairs: Vec<[f32; 2]>,
}

impl Decoder {
    /// For rows so stored.
    #[must_use]
    pub fn new(storage: &Storage) -> Self {
        let pair = |table: [f32; 16]| move |byte: usize| [table[byte & 15], table[byte >> 4]];
        let pairs = storage
            .table()
            .map_or(Vec::new(), |table| (0..256).map(pair(table)).collect());
        Self {
            storage: storage.clone(),
            pairs,
        }
    }

    /// The first elements of a row, as many as `out` holds.
    pub fn row(&self, codes: &[u8], out: &mut [f32]) {
        match &self.storage {
            Storage::F32 => {
                let elements = codes.as_chunks().0.iter();
                out.iter_mut()
                    .zip(elements)
                    .for_each(|(x, b)| *x = f32::from_le_bytes(*b));
            }
            Storage::F16 => {
                let elements = codes.as_chunks().0.iter();
                let half = |b: &[u8; 2]| f16::from_le_bytes(*b).to_f32();
                out.iter_mut().zip(elements).for_each(|(x, b)| *x = half(b));
            }
            Storage::Int8 { scale } => {
                let number = |byte: &u8| f32::from(byte.cast_signed()) * scale;
                out.iter_mut().zip(codes).for_each(|(x, byte)| *x = number(byte));
            }
            Storage::Int4 | Storage::KMeans4 { .. } => {
                for (pair, byte) in out.chunks_mut(2).zip(codes) {
                    pair.copy_from_slice(&self.pairs[usize::from(*byte)][..pair.len()]);
                }
            }
        }
    }
}
