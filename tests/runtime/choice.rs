//! Which variants an adapter begins with, by its kind and what it offers.

use loopfm::bundle::{Bundle, Precision};
use loopfm::compile::{Options, compile};
use loopfm::fuse::Profile;
use loopfm::run::{AdapterKind, AdapterReport, Runtime, VariantChoice};

use crate::support::models;

const KINDS: [AdapterKind; 5] = [
    AdapterKind::Discrete,
    AdapterKind::Integrated,
    AdapterKind::Virtual,
    AdapterKind::Other,
    AdapterKind::Software,
];

/// An adapter as drivers of the last years report them.
fn adapter(kind: AdapterKind) -> AdapterReport {
    AdapterReport {
        name: "played".into(),
        backend: "vulkan",
        kind,
        driver: String::new(),
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroup_bytes: 32 << 10,
        invocations: 1024,
        storage_buffers: 8,
        f16: true,
        packed_f16: true,
        subgroups: Some((8, 32)),
        timestamps: true,
        matrices: Vec::new(),
    }
}

/// A model whose kernels want more than 16 KiB of workgroup memory where they may have it.
fn bundle(precision: Precision) -> Bundle {
    let mut files = models::in_repository().into_iter();
    let file = files
        .find(|f| f.to_string_lossy().contains("graphs/w2/"))
        .expect("W2 is in the repository");
    let m = models::load(&file).model;
    compile(&m.name, &m.graph, &m.weights, &Options::new(precision)).unwrap_or_else(|e| panic!("{e}"))
}

fn order(adapter: &AdapterReport, bundle: &Bundle) -> Vec<String> {
    let (candidates, _) = Runtime::candidates(adapter, bundle, &VariantChoice::default());
    candidates.iter().map(|v| v.name()).collect()
}

#[test]
fn each_kind_of_adapter_begins_with_its_own_profile() {
    let halves = bundle(Precision::F16);
    let rest = ["portable/native", "portable/packed"];
    let of_discrete = ["discrete/native", "discrete/packed"];
    for kind in [AdapterKind::Discrete, AdapterKind::Virtual, AdapterKind::Other] {
        let expected = [&of_discrete[..], &["integrated/native"], &rest].concat();
        assert_eq!(order(&adapter(kind), &halves), expected, "{kind}");
    }
    let integrated = adapter(AdapterKind::Integrated);
    assert_eq!(
        order(&integrated, &halves),
        [&["integrated/native"][..], &rest, &of_discrete].concat()
    );
    assert_eq!(
        order(&integrated, &bundle(Precision::F32)),
        ["integrated/f32", "portable/f32", "discrete/f32"]
    );
    let software = AdapterReport {
        subgroups: Some((8, 8)),
        ..adapter(AdapterKind::Software)
    };
    assert_eq!(order(&software, &halves)[0], "software/packed");
}

#[test]
fn integrated_adapters_fall_back_to_what_asks_for_less() {
    let halves = bundle(Precision::F16);
    let without_f16 = AdapterReport {
        f16: false,
        ..adapter(AdapterKind::Integrated)
    };
    assert_eq!(order(&without_f16, &halves), ["portable/packed", "discrete/packed"]);
    let small = AdapterReport {
        workgroup_bytes: 16 << 10,
        ..adapter(AdapterKind::Integrated)
    };
    assert_eq!(order(&small, &halves), ["portable/native", "portable/packed"]);
    // A bundle of before, or of chosen profiles.
    let mut few = bundle(Precision::F16);
    few.manifest.variants.retain(|v| v.profile != "integrated");
    assert_eq!(order(&adapter(AdapterKind::Integrated), &few)[0], "portable/native");
}

#[test]
fn the_order_names_profiles_that_there_are() {
    for kind in KINDS {
        for name in kind.profiles() {
            assert!(Profile::ALL.iter().any(|p| p.name == *name), "{kind}: {name}");
        }
    }
}
