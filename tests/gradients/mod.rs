//! Gradients of every op, composite and model against differences of the interpreter's values.

mod check;
mod ops;
