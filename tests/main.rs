//! The one test binary.

mod golden;
mod hostile;
mod interp;
mod repack;
mod rows;
mod support;
mod text;
