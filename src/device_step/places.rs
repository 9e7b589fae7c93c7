//! Where tensors lie, and how they are cut for workgroups.

use super::tables::small;
use crate::bundle::{Layout, Placement};
use crate::tensor::{Data, HostTensor};

/// A tensor among others, in elements: lines of its last axis, padded where kernels read them so.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) flat: usize,
    pub(super) lines: usize,
    pub(super) width: usize,
    pub(super) line: usize,
}

impl Place {
    /// As kernels read a weight.
    pub(super) fn new(shape: &[usize], placement: &Placement) -> Self {
        let own = Self::dense(shape, placement.offset as usize * 4);
        Self {
            line: match placement.layout {
                Layout::RowsWords => own.width.next_multiple_of(8),
                _ => own.width,
            },
            ..own
        }
    }

    /// Without padding.
    pub(super) fn dense(shape: &[usize], flat: usize) -> Self {
        let width = shape.last().copied().unwrap_or(1);
        Self {
            flat,
            lines: shape.iter().rev().skip(1).product(),
            width,
            line: width,
        }
    }

    /// A number.
    pub(super) fn number(flat: usize) -> Self {
        Self::dense(&[], flat)
    }

    /// The same tensor elsewhere.
    pub(super) fn moved(&self, flat: usize) -> Self {
        Self { flat, ..self.clone() }
    }

    /// Elements, padding included.
    pub(super) fn len(&self) -> usize {
        self.lines * self.line
    }

    /// Elements that it takes up: whole words of four.
    pub(super) fn room(&self) -> usize {
        self.len().next_multiple_of(4)
    }

    /// A tensor as it lies here.
    pub(super) fn padded(&self, tensor: &HostTensor) -> Vec<u32> {
        let mut words = vec![0; self.len()];
        let bools: Vec<u32>;
        let own: &[u32] = match &tensor.data {
            Data::F32(x) => bytemuck::cast_slice(x),
            Data::I32(x) => bytemuck::cast_slice(x),
            Data::Bool(x) => {
                bools = x.iter().map(|x| u32::from(*x)).collect();
                &bools
            }
        };
        for (to, from) in words.chunks_mut(self.line.max(1)).zip(own.chunks(self.width.max(1))) {
            to[..from.len()].copy_from_slice(from);
        }
        words
    }

    /// The elements without padding.
    pub(super) fn stripped(&self, words: &[u32]) -> Vec<f32> {
        let lines = words.chunks(self.line.max(1));
        lines
            .flat_map(|line| line[..self.width].iter().map(|w| f32::from_bits(*w)))
            .collect()
    }
}

/// First element, parts, elements from part to part.
pub(super) type Parts = (usize, usize, usize);

/// Words of a stretch.
const STRETCH_WORDS: usize = 5;

/// Sums cut for the workgroups of `shaders/combine.wgsl`.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    pub(super) words: Vec<u32>,
}

/// Elements of a stretch.
const STRETCH: usize = 1024;

/// Elements of a stretch of a tensor: whole lines where these have padding.
fn stretch(width: usize, line: usize) -> usize {
    if line == width {
        return STRETCH;
    }
    (STRETCH / line).max(1) * line
}

impl Stretches {
    /// Adds a sum; first and last of its stretches.
    pub(super) fn add(&mut self, place: &Place, (source, parts, stride): Parts) -> [u32; 2] {
        let start = small(self.len());
        for first in (0..place.len()).step_by(STRETCH) {
            let count = STRETCH.min(place.len() - first);
            let words = [place.flat + first, count, source + first, parts, stride];
            self.words.extend(words.map(small));
        }
        [start, small(self.len())]
    }

    pub(super) fn len(&self) -> usize {
        self.words.len() / STRETCH_WORDS
    }
}

/// Words of a [`Span`].
pub(super) const SPAN: usize = 11;

/// Elements of a trained tensor that one workgroup updates, as update kernels read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// First element of the tensor, or of the row, where weights are.
    pub(super) weight: usize,
    /// First element of this span among those.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Elements of a line, and with its padding.
    pub(super) width: usize,
    pub(super) line: usize,
    /// Where its gradients lie, as weights do.
    pub(super) gradients: [usize; 3],
    /// Where its state lies: as weights do, or one element for the row.
    pub(super) states: [usize; 3],
}

impl Span {
    pub(super) fn words(&self) -> [u32; SPAN] {
        let Self {
            weight,
            first,
            count,
            width,
            line,
            gradients: [g0, g1, g2],
            states: [s0, s1, s2],
        } = *self;
        [weight, first, count, width, line, g0, g1, g2, s0, s1, s2].map(small)
    }

    /// A span of all elements, cut into stretches.
    pub(super) fn cut(self) -> impl Iterator<Item = Self> {
        let step = stretch(self.width, self.line);
        (0..self.count).step_by(step).map(move |first| Self {
            first,
            count: step.min(self.count - first),
            ..self
        })
    }
}
