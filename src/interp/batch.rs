//! From the tensors a caller gives to the inputs of a graph: sizes, types, and the implied `request_of_row`.

use std::borrow::Cow;

use super::EvalError;
use crate::ir::{Graph, REQUEST_OF_ROW, TensorType};
use crate::tensor::{Dim, HostTensor, Sizes, Tensors};

/// The sizes that the inputs of a batch imply. Without a request input there is one request; without a rows input
/// there are as many rows as requests.
///
/// # Errors
/// [`EvalError`] when an input has the wrong rank, no whole number of rows, or disagrees with another one.
pub fn sizes_of(graph: &Graph, batch: &Tensors) -> Result<Sizes, EvalError> {
    let (mut rows, mut requests) = (None, None);
    for (_, name, ty) in graph.inputs() {
        let (Some(tensor), Some((axis, dim))) = (batch.get(name), ty.shape.symbolic()) else {
            continue;
        };
        let extent = tensor.shape.get(axis).filter(|n| *n % dim.factor() == 0);
        let (Some(extent), true) = (extent, tensor.shape.len() == ty.shape.rank()) else {
            return Err(wrong_type(name, tensor, ty.to_string()));
        };
        let seen = extent / dim.factor();
        let (known, what) = match dim {
            Dim::Requests(_) => (&mut requests, "requests"),
            Dim::Rows(_) | Dim::Fixed(_) => (&mut rows, "rows"),
        };
        match *known {
            Some((first, expected)) if expected != seen => {
                return Err(EvalError::SizesDiffer {
                    what,
                    input: name.to_owned(),
                    seen,
                    first: str::to_owned(first),
                    expected,
                });
            }
            Some(_) => {}
            None => *known = Some((name, seen)),
        }
    }
    let requests = requests.map(|(_, n)| n);
    Ok(Sizes {
        rows: rows.map(|(_, n)| n).or(requests).unwrap_or(1),
        requests: requests.unwrap_or(1),
    })
}

/// Checks that a batch gives every input of the graph, and nothing else, at these sizes.
///
/// # Errors
/// [`EvalError`] naming the first input at fault.
pub fn check_batch(graph: &Graph, batch: &Tensors, sizes: Sizes) -> Result<(), EvalError> {
    for (_, name, ty) in graph.inputs() {
        input(name, ty, batch, sizes)?;
    }
    let is_input = |tensor: &str| graph.inputs().any(|(_, name, _)| name == tensor);
    match batch.keys().find(|name| !is_input(name)) {
        Some(name) => Err(EvalError::UnexpectedInput {
            input: name.clone(),
            expected: graph.inputs().map(|(_, name, _)| format!("`{name}`")).collect(),
        }),
        None => Ok(()),
    }
}

/// The tensor of an input: the caller's, or the `request_of_row` that the sizes imply.
///
/// # Errors
/// [`EvalError`] when it is missing or of another type.
pub fn input<'a>(
    name: &str,
    ty: &TensorType,
    batch: &'a Tensors,
    sizes: Sizes,
) -> Result<Cow<'a, HostTensor>, EvalError> {
    match batch.get(name) {
        Some(tensor) if fits(tensor, ty, sizes) => Ok(Cow::Borrowed(tensor)),
        Some(tensor) => Err(wrong_type(name, tensor, expected(ty, sizes))),
        None if name == REQUEST_OF_ROW => request_of_row(sizes).map(Cow::Owned),
        None => Err(EvalError::MissingInput { input: name.to_owned() }),
    }
}

/// The tensor of a parameter.
///
/// # Errors
/// [`EvalError`] when it is missing or of another type.
pub fn param<'a>(name: &str, ty: &TensorType, weights: &'a Tensors) -> Result<&'a HostTensor, EvalError> {
    match weights.get(name) {
        Some(tensor) if fits(tensor, ty, Sizes::ONE) => Ok(tensor),
        Some(tensor) => Err(EvalError::ParamType {
            param: name.to_owned(),
            seen: seen(tensor),
            expected: ty.to_string(),
        }),
        None => Err(EvalError::MissingParam { param: name.to_owned() }),
    }
}

fn request_of_row(Sizes { rows, requests }: Sizes) -> Result<HostTensor, EvalError> {
    let one = requests == 1;
    if !one && requests != rows {
        return Err(EvalError::RequestOfRow { rows, requests });
    }
    let request = |row: usize| if one { 0 } else { row as i32 };
    Ok(HostTensor::i32(&[rows], (0..rows).map(request).collect()))
}

fn fits(tensor: &HostTensor, ty: &TensorType, sizes: Sizes) -> bool {
    tensor.dtype() == ty.dtype && tensor.shape == ty.shape.at(sizes)
}

fn wrong_type(input: &str, tensor: &HostTensor, expected: String) -> EvalError {
    EvalError::InputType {
        input: input.to_owned(),
        seen: seen(tensor),
        expected,
    }
}

fn seen(tensor: &HostTensor) -> String {
    format!("{}{:?}", tensor.dtype(), tensor.shape)
}

/// The type as the graph has it, and its extents in this batch where they differ.
fn expected(ty: &TensorType, sizes: Sizes) -> String {
    match ty.shape.symbolic() {
        Some(_) => format!("{ty} = {:?}", ty.shape.at(sizes)),
        None => ty.to_string(),
    }
}
