//! Values while a graph is evaluated.

use super::Real;
use crate::ir::Scalar;
use crate::tensor::{DType, Data, HostTensor};

/// Elements of a [`Tensor`], row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements<T> {
    /// Floats.
    Float(Vec<T>),
    /// Integers.
    Int(Vec<i32>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// A dense row-major tensor whose floats are of type `T`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements; as many as the product of the extents.
    pub data: Elements<T>,
}

/// The same expression of the elements, whatever their type; the result is of that type.
macro_rules! map_elements {
    ($data:expr, $x:ident => $body:expr) => {
        match $data {
            Elements::Float($x) => Elements::Float($body),
            Elements::Int($x) => Elements::Int($body),
            Elements::Bool($x) => Elements::Bool($body),
        }
    };
}
pub(super) use map_elements;

impl<T> Elements<T> {
    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::Float(_) => DType::F32,
            Self::Int(_) => DType::I32,
            Self::Bool(_) => DType::Bool,
        }
    }
}

impl<T: Real> Tensor<T> {
    /// The same numbers.
    #[must_use]
    pub fn from_host(tensor: &HostTensor) -> Self {
        let data = match &tensor.data {
            Data::F32(x) => Elements::Float(x.iter().map(|x| T::from_f32(*x)).collect()),
            Data::I32(x) => Elements::Int(x.clone()),
            Data::Bool(x) => Elements::Bool(x.clone()),
        };
        Self {
            shape: tensor.shape.clone(),
            data,
        }
    }

    /// The same numbers, floats rounded to `f32`.
    #[must_use]
    pub fn to_host(&self) -> HostTensor {
        let data = match &self.data {
            Elements::Float(x) => Data::F32(x.iter().map(|x| x.to_f32()).collect()),
            Elements::Int(x) => Data::I32(x.clone()),
            Elements::Bool(x) => Data::Bool(x.clone()),
        };
        HostTensor {
            shape: self.shape.clone(),
            data,
        }
    }

    pub(super) fn scalar(x: Scalar) -> Elements<T> {
        match x {
            Scalar::F32(x) => Elements::Float(vec![T::from_f32(x)]),
            Scalar::I32(x) => Elements::Int(vec![x]),
            Scalar::Bool(x) => Elements::Bool(vec![x]),
        }
    }

    /// The floats.
    ///
    /// # Panics
    /// If these are no floats: the caller knows the type from the graph.
    #[must_use]
    pub fn floats(&self) -> &[T] {
        match &self.data {
            Elements::Float(x) => x,
            other => panic!("{} elements where the graph has floats", other.dtype()),
        }
    }

    /// The integers; panics as [`Tensor::floats`] does.
    #[must_use]
    pub fn ints(&self) -> &[i32] {
        match &self.data {
            Elements::Int(x) => x,
            other => panic!("{} elements where the graph has integers", other.dtype()),
        }
    }

    /// The truth values; panics as [`Tensor::floats`] does.
    #[must_use]
    pub fn bools(&self) -> &[bool] {
        match &self.data {
            Elements::Bool(x) => x,
            other => panic!("{} elements where the graph has truth values", other.dtype()),
        }
    }
}
