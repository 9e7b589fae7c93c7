//! loopfm

pub mod bundle;
pub mod compile;
pub mod container;
pub mod cpu;
pub mod fuse;
pub mod import;
pub mod interp;
pub mod ir;
pub mod model;
pub mod nn;
pub mod run;
pub mod session;
pub mod simplify;
pub mod tensor;
pub mod wgsl;
