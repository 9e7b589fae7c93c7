//! The one test binary.

mod hostile;
mod interp;
mod repack;
mod rows;
mod support;
mod text;
