//! Which kernels may run without checks of their indices: those that decide all of them themselves, generated here.

use loopfm::bundle::{Bundle, Precision, Space, Variant};
use loopfm::compile::{Options, compile, vouch};
use loopfm::ir::parse;
use loopfm::tensor::{HostTensor, Tensors};
use loopfm::wgsl::decides_its_indices;

use crate::support::models;

const HEAD: &str = "
@group(0) @binding(0) var<uniform> sizes: vec4<u32>;
@group(0) @binding(1) var<storage, read> inputs: array<u32>;
@group(0) @binding(2) var<storage, read_write> values: array<u32>;
var<workgroup> slots: array<u32, 64>;
var<private> kept: u32;
fn first(x: u32) -> u32 { if x > 3u { return 3u; } return x; }
fn fill(p: ptr<function, u32>) { *p = inputs[0]; }
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let row = wid.x * 64u + lid;
  if row >= sizes.x { return; }
";

#[test]
fn an_index_that_depends_on_data_is_found() {
    let own = [
        "values[row] = inputs[row * 2u + 1u];",
        "for (var i = 0u; i < 4u; i++) { values[row * 4u + i] = min(inputs[i], 7u); }",
        "slots[lid] = inputs[row]; workgroupBarrier(); values[row] = slots[63u - lid];",
        "if inputs[row] > 3u { values[row] = 1u; }",
        "values[first(lid)] = first(inputs[row]);",
        "var i = row / 2u; i += 1u; values[i] = 0u; kept = lid; values[kept] = 1u;",
        "values[row] = textureLoad(image, vec2<u32>(row, 1u), 0).x;",
    ];
    // The function that two of them share is given data once and an index once: then its result counts as data.
    let own_alone = |body: &str| !body.contains("first(");
    let data = [
        "values[inputs[row]] = 0u;",
        "values[row] = inputs[min(inputs[row], 7u)];",
        "slots[lid] = row; workgroupBarrier(); values[slots[0]] = 1u;",
        "var i = 0u; if inputs[row] > 3u { i = 1u; } values[i] = 1u;",
        "for (var i = 0u; i < inputs[row]; i++) { values[i] = 1u; }",
        "var n = 0u; loop { if inputs[n] == 0u { break; } n++; } values[n] = 1u;",
        "values[first(inputs[row])] = 1u;",
        "kept = inputs[row]; values[kept] = 1u;",
        "var i = 0u; fill(&i); values[i] = 1u;",
        "values[select(0u, 1u, inputs[row] == 0u)] = 1u;",
        "var i = vec2<u32>(row, inputs[row]); values[i.y] = 1u;",
        "values[atomicAdd(&count, 1u)] = 1u;",
        "values[row] = textureLoad(image, vec2<u32>(inputs[row], 1u), 0).x;",
        "values[row] = textureLoad(image, vec2<u32>(row, 1u), inputs[row]).x;",
        "values[textureLoad(image, vec2<u32>(row, 1u), 0).x] = 1u;",
    ];
    let text = |body: &str| {
        let count = "@group(0) @binding(3) var<storage, read_write> count: atomic<u32>;";
        let image = "@group(0) @binding(4) var image: texture_2d<u32>;";
        format!("{count}{image}{HEAD}{body}\n}}")
    };
    for body in own {
        loopfm::wgsl::validate("own", &text(body)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(decides_its_indices("own", &text(body)), own_alone(body), "{body}");
    }
    for body in data {
        assert!(!decides_its_indices("data", &text(body)), "{body}");
        loopfm::wgsl::validate("data", &text(body)).unwrap_or_else(|e| panic!("{e}"));
    }
    assert!(!decides_its_indices("broken", "no WGSL"));
}

#[test]
fn kernels_that_look_something_up_are_never_vouched_for() {
    let (mut own, mut looking) = (0, 0);
    for file in models::in_repository() {
        let golden = models::load(&file);
        let m = &golden.model;
        let bundle = compile(&m.name, &m.graph, &m.weights, &Options::new(Precision::F16))
            .unwrap_or_else(|e| panic!("{}: {e}", m.name));
        let vouched = vouch(&bundle);
        for variant in &bundle.manifest.variants {
            for kernel in &variant.kernels {
                let text = &bundle.wgsl[&kernel.wgsl];
                let covered = vouched.as_ref().is_some_and(|own| own.covers_text(variant, text));
                // Indices into tables pass through `checked`, and rows find their request's number among the inputs.
                let of_request = kernel.space == Space::Rows && text.contains("sizes.y - 1u");
                let looks_up = text.contains("fn checked(") || of_request;
                assert!(
                    !(covered && looks_up),
                    "{} {} {}",
                    golden.name,
                    variant.name(),
                    kernel.name
                );
                own += usize::from(covered);
                looking += usize::from(looks_up);
            }
        }
    }
    eprintln!("{own} kernels decide their indices, {looking} look something up");
    assert!(own > 0 && looking > 0);
}

const TOWER: &str = "loopfm 1
%0 = input \"x\" : f32[rows, 48]
%1 = param \"w\" : f32[48, 40]
%2 = param \"v\" : f32[40, 1]
%3 = matmul(%0, %1) : f32[rows, 40]
%4 = tanh(%3) : f32[rows, 40]
%5 = matmul(%4, %2) : f32[rows, 1]
return \"y\" = %5
";

fn tower() -> Bundle {
    let graph = parse(TOWER).unwrap_or_else(|e| panic!("{e}"));
    let numbers = |shape: &[usize]| {
        let n = shape.iter().product();
        HostTensor::f32(shape, (0..n).map(|i: usize| (i * 7 % 23) as f32 / 64.0 - 0.2).collect())
    };
    let weights = Tensors::from([
        ("w".to_owned(), numbers(&[48, 40])),
        ("v".to_owned(), numbers(&[40, 1])),
    ]);
    compile("tower", &graph, &weights, &Options::new(Precision::F16)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn what_was_not_generated_here_is_not_vouched_for() {
    let bundle = tower();
    let own = vouch(&bundle).expect("its own work");
    let variant = &bundle.manifest.variants[0];
    assert_eq!(own.kernels(variant), 1);
    type Change = fn(&mut Variant);
    let changes: [Change; 3] = [
        // Less memory than the kernels reach,
        |v| v.values_size.rows -= 1,
        |v| v.shards[0] -= 1,
        // more rows than a workgroup has.
        |v| v.kernels[0].rows_per_group += 1,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut other = tower();
        other.manifest.variants.iter_mut().for_each(change);
        let theirs = &other.manifest.variants[0];
        assert_eq!(vouch(&other).map_or(0, |own| own.kernels(theirs)), 0, "change {i}");
        // Nor does the word for one bundle serve another.
        assert_eq!(own.kernels(theirs), 0, "change {i}");
    }
    let mut other = tower();
    other.graph = other.graph.replace("tanh", "sigmoid");
    assert_eq!(vouch(&other).map_or(0, |own| own.kernels(variant)), 0, "another graph");
    assert!(!own.covers_text(variant, "fn main() {}"));
}

#[cfg(feature = "gpu")]
#[test]
fn unchecked_kernels_give_the_same_numbers() {
    use std::sync::Arc;

    use loopfm::run::{self, Runtime};

    let Some(device) = crate::support::gpu::gpu() else {
        return;
    };
    let bundle = tower();
    let open = |unchecked| {
        let options = run::Options {
            vouched: vouch(&bundle).map(Arc::new),
            unchecked,
            ..run::Options::default()
        };
        Runtime::open(Arc::clone(&device), &bundle, &options).unwrap_or_else(|e| panic!("{e}"))
    };
    let (checked, unchecked) = (open(false), open(true));
    assert_eq!((checked.report().unchecked, unchecked.report().unchecked), (0, 1));
    assert!(
        unchecked
            .report()
            .to_string()
            .contains(", 1 kernels, 1 of them unchecked")
    );
    for rows in [1, 63, 1000] {
        let x = (0..rows * 48).map(|i| (i * 31 % 97) as f32 / 50.0 - 1.0).collect();
        let batch = Tensors::from([("x".to_owned(), HostTensor::f32(&[rows, 48], x))]);
        assert_eq!(
            checked.run(&batch).unwrap(),
            unchecked.run(&batch).unwrap(),
            "{rows} rows"
        );
    }
}
