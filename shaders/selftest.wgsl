// What every rung relies on: exact f32 sums, workgroup memory behind a barrier, bit tests that see what is not finite.

// 128 bit patterns of f32.
@group(0) @binding(0) var<storage, read> input: array<u32>;
// 64 reversed products, 1 dot product, 64 flags of the second half.
@group(0) @binding(1) var<storage, read_write> output: array<u32>;

var<workgroup> tile: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let x = bitcast<f32>(input[lane]);
    tile[lane] = x * x + 1.0;
    workgroupBarrier();
    output[lane] = bitcast<u32>(tile[63u - lane]);
    if lane == 0u {
        var sum = 0.0;
        for (var i = 0u; i < 64u; i++) {
            sum += tile[i] * bitcast<f32>(input[i]);
        }
        output[64] = bitcast<u32>(sum);
    }
    // Comparisons do not see NaN on every device, integers do.
    output[65u + lane] = select(0u, 1u, (input[64u + lane] & 0x7f800000u) == 0x7f800000u);
}
