//! Runs the kernels of a bundle through wgpu.
//!
//! Knows manifests, texts and words; how kernels were made is not its business. A [`Device`] is an adapter opened with
//! all that it can do, a [`Runtime`] is one variant of one bundle loaded there. Nothing here panics on what a device or a
//! driver does, and nothing trusts them either: weights are read back as checksums, arithmetic passes a self-test before
//! a rung is used, every wait has an end.
//!
//! What a batch must look like ([`Batch`]) and what a caller may ask for are known without the feature `gpu` too.

mod batch;
mod clock;
mod error;
mod made;
mod options;
mod split;

#[cfg(feature = "gpu")]
mod adapter;
#[cfg(feature = "gpu")]
mod buffers;
#[cfg(feature = "gpu")]
mod build;
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
mod exec;
#[cfg(feature = "gpu")]
mod kernels;
#[cfg(feature = "gpu")]
mod limits;
#[cfg(feature = "gpu")]
mod machine;
#[cfg(feature = "gpu")]
mod own;
#[cfg(feature = "gpu")]
mod pipelines;
#[cfg(feature = "gpu")]
mod profile;
#[cfg(feature = "gpu")]
mod runtime;
#[cfg(feature = "gpu")]
mod selftest;
#[cfg(feature = "gpu")]
mod sequence;
#[cfg(feature = "gpu")]
mod staging;
#[cfg(feature = "gpu")]
mod transfer;
#[cfg(feature = "gpu")]
mod weights;

pub use batch::{Batch, REQUEST_OF_ROW};
pub use clock::processor_time;
pub use error::{Error, Problem};
pub use made::{random_batch, random_sizes};
pub use options::{AdapterKind, AdapterQuery, Capacity, DeviceOptions, LimitsChoice, Options, VariantChoice};
pub use split::{Chunk, Requests};

#[cfg(feature = "gpu")]
pub use adapter::{AdapterReport, adapters};
#[cfg(feature = "gpu")]
pub use device::Device;
#[cfg(feature = "gpu")]
pub use exec::{Ticket, Timings};
#[cfg(feature = "gpu")]
pub use limits::Limits;
#[cfg(feature = "gpu")]
pub use machine::Machine;
#[cfg(feature = "gpu")]
pub use own::{Memory, Read, Tail, Use, Write};
#[cfg(feature = "gpu")]
pub use profile::{KernelTime, Profile};
#[cfg(feature = "gpu")]
pub use runtime::{Report, Runtime};
