//! Elements picked by index: rows of tables, and one element each along an axis.

use super::memory::Memory;
use super::view::{Buffer, Loops, View, collapse};

/// An index outside its axis.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    pub(super) names: Names,
    /// Row of the block.
    pub(super) row: usize,
    pub(super) value: i32,
    pub(super) extent: usize,
}

/// What an index is called, to whom it belongs.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) table: String,
    pub(super) index: String,
}

/// Indices of one instruction: how to find the row of one of them.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) names: Names,
    /// Elements after the symbolic axis, times its factor: what one row holds of each leading index.
    pub(super) per_row: usize,
    /// Rows of the block.
    pub(super) rows: usize,
}

impl Origin {
    fn outside(&self, i: usize, value: i32, extent: usize) -> Outside {
        Outside {
            names: self.names.clone(),
            row: i / self.per_row % self.rows,
            value,
            extent,
        }
    }

    /// The `i`-th index, if it is inside its axis.
    #[inline]
    pub(super) fn row(&self, i: usize, value: i32, extent: usize) -> Result<usize, Outside> {
        let row = usize::try_from(value).ok().filter(|row| *row < extent);
        row.ok_or_else(|| self.outside(i, value, extent))
    }
}

/// What lookups and their transpose have in common: an axis of one value reached by index, all of the other in order.
#[derive(Debug)]
pub(super) struct Indexed {
    table: (Buffer, usize),
    index: (Buffer, usize),
    flat: (Buffer, usize),
    /// Extent of the axis; `None` for as many as the batch has requests.
    extent: Option<usize>,
    stride: usize,
    /// Loops before the axis, over table and the other.
    outer: Loops<2>,
    /// Loops over index and the other.
    picks: Loops<2>,
    /// Loops after the axis, over table and the other, and the run inside them: elements and both strides.
    inner: Loops<2>,
    pub(super) run: (usize, [usize; 2]),
    origin: Origin,
}

impl Indexed {
    /// `flat` has the extents of `index` where `table` has its axis. `extent` is that of the axis, unless the batch decides.
    pub(super) fn new(
        table: &View,
        index: &View,
        flat: &View,
        axis: usize,
        extent: Option<usize>,
        origin: Origin,
    ) -> Self {
        let after = axis + index.shape.len();
        let outer = collapse(&table.shape[..axis], &[&table.strides[..axis], &flat.strides[..axis]]);
        let picks = collapse(&index.shape, &[&index.strides, &flat.strides[axis..after]]);
        let inner = collapse(
            &table.shape[axis + 1..],
            &[&table.strides[axis + 1..], &flat.strides[after..]],
        );
        let mut inner = Loops::new(&inner);
        let run = inner.split_run();
        Self {
            table: (table.buffer, table.offset),
            index: (index.buffer, index.offset),
            flat: (flat.buffer, flat.offset),
            extent,
            stride: table.strides[axis],
            outer: Loops::new(&outer),
            picks: Loops::new(&picks),
            inner,
            run,
            origin,
        }
    }

    /// Table, index, and the other.
    pub(super) fn buffers(&self) -> [Buffer; 3] {
        [self.table.0, self.index.0, self.flat.0]
    }

    /// Where each run starts, in the table and in the other, in the order of the index.
    #[inline]
    pub(super) fn each(&self, memory: &Memory<'_>, mut run: impl FnMut(usize, usize)) -> Result<(), Outside> {
        let index = memory.read(self.index.0);
        let extent = self.extent.unwrap_or(memory.requests);
        for i in 0..self.picks.count() {
            let [at, flat] = self.picks.at(i);
            let row = self.origin.row(i, index.get(self.index.1 + at).cast_signed(), extent)?;
            let (table, flat) = (self.table.1 + row * self.stride, self.flat.1 + flat);
            for o in 0..self.outer.count() {
                let [table_outer, flat_outer] = self.outer.at(o);
                for j in 0..self.inner.count() {
                    let [t, f] = self.inner.at(j);
                    run(table + table_outer + t, flat + flat_outer + f);
                }
            }
        }
        Ok(())
    }
}

/// `y = x[.., index[..], ..]`.
#[derive(Debug)]
pub(super) struct Gather(pub(super) Indexed);

impl Gather {
    pub(super) fn run(&self, memory: &Memory<'_>) -> Result<(), Outside> {
        let [table, _, to] = self.0.buffers();
        let (table, out) = (memory.read(table), memory.write(to));
        let (n, [stride, step]) = self.0.run;
        self.0
            .each(memory, |from, to| table.copy(from, stride, out, to, step, n))
    }
}

/// `y[i] = x[i with i[axis] = index[i]]`.
#[derive(Debug)]
pub(super) struct TakeAlong {
    x: (Buffer, usize),
    index: (Buffer, usize),
    to: (Buffer, usize),
    extent: usize,
    stride: usize,
    /// Loops over x (which the axis does not move), index and result.
    loops: Loops<3>,
    origin: Origin,
}

impl TakeAlong {
    pub(super) fn new(x: &View, index: &View, y: &View, axis: usize, origin: Origin) -> Self {
        let mut others = x.strides.clone();
        others[axis] = 0;
        Self {
            x: (x.buffer, x.offset),
            index: (index.buffer, index.offset),
            to: (y.buffer, y.offset),
            extent: x.shape[axis],
            stride: x.strides[axis],
            loops: Loops::new(&collapse(&y.shape, &[&others, &index.strides, &y.strides])),
            origin,
        }
    }

    pub(super) fn buffers(&self) -> [Buffer; 3] {
        [self.x.0, self.index.0, self.to.0]
    }

    pub(super) fn run(&self, memory: &Memory<'_>) -> Result<(), Outside> {
        let x = memory.read(self.x.0);
        let index = memory.read(self.index.0);
        let out = memory.write(self.to.0);
        for i in 0..self.loops.count() {
            let [from, at, to] = self.loops.at(i);
            let value = index.get(self.index.1 + at).cast_signed();
            let pick = self.origin.row(i, value, self.extent)?;
            out[self.to.1 + to].set(x.get(self.x.1 + from + pick * self.stride));
        }
        Ok(())
    }
}
