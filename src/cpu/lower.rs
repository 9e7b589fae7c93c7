//! From a stage of a graph to the program for a block of rows.
//!
//! Values get views first: where they will lie is decided backwards, from a concatenation to its parts, so that parts
//! are computed in place; instructions are then emitted forwards. What strides can say (`broadcast`, `permute`, `slice`,
//! most of `reshape`, requests that follow rows) costs no instruction.

use super::gather::{Gather, Indexed, TakeAlong};
use super::lanes::Func;
use super::matmul::MatMul;
use super::plan::{Crossing, Given, Plan, Stage, Unit, Wanted, is_pointwise, rows_first};
use super::pointwise::{Tape, Var};
use super::program::{Instr, Program};
use super::reduce::Reduce;
use super::scatter::{ScatterAdd, Uniform};
use super::view::{Buffer, View};
use crate::ir::{Fold, Node, Op, Value};
use crate::tensor::{DType, Sizes};

/// The program of a stage for blocks of `n` rows; its results are the values wanted.
pub(super) fn lower(plan: &Plan, stage: Stage, n: usize, crossing: Crossing, wanted: &[Wanted]) -> Program {
    let mut lowering = Lowering {
        plan,
        stage,
        sizes: Sizes { rows: n, requests: n },
        crossing,
        views: vec![None; plan.graph.len()],
        homes: vec![None; plan.graph.len()],
        lengths: Vec::new(),
        instrs: Vec::new(),
    };
    lowering.find_homes();
    for (v, node) in plan.nodes().filter(|(v, _)| plan.stages[v.index()] == Some(stage)) {
        if lowering.is_absorbed(v) {
            continue;
        }
        let view = lowering.emit(v, node);
        lowering.views[v.index()] = Some(view);
    }
    let result = |w: &Wanted| match (lowering.view(w.value), w.later) {
        (view, true) => view.permuted(&rows_first(plan.graph.shape(w.value))),
        (view, false) => view,
    };
    let results = wanted.iter().map(result).collect();
    Program::new(lowering.instrs, &lowering.lengths, results)
}

pub(super) struct Lowering<'a> {
    pub(super) plan: &'a Plan,
    stage: Stage,
    pub(super) sizes: Sizes,
    crossing: Crossing,
    /// Where values lie that are emitted.
    views: Vec<Option<View>>,
    /// Where values are wanted to lie.
    homes: Vec<Option<View>>,
    /// Words of each region.
    lengths: Vec<usize>,
    instrs: Vec<Instr>,
}

