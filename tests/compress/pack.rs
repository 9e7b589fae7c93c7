//! Codes made where a model runs are those that the host makes.

use loopfm::bundle::{Bundle, Precision};
use loopfm::compile::{Options, compile};
use loopfm::compress::{codebook, guarded, pack, unpacked};
use loopfm::embeddings::Storage;
use loopfm::ir::Graph;
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

use crate::support::rng::Rng;

const SCALE: f32 = 0.013;

fn storages() -> [Storage; 4] {
    let rng = &mut Rng(3);
    let sample = rng.floats(4000, 0.4);
    let centres = codebook(&sample).unwrap();
    [
        Storage::F16,
        Storage::Int8 { scale: SCALE },
        Storage::Int4,
        Storage::KMeans4 { centres },
    ]
}

/// A graph of codes alone, as it is written.
fn codes_of(storage: &Storage, width: usize) -> Bundle {
    let mut g = Graph::new();
    let shape = |n| Shape(vec![Dim::Rows(1), Dim::Fixed(n)]);
    let x = g.input("x", DType::F32, shape(width)).unwrap();
    let score = g.input("score", DType::F32, shape(1)).unwrap();
    let codes = pack(&mut g, x, storage).unwrap().unwrap();
    let score = guarded(&mut g, score, x).unwrap();
    g.outputs = vec![("codes".into(), codes), ("score".into(), score)];
    let options = Options {
        simplify: false,
        ..Options::new(Precision::F16)
    };
    compile("codes", &g, &Tensors::new(), &options).unwrap()
}

fn batch(values: &[f32], width: usize) -> Tensors {
    let rows = values.len() / width;
    let score = (0..rows).map(|r| r as f32 / rows as f32).collect();
    Tensors::from([
        ("x".to_owned(), HostTensor::f32(&[rows, width], values.to_vec())),
        ("score".to_owned(), HostTensor::f32(&[rows, 1], score)),
    ])
}

/// Elements where a storage changes its mind, and neighbours of them; magnitudes that halves cannot tell from 0 and their
/// largest.
fn values(storage: &Storage, width: usize) -> Vec<f32> {
    let mut all = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.999_999_9,
        1e-9,
        -1e-9,
        3e-8,
        65_504.0,
        -65_519.0,
        6.1e-5,
        -6.09e-5,
    ];
    let ties = (-40..40).map(|k| k as f32 / 16.0);
    let steps = (-140..140).map(|k| (k as f32 + 0.5) * SCALE);
    // Half way between halves, in each octave and below the normal ones.
    let halves =
        (-26..16).flat_map(|e| [1025.0, 1026.5, 1027.0, 2047.0, 1.5].map(|m: f32| m / 1024.0 * (e as f32).exp2()));
    let bounds = match storage {
        Storage::KMeans4 { centres } => Storage::bounds(centres).to_vec(),
        _ => Vec::new(),
    };
    for x in ties.chain(steps).chain(halves.filter(|x| *x < 65_000.0)).chain(bounds) {
        let beside = [x, f32::from_bits(x.to_bits() ^ 1), -x];
        all.extend(beside.iter().filter(|x| x.abs() == 0.0 || x.abs() > 1e-30));
    }
    let rng = &mut Rng(11);
    all.extend((0..600).map(|_| (rng.unit() - 0.5) * 10f32.powi(rng.below(9) as i32 - 6)));
    while !all.len().is_multiple_of(width) {
        all.push(0.25);
    }
    all
}

fn same(what: &str, out: &Tensors, storage: &Storage, values: &[f32], width: usize) {
    let mut expected = Vec::new();
    storage.encode(values, width, &mut expected).unwrap();
    let bytes = storage.row_bytes(width);
    let codes = unpacked(out["codes"].as_i32().unwrap(), bytes);
    assert_eq!(codes.len(), expected.len());
    let wrong = codes.iter().zip(&expected).position(|(a, b)| a != b);
    let row = wrong.map_or(0, |at| at / bytes);
    assert!(
        wrong.is_none(),
        "{what}, {storage:?}, width {width}, row {row}: {:?}: {:?}, not {:?}",
        &values[row * width..][..width],
        &codes[row * bytes..][..bytes],
        &expected[row * bytes..][..bytes]
    );
    storage.check_codes(&codes, width).unwrap();
    assert_eq!(out["score"], batch(values, width)["score"]);
}

#[test]
fn devices_make_the_codes_of_the_host() {
    let cpu = SessionOptions {
        device: DeviceChoice::Cpu,
        ..SessionOptions::default()
    };
    for (n, storage) in storages().iter().enumerate() {
        for width in [[1, 32], [3, 8], [5, 16], [7, 33]][n] {
            let (bundle, values) = (codes_of(storage, width), values(storage, width));
            let batch = batch(&values, width);
            let session = Session::open(&bundle, &cpu).unwrap();
            same("CPU", &session.run(&batch).unwrap(), storage, &values, width);
            #[cfg(feature = "gpu")]
            crate::support::gpu::each_variant(&bundle, |what, runtime| {
                same(what, &runtime.run(&batch).unwrap(), storage, &values, width);
            });
        }
    }
}

#[test]
fn what_has_no_code_is_refused() {
    let cpu = SessionOptions {
        device: DeviceChoice::Cpu,
        ..SessionOptions::default()
    };
    let session = Session::open(&codes_of(&Storage::Int4, 3), &cpu).unwrap();
    let refused = session
        .run(&batch(&[0.0, 1.0, 2.0, 0.5, f32::NAN, 0.0], 3))
        .unwrap_err();
    assert!(refused.to_string().contains("`score`"), "{refused}");
    let session = Session::open(&codes_of(&Storage::F16, 3), &cpu).unwrap();
    let out = session.run(&batch(&[0.0, 1.0, 2.0, 0.5, -65_520.0, 1e30], 3)).unwrap();
    let codes = unpacked(out["codes"].as_i32().unwrap(), 6);
    let refused = Storage::F16.check_codes(&codes, 3).unwrap_err();
    assert!(refused.to_string().contains("row 1, element 1 is -inf"), "{refused}");
}
