//! From the tensors of a caller to words: checks of names and types, the implied `request_of_row`.

use std::borrow::Cow;

use super::error::{Error, Mismatch};
use crate::ir::{Graph, REQUEST_OF_ROW, TensorType};
use crate::tensor::{DType, Data, HostTensor, Sizes, Tensors};

/// Checks that a batch gives every input and nothing else. `request_of_row` may be left out.
pub(super) fn check_batch(graph: &Graph, batch: &Tensors, sizes: Sizes) -> Result<(), Error> {
    let mut wrong: Vec<Mismatch> = graph
        .inputs()
        .filter(|(_, name, _)| *name != REQUEST_OF_ROW || batch.contains_key(*name))
        .filter_map(|(_, name, ty)| mismatch(name, ty, batch.get(name), sizes))
        .collect();
    let is_input = |tensor: &str| graph.inputs().any(|(_, name, _)| name == tensor);
    let unexpected = batch.keys().filter(|name| !is_input(name)).cloned();
    wrong.extend(unexpected.map(|name| Mismatch::Unexpected { name }));
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Batch(wrong))
    }
}

/// Checks that weights give every parameter.
pub(super) fn check_weights(graph: &Graph, weights: &Tensors) -> Result<(), Error> {
    let wrong: Vec<Mismatch> = graph
        .params()
        .filter_map(|(_, name, ty)| mismatch(name, ty, weights.get(name), Sizes::ONE))
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Weights(wrong))
    }
}

fn mismatch(name: &str, ty: &TensorType, tensor: Option<&HostTensor>, sizes: Sizes) -> Option<Mismatch> {
    let name = name.to_owned();
    let shape = ty.shape.at(sizes);
    let expected = match ty.shape.symbolic() {
        Some(_) => format!("{ty} = {shape:?}"),
        None => ty.to_string(),
    };
    match tensor {
        None => Some(Mismatch::Missing { name, expected }),
        Some(t) if t.dtype() == ty.dtype && t.shape == shape => None,
        Some(t) => Some(Mismatch::Type {
            name,
            seen: format!("{}{:?}", t.dtype(), t.shape),
            expected,
        }),
    }
}

/// The request of each row where the caller does not say: the only one, or the row's own.
pub(super) fn implied_requests(Sizes { rows, requests }: Sizes) -> Result<Vec<u32>, Error> {
    if requests == 1 {
        return Ok(vec![0; rows]);
    }
    let mut own = (0..).take(rows);
    if requests == rows {
        Ok(own.by_ref().collect())
    } else {
        Err(Error::RequestOfRow { rows, requests })
    }
}

/// Checks the map from rows to requests.
pub(super) fn check_requests(request_of_row: &[u32], requests: usize) -> Result<(), Error> {
    let outside = |request: &u32| usize::try_from(*request).is_ok_and(|r| r >= requests);
    match request_of_row.iter().position(outside) {
        None => Ok(()),
        Some(row) => Err(Error::Index {
            index: format!("input `{REQUEST_OF_ROW}`"),
            table: "the requests".into(),
            row,
            value: request_of_row[row].cast_signed(),
            extent: requests,
        }),
    }
}

/// The elements of a tensor as words.
pub(super) fn words(tensor: &HostTensor) -> Cow<'_, [u32]> {
    match &tensor.data {
        Data::F32(x) => Cow::Borrowed(bytemuck::cast_slice(x)),
        Data::I32(x) => Cow::Borrowed(bytemuck::cast_slice(x)),
        Data::Bool(x) => Cow::Owned(x.iter().map(|x| u32::from(*x)).collect()),
    }
}

/// A tensor of words.
pub(super) fn tensor(dtype: DType, shape: &[usize], words: Vec<u32>) -> HostTensor {
    match dtype {
        DType::F32 => HostTensor::f32(shape, bytemuck::cast_vec(words)),
        DType::I32 => HostTensor::i32(shape, bytemuck::cast_vec(words)),
        DType::Bool => HostTensor::bool(shape, words.into_iter().map(|w| w != 0).collect()),
    }
}
