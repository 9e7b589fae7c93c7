//! What a block reads and writes: 32-bit words, floats by their bits, truth values as 0 and 1.
//!
//! Working memory is made of [`Cell`]s: operands and result of an instruction may share a region (a part of a
//! concatenation computed from another part of it), which exclusive references could not say.

use std::cell::Cell;

use super::view::{Buffer, View, collapse};

/// Words that an instruction reads.
#[derive(Clone, Copy)]
pub(super) enum Words<'a> {
    /// Working memory.
    Own(&'a [Cell<u32>]),
    /// Memory from outside.
    Given(&'a [u32]),
}

impl<'a> Words<'a> {
    #[inline]
    pub(super) fn from(self, at: usize) -> Self {
        match self {
            Self::Own(w) => Self::Own(&w[at..]),
            Self::Given(w) => Self::Given(&w[at..]),
        }
    }

    #[inline]
    pub(super) fn get(self, at: usize) -> u32 {
        match self {
            Self::Own(w) => w[at].get(),
            Self::Given(w) => w[at],
        }
    }

    pub(super) fn len(self) -> usize {
        match self {
            Self::Own(w) => w.len(),
            Self::Given(w) => w.len(),
        }
    }

    /// The first word, for code that takes pointers.
    pub(super) fn as_ptr(self) -> *const u32 {
        match self {
            Self::Own(w) => w.as_ptr().cast(),
            Self::Given(w) => w.as_ptr(),
        }
    }

    /// Words `at`, `at + stride`, ... to `out`.
    #[inline]
    pub(super) fn load(self, at: usize, stride: usize, out: &mut [u32]) {
        match self {
            Self::Own(w) => load(w, at, stride, out, Cell::get),
            Self::Given(w) if stride == 1 => out.copy_from_slice(&w[at..at + out.len()]),
            Self::Given(w) => load(w, at, stride, out, |w| *w),
        }
    }

    /// Words `at`, `at + stride`, ... to words `to`, `to + step`, ... of `out`.
    #[inline]
    pub(super) fn copy(self, at: usize, stride: usize, out: &[Cell<u32>], to: usize, step: usize, n: usize) {
        if n == 0 {
            return;
        }
        match self {
            Self::Own(w) => copy(&w[at..], stride, &out[to..], step, n, Cell::get),
            Self::Given(w) => copy(&w[at..], stride, &out[to..], step, n, |w| *w),
        }
    }
}

#[inline]
fn load<W>(words: &[W], at: usize, stride: usize, out: &mut [u32], get: impl Fn(&W) -> u32) {
    match stride {
        0 => out.fill(get(&words[at])),
        1 => {
            let n = out.len();
            for (o, w) in out.iter_mut().zip(&words[at..at + n]) {
                *o = get(w);
            }
        }
        _ => {
            for (o, w) in out.iter_mut().zip(words[at..].iter().step_by(stride)) {
                *o = get(w);
            }
        }
    }
}

#[inline]
fn copy<W>(words: &[W], stride: usize, out: &[Cell<u32>], step: usize, n: usize, get: impl Fn(&W) -> u32) {
    match (stride, step) {
        (0, _) => {
            let word = get(&words[0]);
            out.iter().step_by(step).take(n).for_each(|o| o.set(word));
        }
        (1, 1) => {
            for (o, w) in out[..n].iter().zip(&words[..n]) {
                o.set(get(w));
            }
        }
        _ => {
            let from = words.iter().step_by(stride);
            for (o, w) in out.iter().step_by(step).zip(from).take(n) {
                o.set(get(w));
            }
        }
    }
}

/// `words` to `out[to]`, `out[to + step]`, ...
#[inline]
pub(super) fn store(words: &[u32], out: &[Cell<u32>], to: usize, step: usize) {
    if step == 1 {
        for (o, w) in out[to..to + words.len()].iter().zip(words) {
            o.set(*w);
        }
    } else {
        for (o, w) in out[to..].iter().step_by(step).zip(words) {
            o.set(*w);
        }
    }
}

/// The memory of one block.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    /// Working memory.
    pub(super) arena: &'a [Cell<u32>],
    /// Where each region starts in it.
    pub(super) regions: &'a [usize],
    /// Memory from outside.
    pub(super) slots: &'a [&'a [u32]],
    /// Where the block starts in each slot.
    pub(super) bases: &'a [usize],
    /// Where the block starts in the batch.
    pub(super) start: usize,
    /// Requests of the batch.
    pub(super) requests: usize,
}

impl<'a> Memory<'a> {
    #[inline]
    pub(super) fn read(&self, buffer: Buffer) -> Words<'a> {
        match buffer {
            Buffer::Region(r) => Words::Own(&self.arena[self.regions[r]..]),
            Buffer::Slot(s) => Words::Given(&self.slots[s][self.bases[s]..]),
        }
    }

    #[inline]
    pub(super) fn write(&self, buffer: Buffer) -> &'a [Cell<u32>] {
        match buffer {
            Buffer::Region(r) => &self.arena[self.regions[r]..],
            Buffer::Slot(_) => unreachable!("programs write to their regions alone"),
        }
    }

    /// The elements of a view in row-major order, one piece after the other.
    pub(super) fn copy_out(&self, view: &View, pieces: &mut [&mut [u32]]) {
        let words = self.read(view.buffer);
        let mut axes = collapse(&view.shape, &[&view.strides]);
        // A run of the view that spans pieces is cut to their length; both divide the elements evenly.
        let piece = pieces.first().map_or(0, |p| p.len());
        if piece == 0 {
            return;
        }
        let (run, stride) = axes.pop().map_or((1, 1), |a| (a.extent, a.strides[0]));
        let loops = super::view::Loops::<1>::new(&axes);
        let (mut into, mut filled) = (0, 0);
        for i in 0..loops.count() {
            let mut at = view.offset + loops.at(i)[0];
            let mut left = run;
            while left > 0 {
                let n = left.min(piece - filled);
                words.load(at, stride, &mut pieces[into][filled..filled + n]);
                at += n * stride;
                left -= n;
                filled += n;
                if filled == piece {
                    (into, filled) = (into + 1, 0);
                }
            }
        }
    }
}
