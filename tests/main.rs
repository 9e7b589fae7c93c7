//! The one test binary.

mod golden;
mod hostile;
mod interp;
mod repack;
mod rows;
mod runtime;
mod simplify;
mod support;
mod text;
#[cfg(feature = "gpu")]
