//! Codes of embeddings.

use loopfm::embeddings::{Decoder, Storage};

use crate::support::rng::Rng;

fn centres(rng: &mut Rng) -> [f32; 16] {
    let mut centres: [f32; 16] = std::array::from_fn(|_| rng.unit());
    centres.sort_by(f32::total_cmp);
    centres
}

fn coded(storage: &Storage, values: &[f32], width: usize) -> Vec<f32> {
    let mut codes = Vec::new();
    storage.encode(values, width, &mut codes).unwrap();
    assert_eq!(
        codes.len(),
        values.len() / width * storage.row_bytes(width),
        "{storage:?}"
    );
    storage.decode(&codes, width)
}

#[test]
fn elements_come_back_as_near_as_can_be() {
    let rng = &mut Rng(1);
    for width in [1, 2, 7, 16, 33] {
        let values = rng.floats(width * 50, 1.2);
        assert_eq!(coded(&Storage::F32, &values, width), values);
        let halves = coded(&Storage::F16, &values, width);
        assert!(
            halves
                .iter()
                .zip(&values)
                .all(|(a, b)| *a == half::f16::from_f32(*b).to_f32())
        );
        let bytes = coded(&Storage::Int8 { scale: 0.01 }, &values, width);
        assert!(bytes.iter().zip(&values).all(|(a, b)| (a - b).abs() <= 0.005_001));
        let halved = coded(&Storage::Int4, &values, width);
        let paper = |z: f32| (8.0 * z).round_ties_even().clamp(-8.0, 7.0) / 8.0;
        assert!(halved.iter().zip(&values).all(|(a, b)| *a == paper(*b)));
        let centres = centres(rng);
        let nearest = |z: f32| {
            centres
                .iter()
                .map(|c| (f64::from(*c) - f64::from(z)).abs())
                .fold(f64::MAX, f64::min)
        };
        let means = coded(&Storage::KMeans4 { centres }, &values, width);
        assert!(
            means
                .iter()
                .zip(&values)
                .all(|(a, b)| f64::from((a - b).abs()) < nearest(*b) + 1e-6)
        );
    }
}

#[test]
fn layouts_are_fixed() {
    let bytes = |storage: Storage, values: &[f32], width| {
        let mut codes = Vec::new();
        storage.encode(values, width, &mut codes).unwrap();
        codes
    };
    assert_eq!(
        bytes(Storage::Int4, &[-1.0, 0.0, 0.875, 2.0, -2.0, 0.124], 3),
        [0x80, 0x0f, 0x0f, 0x09]
    );
    // 0.5 and 1.5 steps go to the even neighbour.
    assert_eq!(bytes(Storage::Int4, &[1.0 / 16.0, 3.0 / 16.0], 2), [0xa8]);
    assert_eq!(
        bytes(Storage::Int8 { scale: 0.5 }, &[0.25, 0.75, -9.0, 99.0], 4),
        [0, 2, 238, 127]
    );
    assert_eq!(bytes(Storage::F16, &[1.0, -2.0], 2), [0, 0x3c, 0, 0xc0]);
    let centres = std::array::from_fn(|i| i as f32);
    assert_eq!(
        bytes(Storage::KMeans4 { centres }, &[0.5, 0.51, 99.0, -7.0, 7.5], 5),
        [0x10, 0x0f, 0x07]
    );
}

#[test]
fn prefixes_of_rows_are_decoded() {
    let rng = &mut Rng(2);
    let all = [
        Storage::F32,
        Storage::F16,
        Storage::Int8 { scale: 0.01 },
        Storage::Int4,
        Storage::KMeans4 { centres: centres(rng) },
    ];
    for storage in all {
        let values = rng.floats(9, 1.0);
        let mut codes = Vec::new();
        storage.encode(&values, 9, &mut codes).unwrap();
        let whole = storage.decode(&codes, 9);
        for width in 0..=9 {
            let mut out = vec![9.0; width];
            Decoder::new(&storage).row(&codes, &mut out);
            assert_eq!(out, whole[..width], "{storage:?}");
        }
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    let refused =
        |storage: Storage, values: &[f32]| storage.encode(values, 2, &mut Vec::new()).unwrap_err().to_string();
    let values = [0.0, 1.0, 2.0, f32::NAN];
    assert_eq!(
        refused(Storage::Int4, &values),
        "row 1, element 1 is NaN, which int4 cannot hold"
    );
    assert_eq!(
        refused(Storage::F32, &[f32::INFINITY, 0.0]),
        "row 0, element 0 is inf, which f32 cannot hold"
    );
    assert_eq!(
        refused(Storage::F16, &[0.0, 7e4]),
        "row 0, element 1 is 70000.0, which f16 cannot hold"
    );
    let wrong = |storage: Storage| storage.check().unwrap_err().to_string();
    assert_eq!(
        wrong(Storage::Int8 { scale: 0.0 }),
        "`scale` is 0.0, it must be a positive number"
    );
    let mut centres = [0.0; 16];
    centres[3] = 1.0;
    assert!(wrong(Storage::KMeans4 { centres }).ends_with("it must be finite and ascending"));
}
