// What must not pass in silence: indices outside a table, values that are not finite.

@group(0) @binding(0) var<storage, read_write> status: array<atomic<u32>>;

// An index held inside a table of n rows; one outside leaves its row in the table's status word.
fn checked(index: i32, n: u32, word: u32, row: u32) -> u32 {
    if u32(index) >= n {
        atomicMax(&status[word], row + 1u);
    }
    return min(u32(index), n - 1u);
}

// Comparisons do not find NaN on every device; the exponent's bits do.
fn nonfinite_1(x: f32) -> u32 { return u32((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u); }

fn nonfinite_4(x: vec4<f32>) -> u32 {
    let exponent = bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u);
    return u32(any(exponent == vec4<u32>(0x7f800000u)));
}

// Beyond what rounds to a half: of these a device may make infinity or, without a word, the greatest half.
fn beyond_halves_4(x: vec4<f32>) -> u32 {
    let size = bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
    return u32(any(size >= vec4<u32>(0x477ff000u)));
}
