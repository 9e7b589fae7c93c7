//! Whose fault a number is that is none.

use super::{Blame, Error};
use crate::interp;
use crate::ir::Graph;
use crate::tensor::{Sizes, Tensors};

/// The first node of the step's loss and gradients that makes an infinity or NaN of finite operands, found by
/// interpreting the batch on the state that the step started from.
pub(super) fn blame(graph: &Graph, state: &Tensors, batch: &Tensors, rows: usize) -> Result<Blame, Error> {
    let mut graph = graph.clone();
    // What is written follows from these; the guard of the writes is not to blame.
    graph.outputs.retain(|(name, _)| name == "loss" || name == "grad_norm");
    let sizes = Sizes { rows, requests: rows };
    let Some((v, made)) = interp::first_non_finite(&graph, state, batch, sizes)? else {
        return Ok(Blame::default());
    };
    Ok(Blame {
        node: Some((v, format!("`{}`", graph.op(v).name()), graph.scope_of(v).to_owned())),
        made: made.to_owned(),
    })
}
