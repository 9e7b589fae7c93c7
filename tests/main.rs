//! The one test binary.

mod batch;
mod bounds;
mod cpu;
mod fused;
mod golden;
mod hostile;
mod interp;
mod models;
mod nn;
mod ops;
mod repack;
mod rows;
#[cfg(feature = "gpu")]
mod runtime;
mod session;
mod simplify;
mod support;
mod text;
