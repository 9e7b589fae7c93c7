//! Does this device compute what kernels take for granted? Drivers have been seen to get halves wrong.

use std::num::FpCategory;

use half::f16;

use crate::bundle::Rung;

use super::Error;
use super::build::{self, Access};
use super::device::Device;

/// Tries what kernels of a rung rely on.
pub(super) fn run(device: &Device, rung: Rung) -> Result<(), Error> {
    core(device)?;
    match rung {
        Rung::F32 => Ok(()),
        Rung::Packed => halves(
            device,
            "unpack2x16float",
            include_str!("../../shaders/selftest_packed.wgsl"),
        ),
        Rung::Native => halves(device, "f16", include_str!("../../shaders/selftest_native.wgsl")),
    }
}

/// Tries what kernels rely on whose lanes exchange values.
pub(super) fn run_lanes(device: &Device) -> Result<(), Error> {
    const GROUPS: u32 = 32;
    let input: Vec<u32> = (0..GROUPS * 16).map(|i| i.wrapping_mul(0x9e37_79b1)).collect();
    let expected: Vec<u32> = input
        .as_chunks::<8>()
        .0
        .iter()
        .flat_map(|lanes| [*lanes; 8])
        .flatten()
        .collect();
    let wgsl = include_str!("../../shaders/selftest_lanes.wgsl");
    let seen = probe(device, wgsl, &input, expected.len(), GROUPS)?;
    match seen.iter().zip(&expected).find(|(s, e)| s != e) {
        None => Ok(()),
        Some((seen, expected)) => Err(failed("subgroupBroadcast", *seen, *expected)),
    }
}

/// Tries what kernels rely on that multiply cooperative matrices of this edge.
pub(super) fn run_matrices(device: &Device, edge: u32) -> Result<(), Error> {
    let (m, k, n) = (64, 32, 16);
    // Small integers: every sum is exact in any order.
    let number = |i: usize| (i.wrapping_mul(0x9e37_79b1) >> 7) % 15;
    let numbers: Vec<f32> = (0..m * k + k * n).map(|i| number(i) as f32 - 7.0).collect();
    let (a, b) = numbers.split_at(m * k);
    let product = |i: usize| -> f32 { (0..k).fold(0.0, |sum, j| sum + a[i / n * k + j] * b[j * n + i % n]) };
    let halves: Vec<f16> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
    let input: Vec<u32> = bytemuck::pod_collect_to_vec(&halves);
    let seen = probe(device, &matrices_text(edge), &input, m * n, 1)?;
    let pairs = seen.iter().enumerate().map(|(i, seen)| (*seen, product(i).to_bits()));
    match pairs.into_iter().find(|(seen, expected)| seen != expected) {
        None => Ok(()),
        Some((seen, expected)) => Err(failed(&format!("a product of {edge}x{edge} matrices"), seen, expected)),
    }
}

/// The kernel that multiplies cooperative matrices of this edge.
fn matrices_text(edge: u32) -> String {
    let text = include_str!("../../shaders/selftest_matrices.wgsl");
    if edge == 16 {
        return text.to_owned();
    }
    // Lines of B and of the product stay 16 long.
    text.replace("16x16", &format!("{edge}x{edge}"))
        .replace("64u / 16u", &format!("64u / {edge}u"))
        .replace("strip * 16u", &format!("strip * {edge}u"))
        .replace("column += 16u", &format!("column += {edge}u"))
        .replace("k += 16u", &format!("k += {edge}u"))
}

fn core(device: &Device) -> Result<(), Error> {
    // Small integers: every sum below is exact in any order.
    let numbers: Vec<f32> = (0u8..64).map(|i| f32::from(i % 7) - 3.0).collect();
    let special = [
        f32::NAN.to_bits(),
        0xffc0_0001,
        f32::INFINITY.to_bits(),
        f32::NEG_INFINITY.to_bits(),
        f32::MAX.to_bits(),
        f32::MIN_POSITIVE.to_bits(),
        1,
        0x8000_0000,
    ];
    let mut input: Vec<u32> = numbers.iter().map(|x| x.to_bits()).collect();
    input.extend(special.iter().cycle().take(64));
    let product = |x: &f32| x * x + 1.0;
    let dot: f32 = numbers.iter().map(|x| product(x) * x).sum();
    let mut expected: Vec<u32> = numbers.iter().rev().map(|x| product(x).to_bits()).collect();
    expected.push(dot.to_bits());
    expected.extend(
        input[64..]
            .iter()
            .map(|bits| u32::from(!f32::from_bits(*bits).is_finite())),
    );
    let seen = probe(
        device,
        include_str!("../../shaders/selftest.wgsl"),
        &input,
        expected.len(),
        1,
    )?;
    match seen.iter().zip(&expected).position(|(s, e)| s != e) {
        None => Ok(()),
        Some(i) => {
            let what = match i {
                0..64 => "a product through workgroup memory",
                64 => "a dot product",
                _ => "a test for non-finite bits",
            };
            Err(failed(what, seen[i], expected[i]))
        }
    }
}

/// All 65536 halves through a kernel that widens and narrows them.
fn halves(device: &Device, how: &str, wgsl: &str) -> Result<(), Error> {
    let pair = |i: u16| u32::from(2 * i) | u32::from(2 * i + 1) << 16;
    let input: Vec<u32> = (0..=0x7fff).map(pair).collect();
    let seen = probe(device, wgsl, &input, 3 * input.len(), (input.len() / 64) as u32)?;
    for (word, out) in input.iter().zip(seen.chunks_exact(3)) {
        let halves = [*word as u16, (*word >> 16) as u16];
        let narrowed = [out[2] as u16, (out[2] >> 16) as u16];
        for ((half, wide), narrow) in halves.into_iter().zip(&out[..2]).zip(narrowed) {
            let exact = f16::from_bits(half);
            if !exact.is_finite() {
                // WGSL promises nothing of them, and no weight is one.
                continue;
            }
            if !same(f32::from_bits(*wide), exact) {
                return Err(failed(
                    &format!("{how} of {half:#06x}"),
                    *wide,
                    exact.to_f32().to_bits(),
                ));
            }
            if !same(f16::from_bits(narrow).to_f32(), exact) {
                return Err(failed(
                    &format!("pack2x16float of {half:#06x}"),
                    narrow.into(),
                    half.into(),
                ));
            }
        }
    }
    Ok(())
}

/// Equal, where devices may make zero of a subnormal.
fn same(seen: f32, exact: f16) -> bool {
    seen == exact.to_f32() || (seen == 0.0 && exact.classify() == FpCategory::Subnormal)
}

fn failed(what: &str, seen: u32, expected: u32) -> Error {
    Error::SelfTest {
        what: what.into(),
        seen: format!("{seen:#010x}"),
        expected: format!("{expected:#010x}"),
    }
}

fn probe(device: &Device, wgsl: &str, input: &[u32], words: usize, groups: u32) -> Result<Vec<u32>, Error> {
    let label = "self-test";
    let built = build::build(device, label, wgsl, &[Access::Read, Access::Write])?;
    let bytes: &[u8] = bytemuck::cast_slice(input);
    let buffer = device.guarded(label, || {
        let buffer = device.wgpu().create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        device.queue().write_buffer(&buffer, 0, bytes);
        buffer
    })?;
    build::once(device, label, &built, &buffer, words, groups)
}
