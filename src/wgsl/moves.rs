//! Elements that only change their place: which lanes stay neighbours on the way, which are gathered one by one.

use super::emit::{Emitter, Ex, Row};
use super::expr::{line_axis, splat};
use super::index::{Ix, small};
use super::spell::wgsl_type;
use crate::ir::Value;
use crate::tensor::Dim;

impl Emitter<'_> {
    /// The operand at another index, with lanes if they stay neighbours.
    pub(super) fn moved(&mut self, v: Value, arg: Value, ix: &[Ix], jx: &[Ix], lanes: u32, row: &Row) -> Ex {
        if lanes == 1 || self.neighbours(v, arg, ix, jx) {
            self.eval(arg, jx, lanes, row)
        } else {
            self.one_by_one(v, ix, row)
        }
    }

    /// Whether four neighbours along `v`'s line are four neighbours along `arg`'s line: the same line, or both of whole
    /// words.
    fn neighbours(&self, v: Value, arg: Value, ix: &[Ix], jx: &[Ix]) -> bool {
        let (to, from) = (self.extents(v), self.extents(arg));
        let (i, j) = (line_axis(&to), line_axis(&from));
        let (Some(n), Some(m)) = (to.get(i), from.get(j)) else {
            return false;
        };
        let whole = n % 4 == 0 && m % 4 == 0;
        ix[i].is_multiple(4) && jx[j].is_multiple(4) && (whole || (n == m && ix[i] == jx[j]))
    }

    /// Four lanes from four evaluations, held within the line.
    pub(super) fn one_by_one(&mut self, v: Value, ix: &[Ix], row: &Row) -> Ex {
        let shape = self.extents(v);
        let line = line_axis(&shape);
        let n = shape.get(line).copied().unwrap_or(1);
        let mut parts = Vec::with_capacity(4);
        let mut depth = 0;
        for lane in 0..4 {
            let mut jx = ix.to_vec();
            if let Some(i) = jx.get_mut(line) {
                *i = i.plus_constant(lane);
            }
            if !jx.is_empty() {
                jx[line] = self.clamp(&jx[line], small(n));
            }
            let e = self.eval(v, &jx, 1, row);
            depth = depth.max(e.depth);
            parts.push(e.text);
        }
        let ty = wgsl_type(self.g.ty(v).dtype);
        self.bind("e", &format!("vec4<{ty}>({})", parts.join(", ")), depth)
    }

    pub(super) fn broadcast(&mut self, v: Value, arg: Value, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        let g = self.g;
        let (to, from) = (g.shape(v), g.shape(arg));
        let lead = to.rank() - from.rank();
        let repeated = |i: usize| from.0[i] == Dim::Fixed(1) && to.0[lead + i] != Dim::Fixed(1);
        let jx: Vec<Ix> = (0..from.rank())
            .map(|i| {
                if repeated(i) {
                    Ix::default()
                } else {
                    ix[lead + i].clone()
                }
            })
            .collect();
        if lanes == 1 {
            return self.eval(arg, &jx, 1, row);
        }
        let (line, own) = (line_axis(&self.extents(v)), line_axis(&self.extents(arg)));
        let along = line.checked_sub(lead).filter(|i| !repeated(*i));
        match along {
            Some(i) if i == own => self.eval(arg, &jx, lanes, row),
            Some(_) => self.one_by_one(v, ix, row),
            None => {
                let e = self.eval(arg, &jx, 1, row);
                splat(&e.text, e.depth, lanes, g.ty(v).dtype)
            }
        }
    }

    pub(super) fn concat(&mut self, v: Value, axis: usize, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        let g = self.g;
        let (least, most) = ix[axis].range();
        let along = lanes > 1 && line_axis(&self.extents(v)) == axis;
        let last = if along { most + 3 } else { most };
        let mut choices = Vec::new();
        let mut start = 0;
        for &part in g.args(v) {
            let n = g.shape(part).0[axis].factor();
            let (from, to) = (start as u64, (start + n) as u64);
            if least >= from && last < to {
                let mut jx = ix.to_vec();
                jx[axis] = ix[axis].minus_constant(small(start));
                return self.moved_part(v, part, ix, &jx, lanes, row);
            }
            if most >= from && least < to {
                choices.push((part, start, n));
            }
            start += n;
        }
        if lanes > 1 {
            return self.one_by_one(v, ix, row);
        }
        // The part is known only when the shader runs: all are read, within their bounds, and one is chosen.
        let mut chosen: Option<Ex> = None;
        for (part, start, n) in choices {
            let depth = ix[axis].depth();
            let i = self.bind(
                "n",
                &format!("clamp({}, {start}u, {}u) - {start}u", ix[axis].text(), start + n - 1),
                depth,
            );
            let mut jx = ix.to_vec();
            jx[axis] = Ix::opaque(&i.text, small(n), i.depth);
            let e = self.eval(part, &jx, 1, row);
            chosen = Some(match chosen {
                None => e,
                Some(before) => {
                    let depth = before.depth.max(e.depth).max(depth);
                    self.bind(
                        "e",
                        &format!("select({}, {}, {} >= {start}u)", before.text, e.text, ix[axis].text()),
                        depth,
                    )
                }
            });
        }
        chosen.expect("an index lies in some part")
    }

    fn moved_part(&mut self, v: Value, part: Value, ix: &[Ix], jx: &[Ix], lanes: u32, row: &Row) -> Ex {
        let (line, own) = (line_axis(&self.extents(v)), line_axis(&self.extents(part)));
        if lanes == 1 || (line == own && jx[own].is_multiple(4)) {
            self.eval(part, jx, lanes, row)
        } else {
            self.one_by_one(v, ix, row)
        }
    }
}
