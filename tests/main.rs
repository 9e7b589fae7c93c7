//! The one test binary.

mod interp;
mod rows;
mod support;
