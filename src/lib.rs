//! loopfm

pub mod bundle;
pub mod interp;
pub mod ir;
pub mod tensor;
