//! Bundles, whole and damaged.

use indexmap::IndexMap;
use loopfm::bundle::{
    self, Binding, Bundle, FORMAT, Flops, Kernel, Layout, Linear, Manifest, Needs, Placement, Port, Precision, Rung,
    Slot, Space, Storage, StoredTensor, Variant, digest,
};
use loopfm::tensor::DType;

use super::{LINEAR, fitting, folder, variant};
use crate::support::files::safetensors as checkpoint;

fn small_bundle() -> Bundle {
    let text = "@compute @workgroup_size(1)\nfn main() {}\n".to_owned();
    let stored = |storage, shape: &[usize], bytes: Vec<u8>| StoredTensor {
        storage,
        shape: shape.to_vec(),
        bytes,
    };
    Bundle {
        manifest: Manifest {
            format: FORMAT,
            tool: "loopfm 0".into(),
            model: "two \"quoted\" \u{e9}".into(),
            fingerprint: String::new(),
            precision: Precision::F16,
            inputs: vec![],
            outputs: vec![],
            checks: vec![],
            flops: Flops {
                written_per_row: 1.946e6,
                planned_per_row: 0.1 + 0.2,
                planned_per_request: 1e300,
            },
            variants: vec![],
        },
        graph: LINEAR.to_owned(),
        wgsl: IndexMap::from([(digest(&text), text)]),
        weights: IndexMap::from([
            ("z".to_owned(), stored(Storage::Bool, &[3], vec![1, 0, 1])),
            ("a".to_owned(), stored(Storage::F16, &[1, 2], vec![0, 60, 1, 2])),
            ("c".to_owned(), stored(Storage::I32, &[1], vec![1, 2, 3, 4])),
            ("b".to_owned(), stored(Storage::F32, &[], vec![9, 8, 7, 6])),
            ("e".to_owned(), stored(Storage::F32, &[0, 4], vec![])),
        ]),
        notes: std::collections::BTreeMap::new(),
    }
}

#[test]
fn bundles_come_back_as_they_were_and_are_safetensors() {
    let bundle = small_bundle();
    let bytes = bundle.to_bytes().expect("it is sound");
    let back = Bundle::from_bytes(&bytes).expect("it is whole");
    assert_eq!(back, bundle);
    assert_eq!(back.to_bytes().expect("it is sound"), bytes);
    assert_eq!(back.root().expect("sound"), bundle.root().expect("sound"));
    let mut shuffled = bundle.clone();
    shuffled.weights.reverse();
    assert_eq!(
        shuffled.to_bytes().expect("sound"),
        bytes,
        "order of insertion leaves no trace"
    );
    let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("the reference reader takes it");
    assert_eq!(theirs.tensor("a").expect("it is there").data(), [0, 60, 1, 2]);
}

