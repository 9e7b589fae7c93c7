//! Gradients of every op, composite and model against differences of the interpreter's values, in `f64`.

mod check;
mod models;
mod ops;
mod planted;
mod pytorch;
mod rules;
mod zoo;