impl Lowering<'_> {
    fn shape(&self, v: Value) -> Vec<usize> {
        self.plan.graph.shape(v).at(self.sizes)
    }

    fn in_stage(&self, v: Value) -> bool {
        self.plan.stages[v.index()] == Some(self.stage)
    }

    /// Whether a value exists only in registers, within the chain of another one.
    fn is_absorbed(&self, v: Value) -> bool {
        self.plan.chains[v.index()].is_some_and(|last| last != v)
    }

    pub(super) fn region(&mut self, shape: &[usize]) -> View {
        self.lengths.push(shape.iter().product());
        View::dense(Buffer::Region(self.lengths.len() - 1), shape)
    }

    /// Where an operand lies: computed in this stage, or given to it.
    fn view(&self, v: Value) -> View {
        let given = |given: &Given| match given {
            Given::Fixed(view) => view.clone(),
            Given::PerUnit(slot) => {
                let (shape, order) = (self.shape(v), rows_first(self.plan.graph.shape(v)));
                let rows_first: Vec<usize> = order.iter().map(|&a| shape[a]).collect();
                View::dense(Buffer::Slot(*slot), &rows_first).unpermuted(&order)
            }
        };
        let known = self.views[v.index()].clone();
        known
            .or_else(|| self.plan.given[v.index()].as_ref().map(given))
            .expect("operands are emitted, or given, before their readers")
    }

    /// Backwards: a concatenation offers its parts the place they end up in.
    fn find_homes(&mut self) {
        let (plan, stage) = (self.plan, self.stage);
        for (v, node) in plan
            .nodes()
            .rev()
            .filter(|(v, _)| plan.stages[v.index()] == Some(stage))
        {
            let Op::Concat(axis) = node.op else { continue };
            let home = match self.homes[v.index()].clone() {
                Some(home) => home,
                None => self.region(&self.shape(v)),
            };
            let mut start = 0;
            for &part in &node.args {
                let extent = self.shape(part)[axis];
                self.offer(part, home.sliced(axis, start, 1, extent));
                start += extent;
            }
            self.homes[v.index()] = Some(home);
        }
    }

    /// Offers a place to a value; the first offer to what would need memory anyway stands.
    fn offer(&mut self, v: Value, place: View) {
        if !self.in_stage(v) || self.homes[v.index()].is_some() {
            return;
        }
        let node = self.plan.graph.node(v);
        match &node.op {
            Op::Reshape => {
                let from = node.args[0];
                if let Some(place) = place.reshaped(&self.shape(from)) {
                    self.offer(from, place);
                }
            }
            Op::Permute(perm) => self.offer(node.args[0], place.unpermuted(perm)),
            Op::Detach => self.offer(node.args[0], place),
            Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota | Op::Broadcast | Op::Slice { .. } => {}
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Concat(_) | Op::Gather(_) => {
                self.homes[v.index()] = Some(place);
            }
            Op::TakeAlong(_) | Op::MatMul | Op::Reduce(..) | Op::CumSum(_) | Op::Gru | Op::GruGrad => {
                self.homes[v.index()] = Some(place);
            }
            // They fill memory that is all theirs.
            Op::Uniform(_) | Op::ScatterAdd(_) => {}
        }
    }

    /// The place that an instruction writes a value to.
    fn home(&mut self, v: Value) -> View {
        match self.homes[v.index()].clone() {
            Some(home) => home,
            None => self.region(&self.shape(v)),
        }
    }

    /// Emits what computes a value and says where it lies.
    fn emit(&mut self, v: Value, node: &Node) -> View {
        let shape = self.shape(v);
        let arg = |i: usize| self.view(node.args[i]);
        match &node.op {
            Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota => self.view(v),
            Op::Detach => arg(0),
            Op::Broadcast => arg(0).broadcast(&shape),
            Op::Permute(perm) => arg(0).permuted(perm),
            Op::Slice { axis, start, step, .. } => arg(0).sliced(*axis, *start, *step, shape[*axis]),
            Op::Reshape => {
                let from = arg(0);
                match from.reshaped(&shape) {
                    Some(view) => view,
                    None => {
                        let dense = self.region(&from.shape);
                        self.copy(from, &dense);
                        dense.reshaped(&shape).expect("a dense view takes any shape")
                    }
                }
            }
            Op::Gather(axis) => self.gather(v, node, *axis),
            op if is_pointwise(op) => {
                let home = self.home(v);
                self.chain(v, &home);
                home
            }
            op => {
                let args: Vec<View> = node.args.iter().map(|a| self.view(*a)).collect();
                let home = self.home(v);
                if home.numel() > 0 {
                    self.compute(op, node, &args, &home);
                }
                home
            }
        }
    }

    fn compute(&mut self, op: &Op, node: &Node, args: &[View], home: &View) {
        match op {
            Op::Concat(axis) => {
                let mut start = 0;
                for part in args {
                    let place = home.sliced(*axis, start, 1, part.shape[*axis]);
                    start += part.shape[*axis];
                    if !part.coincides(&place) {
                        self.copy(part.clone(), &place);
                    }
                }
            }
            Op::TakeAlong(axis) => {
                let origin = self.origin(node);
                let take = TakeAlong::new(&args[0], &args[1], home, *axis, origin);
                self.instrs.push(Instr::TakeAlong(take));
            }
            Op::MatMul => self.matmul(&args[0], (&args[1], self.plan.panels[node.args[1].index()]), home),
            Op::Reduce(fold, axes) => {
                let reduce = Reduce::new(*fold, node.ty.dtype, axes, &args[0], home);
                self.instrs.push(Instr::Reduce(reduce));
            }
            Op::CumSum(axis) => self.cumsum(node.ty.dtype, &args[0], *axis, home),
            Op::Gru => self.gru(args, home),
            Op::GruGrad => self.gru_grad(args, home),
            Op::ScatterAdd(axis) => {
                let origin = self.origin(node);
                let extent = Some(home.shape[*axis]);
                self.instrs.push(Instr::ScatterAdd(ScatterAdd {
                    sums: Indexed::new(home, &args[1], &args[0], *axis, extent, origin),
                    result: (home.offset, home.numel()),
                }));
            }
            Op::Uniform(stream) => {
                let rows = node.ty.shape.symbolic().is_some();
                let per_row = if rows { node.ty.shape.numel(Sizes::ONE) } else { 0 };
                self.instrs
                    .push(Instr::Uniform(Uniform::new(&args[0], home, *stream, per_row)));
            }
            Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Iota | Op::Broadcast | Op::Reshape => {}
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast => {}
            Op::Permute(_) | Op::Slice { .. } | Op::Gather(_) | Op::Detach => {}
        }
    }

    /// A product; the second operand may lie in panels.
    pub(super) fn matmul(&mut self, a: &View, b: (&View, bool), y: &View) {
        // Blocks of rows run side by side; what waits for all of them has the threads to itself.
        let is_alone = self.stage.unit == Unit::Batch;
        self.instrs.push(Instr::MatMul(MatMul::new(a, b, y, is_alone)));
    }

    /// Sums along an axis.
    pub(super) fn sum(&mut self, x: &View, axis: usize, y: &View) {
        self.instrs
            .push(Instr::Reduce(Reduce::new(Fold::Sum, DType::F32, &[axis], x, y)));
    }

    pub(super) fn pointwise(&mut self, tape: Tape, to: &View) {
        if to.numel() > 0 {
            self.instrs.push(Instr::Pointwise(tape.finish(to)));
        }
    }

    pub(super) fn copy(&mut self, from: View, to: &View) {
        let mut tape = Tape::default();
        tape.load(from);
        self.pointwise(tape, to);
    }

    /// The chain that ends in `last`.
    fn chain(&mut self, last: Value, to: &View) {
        let mut tape = Tape::default();
        let mut vars: Vec<Option<Var>> = vec![None; last.index() + 1];
        let members = self.plan.graph.iter().take(last.index() + 1);
        for (v, node) in members.filter(|(v, _)| self.plan.chains[v.index()] == Some(last)) {
            let args: Vec<Var> = node
                .args
                .iter()
                .map(|a| *vars[a.index()].get_or_insert_with(|| tape.load(self.view(*a))))
                .collect();
            let from = self.plan.graph.ty(node.args[0]).dtype;
            let func = match &node.op {
                Op::Unary(op) => Func::Unary(*op, from),
                Op::Binary(op) => Func::Binary(*op, from),
                Op::Select => Func::Select,
                _ => Func::Cast(from, node.ty.dtype),
            };
            vars[v.index()] = Some(tape.apply(func, &args));
        }
        self.pointwise(tape, to);
    }

    fn gather(&mut self, v: Value, node: &Node, axis: usize) -> View {
        let mut table = self.view(node.args[0]);
        let crosses = self.plan.crosses(node);
        match self.crossing {
            Crossing::One if crosses => {
                table.strides[0] = 0;
                return table;
            }
            Crossing::Consecutive if crosses => return table,
            Crossing::One | Crossing::Consecutive | Crossing::Any => {}
        }
        let index = self.view(node.args[1]);
        let home = self.home(v);
        if home.numel() > 0 {
            let extent = table.shape[axis];
            let origin = self.origin(node);
            let lookup = Indexed::new(&table, &index, &home, axis, (!crosses).then_some(extent), origin);
            self.instrs.push(Instr::Gather(Gather(lookup)));
        }
        home
    }
}
