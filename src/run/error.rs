//! What can go wrong between a batch and its outputs.

use std::fmt;

use thiserror::Error;

/// Why a device, a program or a batch was refused, or what failed under way.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to run on.
    #[error(
        "no GPU adapter: wanted {wanted}; backends tried: {tried}; adapters found: {}",
        list(found)
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// Backends that were looked through.
        tried: String,
        /// Names of the adapters that are there.
        found: Vec<String>,
    },
    /// The adapter would not give a device.
    #[error("adapter `{adapter}` gives no device: {why}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// What the driver says.
        why: String,
    },
    /// No set of kernels runs here.
    #[error("no variant of the bundle runs on `{adapter}`: {}", list(reasons))]
    NoVariant {
        /// Name of the adapter.
        adapter: String,
        /// One reason for each variant.
        reasons: Vec<String>,
    },
    /// Something is larger than the device allows.
    #[error("{what} needs {needed} {unit}, the device allows {allowed} ({limit})")]
    Limit {
        /// What it is.
        what: String,
        /// How much it needs.
        needed: u64,
        /// How much there may be.
        allowed: u64,
        /// Of what.
        unit: &'static str,
        /// Name of the limit.
        limit: &'static str,
    },
    /// The device has no memory left.
    #[error("out of device memory: {doing}")]
    OutOfMemory {
        /// What asked for memory.
        doing: String,
    },
    /// The device is gone; everything made from it is useless.
    #[error("device lost: {doing}: {reason}")]
    Lost {
        /// What was under way or asked for.
        doing: String,
        /// What the driver says.
        reason: String,
    },
    /// The device does not answer.
    #[error("device does not answer: {doing} takes more than {seconds} s")]
    Timeout {
        /// What was under way.
        doing: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The driver failed at what it should be able to do.
    #[error("driver refused: {doing}: {message}")]
    Driver {
        /// What was under way.
        doing: String,
        /// What it says.
        message: String,
    },
    /// The device computes something else than it should.
    #[error("self-test failed: {what} gives {seen}, expected {expected}")]
    SelfTest {
        /// What was computed.
        what: String,
        /// As computed.
        seen: String,
        /// As known.
        expected: String,
    },
    /// Weights on the device are not those that were sent.
    #[error("weight buffer {shard} differs on the device: checksum {seen:#010x}, expected {expected:#010x}")]
    Checksum {
        /// Index of the buffer.
        shard: usize,
        /// Sum over what was sent.
        expected: u32,
        /// Sum over what is there.
        seen: u32,
    },
    /// The manifest contradicts itself or the rest of the bundle.
    #[error("malformed bundle: {0}")]
    Malformed(String),
    /// The batch does not fit the model; everything wrong with it.
    #[error("batch refused: {}", list(.0))]
    Batch(Vec<Problem>),
    /// An id that its table does not have.
    #[error("input `{input}` row {row} column {column} is {value}, table `{table}` takes {min} to {max}")]
    Index {
        /// The input.
        input: String,
        /// Row (or request) in the batch.
        row: usize,
        /// Element of the row.
        column: usize,
        /// The id.
        value: i32,
        /// Least legal id.
        min: i32,
        /// Greatest legal id.
        max: i32,
        /// The table.
        table: String,
    },
    /// An index computed by the model that its table does not have.
    #[error("row {row} computes an index outside `{table}`")]
    ComputedIndex {
        /// Row (or request) in the batch; others may have the same fault.
        row: usize,
        /// The table.
        table: String,
    },
    /// Outputs that are not numbers.
    #[error("{rows} rows have non-finite values{}", at.as_ref().map_or_else(String::new, |(name, row)| format!(", the first in output `{name}` row {row}")))]
    NonFinite {
        /// How many rows.
        rows: u32,
        /// The first output and row where it shows, unless only a value inside the model is non-finite.
        at: Option<(String, usize)>,
    },
    /// A kernel that multiplies cooperative matrices and whose reach nobody vouches for.
    #[error(
        "kernel `{kernel}` multiplies cooperative matrices, which nothing keeps within their memory, and is not what this \
         build generates: compile the model with this build"
    )]
    Unvouched {
        /// The kernel.
        kernel: String,
    },
    /// A device buffer that cannot serve as input or output.
    #[error("buffer for `{name}`: {why}")]
    Buffer {
        /// The port.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// wgpu refused something that this crate made: a bug of ours or of the driver.
    #[error("bug: {doing}: {message}")]
    Bug {
        /// What was under way.
        doing: String,
        /// What wgpu says.
        message: String,
    },
}

impl Error {
    /// The exit code of a program that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Batch(_)
            | Self::Index { .. }
            | Self::ComputedIndex { .. }
            | Self::NonFinite { .. }
            | Self::Buffer { .. } => 1,
            Self::NoAdapter { .. }
            | Self::NoDevice { .. }
            | Self::NoVariant { .. }
            | Self::Limit { .. }
            | Self::Driver { .. }
            | Self::Unvouched { .. }
            | Self::SelfTest { .. }
            | Self::Checksum { .. } => 3,
            Self::OutOfMemory { .. } => 4,
            Self::Malformed(_) => 5,
            Self::Lost { .. } | Self::Timeout { .. } => 7,
            Self::Bug { .. } => 70,
        }
    }
}

/// One thing wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// An input that is not there.
    #[error("input `{input}` is missing")]
    Missing {
        /// The input.
        input: String,
    },
    /// A tensor that the model does not ask for.
    #[error("`{name}` is not an input; inputs are {}", list(inputs))]
    Unknown {
        /// The tensor.
        name: String,
        /// What the model asks for.
        inputs: Vec<String>,
    },
    /// Another element type.
    #[error("input `{input}` is {seen}, the model needs {expected}")]
    DType {
        /// The input.
        input: String,
        /// As given.
        seen: &'static str,
        /// As needed.
        expected: &'static str,
    },
    /// Another shape.
    #[error("input `{input}` is {seen:?}, the model needs {expected}")]
    Shape {
        /// The input.
        input: String,
        /// As given.
        seen: Vec<usize>,
        /// As needed.
        expected: String,
    },
    /// Another number of rows or requests than another input.
    #[error("input `{input}` has {seen} {space}, input `{other}` has {expected}")]
    Count {
        /// The input.
        input: String,
        /// As given.
        seen: usize,
        /// What is counted.
        space: &'static str,
        /// The input that said otherwise first.
        other: String,
        /// What it said.
        expected: usize,
    },
    /// Nobody can tell which request a row belongs to.
    #[error("input `{input}` is missing, and {rows} rows of {requests} requests do not imply it")]
    Unmapped {
        /// The reserved input.
        input: &'static str,
        /// Rows of the batch.
        rows: usize,
        /// Requests of the batch.
        requests: usize,
    },
    /// More rows or requests than can be counted.
    #[error("{count} {space} are more than a batch can have")]
    TooMany {
        /// How many.
        count: usize,
        /// Of what.
        space: &'static str,
    },
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".into();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
