//! Columns of a file: what a model needs of it, checked before anything is trained.

use std::sync::Arc;

use super::DataError;
use crate::interp::{EvalError, eval_values};
use crate::ir::{Graph, Op, TensorType, Value};
use crate::tensor::{DType, Data, HostTensor, Shape, Sizes, Tensors};

/// Rows whose indices are computed at once.
const BLOCK: usize = 4096;

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
#[derive(Clone, Debug)]
pub(super) struct Needs {
    pub(super) columns: Vec<Need>,
    /// The column of labels.
    pub(super) label: String,
    lookups: Vec<Lookup>,
    /// Where indices are computed from the inputs.
    graph: Arc<Graph>,
    /// Integer parameters, which indices may depend on.
    constants: Tensors,
}

/// Indices and what they lead to.
#[derive(Clone, Debug)]
struct Lookup {
    index: Value,
    extent: usize,
    column: String,
    table: String,
}

impl Needs {
    /// What `graph`, whose inputs are in `columns`, needs.
    pub(super) fn new(graph: Graph, constants: Tensors, columns: Vec<Need>, label: &str) -> Self {
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
            graph: Arc::new(graph),
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

/// The rows of a file: the columns that a model needs, under the names of its inputs.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) name: String,
    pub(super) rows: usize,
    tensors: Tensors,
}

impl Columns {
    /// Takes what is needed and checks all of it. A column may also stand under `in.NAME`, as in golden files.
    pub(super) fn new(name: &str, mut read: Tensors, needs: &Needs) -> Result<Self, DataError> {
        let there: Vec<String> = read.keys().map(|k| format!("`{k}`")).collect();
        let mut columns = Self {
            name: name.to_owned(),
            rows: 0,
            tensors: Tensors::new(),
        };
        for (i, need) in needs.columns.iter().enumerate() {
            let again = needs.columns[i + 1..].iter().any(|later| later.column == need.column);
            let tensor = taken(&mut read, &need.column, again).ok_or_else(|| DataError::Missing {
                source_name: name.to_owned(),
                column: need.column.clone(),
                expected: need.ty.to_string(),
                there: there.clone(),
            })?;
            columns.insert(needs, need, tensor)?;
        }
        columns.check(needs)?;
        Ok(columns)
    }

    /// Adds a column that has the type needed, and as many rows as the first one.
    fn insert(&mut self, needs: &Needs, need: &Need, tensor: HostTensor) -> Result<(), DataError> {
        let tensor = match need.role {
            Role::Input => tensor,
            Role::Share | Role::Weight => as_scalars(tensor),
        };
        let rows = rows_of(&tensor, &need.ty).ok_or_else(|| DataError::Type {
            source_name: self.name.clone(),
            column: need.column.clone(),
            seen: format!("{}{:?}", tensor.dtype(), tensor.shape),
            expected: need.ty.to_string(),
        })?;
        if self.tensors.is_empty() {
            self.rows = rows;
        } else if rows != self.rows {
            return Err(DataError::Rows {
                source_name: self.name.clone(),
                column: need.column.clone(),
                seen: rows,
                first: needs.columns[0].column.clone(),
                expected: self.rows,
            });
        }
        self.tensors.insert(need.input.clone(), tensor);
        Ok(())
    }

    fn check(&self, needs: &Needs) -> Result<(), DataError> {
        let source_name = || self.name.clone();
        if self.rows == 0 {
            return Err(DataError::Empty {
                source_name: source_name(),
            });
        }
        for need in &needs.columns {
            let Some(x) = self.tensors[&need.input].as_f32() else {
                continue;
            };
            let fits = |x: &f32| match need.role {
                Role::Input => x.is_finite(),
                Role::Share => (0.0..=1.0).contains(x),
                Role::Weight => x.is_finite() && *x >= 0.0,
            };
            let Some(at) = x.iter().position(|x| !fits(x)) else {
                continue;
            };
            let (row, column, seen) = (at * self.rows / x.len(), need.column.clone(), x[at]);
            let source_name = source_name();
            return Err(match need.role {
                Role::Input => DataError::NonFinite {
                    source_name,
                    row,
                    column,
                    seen,
                },
                Role::Share => DataError::Label {
                    source_name,
                    row,
                    column,
                    seen,
                },
                Role::Weight => DataError::Weight {
                    source_name,
                    row,
                    column,
                    seen,
                },
            });
        }
        self.check_indices(needs)
    }

