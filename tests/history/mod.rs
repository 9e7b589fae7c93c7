//! Histories against their definition, on logs as bad as real ones.

mod logs;
mod rings;
mod slices;
