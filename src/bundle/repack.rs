//! From the neutral layout of a bundle to the one that a kernel reads: one index formula per layout.

use half::f16;

use super::{Error, Layout, Storage, StoredTensor};

/// The rows of a tensor as one matrix: all axes before the last one are one.
struct Matrix {
    /// First element.
    first: usize,
    k: usize,
    n: usize,
}

impl Matrix {
    /// `rows` of the leading axis from `first_row` on. A vector is a single row, of which this takes a part; a scalar
    /// is a vector of one.
    fn of(shape: &[usize], first_row: u64, rows: u64) -> Option<Self> {
        let extent = *shape.first().unwrap_or(&1) as u64;
        if first_row.checked_add(rows)? > extent {
            return None;
        }
        let (first_row, rows) = (usize::try_from(first_row).ok()?, usize::try_from(rows).ok()?);
        let stride = shape.iter().skip(1).try_fold(1usize, |n, e| n.checked_mul(*e))?;
        Some(match shape {
            [] | [_] => Self {
                first: first_row,
                k: 1,
                n: rows,
            },
            [.., n] => Self {
                first: first_row.checked_mul(stride)?,
                k: rows.checked_mul(stride)? / (*n).max(1),
                n: *n,
            },
        })
    }

    /// Elements read one by one and put where they go, the rest zero.
    fn arranged<T: Copy + Default>(&self, layout: Layout, padded: usize, read: impl Fn(usize) -> T) -> Vec<T> {
        let mut out = vec![T::default(); padded];
        for k in 0..self.k {
            for n in 0..self.n {
                out[self.target(layout, k, n)] = read(self.first + k * self.n + n);
            }
        }
        out
    }

    fn len(&self) -> usize {
        self.k * self.n
    }

    /// Elements, padding included, and whether they are halves.
    fn padded(&self, layout: Layout) -> (usize, bool) {
        let rows = self.k * self.n.next_multiple_of(8);
        let blocks = |high: usize| self.n.div_ceil(16) * self.k.div_ceil(high) * high * 16;
        match layout {
            Layout::Words => (self.len().next_multiple_of(4), false),
            Layout::Halves => (self.len().next_multiple_of(8), true),
            Layout::RowsWords => (rows, false),
            Layout::RowsHalves => (rows, true),
            Layout::BlocksHalves => (blocks(4), true),
            Layout::BlocksWords => (blocks(4), false),
            Layout::SquaresHalves => (blocks(16), true),
        }
    }

    /// Where the element of row `k` and column `n` goes.
    fn target(&self, layout: Layout, k: usize, n: usize) -> usize {
        match layout {
            Layout::Words | Layout::Halves => k * self.n + n,
            Layout::RowsWords | Layout::RowsHalves => k * self.n.next_multiple_of(8) + n,
            // A block is 4 rows of 16 columns; lane `2 (k % 4) + n % 16 / 8` holds 8 columns, so it is row-major.
            Layout::BlocksHalves | Layout::BlocksWords => self.in_blocks(4, k, n),
            Layout::SquaresHalves => self.in_blocks(16, k, n),
        }
    }

    /// The place of an element in blocks of so many rows by 16 columns.
    fn in_blocks(&self, high: usize, k: usize, n: usize) -> usize {
        (n / 16 * self.k.div_ceil(high) + k / high) * high * 16 + k % high * 16 + n % 16
    }
}

/// 16-byte words that `rows` of the leading axis take; `None` when a tensor of this shape has no such rows.
#[must_use]
pub fn repacked_words(shape: &[usize], layout: Layout, first_row: u64, rows: u64) -> Option<u64> {
    let (elements, halves) = Matrix::of(shape, first_row, rows)?.padded(layout);
    Some(elements as u64 / if halves { 8 } else { 4 })
}

/// `rows` of a tensor's leading axis from `first_row` on, arranged as `layout` says, in words of 4 bytes; whole 16-byte
/// words. Floats are widened or rounded to the nearest half, ties to even.
///
/// # Errors
/// [`Error::Tensor`] when there are no such rows, or when integers or truth values should become halves.
pub fn repack(tensor: &StoredTensor, layout: Layout, first_row: u64, rows: u64) -> Result<Vec<u32>, Error> {
    let refused = |why: String| Error::Tensor {
        tensor: format!("{} {:?}", tensor.storage.name(), tensor.shape),
        why,
    };
    if let Some(why) = tensor.fault() {
        return Err(refused(why));
    }
    let matrix = Matrix::of(&tensor.shape, first_row, rows)
        .ok_or_else(|| refused(format!("no {rows} rows from {first_row} on")))?;
    let (padded, halves) = matrix.padded(layout);
    let bytes = tensor.bytes.as_slice();
    match (tensor.storage, halves) {
        (Storage::F16, true) => Ok(pairs(
            &matrix.arranged(layout, padded, |i| u16::from_le_bytes(at(bytes, i))),
        )),
        (Storage::F32, true) => Ok(pairs(&matrix.arranged(layout, padded, |i| {
            f16::from_f32(f32::from_le_bytes(at(bytes, i))).to_bits()
        }))),
        (Storage::I32 | Storage::Bool, true) => Err(refused(format!("{layout:?} holds floats alone"))),
        (Storage::F16, false) => {
            Ok(matrix.arranged(layout, padded, |i| f16::from_le_bytes(at(bytes, i)).to_f32().to_bits()))
        }
        (Storage::F32 | Storage::I32, false) => {
            Ok(matrix.arranged(layout, padded, |i| u32::from_le_bytes(at(bytes, i))))
        }
        (Storage::Bool, false) => Ok(matrix.arranged(layout, padded, |i| u32::from(bytes[i]))),
    }
}

/// The bytes of element `i`.
fn at<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
    bytes.as_chunks().0[i]
}

/// Two halves a word, the first one low.
fn pairs(halves: &[u16]) -> Vec<u32> {
    let words = halves.as_chunks().0.iter();
    words
        .map(|[low, high]| u32::from(*low) | u32::from(*high) << 16)
        .collect()
}
