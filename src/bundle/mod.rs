//! The bundle: one safetensors file that holds weights, manifest, graph and kernels.

mod manifest;

pub use manifest::{
    Binding, CAPACITY_STEP, FORMAT, Flops, IdCheck, Kernel, Layout, Linear, Manifest, Needs, Placement, Port,
    Precision, Rung, Slot, Space, Variant,
};
