//! Columns of a file: what a model needs of it, checked before anything is trained. What is gathered is checked batch
//! by batch.

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;

use super::needs::{Need, Needs, Role};
use super::{DataError, Gather};
use crate::interp::{EvalError, eval_values};
use crate::ir::{TensorType, Value};
use crate::tensor::{Data, Dim, HostTensor, Shape, Sizes, Tensors};

/// Columns by name; those who need the same ones share them.
pub(super) type Shared = IndexMap<String, Arc<HostTensor>>;

/// Rows whose indices are computed at once.
const BLOCK: usize = 4096;
/// Bytes of a block of rows, about, and how many rows it has at least and at most.
const BLOCK_BYTES: usize = 32 << 20;
const BLOCK_ROWS: (usize, usize) = (256, 8192);

/// The rows of a file: the columns that a model needs, under the names of its inputs.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) name: String,
    pub(super) rows: usize,
    needs: Arc<Needs>,
    tensors: Shared,
    /// Who makes the inputs that are in no column.
    gather: Option<Arc<dyn Gather>>,
}

impl Columns {
    /// Takes what is needed and checks all of it. A column may also stand under `in.NAME`, as in golden files.
    pub(super) fn new(
        name: &str,
        mut read: Shared,
        gather: Option<&Arc<dyn Gather>>,
        needs: &Arc<Needs>,
    ) -> Result<Self, DataError> {
        let made = gather.map_or(Vec::new(), |g| g.inputs());
        let mut there: Vec<String> = read.keys().map(|k| format!("`{k}`")).collect();
        there.extend(made.iter().map(|m| format!("`{}`", m.name)));
        let mut columns = Self {
            name: name.to_owned(),
            rows: 0,
            needs: needs.clone(),
            tensors: Shared::new(),
            gather: None,
        };
        for (i, need) in needs.columns.iter().enumerate() {
            let again = needs.columns[i + 1..].iter().any(|later| later.column == need.column);
            let tensor = taken(&mut read, &need.column, again);
            match made.iter().find(|m| m.name == need.column && need.role == Role::Input) {
                Some(_) if tensor.is_some() => {
                    return Err(DataError::Twice {
                        source_name: name.to_owned(),
                        column: need.column.clone(),
                    });
                }
                Some(m) => {
                    let rest = m.extents.iter().map(|&n| Dim::Fixed(n));
                    let shape = Shape(std::iter::once(Dim::Rows(1)).chain(rest).collect());
                    let ty = TensorType::new(m.dtype, shape);
                    if ty != need.ty {
                        return Err(columns.mistyped(need, ty.to_string()));
                    }
                    columns.gather = gather.cloned();
                }
                None => {
                    let tensor = tensor.ok_or_else(|| DataError::Missing {
                        source_name: name.to_owned(),
                        column: need.column.clone(),
                        expected: need.ty.to_string(),
                        there: there.clone(),
                    })?;
                    columns.insert(need, tensor)?;
                }
            }
        }
        if columns.tensors.is_empty() {
            // All inputs are gathered, and no labels needed: any column says how many rows there are.
            columns.rows = read.values().find_map(|t| t.shape.first().copied()).unwrap_or(0);
        }
        columns.check()?;
        Ok(columns)
    }

    /// Adds a column that has the type needed, and as many rows as the first one.
    fn insert(&mut self, need: &Need, tensor: Arc<HostTensor>) -> Result<(), DataError> {
        let tensor = match need.role {
            Role::Input => tensor,
            Role::Share | Role::Weight => as_scalars(tensor),
        };
        let rows = rows_of(&tensor, &need.ty)
            .ok_or_else(|| self.mistyped(need, format!("{}{:?}", tensor.dtype(), tensor.shape)))?;
        if self.tensors.is_empty() {
            self.rows = rows;
        } else if rows != self.rows {
            return Err(DataError::Rows {
                source_name: self.name.clone(),
                column: need.column.clone(),
                seen: rows,
                first: self.first_column(),
                expected: self.rows,
            });
        }
        self.tensors.insert(need.input.clone(), tensor);
        Ok(())
    }

    fn mistyped(&self, need: &Need, seen: String) -> DataError {
        DataError::Type {
            source_name: self.name.clone(),
            column: need.column.clone(),
            seen,
            expected: need.ty.to_string(),
        }
    }

    /// The column that said how many rows there are.
    fn first_column(&self) -> String {
        let first = self.tensors.keys().next();
        let need = self.needs.columns.iter().find(|n| Some(&n.input) == first);
        need.map_or(String::new(), |n| n.column.clone())
    }

    fn check(&self) -> Result<(), DataError> {
        if self.rows == 0 {
            return Err(DataError::Empty {
                source_name: self.name.clone(),
            });
        }
        for need in &self.needs.columns {
            if let Some(tensor) = self.tensors.get(&need.input) {
                self.check_numbers(need, tensor, |at| at)?;
            }
        }
        let is_here = |input: &str| self.tensors.contains_key(input);
        let lookups = &self.needs.lookups;
        if lookups.iter().any(|l| is_here(&l.input)) {
            for start in (0..self.rows).step_by(BLOCK) {
                let rows: Vec<usize> = (start..self.rows.min(start + BLOCK)).collect();
                let ids = self.picked(&rows, |input| lookups.iter().any(|l| l.input == input));
                self.check_indices(&ids, &rows, is_here)?;
            }
        }
        Ok(())
    }

