//! loopfm

pub mod bundle;
pub mod ir;
pub mod tensor;
