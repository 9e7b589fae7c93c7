// Values made of trained tensors: each workgroup puts one line together from runs of elements of these.

struct Line {
    into: u32,    // first element where weights are
    count: u32,
    first: u32,   // its runs: from here
    runs: u32,    // so many
}

struct Run {
    source: u32,  // first element
    stride: u32,
    start: u32,   // first element of the line
    count: u32,
    scale: f32,
    read: u32,    // whether the tensor is where weights are
}

@group(0) @binding(0) var<storage, read> lines: array<Line>;
@group(0) @binding(1) var<storage, read> runs: array<Run>;
@group(0) @binding(2) var<storage, read> kept: array<f32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {
    let number = wid.x + wid.y * 65535u;
    if number >= arrayLength(&lines) { return; }
    let line = lines[number];
    for (var i = lid; i < line.count; i += 64u) {
        var sum = 0.0;
        for (var r = line.first; r < line.first + line.runs; r++) {
            let run = runs[r];
            if i >= run.start && i - run.start < run.count {
                let at = run.source + (i - run.start) * run.stride;
                if run.read != 0u { sum += run.scale * weights[at]; } else { sum += run.scale * kept[at]; }
            }
        }
        weights[line.into + i] = sum;
    }
}
