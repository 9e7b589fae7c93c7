//! What a bundle holds besides kernels: weights in storage precision, inputs and outputs.

use indexmap::IndexMap;

use super::CompileError;
use crate::bundle::{Port, Precision, StoredTensor};
use crate::ir::rows::RowSpace;
use crate::ir::{Graph, Op, TensorType, Value};
use crate::tensor::{HostTensor, Tensors};
use crate::wgsl::space;

/// Weights in storage precision: matrices and tables whose values survive f16 become halves, the rest stays as it is.
pub(super) fn store(g: &Graph, weights: &Tensors, precision: Precision) -> IndexMap<String, StoredTensor> {
    let stored = |name: &str, t: &HostTensor| {
        let spread = t.shape.iter().filter(|n| **n > 1).count() >= 2;
        let half = precision == Precision::F16 && (spread || multiplies(g, name)) && fits_f16(t);
        if half {
            StoredTensor::from_host_as_f16(t)
        } else {
            StoredTensor::from_host(t)
        }
    };
    let live = g.live();
    g.params()
        .filter(|(v, _, _)| live[v.index()])
        .filter_map(|(_, name, _)| weights.get(name).map(|t| (name.to_owned(), stored(name, t))))
        .collect()
}

/// Whether a parameter is a matmul's second operand as it stands.
fn multiplies(g: &Graph, name: &str) -> bool {
    g.iter()
        .any(|(_, n)| matches!(n.op, Op::MatMul) && matches!(g.op(n.args[1]), Op::Param(p) if p == name))
}

/// Whether rounding to f16 keeps a weight's values: none is beyond 1e4, and together they lose no more than values in f16's
/// normal range do, half a unit of their last place. Some may lie below that range, as rows of a table do that training
/// hardly touched, if others are large beside them.
fn fits_f16(t: &HostTensor) -> bool {
    let Some(values) = t.as_f32() else { return false };
    let norm = |of: &dyn Fn(f32) -> f64| values.iter().map(|x| of(*x).powi(2)).sum::<f64>();
    let lost = norm(&|x| f64::from(x) - half::f16::from_f32(x).to_f64());
    let unit = f64::from(half::f16::EPSILON) / 2.0;
    values.iter().all(|x| x.abs() <= 1e4) && lost <= unit * unit * norm(&|x| f64::from(x))
}

pub(super) fn ports(list: impl Iterator<Item = (String, Value)>, g: &Graph) -> Result<Vec<Port>, CompileError> {
    list.map(|(name, v)| port(&name, g.ty(v))).collect()
}

fn port(name: &str, ty: &TensorType) -> Result<Port, CompileError> {
    let named = || (name.to_owned(), ty.to_string());
    let Some((0, first)) = ty.shape.symbolic() else {
        let (name, ty) = named();
        return Err(CompileError::Input { name, ty });
    };
    let small = |n: usize| {
        u32::try_from(n).map_err(|_| {
            let (name, ty) = named();
            CompileError::TooLarge { name, ty }
        })
    };
    let row_space = if matches!(first, crate::tensor::Dim::Rows(_)) {
        RowSpace::Rows
    } else {
        RowSpace::Requests
    };
    Ok(Port {
        name: name.to_owned(),
        dtype: ty.dtype,
        space: space(row_space),
        factor: small(first.factor())?,
        shape: ty.shape.0[1..]
            .iter()
            .map(|d| small(d.factor()))
            .collect::<Result<_, _>>()?,
    })
}
