//! Batches before any device sees them: what is refused, and how a large one is split.

use loopfm::bundle::{IdCheck, Space};
use loopfm::run::{Batch, Capacity, Error, REQUEST_OF_ROW, Requests};
use loopfm::tensor::{HostTensor, Tensors};

use crate::support::rng::Rng;
use crate::support::tiny::{self, batch};

fn checked(tensors: &Tensors) -> Batch<'_> {
    Batch::check(&tiny::bundle().manifest, tensors).unwrap_or_else(|e| panic!("{e}"))
}

/// Chunks, which must hold every row once, in order, and say of each which request of the batch it belongs to.
fn splits(tensors: &Tensors, capacity: Capacity, all_requests: bool) -> Vec<(usize, usize)> {
    let batch = checked(tensors);
    let map = tensors[REQUEST_OF_ROW].as_i32().expect("a map");
    let mut next = 0;
    let mut served = vec![false; batch.sizes.requests];
    let mut sizes = Vec::new();
    for chunk in batch.chunks(capacity, all_requests) {
        assert_eq!(chunk.rows.start, next);
        next = chunk.rows.end;
        assert!(chunk.rows.len() <= capacity.rows as usize && chunk.requests.len() <= capacity.requests as usize);
        let requests: Vec<usize> = chunk
            .runs(Space::Requests)
            .into_iter()
            .flat_map(|(_, range)| range)
            .collect();
        assert_eq!(requests.len(), chunk.requests.len());
        for (row, local) in chunk.rows.clone().zip(&*batch.request_of_row(&chunk)) {
            assert_eq!(requests[*local as usize], map[row] as usize, "row {row}");
        }
        requests.iter().for_each(|r| served[*r] = true);
        sizes.push((chunk.rows.len(), chunk.requests.len()));
    }
    assert_eq!(next, batch.sizes.rows);
    if all_requests {
        assert!(served.iter().all(|s| *s), "{served:?}");
    }
    sizes
}

#[test]
fn chunks_hold_every_row_once() {
    let mut rng = Rng(5);
    for _ in 0..300 {
        let (rows, requests) = (rng.below(200), 1 + rng.below(40));
        let map: Vec<usize> = (0..rows).map(|_| rng.below(requests)).collect();
        let capacity = Capacity {
            rows: 1 + rng.below(70) as u32,
            requests: 1 + rng.below(50) as u32,
        };
        let tensors = batch(rows, requests, |r| map[r]);
        splits(&tensors, capacity, false);
        splits(&tensors, capacity, true);
    }
}

#[test]
fn a_chunk_ends_where_rows_or_requests_run_out() {
    let capacity = Capacity { rows: 4, requests: 2 };
    assert_eq!(splits(&batch(9, 1, |_| 0), capacity, false), [(4, 1), (4, 1), (1, 1)]);
    assert_eq!(splits(&batch(5, 5, |r| r), capacity, false), [(2, 2), (2, 2), (1, 1)]);
    // Request 1 was in the first chunk and comes again in the second.
    assert_eq!(
        splits(&batch(4, 3, |r| [0, 1, 2, 1][r]), capacity, false),
        [(2, 2), (2, 2)]
    );
    // Nobody asks for requests 1 to 3; their outputs are wanted all the same.
    assert_eq!(
        splits(&batch(5, 4, |_| 0), capacity, true),
        [(4, 1), (1, 1), (0, 2), (0, 1)]
    );
    assert_eq!(splits(&batch(0, 3, |r| r), capacity, true), [(0, 2), (0, 1)]);
    assert_eq!(splits(&batch(0, 3, |r| r), capacity, false), []);
}

#[test]
fn consecutive_requests_are_one_run() {
    let tensors = batch(6, 6, |r| r);
    let batch = checked(&tensors);
    let chunks = batch.chunks(Capacity { rows: 3, requests: 3 }, false);
    let requests: Vec<_> = chunks.iter().map(|c| c.requests.clone()).collect();
    assert_eq!(requests, [Requests::Range(0..3), Requests::Range(3..6)]);
}

#[test]
fn each_column_has_bounds_of_its_own() {
    let mut manifest = tiny::bundle().manifest;
    manifest.inputs[1].shape = vec![3];
    manifest.checks = vec![IdCheck {
        input: "id".into(),
        table: "hashed".into(),
        min: vec![-1],
        max: vec![9, 0, 4],
    }];
    let mut tensors = batch(2, 1, |_| 0);
    tensors["id"] = HostTensor::i32(&[2, 3], vec![9, 0, 4, -1, -1, -1]);
    Batch::check(&manifest, &tensors).map(drop).expect("within bounds");
    tensors["id"] = HostTensor::i32(&[2, 3], vec![9, 0, 4, 9, 1, 4]);
    let error = Batch::check(&manifest, &tensors)
        .map(drop)
        .expect_err("column 1 takes -1 and 0");
    assert_eq!(
        error.to_string(),
        "input `id` row 1 column 1 is 1, table `hashed` takes -1 to 0"
    );
    manifest.checks[0].max = vec![1, 2];
    let error = Batch::check(&manifest, &tensors)
        .map(drop)
        .expect_err("a check of another width");
    assert!(matches!(error, Error::Malformed(_)), "{error}");
}

#[test]
fn stacked_inputs_count_by_their_factor() {
    let mut manifest = tiny::bundle().manifest;
    manifest.inputs[0].factor = 2;
    let mut tensors = batch(3, 1, |_| 0);
    let error = Batch::check(&manifest, &tensors).map(drop).expect_err("three is odd");
    assert_eq!(
        error.to_string(),
        "batch refused: input `x` is [3, 4], the model needs [2*rows, 4]"
    );
    tensors["x"] = HostTensor::f32(&[6, 4], vec![0.0; 24]);
    assert_eq!(Batch::check(&manifest, &tensors).map(|b| b.sizes.rows).ok(), Some(3));
}
