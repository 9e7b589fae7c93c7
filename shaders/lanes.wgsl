// Sums over the rows of a batch, C = A^T B, for software adapters with subgroups of eight: what is declared. The loops are
// written by `src/device_step/lanes.rs`. Both matrices, and what goes out, lie in whole words of four elements.

struct Job {
    a: u32,        // first element of the left matrix
    b: u32,        // first element of the right matrix
    k: u32,        // columns of the left matrix
    n: u32,        // columns of the right matrix
    lines: u32,    // lines for each row of the batch
    parts: u32,    // into how many parts lines are cut
    into: u32,     // where the first part's result goes
    stride: u32,   // from one part's result to the next
    offset: u32,   // first element of the result among all that it goes to;
    row: u32,      // from one column of the left matrix to the next there;
    block: u32,    // columns of the right matrix lie side by side in blocks of so many:
    outer: u32,    // from one block to the next
    inner: u32,    // 1
    sums: u32,     // where the first part's sum of the lines of the left matrix goes; NONE: nowhere
    after: u32,    // from one part's sum of lines to the next
    scale: f32,
    also: u32,     // the job that gives this one's result another place; NONE: none does
    weights: u32,  // first element of what each row's lines of the right matrix are multiplied by; NONE: of nothing
    weighted: u32, // whether this job's are
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> sizes: vec4<u32>;
@group(0) @binding(1) var<storage, read> jobs: array<Job>;
// Job, first column of the left matrix, first column of the right one, part.
@group(0) @binding(2) var<storage, read> tasks: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>;

