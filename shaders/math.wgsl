// Functions that WGSL lacks or leaves inexact where recommenders need them; each for one element and for four.

fn sigmoid_1(x: f32) -> f32 { return 1.0 / (1.0 + exp(-max(x, -87.0))); }

fn sigmoid_4(x: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(-max(x, vec4<f32>(-87.0)))); }

// Relative error < 1e-6: devices make it from exponentials that cancel near 0, where there is a polynomial. Beyond 15 the
// result is 1 in f32, and some devices overflow on the way there.
fn tanh_1(x: f32) -> f32 {
    let a = clamp(x, -15.0, 15.0);
    let z = a * a;
    let p = 0.13331442 + z * (-0.053739716 + z * (0.020638909 - z * 0.0057049887));
    let near = a + a * z * (-0.33333282 + z * p);
    let far = sign(a) * (1.0 - 2.0 / (exp(2.0 * abs(a)) + 1.0));
    return select(far, near, abs(a) < 0.625);
}

fn tanh_4(x: vec4<f32>) -> vec4<f32> {
    let a = clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0));
    let z = a * a;
    let p = 0.13331442 + z * (-0.053739716 + z * (0.020638909 - z * 0.0057049887));
    let near = a + a * z * (-0.33333282 + z * p);
    let far = sign(a) * (1.0 - 2.0 / (exp(2.0 * abs(a)) + 1.0));
    return select(far, near, abs(a) < vec4<f32>(0.625));
}

// Abramowitz and Stegun 7.1.26, |error| < 1.5e-7; odd, and by its series near 0 where the formula cancels.
fn erf_1(x: f32) -> f32 {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let far = 1.0 - p * exp(-min(a * a, 87.0));
    let near = a * (1.128379167 - a * a * (0.376126389 - a * a * 0.112837917));
    return sign(x) * select(far, near, a < 0.1);
}

// ln(1 + x) without losing small x.
fn log1p_1(x: f32) -> f32 {
    let u = 1.0 + x;
    let series = x * (1.0 - x * (0.5 - x * (0.33333334 - x * 0.25)));
    return select(log(u), series, abs(x) < 0.01);
}

// e^x - 1 without losing small x.
fn expm1_1(x: f32) -> f32 {
    let series = x * (1.0 + x * (0.5 + x * (0.16666667 + x * 0.041666668)));
    return select(exp(x) - 1.0, series, abs(x) < 0.02);
}

// x^y for every x; WGSL's pow is undefined below 0.
fn power_1(x: f32, y: f32) -> f32 {
    let size = select(pow(abs(x), y), select(0.0, 1.0, y == 0.0), x == 0.0 && y >= 0.0);
    let odd = fract(abs(y) * 0.5) != 0.0;
    return select(size, -size, x < 0.0 && odd);
}

// Remainder with the divisor's sign.
fn rem_1(x: f32, y: f32) -> f32 { return x - y * floor(x / y); }

fn irem_1(x: i32, y: i32) -> i32 {
    let r = x % y;
    return select(r, r + y, r != 0 && ((r < 0) != (y < 0)));
}

fn idiv_1(x: i32, y: i32) -> i32 { return x / y; }

fn ipow_1(x: i32, y: i32) -> i32 {
    var result = 1;
    for (var i = 0; i < min(y, 31); i++) { result *= x; }
    return select(result, 0, y < 0);
}

fn erf_4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(erf_1(x.x), erf_1(x.y), erf_1(x.z), erf_1(x.w)); }

fn log1p_4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(log1p_1(x.x), log1p_1(x.y), log1p_1(x.z), log1p_1(x.w)); }

fn expm1_4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(expm1_1(x.x), expm1_1(x.y), expm1_1(x.z), expm1_1(x.w)); }

fn power_4(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> { return vec4<f32>(power_1(x.x, y.x), power_1(x.y, y.y), power_1(x.z, y.z), power_1(x.w, y.w)); }

fn rem_4(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> { return vec4<f32>(rem_1(x.x, y.x), rem_1(x.y, y.y), rem_1(x.z, y.z), rem_1(x.w, y.w)); }

fn irem_4(x: vec4<i32>, y: vec4<i32>) -> vec4<i32> { return vec4<i32>(irem_1(x.x, y.x), irem_1(x.y, y.y), irem_1(x.z, y.z), irem_1(x.w, y.w)); }

fn idiv_4(x: vec4<i32>, y: vec4<i32>) -> vec4<i32> { return vec4<i32>(idiv_1(x.x, y.x), idiv_1(x.y, y.y), idiv_1(x.z, y.z), idiv_1(x.w, y.w)); }

fn ipow_4(x: vec4<i32>, y: vec4<i32>) -> vec4<i32> { return vec4<i32>(ipow_1(x.x, y.x), ipow_1(x.y, y.y), ipow_1(x.z, y.z), ipow_1(x.w, y.w)); }
