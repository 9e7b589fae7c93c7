// Widens all halves, two to a word, and narrows them again.

@group(0) @binding(0) var<storage, read> input: array<u32>;
// For each word: the low half widened, the high half widened, both narrowed.
@group(0) @binding(1) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let i = thread.x;
    let wide = unpack2x16float(input[i]);
    output[3u * i] = bitcast<u32>(wide.x);
    output[3u * i + 1u] = bitcast<u32>(wide.y);
    output[3u * i + 2u] = pack2x16float(wide);
}
