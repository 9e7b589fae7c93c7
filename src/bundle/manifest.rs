//! What a bundle says of itself: the whole contract between the compiler and whoever runs its kernels.
//!
//! Memory of a session is a few *arenas* of 4-byte elements. Everything in an arena has an offset that is linear in the
//! session's capacities, so that kernels are compiled once and serve any batch: `offset = rows * row_capacity +
//! requests * request_capacity`, both capacities multiples of [`CAPACITY_STEP`].

use serde::{Deserialize, Serialize};

use crate::tensor::DType;

/// The bundle format that this build writes and reads.
pub const FORMAT: u32 = 1;

/// Texels in a row of a texture of weights.
pub const TEXELS: u32 = 4096;

/// Capacities of a session are multiples of this, which keeps every offset 16-byte aligned and leaves room for the last
/// tile of any kernel.
pub const CAPACITY_STEP: u32 = 64;

/// Everything about a bundle except the tensors and the texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] at the time of writing.
    pub format: u32,
    /// Name and version of the compiler.
    pub tool: String,
    /// The model's name.
    pub model: String,
    /// BLAKE3 of the simplified graph's text and of all weights as stored: equal models, equal fingerprints.
    pub fingerprint: String,
    /// How weights are stored.
    pub precision: Precision,
    /// Inputs in order; `request_of_row` is among them when the model has request inputs.
    pub inputs: Vec<Port>,
    /// Outputs in order.
    pub outputs: Vec<Port>,
    /// Range checks that inputs must pass on the host before a kernel sees them.
    pub checks: Vec<IdCheck>,
    /// Multiply-adds counted twice, of the graph as it was written and as planned.
    pub flops: Flops,
    /// Sets of kernels, best first; a runtime may prefer others on adapters of some kind.
    pub variants: Vec<Variant>,
}

/// Storage of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Matrices and tables in f16 where their values fit, everything else f32.
    F16,
    /// Everything f32.
    F32,
}

/// A named input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name, as the model has it.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// What the first axis counts.
    pub space: Space,
    /// Elements of the first axis per row (or request): 1 except for inputs that stack several.
    pub factor: u32,
    /// Extents after the first axis.
    pub shape: Vec<u32>,
}

impl Port {
    /// Elements per row or request.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.factor * self.shape.iter().product::<u32>()
    }
}

/// What a leading axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Requests.
    Requests,
    /// Candidates, impressions or users.
    Rows,
}

/// Bounds of an integer input whose elements index tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdCheck {
    /// The input.
    pub input: String,
    /// The table it indexes.
    pub table: String,
    /// Least legal value of each element of a row; one value stands for all.
    pub min: Vec<i32>,
    /// Greatest legal value of each element of a row; one value stands for all.
    pub max: Vec<i32>,
}

/// Work per row and per request, in floating-point operations of matmuls and reductions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flops {
    /// The graph as written, everything per row.
    pub written_per_row: f64,
    /// The plan, per row.
    pub planned_per_row: f64,
    /// The plan, per request.
    pub planned_per_request: f64,
}

/// How kernels read weights; ordered from most to least capable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// `enable f16`: halves are loaded as `vec4<f16>`, arithmetic is f32.
    Native,
    /// Halves packed in `u32`, `unpack2x16float`, arithmetic is f32: core WGSL.
    Packed,
    /// No halves at all.
    F32,
}

/// One set of kernels with the weight layout they need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name of the device profile that it was planned for.
    pub profile: String,
    /// How it reads weights.
    pub rung: Rung,
    /// What an adapter must offer.
    pub needs: Needs,
    /// Where each weight lies.
    pub weights: Vec<Placement>,
    /// 16-byte words of each weight buffer.
    pub shards: Vec<u64>,
    /// Elements of the input arena per row and per request of capacity.
    pub inputs_size: Linear,
    /// Elements of the value arena (between kernels, spilled slots, outputs) per row and per request of capacity.
    pub values_size: Linear,
    /// Where each input lies in the input arena.
    pub inputs: Vec<Slot>,
    /// Where each output lies in the value arena.
    pub outputs: Vec<Slot>,
    /// Meaning of the status words: word 0 counts rows with a non-finite output; word `i + 1` is one more than a row whose index was outside
    /// the table named here, or 0.
    pub status: Vec<String>,
    /// Dispatches in order.
    pub kernels: Vec<Kernel>,
}

