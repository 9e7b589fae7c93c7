//! Matrix products on strided operands, by the `gemm` crate.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::lanes::{LANES, Lane};
use super::memory::{Memory, Words};
use super::panels::{ROWS_AT_ONCE, WIDTH};
use super::view::{Buffer, Loops, View, collapse};

/// A window that holds one matrix.
#[derive(Debug)]
struct Matrix {
    buffer: Buffer,
    offset: usize,
    row: usize,
    column: usize,
}

/// Products of `[m, k]` and `[k, n]` over leading loops.
#[derive(Debug)]
pub(super) struct MatMul {
    loops: Loops<3>,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix,
    /// Whether the second operand lies in panels.
    in_panels: bool,
    y: Matrix,
    /// Whether nothing else runs meanwhile.
    is_alone: bool,
}

impl MatMul {
    /// `y [.., m, n] = a [.., m, k] b`, with `b` of rank 2 (then perhaps in panels) or with the leading axes of `a`.
    pub(super) fn new(a: &View, (b, in_panels): (&View, bool), y: &View, is_alone: bool) -> Self {
        let lead = a.shape.len() - 2;
        let (m, k, n) = (a.shape[lead], a.shape[lead + 1], y.shape[lead + 1]);
        let mut batched = y.shape.clone();
        batched[lead..].copy_from_slice(&b.shape[b.shape.len() - 2..]);
        let b = b.broadcast(&batched);
        let mut axes = collapse(
            &a.shape[..=lead],
            &[
                &a.strides[..=lead],
                &[&b.strides[..lead], &[0]].concat(),
                &y.strides[..=lead],
            ],
        );
        // The last loop is over rows (of several leading indices where the second operand is shared and strides allow).
        // One row each: a leading loop serves, if all its indices share the second operand.
        let rows = axes.pop_if(|axis| m != 1 || axis.strides[1] == 0);
        let (m, row_a, row_y) = rows.map_or((1, 0, 0), |axis| (axis.extent, axis.strides[0], axis.strides[2]));
        let matrix = |v: &View, (rows, columns): (usize, usize), row: usize| Matrix {
            buffer: v.buffer,
            offset: v.offset,
            // The stride of a single row or column is never used, but kernels are chosen by it.
            row: if rows == 1 { columns } else { row },
            column: if columns == 1 { 1 } else { v.strides[lead + 1] },
        };
        Self {
            loops: Loops::new(&axes),
            m,
            n,
            k,
            a: matrix(a, (m, k), row_a),
            b: match in_panels {
                false => matrix(&b, (k, n), b.strides[lead]),
                true => Matrix {
                    buffer: b.buffer,
                    offset: b.offset,
                    row: n.min(WIDTH),
                    column: 1,
                },
            },
            in_panels,
            y: matrix(y, (m, n), row_y),
            is_alone,
        }
    }

    pub(super) fn buffers(&self) -> [Buffer; 3] {
        [self.a.buffer, self.b.buffer, self.y.buffer]
    }

    pub(super) fn run(&self, memory: &Memory<'_>, regs: &mut [Lane]) {
        let at = |m: &Matrix, offset: usize| memory.read(m.buffer).from(m.offset + offset);
        for i in 0..self.loops.count() {
            let [a, b, y] = self.loops.at(i);
            if self.n == 1 && self.a.column == 1 && self.k > 0 {
                self.dots(
                    at(&self.a, a),
                    at(&self.b, b),
                    &memory.write(self.y.buffer)[self.y.offset + y..],
                    regs,
                );
            } else {
                self.product(at(&self.a, a), at(&self.b, b), at(&self.y, y));
            }
        }
    }

    /// A product with one column, as models end with: `gemm` is made for wider ones.
    fn dots(&self, a: Words<'_>, b: Words<'_>, y: &[Cell<u32>], regs: &mut [Lane]) {
        let [column, row, ..] = regs else {
            unreachable!("programs bring two registers or more")
        };
        for start in (0..self.k).step_by(LANES) {
            let n = LANES.min(self.k - start);
            b.load(start * self.b.row, self.b.row, &mut column[..n]);
            for i in 0..self.m {
                a.load(i * self.a.row + start, 1, &mut row[..n]);
                let former = if start == 0 {
                    0.0
                } else {
                    f32::from_bits(y[i * self.y.row].get())
                };
                y[i * self.y.row].set((former + dot(&row[..n], &column[..n])).to_bits());
            }
        }
    }

