//! The one test binary.

mod golden;
mod hostile;
mod interp;
mod repack;
mod rows;
mod simplify;
mod support;
mod text;
