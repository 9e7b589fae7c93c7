//! The one test binary.

mod rows;
