//! A bundle written by hand: three kernels, two spaces, one table.
//!
//! `v = 2 u + 1` per request, `t = 2 x` per row, then `y = t + table[id] + v[request][0]` and `odd = id % 2` per row.
//! A row with `x[0] == -99` claims that it computed an index outside `computed`.

use indexmap::IndexMap;
use loopfm::bundle::{
    Binding, Bundle, FORMAT, Flops, IdCheck, Kernel, Layout, Linear, Manifest, Needs, Placement, Port, Precision, Rung,
    Slot, Space, StoredTensor, Variant, digest,
};
use loopfm::run::REQUEST_OF_ROW;
use loopfm::tensor::{DType, HostTensor, Tensors};

use super::tensors;

pub(crate) const TABLE: [f32; 5] = [100.0, 200.0, 300.0, 400.0, 500.0];

const HEAD: &str = "
@group(0) @binding(0) var<uniform> sizes: vec4<u32>;
@group(0) @binding(1) var<storage, read> inputs: array<u32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
";

const PER_REQUEST: &str = "
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let q = (group.x + group.y * 65535u) * 64u + lane;
    if q >= sizes.y { return; }
    for (var i = 0u; i < 2u; i++) {
        let u = bitcast<f32>(inputs[6u * sizes.z + 2u * q + i]);
        values[10u * sizes.z + 2u * q + i] = 2.0 * u + 1.0;
    }
}
";

const DOUBLE: &str = "
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let r = (group.x + group.y * 65535u) * 16u + lane / 4u;
    if r >= sizes.x { return; }
    let i = 4u * r + lane % 4u;
    values[i] = 2.0 * bitcast<f32>(inputs[i]);
}
";

const SUM: &str = "
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let r = (group.x + group.y * 65535u) * 64u + lane;
    if r >= sizes.x { return; }
    let id = inputs[4u * sizes.z + r];
    let q = inputs[5u * sizes.z + r];
    let w = bitcast<f32>(table[1u + id / 4u][id % 4u]);
    let v = values[10u * sizes.z + 2u * q];
    var bad = false;
    for (var i = 0u; i < 4u; i++) {
        let y = values[4u * r + i] + w + v;
        bad |= (bitcast<u32>(y) & 0x7f800000u) == 0x7f800000u;
        values[4u * sizes.z + 4u * r + i] = y;
    }
    values[8u * sizes.z + r] = bitcast<f32>(id % 2u);
    values[9u * sizes.z + r] = bitcast<f32>(id + 7u);
    if bad { atomicAdd(&status[0], 1u); }
    if inputs[4u * r] == bitcast<u32>(-99.0f) { atomicMax(&status[1], r + 1u); }
}
";

/// The same in the graph's text.
const GRAPH: &str = r#"loopfm 1
%0 = input "x" : f32[rows, 4]
%1 = input "id" : i32[rows]
%2 = input "request_of_row" : i32[rows]
%3 = input "u" : f32[requests, 2]
%4 = param "table" : f32[5]
%5 = const 2.0 : f32[]
%6 = broadcast(%5) : f32[requests, 2]
%7 = mul(%3, %6) : f32[requests, 2]
%8 = const 1.0 : f32[]
%9 = broadcast(%8) : f32[requests, 2]
%10 = add(%7, %9) : f32[requests, 2]
%11 = gather(%10, %2) {axis=0} : f32[rows, 2]
%12 = slice(%11) {axis=1, start=0, stop=1, step=1} : f32[rows, 1]
%13 = broadcast(%12) : f32[rows, 4]
%14 = broadcast(%5) : f32[rows, 4]
%15 = mul(%0, %14) : f32[rows, 4]
%16 = gather(%4, %1) {axis=0} : f32[rows]
%17 = reshape(%16) : f32[rows, 1]
%18 = broadcast(%17) : f32[rows, 4]
%19 = add(%15, %18) : f32[rows, 4]
%20 = add(%19, %13) : f32[rows, 4]
%21 = const 2 : i32[]
%22 = broadcast(%21) : i32[rows]
%23 = rem(%1, %22) : i32[rows]
%24 = cast(%23) : bool[rows]
%25 = const 7 : i32[]
%26 = broadcast(%25) : i32[rows]
%27 = add(%1, %26) : i32[rows]
return "y" = %20, "odd" = %24, "seven" = %27, "v" = %10
"#;

fn port(name: &str, dtype: DType, space: Space, shape: &[u32]) -> Port {
    Port {
        name: name.into(),
        dtype,
        space,
        factor: 1,
        shape: shape.to_vec(),
    }
}

fn slot(name: &str, rows: u32, width: u32) -> Slot {
    Slot {
        name: name.into(),
        offset: Linear { rows, requests: 0 },
        width,
    }
}

fn kernel(name: &str, text: &str, space: Space, rows_per_group: u32, more: &[Binding]) -> Kernel {
    let bindings = [Binding::Sizes, Binding::Inputs, Binding::Values].iter().chain(more);
    Kernel {
        name: name.into(),
        wgsl: digest(format!("{HEAD}{text}")),
        space,
        rows_per_group,
        groups_per_tile: 1,
        bindings: bindings.copied().collect(),
        flops: 1.0,
        weight_bytes: 0,
        activation_bytes: 4,
        workgroup_bytes: 0,
        invocations: 64,
    }
}

