// Sums over the rows of a batch: products of two matrices of as many lines as the batch has, C = A^T B, and weighted sums
// of the lines of one. Each workgroup makes one tile of one result from one part of the lines; parts are added later, in
// order, so that the same batch gives the same bits.

struct Job {
    a: u32,        // first element of the left matrix, or of the weights; NONE: weights of one
    b: u32,        // first element of the right matrix
    k: u32,        // columns of the left matrix; 0: it is a vector of weights
    n: u32,        // columns of the right matrix
    lines: u32,    // lines for each row of the batch
    parts: u32,    // into how many parts lines are cut
    into: u32,     // where the first part's result goes
    stride: u32,   // from one part's result to the next
    offset: u32,   // first element of the result among all that it goes to, in their order;
    row: u32,      // what a column of the left matrix counts for there;
    block: u32,    // columns of the right matrix lie in blocks of so many:
    outer: u32,    // from one block to the next,
    inner: u32,    // from one column of a block to the next
    width: u32,    // elements in a line of where it goes,
    line: u32,     // which takes as many with its padding
    scale: f32,
    also: u32,     // the job that gives this one's result another place; NONE: none does
    weights: u32,  // first element of what each row's lines of the left matrix are multiplied by; NONE: of nothing
    weighted: u32, // whether this job's are
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> sizes: vec4<u32>;
@group(0) @binding(1) var<storage, read> jobs: array<Job>;
// Job, first column of the left matrix, first column of the right one, part.
@group(0) @binding(2) var<storage, read> tasks: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

// 16 lines of 32 columns of each matrix.
var<workgroup> left: array<vec4<f32>, 128>;
var<workgroup> right: array<vec4<f32>, 128>;
var<workgroup> lanes: array<f32, 64>;

fn at(first: u32, columns: u32, line: u32, end: u32, column: u32) -> f32 {
    if line >= end || column >= columns { return 0.0; }
    return values[first + line * columns + column];
}

fn four(first: u32, columns: u32, line: u32, end: u32, column: u32) -> vec4<f32> {
    if line < end && column + 4u <= columns {
        let i = first + line * columns + column;
        return vec4<f32>(values[i], values[i + 1u], values[i + 2u], values[i + 3u]);
    }
    return vec4<f32>(
        at(first, columns, line, end, column),
        at(first, columns, line, end, column + 1u),
        at(first, columns, line, end, column + 2u),
        at(first, columns, line, end, column + 3u),
    );
}

fn store(job: Job, part: u32, row: u32, column: u32, x: f32) {
    let element = job.offset + row * job.row + column / job.block * job.outer + column % job.block * job.inner;
    let place = element / job.width * job.line + element % job.width;
    partial[job.into + part * job.stride + place] = job.scale * x;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let number = wid.x + wid.y * 65535u;
    if number >= arrayLength(&tasks) { return; }
    let task = tasks[number];
    let job = jobs[task.x];
    let lines = sizes.x * job.lines;
    let share = (lines + job.parts - 1u) / job.parts;
    let start = min(task.w * share, lines);
    let end = min(start + share, lines);
    if job.k == 0u {
        // Columns of a tile: a power of two, as many as there are, at most 64.
        let columns = min(64u, 1u << (32u - countLeadingZeros(job.n - 1u)));
        let column = task.z + lid % columns;
        let hop = 64u / columns;
        var sum = 0.0;
        for (var l = start + lid / columns; l < end; l += hop) {
            var w = 1.0;
            if job.a != NONE { w = values[job.a + l]; }
            sum += w * at(job.b, job.n, l, end, column);
        }
        lanes[lid] = sum;
        workgroupBarrier();
        if lid < columns && column < job.n {
            var total = 0.0;
            for (var i = lid; i < 64u; i += columns) { total += lanes[i]; }
            var own = job;
            loop {
                store(own, task.w, 0u, column, total);
                if own.also == NONE { break; }
                own = jobs[own.also];
            }
        }
        return;
    }
    let y = lid / 8u;
    let x = lid % 8u;
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    for (var l = start; l < end; l += 16u) {
        for (var i = lid; i < 128u; i += 64u) {
            left[i] = four(job.a, job.k, l + i / 8u, end, task.y + i % 8u * 4u);
            if job.weights != NONE {
                left[i] *= four(job.weights, job.k, (l + i / 8u) / job.lines, sizes.x, task.y + i % 8u * 4u);
            }
            right[i] = four(job.b, job.n, l + i / 8u, end, task.z + i % 8u * 4u);
        }
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            let a = left[i * 8u + y];
            let b = right[i * 8u + x];
            c0 += a.x * b;
            c1 += a.y * b;
            c2 += a.z * b;
            c3 += a.w * b;
        }
        workgroupBarrier();
    }
    var c = array<vec4<f32>, 4>(c0, c1, c2, c3);
    var own = job;
    loop {
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                let row = task.y + y * 4u + i;
                let column = task.z + x * 4u + j;
                if row < job.k && column < job.n {
                    store(own, task.w, row, column, c[i][j]);
                }
            }
        }
        if own.also == NONE { break; }
        own = jobs[own.also];
    }
}
