// The same as selftest_packed.wgsl, with halves loaded as halves.
enable f16;

@group(0) @binding(0) var<storage, read> input: array<vec2<f16>>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let i = thread.x;
    let wide = vec2<f32>(input[i]);
    output[3u * i] = bitcast<u32>(wide.x);
    output[3u * i + 1u] = bitcast<u32>(wide.y);
    output[3u * i + 2u] = pack2x16float(wide);
}
