//! Steps other than matmuls: maps, reductions, running sums, recurrent units.

use super::emit::{Emitter, Row};
use super::expr::line_axis;
use super::index::{Ix, small};
use super::program::Program;
use crate::fuse::Step;
use crate::ir::{Fold, Op, Value};
use crate::tensor::DType;

impl Emitter<'_> {
    /// A row of the tile.
    pub(super) fn row(&mut self, p: &Program, local: &Ix) -> Row {
        let count = p.count();
        let text = format!("min(row0 + {}, {count} - 1u)", local.text());
        let e = self.bind("r", &text, local.depth());
        Row {
            space: p.space,
            local: local.clone(),
            global: e.text,
            depth: e.depth,
        }
    }

    /// Computes every element of a root.
    pub(super) fn map(&mut self, p: &Program, root: Value) {
        let home = self.partition.placement.homes[&root];
        self.computing = Some(root);
        let shape = self.extents(root);
        let line = line_axis(&shape);
        for (lo, hi) in self.segments(root) {
            let whole = lo % 4 == 0 && ((hi - lo) % 4 == 0 || shape.get(line) == Some(&hi)) && hi - lo > 1;
            let (lanes, count) = if whole {
                (4, (hi - lo).div_ceil(4))
            } else {
                (1, hi - lo)
            };
            let lines: usize = shape
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != line)
                .map(|(_, n)| n)
                .product();
            let (task, header) = self.open_tasks(small(p.tile * lines * count), p.threads);
            let (rest, along) = self.split(&task, small(count));
            let (local, lead) = self.split(&rest, small(lines));
            let local = self.clamp(&local, small(p.tile));
            let row = self.row(p, &local);
            let along = along.times(lanes).plus_constant(small(lo));
            let ix = self.index_on_line(&shape, &lead, &along);
            let e = self.eval(root, &ix, lanes, &row);
            self.store(root, home, &ix, lanes, &e.text, &row);
            self.close(&header);
        }
        self.computing = None;
    }

    /// The index whose line is the `lead`-th and whose place on it is `along`.
    fn index_on_line(&mut self, shape: &[usize], lead: &Ix, along: &Ix) -> Vec<Ix> {
        let line = line_axis(shape);
        let mut others = shape.to_vec();
        if let Some(n) = others.get_mut(line) {
            *n = 1;
        }
        let mut ix = self.unflat(&others, lead);
        if let Some(i) = ix.get_mut(line) {
            *i = along.clone();
        }
        ix
    }

    /// Folds axes: one invocation per element (or four neighbours) of the result.
    pub(super) fn reduce(&mut self, p: &Program, step: &Step, anchor: Value, fold: Fold, axes: &[usize]) {
        let arg = self.g.args(anchor)[0];
        let (from, to) = (self.extents(arg), self.extents(anchor));
        let dtype = self.g.ty(anchor).dtype;
        let line = line_axis(&to);
        let lanes: u32 = if line_axis(&from) == line && !axes.contains(&line) && to[line] % 4 == 0 {
            4
        } else {
            1
        };
        let elements: usize = to.iter().product::<usize>() / lanes as usize;
        let (task, header) = self.open_tasks(small(p.tile * elements), p.threads);
        let (local, element) = self.split(&task, small(elements));
        let local = self.clamp(&local, small(p.tile));
        let row = self.row(p, &local);
        let ix = self.unflat(&to, &element.times(lanes));
        let start = match (fold, dtype) {
            (Fold::Sum, DType::F32) => "0.0",
            (Fold::Sum, _) => "0i",
            (Fold::Max, DType::F32) => "-0x1.fffffep+127f",
            (Fold::Min, DType::F32) => "0x1.fffffep+127f",
            (Fold::Max, _) => "(-2147483647i - 1i)",
            (Fold::Min, _) => "2147483647i",
        };
        let ty = super::spell::wgsl_type(dtype);
        self.line(&if lanes == 1 {
            format!("var acc: {ty} = {start};")
        } else {
            format!("var acc = vec4<{ty}>({start});")
        });
        let combine = |x: &str| match fold {
            Fold::Sum => format!("acc += {x};"),
            Fold::Max => format!("acc = max(acc, {x});"),
            Fold::Min => format!("acc = min(acc, {x});"),
        };
        // Along the operand's own line four neighbours are folded at a time.
        let own = line_axis(&from);
        let quads = lanes == 1 && axes.contains(&own) && from[own] % 4 == 0;
        let mut headers = Vec::new();
        let mut jx = ix.clone();
        for &a in axes {
            let step = if quads && a == own { 4 } else { 1 };
            let (i, h) = self.open_loop("k", small(from[a] / step));
            jx[a] = i.times(small(step));
            headers.push(h);
        }
        let e = self.eval(arg, &jx, if quads { 4 } else { lanes }, &row);
        if quads {
            let fold4 = match fold {
                Fold::Sum => format!("({0}.x + {0}.y) + ({0}.z + {0}.w)", e.text),
                Fold::Max => format!("max(max({0}.x, {0}.y), max({0}.z, {0}.w))", e.text),
                Fold::Min => format!("min(min({0}.x, {0}.y), min({0}.z, {0}.w))", e.text),
            };
            self.line(&combine(&fold4));
        } else {
            self.line(&combine(&e.text));
        }
        for h in headers.iter().rev() {
            self.close(h);
        }
        self.open();
        if lanes == 1 || line + 1 == to.len() {
            self.finish_step(step, anchor, &ix, lanes, "acc", &row);
        } else {
            // Lanes of the result do not run along its last axis: one at a time.
            self.finish_by_lane(step, anchor, &ix, line, &row);
        }
        self.close("");
        self.close(&header);
    }

    fn finish_by_lane(&mut self, step: &Step, anchor: Value, ix: &[Ix], line: usize, row: &Row) {
        for (c, component) in super::expr::COMPONENTS.iter().enumerate() {
            let mut jx = ix.to_vec();
            jx[line] = jx[line].plus_constant(small(c));
            self.open();
            self.finish_step(step, anchor, &jx, 1, &format!("acc.{component}"), row);
            self.close("");
        }
    }

    /// Running sum along an axis: one invocation per line.
    pub(super) fn cumsum(&mut self, p: &Program, anchor: Value, axis: usize) {
        let arg = self.g.args(anchor)[0];
        let shape = self.extents(anchor);
        let home = self.partition.placement.homes[&anchor];
        let mut others = shape.clone();
        others[axis] = 1;
        let lines: usize = others.iter().product();
        let (task, header) = self.open_tasks(small(p.tile * lines), p.threads);
        let (local, lead) = self.split(&task, small(lines));
        let local = self.clamp(&local, small(p.tile));
        let row = self.row(p, &local);
        let mut ix = self.unflat(&others, &lead);
        let zero = if self.g.ty(anchor).dtype == DType::F32 {
            "0.0"
        } else {
            "0i"
        };
        self.line(&format!("var acc = {zero};"));
        let (i, inner) = self.open_loop("k", small(shape[axis]));
        ix[axis] = i;
        let e = self.eval(arg, &ix, 1, &row);
        self.line(&format!("acc += {};", e.text));
        self.store(anchor, home, &ix, 1, "acc", &row);
        self.close(&inner);
        self.close(&header);
    }

    /// Emits one step.
    pub(super) fn step(&mut self, p: &Program, step: &Step) {
        let Some(anchor) = step.anchor else {
            return self.map(p, step.root);
        };
        match self.g.op(anchor).clone() {
            Op::MatMul => self.matmul(p, step, anchor),
            Op::Reduce(fold, axes) => self.reduce(p, step, anchor, fold, &axes),
            Op::CumSum(axis) => self.cumsum(p, anchor, axis),
            Op::Gru => self.gru(p, anchor),
            Op::GruGrad => self.gru_grad(p, anchor),
            op => unreachable!("`{}` is no anchor", op.name()),
        }
    }
}
