// Rows of gradients of tables: each workgroup adds up what a batch has for one row of one table, in the order given.

struct Segment {
    into: u32,    // first element of the row
    start: u32,   // its terms: from here
    end: u32,     // to here among `terms`
    width: u32,   // elements of a row
    square: u32,  // where the sum of their squares goes; NONE: nowhere
}

const NONE = 0xffffffffu;
// Invocations of a workgroup; a multiple of 8.
const THREADS = 64u;

@group(0) @binding(0) var<storage, read> segments: array<Segment>;
// First element of each term.
@group(0) @binding(1) var<storage, read> terms: array<u32>;
// How many segments there are, then how many rows each kernel of touched rows has.
@group(0) @binding(2) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<storage, read_write> squares: array<f32>;

var<workgroup> lanes: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let number = wid.x + wid.y * 65535u;
    if number >= counts[0] { return; }
    let segment = segments[number];
    var total = 0.0;
    for (var d = lid; d < segment.width; d += THREADS) {
        var sum = 0.0;
        for (var i = segment.start; i < segment.end; i++) { sum += values[terms[i] + d]; }
        partial[segment.into + d] = sum;
        total += sum * sum;
    }
    if segment.square == NONE { return; }
    lanes[lid] = total;
    workgroupBarrier();
    // In two turns: a barrier costs more than a few additions.
    if lid < 8u {
        for (var i = 1u; i < THREADS / 8u; i++) { total += lanes[lid + 8u * i]; }
        lanes[lid] = total;
    }
    workgroupBarrier();
    if lid == 0u {
        for (var i = 1u; i < 8u; i++) { total += lanes[i]; }
        squares[segment.square] = total;
    }
}