#[test]
fn every_flipped_byte_and_every_truncation_of_a_bundle_is_found() {
    let bytes = small_bundle().to_bytes().expect("it is sound");
    for at in 0..bytes.len() {
        for flip in (0..8).map(|bit| 1u8 << bit).chain([0xff]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let e = Bundle::from_bytes(&damaged).err();
            let e = e.unwrap_or_else(|| panic!("byte {at} with {flip:#x} flipped is accepted"));
            assert!(matches!(e.exit_code(), 5 | 6), "byte {at}, {flip:#x}: {e}");
            assert_eq!(
                e.exit_code() == 6,
                matches!(e, bundle::Error::Format { .. }),
                "byte {at}: {e}"
            );
        }
    }
    for length in 0..bytes.len() {
        let e = Bundle::from_bytes(&bytes[..length]).err();
        let e = e.unwrap_or_else(|| panic!("the first {length} bytes are accepted"));
        assert_eq!(e.exit_code(), 5, "{length} bytes: {e}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        variant(&Bundle::from_bytes(&longer).expect_err("one byte too many")),
        "Container"
    );
}

#[test]
fn bundles_are_refused_by_name() {
    let plain = checkpoint(&[("loopfm.graph", LINEAR)], &fitting());
    let e = Bundle::from_bytes(&plain).expect_err("a checkpoint");
    assert_eq!((variant(&e).as_str(), e.exit_code()), ("NotABundle", 1));
    let bytes = small_bundle().to_bytes().expect("sound");
    let at = bytes
        .windows(18)
        .position(|w| w == b"\"loopfm.format\":\"1")
        .expect("it is there");
    let mut newer = bytes;
    newer[at + 17] = b'7';
    let e = Bundle::from_bytes(&newer).expect_err("a newer format");
    assert_eq!((variant(&e).as_str(), e.exit_code()), ("Format", 6));
    let folder = folder();
    let e = Bundle::read(&folder.path().join("none.loopfm")).expect_err("no file");
    assert!(e.exit_code() == 1 && e.to_string().contains("none.loopfm"), "{e}");
}

#[test]
fn contradictions_are_not_written() {
    let sound = small_bundle();
    let mut wrong_text = sound.clone();
    wrong_text.wgsl.values_mut().for_each(|text| text.push(' '));
    assert_eq!(variant(&wrong_text.to_bytes().expect_err("digest")), "Hash");
    let mut infinite = sound.clone();
    infinite.manifest.flops.planned_per_row = f64::INFINITY;
    assert_eq!(variant(&infinite.to_bytes().expect_err("no JSON number")), "Section");
    let mut short = sound.clone();
    short.weights["a"].bytes.pop();
    assert_eq!(variant(&short.to_bytes().expect_err("too few bytes")), "Tensor");
    let mut odd = sound;
    odd.weights["z"].bytes[1] = 2;
    assert_eq!(variant(&odd.to_bytes().expect_err("no truth value")), "Tensor");
}

/// A bundle with one variant: `a` lies in the second of two buffers and one kernel reads it.
fn runnable() -> Bundle {
    let mut bundle = small_bundle();
    let text = bundle.wgsl.get_index(0).expect("a text").0.clone();
    bundle.manifest.inputs = vec![Port {
        name: "x".into(),
        dtype: DType::F32,
        space: Space::Rows,
        factor: 2,
        shape: vec![3],
    }];
    bundle.manifest.variants = vec![Variant {
        profile: "portable".into(),
        rung: Rung::Packed,
        needs: Needs::default(),
        weights: vec![Placement {
            tensor: "a".into(),
            first_row: 0,
            rows: 1,
            layout: Layout::RowsHalves,
            shard: 1,
            offset: 3,
        }],
        shards: vec![1, 4],
        inputs_size: Linear { rows: 10, requests: 0 },
        values_size: Linear::default(),
        inputs: vec![Slot {
            name: "x".into(),
            offset: Linear { rows: 4, requests: 0 },
            width: 6,
        }],
        outputs: vec![],
        status: vec![],
        kernels: vec![Kernel {
            name: "k00".into(),
            wgsl: text,
            space: Space::Rows,
            rows_per_group: 64,
            groups_per_tile: 1,
            bindings: vec![Binding::Weights(1)],
            flops: 0.0,
            weight_bytes: 0,
            activation_bytes: 0,
            workgroup_bytes: 0,
            invocations: 1,
        }],
    }];
    bundle
}

#[test]
fn a_manifest_must_fit_its_bundle() {
    let bytes = runnable().to_bytes().expect("it is sound");
    assert_eq!(Bundle::from_bytes(&bytes).expect("it is whole"), runnable());
    let wrong: [fn(&mut Variant); 17] = [
        |v| v.inputs[0].name = "y".into(),
        |v| v.inputs[0].width = 5,
        |v| v.inputs[0].offset.rows = 5,
        |v| v.inputs[0].offset.rows = u32::MAX,
        |v| v.inputs[0].offset.requests = 1,
        |v| v.weights[0].tensor = "c".into(),
        |v| v.weights[0].tensor = "none".into(),
        |v| v.weights[0].rows = 2,
        |v| v.weights[0].first_row = u64::MAX,
        |v| v.weights[0].layout = Layout::BlocksHalves,
        |v| v.weights[0].shard = 2,
        |v| v.weights[0].offset = 4,
        |v| v.weights[0].offset = u64::MAX,
        |v| v.kernels[0].wgsl = "none".into(),
        |v| v.kernels[0].bindings = vec![Binding::WeightsNative(2)],
        |v| v.kernels[0].bindings = vec![Binding::WeightsImage(2)],
        |v| v.kernels[0].rows_per_group = 0,
    ];
    let mut huge = runnable();
    huge.manifest.inputs[0].shape = vec![65_536, 65_536];
    assert_eq!(
        variant(&huge.to_bytes().expect_err("too many elements")),
        "Inconsistent"
    );
    for (i, spoil) in wrong.iter().enumerate() {
        let mut bundle = runnable();
        spoil(&mut bundle.manifest.variants[0]);
        let e = bundle.to_bytes().expect_err("a contradiction");
        assert_eq!(
            (variant(&e).as_str(), e.exit_code()),
            ("Inconsistent", 5),
            "case {i}: {e}"
        );
    }
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = folder();
    let path = folder.path().join("m.loopfm");
    small_bundle().write(&path).expect("it can be written");
    assert_eq!(Bundle::read(&path).expect("it is whole"), small_bundle());
    let listed = || std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(listed(), 1, "no temporary file is left");
    let before = std::fs::read(&path).expect("it is there");
    let failing = loopfm::container::write_atomically(&path, |file| {
        file.write_all(b"half")?;
        Err(std::io::ErrorKind::StorageFull.into())
    });
    assert!(failing.is_err());
    assert_eq!(std::fs::read(&path).expect("it is there"), before);
    assert_eq!(listed(), 1, "the temporary file is removed");
    assert!(small_bundle().write(folder.path()).is_err(), "a folder is no target");
    assert!(small_bundle().write(&folder.path().join("no/such/m.loopfm")).is_err());
}
