// Random numbers by their place in a stream: Philox4x32-10, integers alone, so that every device gives the same.

// High and low word of a product.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let x = a1 * b0;
    let y = a0 * b1;
    let carry = ((a0 * b0 >> 16u) + (x & 0xffffu) + (y & 0xffffu)) >> 16u;
    return vec2<u32>(a1 * b1 + (x >> 16u) + (y >> 16u) + carry, a * b);
}

// Ten rounds over a counter under the key (seed, 0).
fn philox(counter: vec4<u32>, seed: u32) -> vec4<u32> {
    var c = counter;
    var k = vec2<u32>(seed, 0u);
    for (var i = 0u; i < 10u; i++) {
        let x = wide_product(c.x, 0xd2511f53u);
        let y = wide_product(c.z, 0xcd9e8d57u);
        c = vec4<u32>(y.x ^ c.y ^ k.x, y.y, x.x ^ c.w ^ k.y, x.y);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// The number at a place of a stream, in [0, 1): a multiple of 2^-24.
fn uniform_1(seed: i32, stream: u32, at: u32) -> f32 {
    var words = philox(vec4<u32>(at / 4u, 0u, stream, 0u), bitcast<u32>(seed));
    return f32(words[at % 4u] >> 8u) * 0x1p-24f;
}

// Those at a place that is a multiple of 4 and the next three.
fn uniform_4(seed: i32, stream: u32, at: u32) -> vec4<f32> {
    let words = philox(vec4<u32>(at / 4u, 0u, stream, 0u), bitcast<u32>(seed));
    return vec4<f32>(words >> vec4<u32>(8u)) * 0x1p-24f;
}
