//! Kernels that multiply cooperative matrices: sound for naga and its writers, chosen where they run and nowhere else, and
//! right when what they rely on is played by plain functions.

use loopfm::bundle::{Bundle, Layout, Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::fuse::Profile;
use loopfm::ir::parse;
use loopfm::tensor::{HostTensor, Tensors};
use loopfm::wgsl;
use naga::back::{msl, spv};

use crate::support::models;

/// Two layers whose weights are heavy: each a dispatch of its own, whose columns workgroups share.
pub(crate) const HEAVY: &str = "loopfm 1
%0 = input \"x\" : f32[rows, 512]
%1 = param \"w\" : f32[512, 320]
%2 = param \"v\" : f32[320, 452]
%3 = param \"b\" : f32[452]
%4 = matmul(%0, %1) : f32[rows, 320]
%5 = tanh(%4) : f32[rows, 320]
%6 = matmul(%5, %2) : f32[rows, 452]
%7 = broadcast(%3) : f32[rows, 452]
%8 = add(%6, %7) : f32[rows, 452]
%9 = sigmoid(%8) : f32[rows, 452]
return \"y\" = %9
";

/// Layers in one dispatch: an operand that is a concatenation, columns that fill no square, an inner axis that fills none,
/// inner rows, a single column.
const TOGETHER: &str = "loopfm 1
%0 = input \"x\" : f32[rows, 64]
%1 = input \"z\" : f32[rows, 48]
%2 = param \"w\" : f32[112, 200]
%3 = param \"v\" : f32[200, 80]
%4 = param \"u\" : f32[80, 72]
%5 = param \"t\" : f32[72, 1]
%6 = tanh(%1) : f32[rows, 48]
%7 = concat(%0, %6) {axis=1} : f32[rows, 112]
%8 = matmul(%7, %2) : f32[rows, 200]
%9 = tanh(%8) : f32[rows, 200]
%10 = matmul(%9, %3) : f32[rows, 80]
%11 = tanh(%10) : f32[rows, 80]
%12 = matmul(%11, %4) : f32[rows, 72]
%13 = tanh(%12) : f32[rows, 72]
%14 = matmul(%13, %5) : f32[rows, 1]
%15 = input \"h\" : f32[rows, 10, 64]
%16 = param \"s\" : f32[64, 96]
%17 = matmul(%15, %16) : f32[rows, 10, 96]
%18 = tanh(%17) : f32[rows, 10, 96]
return \"y\" = %14, \"h\" = %18
";

/// Numbers that tell elements apart, small enough for any sum.
pub(crate) fn numbers(shape: &[usize], scale: f32) -> HostTensor {
    let n = shape.iter().product();
    let number = |i: usize| ((i.wrapping_mul(0x9e37_79b1) >> 9) % 2001) as f32 / 1000.0 - 1.0;
    HostTensor::f32(shape, (0..n).map(|i| scale * number(i)).collect())
}

fn bundle(text: &str, profile: &'static Profile) -> Bundle {
    let graph = parse(text).unwrap_or_else(|e| panic!("{e}"));
    let weights: Tensors = graph
        .params()
        .map(|(_, name, ty)| {
            let shape = ty.shape.per_row();
            let scale = (3.0 / shape[0] as f32).sqrt();
            (name.to_owned(), numbers(&shape, scale))
        })
        .collect();
    let options = Options {
        profiles: vec![profile, &Profile::PORTABLE],
        rungs: vec![Rung::Native],
        ..Options::new(Precision::F16)
    };
    compile("wide", &graph, &weights, &options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn wide_layers_multiply_squares_and_the_rest_does_not() {
    for profile in Profile::ON_REQUEST {
        let heavy = bundle(HEAVY, profile);
        let variant = &heavy.manifest.variants[0];
        assert_eq!(variant.profile, profile.name);
        assert_eq!(
            variant.needs.matrix,
            Some(if profile.name == "matrix" { 16 } else { 8 })
        );
        assert_eq!(variant.kernels.len(), 2);
        let columns = 8 * variant.needs.matrix.unwrap();
        for (kernel, n) in variant.kernels.iter().zip([320u32, 452]) {
            assert_eq!(kernel.groups_per_tile, n.div_ceil(columns), "{}", kernel.name);
            assert!(kernel.workgroup_bytes <= 32 << 10);
        }
        let together = bundle(TOGETHER, profile);
        let variant = &together.manifest.variants[0];
        let squares = variant.weights.iter().filter(|w| w.layout == Layout::SquaresHalves);
        let mut names: Vec<&str> = squares.map(|w| w.tensor.as_str()).collect();
        names.sort_unstable();
        // `t` is narrow; `v` has 200 inner indices, which are no whole squares, and is read one element after the other.
        assert_eq!(names, ["s", "u", "v", "w"]);
        let products: usize = together
            .wgsl
            .values()
            .map(|text| text.matches("let turn").count() + text.matches("for (var turn").count())
            .sum();
        assert_eq!(products, 3, "one loop of turns for `w`, `u` and `s`");
    }
    // Narrow models have no such variant.
    let narrow = HEAVY.replace("512", "32").replace("320", "48").replace("452", "40");
    let bundle = bundle(&narrow, &Profile::MATRIX);
    assert!(bundle.manifest.variants.iter().all(|v| v.profile == "portable"));
}

#[test]
fn every_kernel_with_squares_is_written_for_vulkan_and_metal() {
    let mut kernels = 0;
    let mut write = |name: &str, bundle: &Bundle| {
        for variant in bundle.manifest.variants.iter().filter(|v| v.needs.matrix.is_some()) {
            for kernel in &variant.kernels {
                let name = format!("{name} {} `{}`", variant.profile, kernel.name);
                let (module, info) = wgsl::module(&name, &bundle.wgsl[&kernel.wgsl]).unwrap_or_else(|e| panic!("{e}"));
                let options = spv::Options {
                    lang_version: (1, 3),
                    use_storage_input_output_16: false,
                    ..spv::Options::default()
                };
                spv::write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{name}: {e}"));
                let options = msl::Options {
                    lang_version: (2, 4),
                    ..msl::Options::default()
                };
                msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                kernels += 1;
            }
        }
    };
    for file in models::in_repository() {
        let golden = models::load(&file);
        let m = &golden.model;
        let options = Options {
            profiles: Profile::ON_REQUEST.iter().collect(),
            ..Options::new(Precision::F16)
        };
        let bundle = compile(&m.name, &m.graph, &m.weights, &options).unwrap_or_else(|e| panic!("{}: {e}", m.name));
        write(&golden.name, &bundle);
    }
    for profile in Profile::ON_REQUEST {
        write("heavy", &bundle(HEAVY, profile));
        write("together", &bundle(TOGETHER, profile));
    }
    eprintln!("{kernels} kernels of variants with squares");
    assert!(kernels >= 8, "{kernels}");
}

#[cfg(feature = "gpu")]
mod devices {
    use std::sync::Arc;

    use loopfm::bundle::digest;
    use loopfm::metrics::{Difference, numbers as values};
    use loopfm::run::{self, AdapterKind, AdapterReport, Error, Runtime, VariantChoice};
    use loopfm::session::{DeviceChoice, Session, SessionOptions};

    use super::*;
    use crate::support::gpu::gpu;

    /// What functions of a kernel's own do instead of cooperative operations: a square of an operand is where it lies, of a
    /// sum each lane of a subgroup holds up to four elements. Bounds that drivers do not know keep them from unrolling it.
    const PLAYED: &str = "
const EACH = (AREA - 1u) / LANES + 1u;
fn nth(n: u32) -> vec4<f32> { return select(vec4<f32>(), vec4<f32>(1.0), vec4<u32>(n) == vec4<u32>(0u, 1u, 2u, 3u)); }
fn multiply(lid: u32, a: vec2<u32>, b: vec2<u32>, c: vec4<f32>) -> vec4<f32> {
    var s = c;
    let unknown = sizes.w >> 31u;
    for (var n = 0u; n < EACH + unknown; n++) {
        let i = min(n * LANES + lid % LANES, AREA - 1u);
        var sum = 0.0;
        for (var k = 0u; k < EDGE + unknown; k++) {
            sum += f32(waiting_rows[a.x + i / EDGE * a.y + k]) * f32(squares0[b.x + k * b.y + i % EDGE]);
        }
        s += sum * nth(n);
    }
    return s;
}
// As devices may that know no infinity on the way to halves.
fn saturated(x: vec4<f32>) -> vec4<f16> { return vec4<f16>(clamp(x, vec4<f32>(-65504.0), vec4<f32>(65504.0))); }
fn store(lid: u32, c: vec4<f32>, at: u32, line: u32) {
    for (var n = 0u; n < EACH + (sizes.w >> 31u); n++) {
        let i = n * LANES + lid % LANES;
        if i < AREA { waiting_sums[at + i / EDGE * line + i % EDGE] = dot(c, nth(n)); }
    }
}
";

    /// A kernel whose cooperative operations are played, on so many subgroups.
    fn played(text: &str, edge: u32, subgroups: u32) -> String {
        let (area, lanes) = (edge * edge, 128 / subgroups);
        let constants = format!("const EDGE = {edge}u;\nconst AREA = {area}u;\nconst LANES = {lanes}u;{PLAYED}");
        let square = format!("coop_mat{edge}x{edge}");
        let text = text
            .replace("enable wgpu_cooperative_matrix;\n", "")
            .replace(&format!("{square}<f32, C>()"), "vec4<f32>()")
            .replace(&format!("coopLoadT<{square}<f16, A>>(&waiting_rows["), "vec2<u32>([")
            .replace(&format!("coopLoadT<{square}<f16, B>>(&squares0["), "vec2<u32>([")
            .replace("vec4<f16>(", "saturated(")
            .replace("coopMultiplyAdd(", "multiply(lid, ")
            .replace("coopStoreT(", "store(lid, ")
            .replace(
                ", @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32) {",
                &format!(") {{\n  let subgroup = lid / {lanes}u;\n  let subgroups = {subgroups}u;"),
            );
        // Of `&BUFFER[AT], LINE` only `AT` and `LINE` are left.
        let bare = |line: &str| match line.contains("vec2<u32>([") || line.contains("store(") {
            true => line
                .replace("&waiting_sums[", "")
                .replace("vec2<u32>([", "vec2<u32>(")
                .replace("], ", ", "),
            false => line.to_owned(),
        };
        let mut text = text.lines().map(bare).collect::<Vec<_>>().join("\n");
        let main = text.find("@compute").expect("an entry point");
        text.insert_str(main, &constants);
        text
    }

    /// A model's kernels with squares, played, and the same on the CPU.
    fn both(text: &str, profile: &'static Profile, subgroups: u32) -> Option<(Bundle, Runtime, Session)> {
        let device = gpu()?;
        if !device.report().f16 {
            eprintln!("skipped: no f16");
            return None;
        }
        let mut bundle = bundle(text, profile);
        let edge = bundle.manifest.variants[0].needs.matrix.take().expect("squares");
        for kernel in &mut bundle.manifest.variants[0].kernels {
            let text = &bundle.wgsl[&kernel.wgsl];
            if text.contains("coopMultiplyAdd(") {
                let text = played(text, edge, subgroups);
                assert!(!text.contains("coop"), "{text}");
                kernel.wgsl = digest(&text);
                bundle.wgsl.insert(kernel.wgsl.clone(), text);
            }
        }
        let options = run::Options {
            variant: VariantChoice::of(&bundle.manifest.variants[0]),
            ..run::Options::default()
        };
        let runtime = Runtime::open(device, &bundle, &options).unwrap_or_else(|e| panic!("{e}"));
        let cpu = SessionOptions {
            device: DeviceChoice::Cpu,
            ..SessionOptions::default()
        };
        let cpu = Session::open(&bundle, &cpu).unwrap();
        Some((bundle, runtime, cpu))
    }

    fn runs_as_the_cpu(text: &str, profile: &'static Profile, subgroups: u32) {
        let Some((bundle, runtime, cpu)) = both(text, profile, subgroups) else {
            return;
        };
        for rows in [1, 70, 130] {
            let input = |port: &loopfm::bundle::Port| {
                let shape: Vec<usize> = [rows]
                    .into_iter()
                    .chain(port.shape.iter().map(|n| *n as usize))
                    .collect();
                (port.name.clone(), numbers(&shape, 1.0))
            };
            let batch: Tensors = bundle.manifest.inputs.iter().map(input).collect();
            let (seen, expected) = (runtime.run(&batch).unwrap(), cpu.run(&batch).unwrap());
            for (name, expected) in &expected {
                let error = Difference::of(&values(&seen[name]), &values(expected)).of_max;
                eprintln!(
                    "{} on {subgroups} subgroups, {rows} rows, `{name}`: {error:.1e}",
                    profile.name
                );
                assert!(error < 2e-3, "{}, {rows} rows, `{name}`: {error:.1e}", profile.name);
            }
        }
    }

    #[test]
    fn squares_of_16_multiply_what_the_cpu_does() {
        // Fewer subgroups than strips take turns.
        runs_as_the_cpu(HEAVY, &Profile::MATRIX, 2);
    }

    #[test]
    fn squares_of_8_multiply_what_the_cpu_does() {
        // Of more subgroups than strips some have nothing to do.
        runs_as_the_cpu(TOGETHER, &Profile::MATRIX_8, 8);
    }

    #[test]
    fn what_no_half_holds_is_refused() {
        let Some((_, runtime, cpu)) = both(HEAVY, &Profile::MATRIX, 2) else {
            return;
        };
        let batch = |x: f32| {
            let mut data = vec![1.0; 70 * 512];
            data[7 * 512 + 3] = x;
            Tensors::from([("x".to_owned(), HostTensor::f32(&[70, 512], data))])
        };
        let (seen, expected) = (runtime.run(&batch(65_504.0)), cpu.run(&batch(65_504.0)));
        let (seen, expected) = (seen.unwrap(), expected.unwrap());
        assert!(Difference::of(&values(&seen["y"]), &values(&expected["y"])).of_max < 2e-3);
        // The last number that rounds to a half, and what comes after it.
        assert!(runtime.run(&batch(65_520.0f32.next_down())).is_ok());
        for beyond in [65_520.0, -1e6, f32::INFINITY] {
            let error = runtime.run(&batch(beyond)).map(drop).expect_err("no half holds it");
            assert!(matches!(error, Error::NonFinite { .. }), "{beyond}: {error}");
        }
        assert!(cpu.run(&batch(-1e6)).is_ok());
    }

    fn report(matrices: &[u32]) -> AdapterReport {
        AdapterReport {
            name: "fake".into(),
            backend: "vulkan",
            kind: AdapterKind::Discrete,
            driver: String::new(),
            binding_bytes: 1 << 30,
            buffer_bytes: 1 << 30,
            workgroup_bytes: 48 << 10,
            invocations: 1024,
            storage_buffers: 16,
            f16: true,
            packed_f16: true,
            subgroups: Some((32, 32)),
            timestamps: true,
            matrices: matrices.to_vec(),
        }
    }

    #[test]
    fn adapters_run_the_squares_that_they_multiply() {
        let bundle = bundle(HEAVY, &Profile::MATRIX);
        let names = |matrices: &[u32]| {
            let (candidates, skipped) = Runtime::candidates(&report(matrices), &bundle, &VariantChoice::default());
            (candidates.iter().map(|v| v.name()).collect::<Vec<_>>(), skipped)
        };
        assert_eq!(names(&[16, 8]).0, ["matrix/native", "portable/native"]);
        for wrong in [&[][..], &[8]] {
            let (candidates, skipped) = names(wrong);
            assert_eq!(candidates, ["portable/native"]);
            assert_eq!(
                skipped,
                ["matrix/native skipped: no cooperative matrices of 16x16 halves summed in f32"]
            );
        }
    }

    #[test]
    fn devices_that_were_not_asked_for_squares_say_so() {
        let Some(device) = gpu() else { return };
        let bundle = bundle(HEAVY, &Profile::MATRIX);
        let open = |options: &run::Options| Runtime::open(Arc::clone(&device), &bundle, options);
        let plain = open(&run::Options::default()).unwrap();
        assert_eq!(plain.report().profile, "portable");
        let options = run::Options {
            variant: VariantChoice::of(&bundle.manifest.variants[0]),
            ..run::Options::default()
        };
        let Err(Error::NoVariant { reasons, .. }) = open(&options) else {
            panic!("it runs");
        };
        assert_eq!(
            reasons[0],
            "matrix/native skipped: no cooperative matrices of 16x16 halves summed in f32"
        );
    }
}
