// What matmuls by lanes rely on: a workgroup of eight is one subgroup, its lanes in order of their invocations, and each
// can hand a value to all others.

@group(0) @binding(0) var<storage, read> input: array<u32>;
// For each invocation the values of all lanes of its workgroup, in order, within a loop.
@group(0) @binding(1) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    for (var turn = 0u; turn < 2u; turn++) {
        let own = vec4<u32>(input[(group.x * 2u + turn) * 8u + lane]);
        let start = ((group.x * 2u + turn) * 8u + lane) * 8u;
        output[start] = subgroupBroadcast(own, 0u).x;
        output[start + 1u] = subgroupBroadcast(own, 1u).y;
        output[start + 2u] = subgroupBroadcast(own, 2u).z;
        output[start + 3u] = subgroupBroadcast(own, 3u).w;
        output[start + 4u] = subgroupBroadcast(own, 4u).x;
        output[start + 5u] = subgroupBroadcast(own, 5u).y;
        output[start + 6u] = subgroupBroadcast(own, 6u).z;
        output[start + 7u] = subgroupBroadcast(own, 7u).w;
    }
}
