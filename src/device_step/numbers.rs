//! What is a number in a step, and the kernel that computes them all.

use std::cell::RefCell;

use indexmap::IndexSet;

use super::Error;
use super::form::{Form, Gradient, Trained};
use crate::ir::{Binary, Fold, Graph, Op, Value};
use crate::tensor::{DType, Sizes};
use crate::wgsl::{kernel, statements};

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

    /// What stands for a number, or for what repeats one.
    pub(super) fn leaf(&self, g: &Graph, v: Value) -> Option<String> {
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

    /// A value that was asked for and is no number.
    pub(super) fn fault(&self) -> Option<Value> {
        self.fault.take()
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
                let of = |t: &Trained| {
                    let of = |gradient: &Gradient| square.args == [gradient.value; 2];
                    square.op == Op::Binary(Binary::Mul) && t.gradients.iter().any(of)
                };
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
