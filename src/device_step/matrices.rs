//! The operands of a sum over the batch as kernels read them, and who reads them.

use super::lanes;
use super::places::Place;
use super::rows::Operands;
use super::terms::Order;

/// Who makes tiles of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tiles {
    /// A workgroup with memory of its own, 32 by 32; or, of weighted sums, up to 64 columns.
    Shared,
    /// Lanes that share what they load.
    Lanes,
}

impl Tiles {
    /// Columns of both matrices in a tile.
    pub(super) fn extents(self, k: usize, n: usize) -> (usize, usize) {
        match self {
            Self::Shared if k == 0 => (1, n.next_power_of_two().min(64)),
            Self::Shared => (32, 32),
            Self::Lanes => (lanes::TALL, lanes::WIDE),
        }
    }

    /// The kernel.
    pub(super) fn text(self) -> String {
        match self {
            Self::Shared => include_str!("../../shaders/sums.wgsl").to_owned(),
            Self::Lanes => lanes::text(),
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
            Operands::Product { a, b, lines } => match (of(a, lines), of(b, lines)) {
                ((a, 1), b) => ((a, 0), b, order, lines),
                (a, (b, 1)) => ((b, 0), a, column, lines),
                (a, b) => (a, b, order, lines),
            },
            Operands::Scatter { .. } => return None,
        };
        Some(Self {
            a,
            k,
            b,
            n,
            lines,
            order,
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
        let mut words = vec![x.a, x.k, x.b, x.n, x.order.row, offset, place.len()];
        if x.order.block < x.n {
            words.extend([x.order.block, x.order.outer]);
        }
        let whole = words.iter().all(|n| n.is_multiple_of(4));
        (self.k > 1 && x.order.inner == 1 && whole && place.line == place.width).then_some(x)
    }
}
