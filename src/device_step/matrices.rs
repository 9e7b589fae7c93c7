//! The operands of a sum over the batch as kernels read them, and who reads them.

use super::lanes;
use super::places::Place;
use super::rows::Operands;
use super::term::Order;

/// Who makes tiles of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tiles {
    /// A workgroup with memory of its own, 32 by 32; or, of weighted sums, up to 64 columns.
    Shared,
    /// Lanes that share what they load.
    Lanes,
    /// The same for left matrices of few columns.
    Low,
    /// The same, row by row: what a row adds is a sum of its own, which may be weighted.
    ByRow,
}

impl Tiles {
    /// Columns of both matrices in a tile.
    pub(super) fn extents(self, k: usize, n: usize) -> (usize, usize) {
        match self {
            Self::Shared if k == 0 => (1, n.next_power_of_two().min(64)),
            Self::Shared => (32, 32),
            Self::Lanes | Self::Low | Self::ByRow => (self.tall(), lanes::WIDE),
        }
    }

    /// The kernel.
    pub(super) fn text(self) -> String {
        match self {
            Self::Shared => include_str!("../../shaders/sums.wgsl").to_owned(),
            Self::Lanes | Self::Low | Self::ByRow => lanes::text(self.tall(), self == Self::ByRow),
        }
    }

    /// Columns of the left matrix in a tile of lanes.
    fn tall(self) -> usize {
        match self {
            Self::Low => lanes::LOW,
            // Three tiles of sums, in the first cache together.
            Self::ByRow => lanes::TALL / 2,
            Self::Lanes | Self::Shared => lanes::TALL,
        }
    }

    /// For lanes, with a left matrix of so many columns and weights or without.
    pub(super) fn of_lanes(columns: usize, weighted: bool) -> Self {
        match weighted {
            true => Self::ByRow,
            false if columns <= lanes::LOW => Self::Low,
            false => Self::Lanes,
        }
    }
}

/// `A^T B`, or the sum of the lines of B, weighted by A if there is one: as kernels read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrices {
    /// First element; `NONE` for weights of one.
    pub(super) a: usize,
    /// Columns, 0 for a vector of weights.
    pub(super) k: usize,
    pub(super) b: usize,
    pub(super) n: usize,
    /// Lines for each row.
    pub(super) lines: usize,
    pub(super) order: Order,
    /// First element of the weights of each row's lines of the left matrix; of the right one where they are turned.
    pub(super) weights: usize,
    /// Whether the matrices are in each other's places.
    pub(super) is_turned: bool,
}

/// No element.
pub(super) const NONE: usize = u32::MAX as usize;

impl Matrices {
    /// Of operands that lie where `output_at` says: first element, elements for each row. `None` of sums into rows.
    pub(super) fn new(operands: Operands, order: Order, output_at: &dyn Fn(usize) -> (usize, usize)) -> Option<Self> {
        let of = |i: usize, lines: usize| {
            let (first, per_row) = output_at(i);
            (first, per_row / lines.max(1))
        };
        // A column of numbers, the rows of the sum, is a line of them.
        let column = Order {
            block: usize::MAX,
            inner: order.row,
            ..order
        };
        let ((a, k), (b, n), order, lines) = match operands {
            Operands::Lines { b, lines } => ((NONE, 0), of(b, lines), order, lines),
            Operands::Product { a, b, lines, .. } => match (of(a, lines), of(b, lines)) {
                ((a, 1), b) => ((a, 0), b, order, lines),
                (a, (b, 1)) => ((b, 0), a, column, lines),
                (a, b) => (a, b, order, lines),
            },
            Operands::Scatter { .. } => return None,
        };
        let weights = match operands {
            Operands::Product { weights: Some(w), .. } => of(w, 1).0,
            _ => NONE,
        };
        Some(Self {
            a,
            k,
            b,
            n,
            lines,
            order,
            weights,
            is_turned: false,
        })
    }

    /// The same with the matrices in each other's places.
    fn turned(self) -> Self {
        let order = Order {
            row: self.order.inner,
            block: NONE,
            outer: 0,
            inner: self.order.row,
        };
        Self {
            a: self.b,
            k: self.n,
            b: self.a,
            n: self.k,
            order,
            is_turned: true,
            ..self
        }
    }

    /// As lanes take it, if they do: everything in whole words of four elements, the result without padding.
    pub(super) fn for_lanes(self, place: &Place, offset: usize) -> Option<Self> {
        let one_block = self.order.block >= self.n;
        let x = if self.order.inner != 1 && one_block {
            self.turned()
        } else {
            self
        };
        // Weights are those of the right matrix.
        if x.weights != NONE && !(x.is_turned && x.weights.is_multiple_of(4)) {
            return None;
        }
        let mut words = vec![x.a, x.k, x.b, x.n, x.order.row, offset, place.len()];
        if x.order.block < x.n {
            words.extend([x.order.block, x.order.outer]);
        }
        let whole = words.iter().all(|n| n.is_multiple_of(4));
        (self.k > 1 && x.order.inner == 1 && whole && place.line == place.width).then_some(x)
    }
}
