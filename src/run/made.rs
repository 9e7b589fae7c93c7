//! Batches made at random, every id of them legal.

use crate::bundle::{IdCheck, Manifest, Port, Space};
use crate::tensor::{DType, HostTensor, Sizes, Tensors};

use super::REQUEST_OF_ROW;

/// A batch of any model: ids drawn from what the manifest's checks allow, floats from 0 to 1 (masks and scores are
/// there, too), rows dealt to requests evenly and in order.
#[must_use]
pub fn random_batch(manifest: &Manifest, sizes: Sizes, seed: u64) -> Tensors {
    let mut random = Random(seed);
    let ports = manifest.inputs.iter();
    ports
        .map(|port| (port.name.clone(), input(manifest, port, sizes, &mut random)))
        .collect()
}

/// The sizes of a batch that a model can have: without request inputs there is one request, without rows inputs there
/// are no rows.
#[must_use]
pub fn random_sizes(manifest: &Manifest, rows: usize, requests: usize) -> Sizes {
    let has = |space| {
        manifest
            .inputs
            .iter()
            .any(|p| p.space == space && p.name != REQUEST_OF_ROW)
    };
    Sizes {
        rows,
        requests: if has(Space::Requests) { requests } else { 1 },
    }
}

fn input(manifest: &Manifest, port: &Port, sizes: Sizes, random: &mut Random) -> HostTensor {
    let count = match port.space {
        Space::Rows => sizes.rows,
        Space::Requests => sizes.requests,
    };
    let mut shape = vec![count * port.factor as usize];
    shape.extend(port.shape.iter().map(|n| *n as usize));
    let total: usize = shape.iter().product();
    if port.name == REQUEST_OF_ROW {
        let request = |row: usize| (row * sizes.requests / sizes.rows.max(1)) as i32;
        return HostTensor::i32(&shape, (0..total).map(request).collect());
    }
    match port.dtype {
        DType::F32 => HostTensor::f32(&shape, (0..total).map(|_| random.unit()).collect()),
        DType::Bool => HostTensor::bool(&shape, (0..total).map(|_| random.next() & 1 == 1).collect()),
        DType::I32 => {
            let ranges = ranges(manifest, port);
            let id = |at: usize| random.between(ranges[at % ranges.len()]);
            HostTensor::i32(&shape, (0..total).map(id).collect())
        }
    }
}

/// Legal ids of each element of a row; where nothing is said, 0 and 1.
fn ranges(manifest: &Manifest, port: &Port) -> Vec<(i32, i32)> {
    let width = (port.width() as usize).max(1);
    let mut ranges = vec![(i32::MIN, i32::MAX); width];
    for IdCheck { min, max, .. } in manifest.checks.iter().filter(|c| c.input == port.name) {
        for (i, (lo, hi)) in ranges.iter_mut().enumerate() {
            *lo = (*lo).max(min[i % min.len().max(1)]);
            *hi = (*hi).min(max[i % max.len().max(1)]);
        }
    }
    for (lo, hi) in &mut ranges {
        if *lo == i32::MIN {
            *lo = (*hi).min(0);
        }
        if *hi == i32::MAX {
            *hi = lo.saturating_add(1);
        }
    }
    ranges
}

/// SplitMix64: the same batch for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to but not including 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Both ends included.
    fn between(&mut self, (lo, hi): (i32, i32)) -> i32 {
        let span = (i64::from(hi) - i64::from(lo)).max(0).unsigned_abs() + 1;
        (i64::from(lo) + (self.next() % span).cast_signed()) as i32
    }
}