    /// Every index leads into its table.
    fn check_indices(&self, needs: &Needs) -> Result<(), DataError> {
        let wanted: Vec<Value> = needs.lookups.iter().map(|l| l.index).collect();
        let failed = |why: EvalError| DataError::Evaluate {
            source_name: self.name.clone(),
            why,
        };
        for start in (0..self.rows).step_by(BLOCK) {
            let rows: Vec<usize> = (start..self.rows.min(start + BLOCK)).collect();
            let batch = self.take(&rows);
            let sizes = Sizes {
                rows: rows.len(),
                requests: rows.len(),
            };
            let values = eval_values::<f32>(&needs.graph, &needs.constants, &batch, sizes, &wanted).map_err(failed)?;
            for (lookup, index) in needs.lookups.iter().zip(&values) {
                let ids = index.ints();
                let outside = |id: &i32| usize::try_from(*id).map_or(true, |id| id >= lookup.extent);
                if let Some(at) = ids.iter().position(outside) {
                    return Err(DataError::Index {
                        source_name: self.name.clone(),
                        row: start + at * rows.len() / ids.len(),
                        column: lookup.column.clone(),
                        seen: ids[at],
                        extent: lookup.extent,
                        table: lookup.table.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The labels, one a row.
    pub(super) fn labels(&self) -> &[f32] {
        self.tensors
            .get(super::LABEL)
            .and_then(HostTensor::as_f32)
            .unwrap_or(&[])
    }

    /// These rows as a batch.
    pub(super) fn take(&self, rows: &[usize]) -> Tensors {
        let part = |(name, tensor): (&String, &HostTensor)| (name.clone(), take(tensor, self.rows, rows));
        self.tensors.iter().map(part).collect()
    }
}

/// A column by its name, or under `in.NAME`; a copy where it is needed `again`.
fn taken(read: &mut Tensors, column: &str, again: bool) -> Option<HostTensor> {
    let golden = format!("in.{column}");
    let key = if read.contains_key(column) { column } else { &golden };
    if again {
        read.get(key).cloned()
    } else {
        read.swap_remove(key)
    }
}

/// A column of one number a row as `f32[rows]`, where it is one; anything else as it is.
fn as_scalars(tensor: HostTensor) -> HostTensor {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    if tensor.data.len() != rows {
        return tensor;
    }
    let numbers = match tensor.data {
        Data::F32(x) => x,
        Data::I32(x) => x.iter().map(|x| *x as f32).collect(),
        Data::Bool(x) => x.iter().map(|x| f32::from(u8::from(*x))).collect(),
    };
    HostTensor::f32(&[rows], numbers)
}

/// How many rows a tensor holds, if it is of this type.
fn rows_of(tensor: &HostTensor, ty: &TensorType) -> Option<usize> {
    let Shape(dims) = &ty.shape;
    let rows = tensor.shape.first()? / dims.first()?.factor();
    let sizes = Sizes { rows, requests: rows };
    (tensor.dtype() == ty.dtype && tensor.shape == ty.shape.at(sizes)).then_some(rows)
}

/// Some of the `all` rows of a tensor.
fn take(tensor: &HostTensor, all: usize, rows: &[usize]) -> HostTensor {
    fn picked<T: Copy>(data: &[T], width: usize, rows: &[usize]) -> Vec<T> {
        rows.iter()
            .flat_map(|r| &data[r * width..(r + 1) * width])
            .copied()
            .collect()
    }
    let width = tensor.data.len() / all;
    let mut shape = tensor.shape.clone();
    shape[0] = shape[0] / all * rows.len();
    let data = match &tensor.data {
        Data::F32(x) => Data::F32(picked(x, width, rows)),
        Data::I32(x) => Data::I32(picked(x, width, rows)),
        Data::Bool(x) => Data::Bool(picked(x, width, rows)),
    };
    HostTensor { shape, data }
}
