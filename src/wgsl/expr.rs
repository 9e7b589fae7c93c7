//! The one recursion of code generation: the value of `v` at an index, for one element or four neighbours.
//!
//! Pointwise ops turn into scalar or `vec4` expressions of their operands at computed indices; the recursion ends at
//! leaves, at stored roots and at the hole where an anchor's accumulator stands. Four lanes run along the *line* of a
//! value, its last axis that is not 1; where an op would scatter them they are gathered one by one.

use super::emit::{Emitter, Ex, Row};
use super::index::{Ix, small};
use super::memory::Place;
use super::spell::{binary, cast, literal, unary, wgsl_type};
use crate::ir::rows::{RowSpace, is_crossing};
use crate::ir::{Op, Value};
use crate::tensor::DType;

/// The axis that lanes run along.
pub(super) fn line_axis(shape: &[usize]) -> usize {
    shape.iter().rposition(|&n| n != 1).unwrap_or(0)
}

pub(super) const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

impl Emitter<'_> {
    /// Extents of a value for one row.
    pub(super) fn extents(&self, v: Value) -> Vec<usize> {
        self.g.shape(v).per_row()
    }

    /// The value of `v` at `ix` of `row`; with 4 lanes, at `ix` and the next three along its line.
    pub(super) fn eval(&mut self, v: Value, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        if let Some(h) = self.hole.as_ref().filter(|h| h.anchor == v) {
            self.torn |= h.lanes != lanes;
            return Ex {
                text: h.text.clone(),
                depth: self.depth(),
            };
        }
        let key = (v, ix.to_vec(), lanes, row.clone());
        if let Some(ex) = self.known(&key) {
            return ex;
        }
        let ex = self.compute(v, ix, lanes, row);
        self.remember(key, &ex);
        ex
    }

    fn compute(&mut self, v: Value, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        if self.computing != Some(v)
            && let Some(home) = self.partition.placement.homes.get(&v).copied()
        {
            return self.load(v, Place::Home(home), ix, lanes, row);
        }
        let g = self.g;
        let n = g.node(v);
        let a = n.args.as_slice();
        match &n.op {
            Op::Input(_) => self.load(v, Place::Input(self.memory.inputs[&v]), ix, lanes, row),
            Op::Param(_) => self.load_weight(v, ix, lanes),
            Op::Const(c) => splat(&literal(*c), 0, lanes, g.ty(v).dtype),
            Op::Iota => {
                let base = ix[0].text();
                let text = if lanes == 1 {
                    format!("i32({base})")
                } else {
                    format!("(vec4<i32>(i32({base})) + vec4<i32>(0, 1, 2, 3))")
                };
                self.bind("e", &text, ix[0].depth())
            }
            Op::Unary(u) => {
                let x = self.eval(a[0], ix, lanes, row);
                let text = unary(*u, &x.text, lanes);
                self.bind("e", &text, x.depth)
            }
            Op::Binary(b) => {
                let (x, y) = (self.eval(a[0], ix, lanes, row), self.eval(a[1], ix, lanes, row));
                let text = binary(*b, &x.text, &y.text, lanes, g.ty(a[0]).dtype);
                self.bind("e", &text, x.depth.max(y.depth))
            }
            Op::Select => {
                let [c, x, y] = [0, 1, 2].map(|i| self.eval(a[i], ix, lanes, row));
                let depth = c.depth.max(x.depth).max(y.depth);
                self.bind("e", &format!("select({}, {}, {})", y.text, x.text, c.text), depth)
            }
            Op::Cast => {
                let x = self.eval(a[0], ix, lanes, row);
                let text = cast(&x.text, g.ty(a[0]).dtype, n.ty.dtype, lanes);
                self.bind("e", &text, x.depth)
            }
            Op::Detach => self.eval(a[0], ix, lanes, row),
            Op::Broadcast => self.broadcast(v, a[0], ix, lanes, row),
            Op::Reshape => {
                let jx = self.reshaped(&self.extents(v), &self.extents(a[0]), ix);
                self.moved(v, a[0], ix, &jx, lanes, row)
            }
            Op::Permute(perm) => {
                let mut jx = vec![Ix::default(); ix.len()];
                for (i, &p) in perm.iter().enumerate() {
                    jx[p] = ix[i].clone();
                }
                let line = line_axis(&self.extents(v));
                if lanes == 1 || perm.get(line) == Some(&line_axis(&self.extents(a[0]))) {
                    self.eval(a[0], &jx, lanes, row)
                } else {
                    self.one_by_one(v, ix, row)
                }
            }
            Op::Slice { axis, start, step, .. } => {
                let mut jx = ix.to_vec();
                jx[*axis] = ix[*axis].times(small(*step)).plus_constant(small(*start));
                let line = line_axis(&self.extents(v));
                // Where a single column is left, lanes run along another axis than in the operand.
                let along = line == line_axis(&self.extents(a[0])) && (*step == 1 || *axis != line);
                if lanes > 1 && !along {
                    return self.one_by_one(v, ix, row);
                }
                self.moved(v, a[0], ix, &jx, lanes, row)
            }
            Op::Concat(axis) => self.concat(v, *axis, ix, lanes, row),
            Op::Gather(axis) => self.gather(v, *axis, ix, lanes, row),
            Op::TakeAlong(axis) => {
                if lanes > 1 {
                    return self.one_by_one(v, ix, row);
                }
                let n = self.extents(a[0])[*axis];
                let i = self.eval(a[1], ix, 1, row);
                let mut jx = ix.to_vec();
                jx[*axis] = self.checked(&i, n, a[0], row);
                self.eval(a[0], &jx, 1, row)
            }
            Op::Uniform(stream) => self.uniform(v, *stream, ix, lanes, row),
            Op::MatMul | Op::Reduce(..) | Op::CumSum(_) | Op::Gru | Op::GruGrad => {
                unreachable!("anchors are stored or stand in a hole")
            }
            Op::ScatterAdd(_) => unreachable!("`partition` refuses `{}`", n.op.name()),
        }
    }

    fn gather(&mut self, v: Value, axis: usize, ix: &[Ix], lanes: u32, row: &Row) -> Ex {
        let g = self.g;
        let (table, index) = (g.args(v)[0], g.args(v)[1]);
        if is_crossing(g, g.node(v)) {
            let request = self.request(index, row);
            // The request axis has factor 1 and is the only symbolic one: within a request its index is 0.
            return self.eval(table, ix, lanes, &request);
        }
        let rank = g.shape(index).rank();
        let (before, rest) = ix.split_at(axis);
        let (own, after) = rest.split_at(rank);
        let from = self.extents(table);
        let line = line_axis(&self.extents(v));
        // Lanes along the rows of the table stay together, lanes along indices do not.
        if lanes > 1 && (line < axis + rank || line + 1 - rank != line_axis(&from)) {
            return self.one_by_one(v, ix, row);
        }
        let i = self.eval(index, own, 1, row);
        let at = self.checked(&i, from[axis], table, row);
        let jx: Vec<Ix> = before
            .iter()
            .cloned()
            .chain([at])
            .chain(after.iter().cloned())
            .collect();
        self.eval(table, &jx, lanes, row)
    }

    /// An index that came as data: held within the axis and reported when it was outside.
    fn checked(&mut self, i: &Ex, n: usize, table: Value, row: &Row) -> Ix {
        let word = self
            .memory
            .tables
            .iter()
            .position(|t| *t == table)
            .map_or(0, |p| small(p + 1));
        self.checked.insert(word);
        let (depth, global) = (i.depth.max(row.depth), row.global.clone());
        let e = self.bind("n", &format!("checked({}, {n}u, {word}u, {global})", i.text), depth);
        Ix::opaque(&e.text, small(n), e.depth)
    }

    /// The request that a row belongs to.
    fn request(&mut self, request_of_row: Value, row: &Row) -> Row {
        let zero = vec![Ix::default()];
        let e = self.eval(request_of_row, &zero, 1, row);
        let global = self.bind("request", &format!("min(u32({}), sizes.y - 1u)", e.text), e.depth);
        Row {
            space: RowSpace::Requests,
            local: Ix::default(),
            global: global.text,
            depth: global.depth,
        }
    }
}

pub(super) fn splat(text: &str, depth: usize, lanes: u32, dtype: DType) -> Ex {
    let text = if lanes == 1 {
        text.to_owned()
    } else {
        format!("vec4<{}>({text})", wgsl_type(dtype))
    };
    Ex { text, depth }
}
