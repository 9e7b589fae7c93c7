//! The kernels that a step has of its own: its numbers, and what becomes of each element of what is trained.

use std::cell::RefCell;

use indexmap::IndexSet;

use super::Error;
use super::form::{Form, Trained};
use crate::ir::{Binary, Fold, Graph, Op, Value};
use crate::tensor::{DType, Sizes};
use crate::wgsl::{Statements, kernel, statements};

/// Numbers that updates and metrics are made of, in the order of their slots; slot 0 says that a kernel complained.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    slots: RefCell<IndexSet<Value>>,
    fault: RefCell<Option<Value>>,
}

/// What numbers are computed from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Inputs of the step.
    pub(super) given: RefCell<IndexSet<String>>,
    /// Sums over the batch of one element.
    pub(super) sums: RefCell<IndexSet<Value>>,
    /// Trained tensors whose gradient's squares are added up.
    pub(super) norms: RefCell<IndexSet<usize>>,
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len() + 1
    }

    /// The slot of a number.
    pub(super) fn slot(&self, v: Value) -> usize {
        self.slots.borrow_mut().insert_full(v).0 + 1
    }

    fn leaf(&self, g: &Graph, v: Value) -> Option<String> {
        let mut number = v;
        while matches!(g.op(number), Op::Broadcast | Op::Reshape | Op::Detach) {
            number = g.args(number)[0];
        }
        if matches!(g.op(number), Op::Const(_)) {
            return None;
        }
        if g.shape(number).symbolic().is_some() || g.shape(number).numel(Sizes::ONE) != 1 {
            self.fault.borrow_mut().get_or_insert(number);
        }
        let slot = self.slot(number);
        Some(match g.ty(number).dtype {
            DType::Bool => format!("scalars[{slot}] != 0.0"),
            DType::F32 | DType::I32 => format!("scalars[{slot}]"),
        })
    }

    /// What becomes of an element of a trained tensor and of its state.
    pub(super) fn update(&self, g: &Graph, t: &Trained) -> Result<Statements, Error> {
        let leaf = |v: Value| {
            let state = t.states.iter().position(|s| *s == v);
            match v {
                _ if v == t.param => Some("p".to_owned()),
                _ if v == t.gradient => Some("g".to_owned()),
                _ if state.is_some() => state.map(|i| format!("s{i}")),
                _ if t.spread.contains(&v) => None,
                _ => self.leaf(g, v),
            }
        };
        let found = statements(g, &t.next, &leaf).map_err(|v| Error::refused(g, v, "no element by itself"))?;
        match self.fault.take() {
            None => Ok(found),
            Some(v) => Err(Error::refused(
                g,
                v,
                "neither a number nor an element of what is trained",
            )),
        }
    }

    /// The kernel of all numbers, and what it reads. `place` says where a sum lies among gradients.
    pub(super) fn text(
        &self,
        g: &Graph,
        form: &Form,
        sources: &Sources,
        place: &dyn Fn(Value) -> usize,
    ) -> Result<String, Error> {
        let slots: Vec<Value> = self.slots.borrow().iter().copied().collect();
        if let Some(v) = slots.iter().find(|v| g.ty(**v).dtype == DType::I32) {
            return Err(Error::refused(g, *v, "numbers of a step are floats"));
        }
        let leaf = |v: Value| sources.leaf(g, form, v, place);
        let found = statements(g, &slots, &leaf).map_err(|v| Error::refused(g, v, "no number of the batch"))?;
        let norms = sources.norms.borrow().len();
        let mut body = format!(
            "  for (var n = 0u; n < {norms}u; n++) {{\n    \
             let range = ranges[n];\n    \
             var sum = 0.0;\n    \
             for (var i = range.x + lid; i < range.y; i += 64u) {{ sum += squares[i]; }}\n    \
             lanes[lid] = sum;\n    workgroupBarrier();\n    \
             for (var half = 32u; half > 0u; half /= 2u) {{\n      \
             if lid < half {{ lanes[lid] += lanes[lid + half]; }}\n      workgroupBarrier();\n    }}\n    \
             if lid == 0u {{ norms[n] = lanes[0]; }}\n    workgroupBarrier();\n  }}\n  \
             if lid > 0u {{ return; }}\n  \
             var halt = 0.0;\n  \
             for (var i = 1u; i < arrayLength(&status); i++) {{ if status[i] > 0u {{ halt = 1.0; }} }}\n  \
             scalars[0] = halt;\n{}",
            found.text
        );
        for (i, (v, x)) in slots.iter().zip(&found.values).enumerate() {
            let x = match g.ty(*v).dtype {
                DType::Bool => format!("select(0.0, 1.0, {x})"),
                DType::F32 | DType::I32 => x.clone(),
            };
            body.push_str(&format!("  scalars[{}] = {x};\n", i + 1));
        }
        let declarations = format!(
            "@group(0) @binding(0) var<storage, read> given: array<f32>;\n\
             @group(0) @binding(1) var<storage, read> gradient: array<f32>;\n\
             @group(0) @binding(2) var<storage, read> squares: array<f32>;\n\
             @group(0) @binding(3) var<storage, read> ranges: array<vec2<u32>>;\n\
             @group(0) @binding(4) var<storage, read> status: array<u32>;\n\
             @group(0) @binding(5) var<storage, read_write> scalars: array<f32>;\n\
             var<workgroup> lanes: array<f32, 64>;\n\
             var<workgroup> norms: array<f32, {}>;\n",
            norms.max(1)
        );
        Ok(kernel(&declarations, 64, &body))
    }
}

