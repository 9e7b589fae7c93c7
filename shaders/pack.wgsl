// Halves packed in 16-byte words: eight values a word, the lower half of each u32 first.

fn low(word: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y)); }

fn high(word: vec4<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(word.z), unpack2x16float(word.w)); }

fn quad(word: vec4<u32>, upper: bool) -> vec4<f32> {
    let pair = select(word.xy, word.zw, upper);
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

fn half(pair: u32, index: u32) -> f32 {
    let both = unpack2x16float(pair);
    return select(both.x, both.y, (index & 1u) != 0u);
}
