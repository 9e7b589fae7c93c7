//! The one test binary.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod accuracy;
mod batch;
mod bounds;
mod chains;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "data")]
mod compress;
mod cpu;
#[cfg(feature = "gpu")]
mod device_step;
#[cfg(feature = "data")]
mod embeddings;
mod fused;
mod golden;
mod gradients;
#[cfg(feature = "data")]
mod history;
mod hostile;
mod interp;
mod layers;
#[cfg(feature = "data")]
mod logs;
#[cfg(all(feature = "data", feature = "train"))]
mod loops;
mod losses;
mod matrices;
mod models;
mod nn;
mod ops;
#[cfg(feature = "gpu")]
mod oracle;
mod plan;
mod repack;
mod report;
#[cfg(feature = "data")]
mod resident;
mod rows;
#[cfg(feature = "gpu")]
mod runtime;
mod session;
mod shaders;
mod shares;
mod simplify;
mod stepper;
mod support;
mod synthetic;
mod text;
mod training;
mod training_ops;
#[cfg(feature = "gpu")]
mod tune;
mod unchecked;
mod zoo;