/// What an adapter must offer to run a variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// An adapter that runs on processor cores; any other would be slow.
    #[serde(default)]
    pub software: bool,
    /// `enable f16` in shaders.
    pub f16: bool,
    /// An exact subgroup size, where lanes exchange values.
    pub subgroup: Option<u32>,
    /// Edge of cooperative matrices of halves that are summed in f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<u32>,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations per workgroup.
    pub invocations: u32,
    /// Storage buffers per stage.
    pub storage_buffers: u32,
    /// Bytes of the largest weight buffer.
    pub binding_bytes: u64,
}

/// An amount or offset in elements that grows with a session's capacities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Times the row capacity.
    pub rows: u32,
    /// Times the request capacity.
    pub requests: u32,
}

impl Linear {
    /// The amount at these capacities.
    #[must_use]
    pub fn at(self, row_capacity: u32, request_capacity: u32) -> u64 {
        u64::from(self.rows) * u64::from(row_capacity) + u64::from(self.requests) * u64::from(request_capacity)
    }
}

/// A tensor's place in an arena: row `r` (or request `r`) starts at `offset + r * width`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Name of the port.
    pub name: String,
    /// First element.
    pub offset: Linear,
    /// Elements per row or request.
    pub width: u32,
}

/// A weight's place in the weight buffers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// Name of the tensor in the bundle.
    pub tensor: String,
    /// First row of its leading axis that lies here; tables over a binding's limit lie in several places.
    pub first_row: u64,
    /// Number of those rows.
    pub rows: u64,
    /// How its elements are arranged.
    pub layout: Layout,
    /// Index of the weight buffer.
    pub shard: u32,
    /// First 16-byte word there.
    pub offset: u64,
}

/// Arrangement of a weight in 16-byte words. A *matrix* is `[.., k, n]` with all axes before the last one taken as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Row-major 4-byte elements (f32, i32, or 0/1), zero-padded at the end.
    Words,
    /// Row-major f16, zero-padded at the end.
    Halves,
    /// Matrix, each row f32 zero-padded to a multiple of 8.
    RowsWords,
    /// Matrix, each row f16 zero-padded to a multiple of 8.
    RowsHalves,
    /// Matrix in blocks of 4 k by 16 n, f16: word `(n / 16 * K4 + k / 4) * 8 + lane` holds `k = 4 (k / 4) + lane / 2`, columns
    /// `16 (n / 16) + 8 (lane % 2) ..+ 8`; zero-padded to whole blocks; `K4 = ceil(k / 4)`.
    BlocksHalves,
    /// The same blocks in f32, each lane's 8 columns as two consecutive words.
    BlocksWords,
    /// Matrix in squares of 16 k by 16 n, f16, each row-major: element `(n / 16 * K16 + k / 16) * 256 + k % 16 * 16 + n % 16`;
    /// zero-padded to whole squares; `K16 = ceil(k / 16)`.
    SquaresHalves,
}

/// One dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Name, with the module path of what it computes; also its entry point's label.
    pub name: String,
    /// BLAKE3 (hex) of its WGSL, whose text is metadata `loopfm.wgsl.<digest>`; kernels with one text share it.
    pub wgsl: String,
    /// What its grid counts.
    pub space: Space,
    /// Rows (or requests) per workgroup: `ceil(count / rows_per_group) * groups_per_tile` workgroups, laid out as
    /// `x = min(total, 65535)`, `y = ceil(total / 65535)`; the kernel itself leaves when its index is beyond the total.
    pub rows_per_group: u32,
    /// Workgroups that share one tile of rows, each with columns of its own of a large matmul.
    pub groups_per_tile: u32,
    /// Resources of group 0, binding `i` being element `i`.
    pub bindings: Vec<Binding>,
    /// Floating-point operations per row (or request).
    pub flops: f64,
    /// Bytes of weights read for a tile of rows, by all workgroups that share it together.
    pub weight_bytes: u64,
    /// Bytes of activations read and written in arenas per row (or request).
    pub activation_bytes: u64,
    /// Workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations per workgroup.
    pub invocations: u32,
}

/// A resource of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// Uniform `vec4<u32>(rows, requests, row_capacity, request_capacity)`.
    Sizes,
    /// Weight buffer, read-only; as `array<vec4<u32>>`.
    Weights(u32),
    /// The same buffer seen as `array<vec4<f16>>`, read-only.
    WeightsNative(u32),
    /// The same words as `texture_2d<u32>` of `rgba32uint`: word `i` is the texel at `i % 4096`, `i / 4096`.
    WeightsImage(u32),
    /// Input arena, read-only, as `array<vec4<u32>>`.
    Inputs,
    /// Value arena, read and written, as `array<vec4<u32>>`.
    Values,
    /// Status words, `array<atomic<u32>>`.
    Status,
}
