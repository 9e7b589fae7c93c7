//! Codebooks, principal components, and what storing costs.

use loopfm::compress::{Pca, codebook, int8_scale, report};
use loopfm::embeddings::Storage;

mod pack;

use crate::support::rng::Rng;

/// About normal, of this deviation.
fn normal(rng: &mut Rng, deviation: f32) -> f32 {
    (0..12).map(|_| rng.unit()).sum::<f32>() / 2.0 * deviation
}

fn error(storage: &Storage, values: &[f32]) -> f64 {
    report(values, 1, &[1], std::slice::from_ref(storage), None)
        .unwrap()
        .lines[0]
        .code_error
}

#[test]
fn codebooks_beat_the_grid_wherever_elements_lie() {
    let rng = &mut Rng(5);
    for deviation in [0.01, 0.1, 0.3, 0.6] {
        let sample: Vec<f32> = (0..4000).map(|_| normal(rng, deviation).tanh()).collect();
        let centres = codebook(&sample).unwrap();
        assert!(centres.is_sorted());
        let (means, grid) = (
            error(&Storage::KMeans4 { centres }, &sample),
            error(&Storage::Int4, &sample),
        );
        assert!(means < 0.9 * grid, "{deviation}: {means:e} against {grid:e}");
        // No centre can be moved to any good worth naming.
        for i in 0..16 {
            for by in [-1e-3, 1e-3] {
                let mut moved = centres;
                moved[i] += by * deviation;
                moved.sort_by(f32::total_cmp);
                assert!(error(&Storage::KMeans4 { centres: moved }, &sample) >= means * (1.0 - 1e-3));
            }
        }
        let mut again = sample.clone();
        again.reverse();
        assert_eq!(
            codebook(&again).unwrap(),
            centres,
            "of the elements, not of their order"
        );
    }
    // Fewer values than centres, and elements on the grid itself: nothing is lost.
    for values in [
        vec![0.3],
        vec![-1.0, 5.0, 7.5],
        (-8..8).map(|i| i as f32 / 8.0).collect(),
    ] {
        let centres = codebook(&values).unwrap();
        assert_eq!(error(&Storage::KMeans4 { centres }, &values), 0.0, "{values:?}");
    }
}

#[test]
fn components_are_the_directions_of_the_sample() {
    let rng = &mut Rng(6);
    let (width, rows) = (24, 3000);
    // Three directions and a little noise.
    let directions: Vec<Vec<f32>> = (0..3).map(|_| rng.floats(width, 1.0)).collect();
    let mut values = Vec::new();
    for _ in 0..rows {
        let parts = [normal(rng, 3.0), normal(rng, 1.0), normal(rng, 0.3)];
        values.extend(
            (0..width).map(|i| 0.5 + (0..3).map(|k| parts[k] * directions[k][i]).sum::<f32>() + normal(rng, 0.001)),
        );
    }
    let pca = Pca::fit(&values, width, 8).unwrap();
    assert!(pca.variances.is_sorted_by(|a, b| a >= b) && pca.variances.len() == width);
    assert!(pca.variances[2] > 1000.0 * pca.variances[3], "{:?}", pca.variances);
    let units: Vec<&[f32]> = pca.components.chunks(width).collect();
    for (i, a) in units.iter().enumerate() {
        for (j, b) in units.iter().enumerate() {
            let dot: f32 = a.iter().zip(*b).map(|(x, y)| x * y).sum();
            assert!((dot - f32::from(u8::from(i == j))).abs() < 1e-5, "{i}, {j}: {dot}");
        }
    }
    // What d components leave is the variance along the others.
    let codes = pca.encode(&values).unwrap();
    assert!(codes.iter().all(|z| z.abs() <= 1.0));
    let left = |d: usize| {
        let kept: Vec<f32> = codes.chunks(8).flat_map(|row| &row[..d]).copied().collect();
        let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
        pca.decode(&kept, d).iter().zip(&values).map(square).sum::<f64>() / rows as f64
    };
    for d in 1..=8 {
        let expected: f64 = pca.variances[d..].iter().sum();
        assert!(
            (left(d) / expected - 1.0).abs() < 0.01,
            "{d}: {} against {expected}",
            left(d)
        );
    }
    // Rows that do not vary, and fewer rows than elements.
    let flat = Pca::fit(&[2.0; 12], 4, 4).unwrap();
    assert_eq!(
        (flat.encode(&[2.0; 4]).unwrap(), flat.decode(&[0.0; 4], 4)),
        (vec![0.0; 4], vec![2.0; 4])
    );
    let few = rng.floats(3 * 40, 1.0);
    let pca = Pca::fit(&few, 40, 40).unwrap();
    let back = pca.decode(&pca.encode(&few).unwrap(), 40);
    assert!(back.iter().zip(&few).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn reports_tell_bytes_and_errors() {
    let rng = &mut Rng(7);
    let z: Vec<f32> = (0..500 * 9).map(|_| normal(rng, 0.3).tanh()).collect();
    let centres = codebook(&z).unwrap();
    let scale = int8_scale(&z).unwrap();
    let storages = [
        Storage::F32,
        Storage::F16,
        Storage::Int8 { scale },
        Storage::KMeans4 { centres },
        Storage::Int4,
    ];
    let made = report(
        &z,
        9,
        &[4, 9],
        &storages,
        Some(&|back, prefix| back.len() as f64 / prefix as f64),
    )
    .unwrap();
    assert_eq!(
        made.lines.iter().map(|l| l.bytes).collect::<Vec<_>>(),
        [16, 8, 4, 2, 2, 36, 18, 9, 5, 5]
    );
    assert!(made.lines.iter().all(|l| l.error == Some(500.0)));
    for lines in made.lines.chunks(5) {
        assert!(
            lines[0].code_error == 0.0 && lines.is_sorted_by(|a, b| a.code_error < b.code_error),
            "{made}"
        );
    }
    let text = made.to_string();
    let lines: Vec<&str> = text.lines().take(2).collect();
    assert_eq!(lines[0], "storage   width  bytes   code error        error");
    assert_eq!(lines[1], "f32           4     16     0.0000e0     5.0000e2");
}

#[test]
fn what_cannot_be_compressed_is_named() {
    assert_eq!(codebook(&[]).unwrap_err().to_string(), "0 elements are no rows of 1");
    assert_eq!(
        int8_scale(&[0.0, f32::NAN]).unwrap_err().to_string(),
        "row 1, element 0 is NaN, which is no finite number"
    );
    assert_eq!(
        Pca::fit(&[0.0; 7], 2, 1).unwrap_err().to_string(),
        "7 elements are no rows of 2"
    );
    assert_eq!(
        Pca::fit(&[0.0; 8], 2, 3).unwrap_err().to_string(),
        "`d` is 3, it must be within 1..=2"
    );
    assert_eq!(
        report(&[0.0], 1, &[2], &[], None).unwrap_err().to_string(),
        "`prefix` is 2, it must be within 1..=1"
    );
}