    /// A product, in parts side by side where it is large and alone. How it is cut depends on its extents alone: each
    /// element is the same whatever threads there are.
    fn product(&self, a: Words<'_>, b: Words<'_>, y: Words<'_>) {
        let (m, n, k) = (self.m, self.n, self.k);
        assert!(
            reaches(&self.a, m, k) <= a.len(),
            "the first operand is inside its buffer"
        );
        let of_b = match self.in_panels {
            true => k * n,
            false => reaches(&self.b, k, n),
        };
        assert!(of_b <= b.len(), "the second operand is inside its buffer");
        assert!(
            reaches(&self.y, m, n) <= y.len() && matches!(y, Words::Own(_)),
            "the result is inside working memory"
        );
        let at = Pointers {
            a: a.as_ptr().cast(),
            b: b.as_ptr().cast(),
            y: y.as_ptr().cast::<f32>().cast_mut(),
        };
        let longer = m.max(n);
        let parts = match self.is_alone && m * n * k >= SHARED {
            true => (longer / PART).clamp(1, MOST_PARTS),
            false => 1,
        };
        if parts == 1 {
            self.columns(&at, 0..m, 0..n);
            return;
        }
        let size = longer.div_ceil(parts).next_multiple_of(WIDTH);
        (0..parts).into_par_iter().for_each(|i| {
            let part = (i * size).min(longer)..((i + 1) * size).min(longer);
            match m >= n {
                true => self.columns(&at, part, 0..n),
                false => self.columns(&at, 0..m, part),
            }
        });
    }

    /// Some rows of a product and some columns, which start with a panel.
    fn columns(&self, at: &Pointers, rows: Range<usize>, columns: Range<usize>) {
        if !self.in_panels {
            let to = columns.start * self.b.column;
            return self.part(at, rows, columns, (to, self.b.row));
        }
        for start in columns.clone().step_by(WIDTH) {
            let width = WIDTH.min(self.n - start);
            let panel = start..(start + width).min(columns.end);
            for first in rows.clone().step_by(ROWS_AT_ONCE) {
                let rows = first..(first + ROWS_AT_ONCE).min(rows.end);
                self.part(at, rows, panel.clone(), (start * self.k, width));
            }
        }
    }

    /// Some rows and columns of a product. Of the second operand, where the columns begin and how far apart its rows are.
    #[allow(
        unsafe_code,
        reason = "`gemm` takes pointers; every element it touches is asserted to be inside"
    )]
    fn part(&self, at: &Pointers, rows: Range<usize>, columns: Range<usize>, (b, b_row): (usize, usize)) {
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let to = rows.start * self.y.row + columns.start * self.y.column;
        // SAFETY: the assertions in `product`, from which all calls come, bound every read and write, for rows and columns are
        // within the product's, and panels before the last one are of `WIDTH` columns. The result lies in `Cell`s, which may be written through a shared reference; no other
        // thread has them but those that `product` gives other rows or columns of it, and a program gives a result
        // elements that no operand has.
        unsafe {
            gemm::gemm(
                rows.len(),
                columns.len(),
                self.k,
                at.y.add(to),
                stride(self.y.column),
                stride(self.y.row),
                false,
                at.a.add(rows.start * self.a.row),
                stride(self.a.column),
                stride(self.a.row),
                at.b.add(b),
                stride(self.b.column),
                stride(b_row),
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// Where the matrices of a product start.
struct Pointers {
    a: *const f32,
    b: *const f32,
    y: *mut f32,
}

#[allow(
    unsafe_code,
    reason = "threads share the operands of a product, and each writes a part of its own"
)]
// SAFETY: `MatMul::product` waits for its threads, which read operands that nobody writes meanwhile, and write disjoint
// parts of the result.
unsafe impl Sync for Pointers {}

/// Multiplications from which on a product that is alone is cut in parts.
const SHARED: usize = 1 << 20;
/// Rows or columns of a part, at least, and how many parts there are at most.
const PART: usize = 64;
const MOST_PARTS: usize = 16;

/// Sum of products, in as many parts as a vector has lanes.
fn dot(x: &[u32], y: &[u32]) -> f32 {
    let product = |x: u32, y: u32| f32::from_bits(x) * f32::from_bits(y);
    let mut parts = [0.0; 16];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<16>(), y.as_chunks::<16>());
    for (x, y) in x.iter().zip(y) {
        for (part, (x, y)) in parts.iter_mut().zip(x.iter().zip(y)) {
            *part += product(*x, *y);
        }
    }
    for (part, (x, y)) in parts.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *part += product(*x, *y);
    }
    // Halves onto each other: vector code again.
    for half in [8, 4, 2, 1] {
        let (low, high) = parts.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(l, h)| *l += *h);
    }
    parts[0]
}

fn stride(n: usize) -> isize {
    isize::try_from(n).expect("a stride is inside a buffer")
}

/// How many words from its start a matrix of these extents spans.
fn reaches(m: &Matrix, rows: usize, columns: usize) -> usize {
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * m.row + (columns - 1) * m.column + 1
    }
}
