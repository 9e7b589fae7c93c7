//! The loop on a small made-up log: users who like some kinds of items, and a vertical model that does not know users.

mod benchmarks;
mod leaks;
mod log;
mod remembered;
mod runs;
mod serving;
mod states;
mod stored;
mod theory;

pub(crate) use log::{Folder, LOOP, rows};