fn variant() -> Variant {
    Variant {
        profile: "portable".into(),
        rung: Rung::Packed,
        needs: Needs {
            invocations: 64,
            storage_buffers: 4,
            ..Needs::default()
        },
        weights: vec![Placement {
            tensor: "table".into(),
            first_row: 0,
            rows: TABLE.len() as u64,
            layout: Layout::Words,
            shard: 0,
            offset: 1,
        }],
        shards: vec![4],
        inputs_size: Linear { rows: 6, requests: 2 },
        values_size: Linear { rows: 10, requests: 2 },
        inputs: vec![
            slot("x", 0, 4),
            slot("id", 4, 1),
            slot(REQUEST_OF_ROW, 5, 1),
            slot("u", 6, 2),
        ],
        outputs: vec![
            slot("y", 4, 4),
            slot("odd", 8, 1),
            slot("seven", 9, 1),
            slot("v", 10, 2),
        ],
        status: vec!["computed".into()],
        kernels: vec![
            kernel("per_request", PER_REQUEST, Space::Requests, 64, &[]),
            kernel("double", DOUBLE, Space::Rows, 16, &[]),
            kernel("sum", SUM, Space::Rows, 64, &[Binding::Weights(0), Binding::Status]),
        ],
    }
}

/// The bundle.
pub(crate) fn bundle() -> Bundle {
    let texts = [PER_REQUEST, DOUBLE, SUM].map(|text| format!("{HEAD}{text}"));
    let table = StoredTensor::from_host(&HostTensor::f32(&[TABLE.len()], TABLE.to_vec()));
    Bundle {
        manifest: Manifest {
            format: FORMAT,
            tool: "by hand".into(),
            model: "tiny".into(),
            fingerprint: String::new(),
            precision: Precision::F32,
            inputs: vec![
                port("x", DType::F32, Space::Rows, &[4]),
                port("id", DType::I32, Space::Rows, &[]),
                port(REQUEST_OF_ROW, DType::I32, Space::Rows, &[]),
                port("u", DType::F32, Space::Requests, &[2]),
            ],
            outputs: vec![
                port("y", DType::F32, Space::Rows, &[4]),
                port("odd", DType::Bool, Space::Rows, &[]),
                port("seven", DType::I32, Space::Rows, &[]),
                port("v", DType::F32, Space::Requests, &[2]),
            ],
            checks: vec![IdCheck {
                input: "id".into(),
                table: "table".into(),
                min: vec![0],
                max: vec![TABLE.len() as i32 - 1],
            }],
            flops: Flops::default(),
            variants: vec![variant()],
        },
        graph: GRAPH.into(),
        wgsl: texts
            .into_iter()
            .map(|text| (digest(&text), text))
            .collect::<IndexMap<_, _>>(),
        weights: [("table".to_owned(), table)].into_iter().collect(),
        notes: std::collections::BTreeMap::new(),
    }
}

/// A batch of numbers that tell rows apart; rows are dealt to requests by `request_of_row`.
pub(crate) fn batch(rows: usize, requests: usize, request_of_row: impl Fn(usize) -> usize) -> Tensors {
    let map: Vec<i32> = (0..rows).map(|r| request_of_row(r) as i32).collect();
    let ids = (0..rows).map(|r| ((r * 7 + r / 5) % TABLE.len()) as i32).collect();
    tensors([
        (
            "x",
            HostTensor::f32(&[rows, 4], (0..4 * rows).map(|i| i as f32 * 0.25).collect()),
        ),
        ("id", HostTensor::i32(&[rows], ids)),
        (REQUEST_OF_ROW, HostTensor::i32(&[rows], map)),
        (
            "u",
            HostTensor::f32(&[requests, 2], (0..2 * requests).map(|i| i as f32).collect()),
        ),
    ])
}

/// What the kernels should make of a batch.
pub(crate) fn expected(batch: &Tensors) -> Tensors {
    let floats = |name: &str| batch[name].as_f32().expect("floats");
    let (x, u) = (floats("x"), floats("u"));
    let ids = batch["id"].as_i32().expect("integers");
    let map = batch[REQUEST_OF_ROW].as_i32().expect("integers");
    let v: Vec<f32> = u.iter().map(|u| 2.0 * u + 1.0).collect();
    let y = (0..x.len()).map(|i| 2.0 * x[i] + TABLE[ids[i / 4] as usize] + v[2 * map[i / 4] as usize]);
    let (rows, requests) = (ids.len(), u.len() / 2);
    tensors([
        ("y", HostTensor::f32(&[rows, 4], y.collect())),
        (
            "odd",
            HostTensor::bool(&[rows], ids.iter().map(|id| id % 2 == 1).collect()),
        ),
        ("seven", HostTensor::i32(&[rows], ids.iter().map(|id| id + 7).collect())),
        ("v", HostTensor::f32(&[requests, 2], v)),
    ])
}