impl Sources {
    /// What a number that is not computed from others is read from.
    fn leaf(&self, g: &Graph, form: &Form, v: Value, place: &dyn Fn(Value) -> usize) -> Option<String> {
        match g.op(v) {
            Op::Input(name) if g.ty(v).dtype == DType::F32 && g.shape(v).symbolic().is_none() => {
                let i = self.given.borrow_mut().insert_full(name.clone()).0;
                Some(format!("given[{i}]"))
            }
            Op::Reduce(Fold::Sum, axes) if axes.len() == g.shape(v).rank() && !form.is_sum[v.index()] => {
                let square = g.node(g.args(v)[0]);
                let of = |t: &Trained| square.op == Op::Binary(Binary::Mul) && square.args == [t.gradient; 2];
                let i = form.trained.iter().position(of)?;
                Some(format!("norms[{}]", self.norms.borrow_mut().insert_full(i).0))
            }
            _ if form.is_sum[v.index()] && g.shape(v).numel(Sizes::ONE) == 1 => {
                self.sums.borrow_mut().insert(v);
                Some(format!("gradient[{}]", place(v)))
            }
            _ => None,
        }
    }
}

/// The kernel of an update of tensors with so many state tensors each.
pub(super) fn update(update: &Statements, states: usize) -> String {
    let stretch = include_str!("../../shaders/combine.wgsl");
    let start = stretch.find("struct Stretch").unwrap_or(0);
    let end = stretch.find("}\n").map_or(stretch.len(), |at| at + 2);
    let mut declarations = format!(
        "{}@group(0) @binding(0) var<storage, read> stretches: array<Stretch>;\n\
         @group(0) @binding(1) var<storage, read> gradient: array<f32>;\n\
         @group(0) @binding(2) var<storage, read> scalars: array<f32>;\n\
         @group(0) @binding(3) var<storage, read_write> weights: array<f32>;\n",
        &stretch[start..end]
    );
    let (mut loads, mut stores) = (String::new(), String::new());
    for i in 0..states {
        declarations.push_str(&format!(
            "@group(0) @binding({}) var<storage, read_write> state{i}: array<f32>;\n",
            4 + i
        ));
        loads.push_str(&format!("  let s{i} = state{i}[e];\n"));
        stores.push_str(&format!("  state{i}[e] = {};\n", update.values[i + 1]));
    }
    let body = format!(
        "  let number = wid.x + wid.y * 65535u;\n  \
         if number >= arrayLength(&stretches) || scalars[0] != 0.0 {{ return; }}\n  \
         let stretch = stretches[number];\n  \
         for (var i = lid; i < stretch.count; i += 64u) {{\n  \
         let at = stretch.first + i;\n  \
         // Padding stays zero.\n  \
         if at % stretch.line >= stretch.width {{ continue; }}\n  \
         let e = stretch.flat + at;\n  let p = weights[e];\n  let g = gradient[e];\n{loads}{}  \
         weights[e] = {};\n{stores}  }}\n",
        update.text, update.values[0]
    );
    kernel(&declarations, 64, &body)
}
