//! Dense tensors in host memory.

use super::DType;

/// Elements of a host tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats.
    F32(Vec<f32>),
    /// Integers.
    I32(Vec<i32>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Data {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::I32(_) => DType::I32,
            Self::Bool(_) => DType::Bool,
        }
    }
}

/// A dense row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements; as many as the product of the extents.
    pub data: Data,
}

impl HostTensor {
    /// A float tensor.
    ///
    /// # Panics
    /// If the number of elements is not the product of `shape`: a mistake of the caller.
    #[must_use]
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        Self::new(shape, Data::F32(data))
    }

    /// An integer tensor; panics as [`HostTensor::f32`] does.
    #[must_use]
    pub fn i32(shape: &[usize], data: Vec<i32>) -> Self {
        Self::new(shape, Data::I32(data))
    }

    /// A truth-value tensor; panics as [`HostTensor::f32`] does.
    #[must_use]
    pub fn bool(shape: &[usize], data: Vec<bool>) -> Self {
        Self::new(shape, Data::Bool(data))
    }

    fn new(shape: &[usize], data: Data) -> Self {
        let n: usize = shape.iter().product();
        assert_eq!(n, data.len(), "shape {shape:?} holds {n} elements");
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    /// Some of the rows, each any number of times, in this order.
    ///
    /// # Panics
    /// If there is no such row: a mistake of the caller.
    #[must_use]
    pub fn rows(&self, rows: &[usize]) -> Self {
        fn picked<T: Copy>(x: &[T], rows: &[usize], width: usize) -> Vec<T> {
            let row = |r: &usize| &x[r * width..(r + 1) * width];
            rows.iter().flat_map(row).copied().collect()
        }
        let width = self.shape.iter().skip(1).product();
        let data = match &self.data {
            Data::F32(x) => Data::F32(picked(x, rows, width)),
            Data::I32(x) => Data::I32(picked(x, rows, width)),
            Data::Bool(x) => Data::Bool(picked(x, rows, width)),
        };
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        Self { shape, data }
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The floats, if these are floats.
    #[must_use]
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data { Some(v) } else { None }
    }

    /// The floats, if these are floats, to be changed.
    #[must_use]
    pub fn as_f32_mut(&mut self) -> Option<&mut [f32]> {
        if let Data::F32(v) = &mut self.data {
            Some(v)
        } else {
            None
        }
    }

    /// The integers, if these are integers.
    #[must_use]
    pub fn as_i32(&self) -> Option<&[i32]> {
        if let Data::I32(v) = &self.data { Some(v) } else { None }
    }
}
