//! Weights in panels: columns in groups of [`WIDTH`], each group row-major by itself.
//!
//! A panel is what the kernels of `gemm` go through line by line, so that nothing is copied before it is multiplied by, as
//! `gemm` does with wider matrices in every call. It makes that copy, too, for products of more rows than
//! [`ROWS_AT_ONCE`].

use super::view::View;

/// Columns of a panel: four vectors, the most that a kernel of `gemm` takes.
pub(super) const WIDTH: usize = 64;
/// Rows of the first operand in a call: `gemm` copies the second one for more than eight times the six rows of its kernels.
pub(super) const ROWS_AT_ONCE: usize = 48;

/// The words of a matrix, in panels.
pub(super) fn lay(words: &[u32], matrix: &View) -> Vec<u32> {
    let [k, n] = matrix.shape[..] else {
        unreachable!("panels are made of matrices")
    };
    let [row, column] = matrix.strides[..] else {
        unreachable!("panels are made of matrices")
    };
    let mut laid = Vec::with_capacity(k * n);
    for first in (0..n).step_by(WIDTH) {
        for i in 0..k {
            let columns = first..(first + WIDTH).min(n);
            laid.extend(columns.map(|j| words[matrix.offset + i * row + j * column]));
        }
    }
    laid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::view::Buffer;

    #[test]
    fn columns_in_groups() {
        let (k, n) = (3, WIDTH + 2);
        let words: Vec<u32> = (0..).take(k * n).collect();
        let transposed = View::dense(Buffer::Slot(0), &[n, k]).permuted(&[1, 0]);
        let laid = lay(&words, &transposed);
        let at = |i: usize, j: usize| (j * k + i) as u32;
        assert_eq!((laid.len(), laid[1], laid[WIDTH]), (k * n, at(0, 1), at(1, 0)));
        // The last panel is narrower.
        assert_eq!(
            laid[k * WIDTH..],
            [at(0, 64), at(0, 65), at(1, 64), at(1, 65), at(2, 64), at(2, 65)]
        );
    }
}
