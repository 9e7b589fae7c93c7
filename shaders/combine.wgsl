// Adds up the parts of sums over a batch, in order, and the squares of what comes out. Tensors and parts lie in whole words
// of four elements; padding is zero in all parts, and stays so.

struct Stretch {
    into: u32,    // first element of where it goes
    count: u32,
    source: u32,  // first element of the first part
    parts: u32,
    stride: u32,  // from one part to the next
}

@group(0) @binding(0) var<storage, read> stretches: array<Stretch>;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> squares: array<f32>;

var<workgroup> lanes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let number = wid.x + wid.y * 65535u;
    if number >= arrayLength(&stretches) { return; }
    let s = stretches[number];
    var total = 0.0;
    for (var i = lid * 4u; i < s.count; i += 256u) {
        var sum = vec4<f32>();
        for (var part = 0u; part < s.parts; part++) { sum += partial[(s.source + part * s.stride + i) / 4u]; }
        gradient[(s.into + i) / 4u] = sum;
        total += dot(sum, sum);
    }
    lanes[lid] = total;
    workgroupBarrier();
    // In two turns: a barrier costs more than a few additions.
    if lid < 8u {
        for (var i = 1u; i < 8u; i++) { total += lanes[lid + 8u * i]; }
        lanes[lid] = total;
    }
    workgroupBarrier();
    if lid == 0u {
        for (var i = 1u; i < 8u; i++) { total += lanes[i]; }
        squares[number] = total;
    }
}