    /// Every number of a column is one that it may hold; `row` turns rows of the tensor into rows of the file.
    fn check_numbers(&self, need: &Need, tensor: &HostTensor, row: impl Fn(usize) -> usize) -> Result<(), DataError> {
        let Some(x) = tensor.as_f32() else { return Ok(()) };
        let fits = |x: &f32| match need.role {
            Role::Input => x.is_finite(),
            Role::Share => (0.0..=1.0).contains(x),
            Role::Weight => x.is_finite() && *x >= 0.0,
        };
        let Some(at) = x.iter().position(|x| !fits(x)) else {
            return Ok(());
        };
        let (source_name, column, seen) = (self.name.clone(), need.column.clone(), x[at]);
        let rows = tensor.shape[0] / need.ty.shape.0[0].factor();
        let row = row(at * rows / x.len());
        Err(match need.role {
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
        })
    }

    /// Every index of a batch of these rows leads into its table, of those that are made of inputs of `which` names.
    fn check_indices(&self, batch: &Tensors, rows: &[usize], which: impl Fn(&str) -> bool) -> Result<(), DataError> {
        let needs = &self.needs;
        let lookups: Vec<_> = needs.lookups.iter().filter(|l| which(&l.input)).collect();
        let wanted: Vec<Value> = lookups.iter().map(|l| l.index).collect();
        let sizes = Sizes {
            rows: rows.len(),
            requests: rows.len(),
        };
        let failed = |why: EvalError| DataError::Evaluate {
            source_name: self.name.clone(),
            why,
        };
        let values = eval_values::<f32>(&needs.graph, &needs.constants, batch, sizes, &wanted).map_err(failed)?;
        for (lookup, index) in lookups.iter().zip(&values) {
            let ids = index.ints();
            let outside = |id: &i32| usize::try_from(*id).map_or(true, |id| id >= lookup.extent);
            if let Some(at) = ids.iter().position(outside) {
                return Err(DataError::Index {
                    source_name: self.name.clone(),
                    row: rows[at * rows.len() / ids.len()],
                    column: lookup.column.clone(),
                    seen: ids[at],
                    extent: lookup.extent,
                    table: lookup.table.clone(),
                });
            }
        }
        Ok(())
    }

    /// The labels, one a row.
    pub(super) fn labels(&self) -> &[f32] {
        self.tensors
            .get(super::LABEL)
            .and_then(|labels| labels.as_f32())
            .unwrap_or(&[])
    }

    /// These rows as a batch.
    ///
    /// # Errors
    /// What is wrong with rows that were gathered; those of columns have been checked.
    pub(super) fn take(&self, rows: &[usize]) -> Result<Tensors, DataError> {
        let mut batch = self.picked(rows, |_| true);
        let Some(gather) = &self.gather else {
            return Ok(batch);
        };
        let mut gathered = Tensors::new();
        gather.gather(rows, &mut gathered);
        let lacking = |need: &&Need| !self.tensors.contains_key(&need.input);
        for need in self.needs.columns.iter().filter(lacking) {
            let tensor = gathered.swap_remove(&need.column);
            let seen = tensor
                .as_ref()
                .map_or("not gathered".to_owned(), |t| format!("{}{:?}", t.dtype(), t.shape));
            let tensor = tensor.filter(|t| rows_of(t, &need.ty) == Some(rows.len()));
            let tensor = tensor.ok_or_else(|| self.mistyped(need, seen))?;
            self.check_numbers(need, &tensor, |at| rows[at])?;
            batch.insert(need.input.clone(), tensor);
        }
        self.check_indices(&batch, rows, |input| !self.tensors.contains_key(input))?;
        Ok(batch)
    }

    /// What columns know of these rows, for inputs of `which` names.
    fn picked(&self, rows: &[usize], which: impl Fn(&str) -> bool) -> Tensors {
        let tensors = self.tensors.iter().filter(|(name, _)| which(name));
        let part = |(name, tensor): (&String, &Arc<HostTensor>)| (name.clone(), take(tensor, self.rows, rows));
        tensors.map(part).collect()
    }

    /// All rows in order, cut into blocks of a size that memory and cores like.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let bytes = self.needs.columns.iter().map(|n| 4 * n.ty.shape.numel(Sizes::ONE));
        let (least, most) = BLOCK_ROWS;
        let (rows, size) = (
            self.rows,
            (BLOCK_BYTES / bytes.sum::<usize>().max(1)).clamp(least, most),
        );
        (0..rows).step_by(size).map(move |start| start..rows.min(start + size))
    }
}

/// A column by its name, or under `in.NAME`; left where it is if it is needed `again`.
fn taken(read: &mut Shared, column: &str, again: bool) -> Option<Arc<HostTensor>> {
    let golden = format!("in.{column}");
    let key = if read.contains_key(column) { column } else { &golden };
    if again {
        read.get(key).cloned()
    } else {
        read.swap_remove(key)
    }
}

/// A column of one number a row as `f32[rows]`, where it is one; anything else as it is.
fn as_scalars(tensor: Arc<HostTensor>) -> Arc<HostTensor> {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let is_one = tensor.data.len() == rows;
    let numbers = match &tensor.data {
        Data::F32(x) if is_one && tensor.shape.len() > 1 => x.clone(),
        Data::I32(x) if is_one => x.iter().map(|x| *x as f32).collect(),
        Data::Bool(x) if is_one => x.iter().map(|x| f32::from(u8::from(*x))).collect(),
        Data::F32(_) | Data::I32(_) | Data::Bool(_) => return tensor,
    };
    Arc::new(HostTensor::f32(&[rows], numbers))
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
