//! Folds of axes.

use super::lanes::{LANES, Lane};
use super::memory::{Memory, Words, store};
use super::view::{Buffer, Loops, View, collapse};
use crate::ir::Fold;
use crate::tensor::DType;

/// A fold over some axes of a value.
#[derive(Debug)]
pub(super) struct Reduce {
    fold: Fold,
    dtype: DType,
    x: (Buffer, usize),
    y: (Buffer, usize),
    /// Loops over what stays, over operand and result.
    kept: Loops<2>,
    /// Loops over what is folded.
    folded: Loops<1>,
    inner: Inner,
}

/// The innermost loop, taken off its nest.
#[derive(Debug)]
enum Inner {
    /// Over what is folded: extent and stride.
    Along(usize, usize),
    /// Over what stays: many folds go on side by side. Extent and strides of operand and result.
    Beside(usize, [usize; 2]),
}

impl Reduce {
    pub(super) fn new(fold: Fold, dtype: DType, axes: &[usize], x: &View, y: &View) -> Self {
        let pick = |v: &View, folded: bool| -> (Vec<usize>, Vec<usize>) {
            let mine = (0..v.shape.len()).filter(|a| axes.contains(a) == folded);
            mine.map(|a| (x.shape[a], v.strides[a])).unzip()
        };
        let (shape, from) = pick(x, false);
        let mut kept = Loops::new(&collapse(&shape, &[&from, &pick(y, false).1]));
        let (shape, strides) = pick(x, true);
        let mut folded = Loops::new(&collapse(&shape, &[&strides]));
        let inner = match (kept.last(), folded.last()) {
            (Some([kept_stride, _]), Some([folded_stride])) if kept_stride < folded_stride => {
                let (n, strides) = kept.split_run();
                Inner::Beside(n, strides)
            }
            _ => {
                let (n, [stride]) = folded.split_run();
                Inner::Along(n, stride)
            }
        };
        Self {
            fold,
            dtype,
            x: (x.buffer, x.offset),
            y: (y.buffer, y.offset),
            kept,
            folded,
            inner,
        }
    }

    pub(super) fn buffers(&self) -> [Buffer; 2] {
        [self.x.0, self.y.0]
    }

    pub(super) fn run(&self, memory: &Memory<'_>, regs: &mut [Lane]) {
        let float = f32::from_bits;
        match (self.dtype, self.fold) {
            (DType::F32, Fold::Sum) => self.fold(memory, regs, 0, |x, y| (float(x) + float(y)).to_bits()),
            (DType::F32, Fold::Max) => self.fold(memory, regs, f32::NEG_INFINITY.to_bits(), |x, y| {
                if float(x).is_nan() || float(x) > float(y) { x } else { y }
            }),
            (DType::F32, Fold::Min) => self.fold(memory, regs, f32::INFINITY.to_bits(), |x, y| {
                if float(x).is_nan() || float(x) < float(y) { x } else { y }
            }),
            (_, Fold::Sum) => self.fold(memory, regs, 0, u32::wrapping_add),
            (_, Fold::Max) => self.fold(memory, regs, i32::MIN.cast_unsigned(), |x, y| {
                x.cast_signed().max(y.cast_signed()).cast_unsigned()
            }),
            (_, Fold::Min) => self.fold(memory, regs, i32::MAX.cast_unsigned(), |x, y| {
                x.cast_signed().min(y.cast_signed()).cast_unsigned()
            }),
        }
    }

    fn fold(&self, memory: &Memory<'_>, regs: &mut [Lane], start: u32, f: impl Fn(u32, u32) -> u32) {
        let words = memory.read(self.x.0);
        let out = memory.write(self.y.0);
        let [sums, xs, ..] = regs else {
            unreachable!("programs bring two registers or more")
        };
        for i in 0..self.kept.count() {
            let [x, y] = self.kept.at(i);
            let (x, y) = (self.x.1 + x, self.y.1 + y);
            match self.inner {
                Inner::Along(n, stride) => {
                    let sum = self.along(words, x, (n, stride), xs, start, &f);
                    out[y].set(sum);
                }
                Inner::Beside(n, [from, to]) => {
                    for first in (0..n).step_by(LANES) {
                        let n = LANES.min(n - first);
                        sums[..n].fill(start);
                        for j in 0..self.folded.count() {
                            words.load(x + first * from + self.folded.at(j)[0], from, &mut xs[..n]);
                            for (sum, x) in sums[..n].iter_mut().zip(&xs[..n]) {
                                *sum = f(*sum, *x);
                            }
                        }
                        store(&sums[..n], out, y + first * to, to);
                    }
                }
            }
        }
    }

    /// One fold, in as many parts as a vector has lanes.
    fn along(
        &self,
        words: Words<'_>,
        at: usize,
        (n, stride): (usize, usize),
        xs: &mut Lane,
        start: u32,
        f: impl Fn(u32, u32) -> u32,
    ) -> u32 {
        let mut parts = [start; 16];
        for j in 0..self.folded.count() {
            let at = at + self.folded.at(j)[0];
            for first in (0..n).step_by(LANES) {
                let n = LANES.min(n - first);
                words.load(at + first * stride, stride, &mut xs[..n]);
                let (whole, rest) = xs[..n].as_chunks::<16>();
                for chunk in whole {
                    for (part, x) in parts.iter_mut().zip(chunk) {
                        *part = f(*part, *x);
                    }
                }
                for (part, x) in parts.iter_mut().zip(rest) {
                    *part = f(*part, *x);
                }
            }
        }
        parts.into_iter().fold(start, f)
    }
}
