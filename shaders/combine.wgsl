// Adds up the parts of sums over a batch, in order, and the squares of what comes out.

struct Stretch {
    flat: u32,    // where its tensor lies among all trained ones
    first: u32,   // first element of the tensor that is of this stretch
    count: u32,
    source: u32,  // first part of the tensor's sum
    parts: u32,
    stride: u32,  // from one part to the next
    width: u32,   // elements in a line of the tensor,
    line: u32,    // which takes as many with its padding
}

@group(0) @binding(0) var<storage, read> stretches: array<Stretch>;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> squares: array<f32>;

var<workgroup> lanes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let number = wid.x + wid.y * 65535u;
    if number >= arrayLength(&stretches) { return; }
    let s = stretches[number];
    var total = 0.0;
    for (var i = lid; i < s.count; i += 64u) {
        let at = s.first + i;
        // Padding stays zero.
        if at % s.line < s.width {
            var sum = 0.0;
            for (var part = 0u; part < s.parts; part++) { sum += partial[s.source + part * s.stride + at]; }
            gradient[s.flat + at] = sum;
            total += sum * sum;
        }
    }
    lanes[lid] = total;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lid < half { lanes[lid] += lanes[lid + half]; }
        workgroupBarrier();
    }
    if lid == 0u { squares[number] = lanes[0]; }
}
