//! Where a value lies: a buffer, an offset and a stride for each axis, all known when a program is made.

/// A piece of memory that programs read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buffer {
    /// Working memory of a block, by number of the region.
    Region(usize),
    /// Memory given to the block: weights, inputs, results of an earlier stage.
    Slot(usize),
}

/// A strided window on a buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) buffer: Buffer,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl View {
    /// All of a buffer, row-major.
    pub(super) fn dense(buffer: Buffer, shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i];
        }
        Self {
            buffer,
            offset: 0,
            shape: shape.to_vec(),
            strides,
        }
    }

    pub(super) fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn permuted(&self, perm: &[usize]) -> Self {
        Self {
            shape: perm.iter().map(|&a| self.shape[a]).collect(),
            strides: perm.iter().map(|&a| self.strides[a]).collect(),
            ..*self
        }
    }

    /// Undoes [`View::permuted`].
    pub(super) fn unpermuted(&self, perm: &[usize]) -> Self {
        let mut view = self.clone();
        for (i, &a) in perm.iter().enumerate() {
            view.shape[a] = self.shape[i];
            view.strides[a] = self.strides[i];
        }
        view
    }

    /// `extent` indices of an axis from `start`, `step` apart.
    pub(super) fn sliced(&self, axis: usize, start: usize, step: usize, extent: usize) -> Self {
        let mut view = self.clone();
        view.offset += start * view.strides[axis];
        view.strides[axis] *= step;
        view.shape[axis] = extent;
        view
    }

    /// One index of an axis, which goes away.
    pub(super) fn at(&self, axis: usize, index: usize) -> Self {
        let mut view = self.sliced(axis, index, 1, 1);
        view.shape.remove(axis);
        view.strides.remove(axis);
        view
    }

    pub(super) fn broadcast(&self, to: &[usize]) -> Self {
        let lead = to.len() - self.shape.len();
        let stride = |i: usize| match i.checked_sub(lead) {
            Some(j) if self.shape[j] == to[i] => self.strides[j],
            _ => 0,
        };
        Self {
            shape: to.to_vec(),
            strides: (0..to.len()).map(stride).collect(),
            ..*self
        }
    }

    /// The same elements in row-major order under another shape, where strides can say it.
    pub(super) fn reshaped(&self, to: &[usize]) -> Option<Self> {
        if self.numel() == 0 {
            return Some(Self {
                offset: self.offset,
                ..Self::dense(self.buffer, to)
            });
        }
        let axes = collapse(&self.shape, &[&self.strides]);
        let mut axes = axes.iter().rev();
        let (mut left, mut stride) = (1, 0);
        let mut strides = vec![0; to.len()];
        for (&extent, s) in to.iter().zip(&mut strides).rev() {
            if extent == 1 {
                continue;
            }
            if left == 1 {
                let axis = axes.next()?;
                (left, stride) = (axis.extent, axis.strides[0]);
            }
            if left % extent != 0 {
                return None;
            }
            *s = stride;
            stride *= extent;
            left /= extent;
        }
        Some(Self {
            shape: to.to_vec(),
            strides,
            ..*self
        })
    }

    /// Whether the elements of each row of a matrix follow each other.
    pub(super) fn is_row_major(&self) -> bool {
        self.shape.last() == Some(&1) || self.strides.last() == Some(&1)
    }

    /// Whether both name the same elements in the same order.
    pub(super) fn coincides(&self, other: &Self) -> bool {
        let place = |v: &Self| collapse(&v.shape, &[&v.strides]);
        self.buffer == other.buffer
            && self.offset == other.offset
            && self.shape == other.shape
            && place(self) == place(other)
    }
}

/// One loop over several views of one shape: its extent and the stride of each view.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) extent: usize,
    pub(super) strides: Vec<usize>,
}

/// The fewest loops that visit all elements of views of one shape in row-major order: axes of one index vanish, axes
/// that every view steps through as one are one.
pub(super) fn collapse(shape: &[usize], strides: &[&[usize]]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::new();
    for (i, &extent) in shape.iter().enumerate().filter(|(_, n)| **n != 1) {
        let inner = Axis {
            extent,
            strides: strides.iter().map(|s| s[i]).collect(),
        };
        match axes.last_mut() {
            Some(outer) if (outer.strides.iter().zip(&inner.strides)).all(|(o, i)| *o == i * extent) => {
                outer.extent *= extent;
                outer.strides = inner.strides;
            }
            _ => axes.push(inner),
        }
    }
    axes
}

/// Nested loops with a stride for each of `N` views.
#[derive(Clone, Debug)]
pub(super) struct Loops<const N: usize>(Vec<(usize, [usize; N])>);

impl<const N: usize> Loops<N> {
    pub(super) fn new(axes: &[Axis]) -> Self {
        let strides = |a: &Axis| std::array::from_fn(|i| a.strides[i]);
        Self(axes.iter().map(|a| (a.extent, strides(a))).collect())
    }

    /// How many times the innermost body runs.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|(n, _)| n).product()
    }

    /// Takes the innermost loop off: a run of elements and its strides.
    pub(super) fn split_run(&mut self) -> (usize, [usize; N]) {
        self.0.pop().unwrap_or((1, [1; N]))
    }

    /// The stride of the innermost loop.
    pub(super) fn last(&self) -> Option<[usize; N]> {
        self.0.last().map(|(_, s)| *s)
    }

    /// Offsets of the `i`-th run of the body.
    #[inline]
    pub(super) fn at(&self, mut i: usize) -> [usize; N] {
        let mut at = [0; N];
        for (extent, strides) in self.0.iter().rev() {
            let j = i % extent;
            i /= extent;
            for (at, s) in at.iter_mut().zip(strides) {
                *at += j * s;
            }
        }
        at
    }
}
