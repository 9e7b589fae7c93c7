//! Random numbers inside expressions.

use super::emit::{Emitter, Ex, Row};
use super::index::{Ix, flat, small};
use crate::ir::Value;

impl Emitter<'_> {
    /// Random numbers by their place in the whole batch.
    pub(super) fn uniform(&mut self, v: Value, stream: u32, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        let shape = self.extents(v);
        let width = small(shape.iter().product());
        let own = flat(&shape, ix);
        let of_rows = self.g.shape(v).symbolic().is_some();
        if lanes > 1 && !(own.is_multiple(4) && (width.is_multiple_of(4) || !of_rows)) {
            return self.one_by_one(v, ix, row);
        }
        let seed = self.eval(self.g.args(v)[0], &[], 1, row);
        let (first, depth) = match of_rows {
            true => (format!("{} * {width}u + ", row.global), row.depth),
            false => (String::new(), 0),
        };
        let text = format!("uniform_{lanes}({}, {stream}u, {first}{})", seed.text, own.text());
        self.bind("e", &text, depth.max(own.depth()).max(seed.depth))
    }
}
