// As many multiply-adds as the device can do: eight chains an invocation, which never leave its registers.

// A factor below one and a summand: the chains stay finite, and no compiler can know where.
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = input[0];
    let y = input[1];
    var a = y;
    var b = y + y;
    // 128 rounds of 8 times 2 vectors of 4: 8,192 multiply-adds.
    for (var i = 0u; i < 128u; i++) {
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
        a = fma(a, x, y);
        b = fma(b, x, y);
    }
    output[id.x] = a + b;
}
