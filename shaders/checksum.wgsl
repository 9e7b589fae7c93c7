// Sums a buffer so that what arrived can be compared with what was sent: each word times an odd number of its own.

@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sum: array<atomic<u32>>;

const THREADS: u32 = 256u;

var<workgroup> partial: atomic<u32>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(global_invocation_id) thread: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if lane == 0u {
        atomicStore(&partial, 0u);
    }
    workgroupBarrier();
    let step = groups.x * THREADS;
    let end = arrayLength(&words);
    var mine = 0u;
    for (var i = thread.x; i < end; i += step) {
        let place = vec4<u32>(4u * i, 4u * i + 1u, 4u * i + 2u, 4u * i + 3u);
        let odd = ((place * 0x9e3779b1u) << vec4<u32>(1u)) | vec4<u32>(1u);
        let terms = words[i] * odd;
        mine += terms.x + terms.y + terms.z + terms.w;
    }
    atomicAdd(&partial, mine);
    workgroupBarrier();
    if lane == 0u {
        atomicAdd(&sum[0], atomicLoad(&partial));
    }
}
