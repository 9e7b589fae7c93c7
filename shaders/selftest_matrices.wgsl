// What matmuls in cooperative matrices rely on, in squares of 16 by 16 (the text is rewritten for 8 by 8): halves through
// workgroup memory and from a buffer, products summed in f32 over several squares, sums through workgroup memory in lines
// longer than squares, strips dealt to subgroups, however many there are.
enable f16;
enable wgpu_cooperative_matrix;

// A of 64 by 32, row-major, then B of 32 by 16, row-major.
@group(0) @binding(0) var<storage, read> input: array<f16>;
// A B.
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
var<workgroup> rows: array<f16, 2560>;
var<workgroup> sums: array<f32, 1280>;

@compute @workgroup_size(128)
fn main(
    @builtin(local_invocation_index) lid: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    for (var i = lid; i < 2048u; i += 128u) {
        rows[i / 32u * 40u + i % 32u] = input[i];
    }
    workgroupBarrier();
    for (var turn = 0u; turn * subgroups < 64u / 16u; turn++) {
        let strip = turn * subgroups + subgroup;
        for (var column = 0u; column < 16u; column += 16u) {
            var sum = coop_mat16x16<f32, C>();
            for (var once = strip; once < 64u / 16u; once = 64u) {
                for (var k = 0u; k < 32u; k += 16u) {
                    let a = coopLoadT<coop_mat16x16<f16, A>>(&rows[strip * 16u * 40u + k], 40u);
                    let b = coopLoadT<coop_mat16x16<f16, B>>(&input[2048u + k * 16u + column], 16u);
                    sum = coopMultiplyAdd(a, b, sum);
                }
                coopStoreT(sum, &sums[strip * 16u * 20u + column], 20u);
            }
        }
    }
    workgroupBarrier();
    for (var i = lid; i < 1024u; i += 128u) {
        output[i] = sums[i / 16u * 20u + i % 16u];
    }
}
