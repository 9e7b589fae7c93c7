//! What a model needs of data: columns, and tables that ids must lead into.

use crate::ir::{Graph, Op, TensorType, Value};
use crate::tensor::{DType, Tensors};

/// What a column is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An input; floats are finite.
    Input,
    /// Labels or probabilities: f32 within 0..=1.
    Share,
    /// Weights of rows: finite, not negative.
    Weight,
}

/// A column that a model needs.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// The graph's input.
    pub(super) input: String,
    /// The file's column.
    pub(super) column: String,
    pub(super) ty: TensorType,
    pub(super) role: Role,
}

/// All that a model needs of a file.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) columns: Vec<Need>,
    /// The column of labels; empty where there are none.
    pub(super) label: String,
    pub(super) lookups: Vec<Lookup>,
    /// Where indices are computed from the inputs.
    pub(super) graph: Graph,
    /// Integer parameters, which indices may depend on.
    pub(super) constants: Tensors,
}

/// Indices and what they lead to.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) index: Value,
    /// The one input that it is made of.
    pub(super) input: String,
    pub(super) extent: usize,
    pub(super) column: String,
    pub(super) table: String,
}

impl Need {
    /// The inputs of a graph as columns of their names; a step's scalars are none.
    pub(super) fn inputs(graph: &Graph) -> Vec<Self> {
        let inputs = graph.inputs().filter(|(_, name, _)| !name.starts_with("step."));
        let need = |(_, name, ty): (Value, &str, &TensorType)| Self {
            input: name.to_owned(),
            column: name.to_owned(),
            ty: ty.clone(),
            role: Role::Input,
        };
        inputs.map(need).collect()
    }
}

impl Needs {
    /// The inputs of a graph, no labels.
    pub(super) fn of_inputs(graph: Graph, weights: &Tensors) -> Self {
        let columns = Need::inputs(&graph);
        Self::new(graph, weights, columns, "")
    }

    /// What `graph`, whose inputs are in `columns`, needs.
    pub(super) fn new(graph: Graph, weights: &Tensors, columns: Vec<Need>, label: &str) -> Self {
        let constants = weights.iter().filter(|(_, t)| t.dtype() != DType::F32);
        let constants = constants.map(|(name, t)| (name.clone(), t.clone())).collect();
        let mut lookups = Vec::new();
        for (_, n) in graph.iter() {
            let (Op::Gather(axis) | Op::TakeAlong(axis)) = n.op else {
                continue;
            };
            let index = n.args[1];
            let input = sole_input(&graph, index);
            let column = columns.iter().find(|c| Some(&c.input) == input.as_ref());
            // What no input reaches, or what is computed from weights, is the model's own affair.
            if let Some(column) = column
                && let Some(extent) = graph.shape(n.args[0]).0.get(axis)
                && !extent.is_symbolic()
            {
                let table = match graph.op(n.args[0]) {
                    Op::Param(name) => format!("`{name}`"),
                    _ => format!("`{}`", graph.scope_of(n.args[0])),
                };
                lookups.push(Lookup {
                    index,
                    input: column.input.clone(),
                    extent: extent.factor(),
                    column: format!("`{}`", column.column),
                    table,
                });
            }
        }
        Self {
            columns,
            label: label.to_owned(),
            lookups,
            graph,
            constants,
        }
    }
}

/// The one input that a value depends on.
fn sole_input(g: &Graph, v: Value) -> Option<String> {
    let mut found = None;
    let mut stack = vec![v];
    while let Some(v) = stack.pop() {
        match g.op(v) {
            Op::Input(name) if found.as_ref().is_none_or(|f| f == name) => found = Some(name.clone()),
            Op::Input(_) => return None,
            Op::Param(_) if g.ty(v).dtype == DType::F32 => return None,
            _ => stack.extend(g.args(v)),
        }
    }
    found
}
