//! Every layout against its formula written out naively, from every storage type.

use half::f16;
use loopfm::bundle::{Layout, Storage, StoredTensor, repack, repacked_words};
use loopfm::tensor::{Data, HostTensor};

const LAYOUTS: [Layout; 7] = [
    Layout::Words,
    Layout::Halves,
    Layout::RowsWords,
    Layout::RowsHalves,
    Layout::BlocksHalves,
    Layout::BlocksWords,
    Layout::SquaresHalves,
];

/// Elements per 16-byte word.
fn lanes(layout: Layout) -> usize {
    match layout {
        Layout::Halves | Layout::RowsHalves | Layout::BlocksHalves | Layout::SquaresHalves => 8,
        Layout::Words | Layout::RowsWords | Layout::BlocksWords => 4,
    }
}

/// The row and column at element `e` of 16-byte word `w`, straight from the documentation of [`Layout`].
fn source(layout: Layout, k: usize, n: usize, w: usize, e: usize) -> Option<(usize, usize)> {
    let i = w * lanes(layout) + e;
    let (row, column) = match layout {
        Layout::Words | Layout::Halves => (i / n, i % n),
        Layout::RowsWords | Layout::RowsHalves => (i / n.next_multiple_of(8), i % n.next_multiple_of(8)),
        Layout::BlocksHalves => blocks(k, w, e),
        Layout::BlocksWords => blocks(k, w / 2, w % 2 * 4 + e),
        Layout::SquaresHalves => {
            let (square, within, high) = (i / 256, i % 256, k.div_ceil(16));
            (16 * (square % high) + within / 16, 16 * (square / high) + within % 16)
        }
    };
    (row < k && column < n).then_some((row, column))
}

fn blocks(k: usize, word: usize, e: usize) -> (usize, usize) {
    let (block, lane) = (word / 8, word % 8);
    let k4 = k.div_ceil(4);
    (4 * (block % k4) + lane / 2, 16 * (block / k4) + 8 * (lane % 2) + e)
}

fn expected(layout: Layout, values: &[f32], k: usize, n: usize, words: usize) -> Vec<u32> {
    let element = |w, e| source(layout, k, n, w, e).map_or(0.0, |(row, column)| values[row * n + column]);
    let mut out = Vec::new();
    for w in 0..words {
        for part in 0..4 {
            out.push(if lanes(layout) == 4 {
                element(w, part).to_bits()
            } else {
                let [low, high] = [0, 1].map(|h| u32::from(f16::from_f32(element(w, 2 * part + h)).to_bits()));
                low | high << 16
            });
        }
    }
    out
}

/// Values that halves hold exactly, none of them zero.
fn ramp(shape: &[usize]) -> HostTensor {
    let n = shape.iter().product();
    HostTensor::f32(shape, (0..n).map(|i| 1.0 + (i % 2000) as f32).collect())
}

#[test]
fn layouts_follow_their_formulas() {
    for k in [1, 2, 3, 4, 5, 8, 13, 33] {
        for n in [1, 2, 7, 8, 9, 15, 16, 17, 31, 40] {
            let host = ramp(&[k, n]);
            let values = host.as_f32().expect("floats");
            for stored in [StoredTensor::from_host(&host), StoredTensor::from_host_as_f16(&host)] {
                assert_eq!(stored.to_host(), host);
                for layout in LAYOUTS {
                    for (first, rows) in [(0, k), (k / 2, k - k / 2), (k - 1, 1)] {
                        let got = repack(&stored, layout, first as u64, rows as u64).expect("they are there");
                        let words = repacked_words(&[k, n], layout, first as u64, rows as u64).expect("they are there");
                        assert_eq!(got.len() as u64, 4 * words);
                        let part = &values[first * n..(first + rows) * n];
                        assert_eq!(
                            got,
                            expected(layout, part, rows, n, got.len() / 4),
                            "{layout:?} [{k}, {n}]"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn leading_axes_are_one_and_vectors_are_rows() {
    let cube = StoredTensor::from_host(&ramp(&[3, 2, 5]));
    let flat = StoredTensor::from_host(&ramp(&[6, 5]));
    let vector = StoredTensor::from_host(&ramp(&[9]));
    let row = StoredTensor::from_host(&ramp(&[1, 9]));
    let scalar = StoredTensor::from_host(&ramp(&[]));
    for layout in LAYOUTS {
        let take = |t, first, rows| repack(t, layout, first, rows).expect("they are there");
        assert_eq!(take(&cube, 1, 2), take(&flat, 2, 4));
        assert_eq!(take(&vector, 0, 9), take(&row, 0, 1));
        assert_eq!(take(&scalar, 0, 1)[0] & 0xffff, take(&vector, 0, 1)[0] & 0xffff);
        assert!(take(&flat, 6, 0).is_empty());
    }
}

#[test]
fn halves_round_to_nearest_even() {
    let between = [
        2049.0,
        2051.0,
        65519.0,
        65520.0,
        -2049.0,
        2.0f32.powi(-25),
        1.5 * 2.0f32.powi(-24),
        6e-8,
    ];
    let stored = StoredTensor::from_host(&HostTensor::f32(&[8], between.to_vec()));
    let words = repack(&stored, Layout::Halves, 0, 8).expect("it is there");
    let halves = words
        .iter()
        .flat_map(|w| [*w as u16, (w >> 16) as u16])
        .map(|h| f16::from_bits(h).to_f32());
    let tiny = 2.0f32.powi(-24);
    let nearest = [2048.0, 2052.0, 65504.0, f32::INFINITY, -2048.0, 0.0, 2.0 * tiny, tiny];
    assert_eq!(halves.collect::<Vec<_>>(), nearest);
    let rounded = StoredTensor::from_host_as_f16(&stored.to_host());
    assert_eq!(rounded.to_host().as_f32(), Some(&nearest[..]));
}

#[test]
fn integers_and_truth_values_are_words() {
    let ids = StoredTensor::from_host(&HostTensor::i32(&[2], vec![-1, 7]));
    assert_eq!(
        repack(&ids, Layout::Words, 0, 2).expect("it is there"),
        [u32::MAX, 7, 0, 0]
    );
    assert_eq!(ids.to_host().data, Data::I32(vec![-1, 7]));
    let mask = StoredTensor::from_host(&HostTensor::bool(&[3], vec![true, false, true]));
    assert_eq!(repack(&mask, Layout::Words, 0, 3).expect("it is there"), [1, 0, 1, 0]);
    assert_eq!(mask.to_host().data, Data::Bool(vec![true, false, true]));
    for t in [&ids, &mask] {
        assert!(repack(t, Layout::Halves, 0, 1).is_err());
        assert!(repack(t, Layout::BlocksHalves, 0, 1).is_err());
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let t = StoredTensor::from_host(&ramp(&[4, 3]));
    for (first, rows) in [(0, 5), (4, 1), (u64::MAX, 1), (1, u64::MAX), (5, 0)] {
        assert!(repack(&t, Layout::Words, first, rows).is_err());
        assert_eq!(repacked_words(&[4, 3], Layout::Words, first, rows), None);
    }
    let short = StoredTensor {
        storage: Storage::F32,
        shape: vec![4, 3],
        bytes: vec![0; 47],
    };
    assert!(repack(&short, Layout::Words, 0, 1).is_err());
    assert_eq!(
        repacked_words(&[0, usize::MAX, 3], Layout::Words, 0, 0),
        None,
        "no overflow"
    );
}
