//! What depends on weights alone: computed once, when an executor is made.

use super::Error;
use super::batch::words as words_of;
use super::lower::lower;
use super::panels;
use super::plan::{Crossing, Given, Plan, Source, Stage, Unit, Wanted};
use super::program::Scratch;
use super::run::index_error;
use super::view::{Buffer, View};
use crate::ir::{Op, Scalar, Value};
use crate::tensor::{Sizes, Tensors};

/// Gives every leaf that some output needs a slot.
pub(super) fn give_leaves(plan: &mut Plan, weights: &Tensors) {
    let leaves: Vec<Value> = plan.nodes().filter(|(_, n)| n.op.is_leaf()).map(|(v, _)| v).collect();
    for v in leaves {
        let source = match plan.graph.op(v) {
            Op::Input(name) => Source::Input(name.clone()),
            Op::Param(name) => Source::Constant(weights.get(name).map(words_of).unwrap_or_default().into_owned()),
            Op::Const(Scalar::F32(x)) => Source::Constant(vec![x.to_bits()]),
            Op::Const(Scalar::I32(x)) => Source::Constant(vec![x.cast_unsigned()]),
            Op::Const(Scalar::Bool(x)) => Source::Constant(vec![u32::from(*x)]),
            _ => Source::Constant((0..).take(plan.graph.shape(v).numel(Sizes::ONE)).collect()),
        };
        give(plan, v, source);
    }
}

/// Gives a value a slot, which it then fills.
pub(super) fn give(plan: &mut Plan, v: Value, source: Source) -> usize {
    let slot = plan.add_slot(v, source);
    plan.given[v.index()] = Some(match plan.slots[slot].per {
        Unit::Rows | Unit::Requests => Given::PerUnit(slot),
        Unit::Batch | Unit::Executor => Given::Fixed(View::dense(Buffer::Slot(slot), &plan.graph.shape(v).per_row())),
    });
    slot
}

/// Runs the constant stage. What strides on weights can say stays where it is, except second operands of products: they lie
/// row-major, or in panels where nothing else reads them.
pub(super) fn fold(plan: &mut Plan) -> Result<(), Error> {
    let mut values = plan.handed_on(Stage::CONSTANT);
    values.extend(plan.outputs(Stage::CONSTANT).into_iter().map(|(_, v)| v));
    values.retain(|v| plan.given[v.index()].is_none());
    let wanted: Vec<Wanted> = values.iter().map(|&value| Wanted { value, later: false }).collect();
    let program = lower(plan, Stage::CONSTANT, 1, Crossing::Any, &wanted);
    let mut words: Vec<Vec<u32>> = values
        .iter()
        .map(|v| vec![0; plan.graph.shape(*v).numel(Sizes::ONE)])
        .collect();
    let slots: Vec<&[u32]> = plan
        .slots
        .iter()
        .map(|s| match &s.source {
            Source::Constant(words) => words.as_slice(),
            Source::Input(_) | Source::Result => &[],
        })
        .collect();
    let mut parts: Vec<Vec<&mut [u32]>> = words.iter_mut().map(|w| vec![w.as_mut_slice()]).collect();
    let run = program.run(
        &mut Scratch::default(),
        &slots,
        &vec![0; slots.len()],
        (0, 0),
        &mut parts,
    );
    run.map_err(|outside| index_error(outside, 0))?;
    for ((v, words), view) in values.into_iter().zip(words).zip(&program.results) {
        let is_weight = matches!(view.buffer, Buffer::Slot(_));
        if is_weight && (view.is_row_major() || !plan.is_multiplied_by(v)) {
            plan.given[v.index()] = Some(Given::Fixed(view.clone()));
        } else {
            give(plan, v, Source::Constant(words));
        }
    }
    lay_in_panels(plan);
    plan.forget_folded();
    Ok(())
}

/// Copies matrices that are only multiplied by into panels.
fn lay_in_panels(plan: &mut Plan) {
    let constants = plan.nodes().map(|(v, _)| v);
    let constants: Vec<Value> = constants
        .filter(|v| plan.stages[v.index()] == Some(Stage::CONSTANT))
        .collect();
    for v in constants {
        let Some(Given::Fixed(view)) = &plan.given[v.index()] else {
            continue;
        };
        let Buffer::Slot(slot) = view.buffer else { continue };
        let Source::Constant(words) = &plan.slots[slot].source else {
            continue;
        };
        if plan.is_multiplied_by_alone(v) {
            let laid = panels::lay(words, view);
            give(plan, v, Source::Constant(laid));
            plan.panels[v.index()] = true;
        }
    }
}
