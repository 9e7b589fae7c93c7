//! Scales and centres, fitted to a sample of elements.

use super::{Error, check};
use crate::embeddings::{Form, Storage};

/// Most elements of a sample that a storage is fitted to.
pub const SAMPLE: usize = 1 << 20;

/// A storage of this form, with scale or centres for what is like the sample. Elements beyond the sample's are held within its
/// range.
///
/// # Errors
/// No element to fit to, or one that is not finite.
pub fn fit(form: Form, sample: &[f32]) -> Result<Storage, Error> {
    match (form.plain(), form) {
        (Some(plain), _) => Ok(plain),
        (None, Form::Int8) => Ok(Storage::Int8 {
            scale: int8_scale(sample)?,
        }),
        (None, _) => Ok(Storage::KMeans4 {
            centres: codebook(sample)?,
        }),
    }
}

/// The step of an int8 storage whose range holds the whole sample.
///
/// # Errors
/// No element, or one that is not finite.
pub fn int8_scale(sample: &[f32]) -> Result<f32, Error> {
    check(sample, 1)?;
    let most = sample.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    Ok((most / 127.0).max(f32::MIN_POSITIVE))
}

/// Sixteen centres, ascending, whose nearest one replaces an element at the least mean square error: Lloyd's iteration on the
/// sorted sample, from the sample's quantiles and from the grid of plain int4, whichever ends better. So the error is never
/// above plain int4's on the sample, and nothing is left to chance.
///
/// # Errors
/// No element, or one that is not finite.
pub fn codebook(sample: &[f32]) -> Result<[f32; 16], Error> {
    check(sample, 1)?;
    let mut sorted = sample.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let sums = Sums::new(&sorted);
    let quantiles = std::array::from_fn(|i| f64::from(sorted[(2 * i + 1) * (sorted.len() - 1) / 32]));
    let grid = std::array::from_fn(|i| (i as f64 - 8.0) / 8.0);
    let (one, other) = (sums.settle(&sorted, quantiles), sums.settle(&sorted, grid));
    let best = if one.1 <= other.1 { one.0 } else { other.0 };
    Ok(best.map(|c| c as f32))
}

/// Sums of the first elements and of their squares: any run's mean and error at once.
struct Sums {
    first: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn new(sorted: &[f32]) -> Self {
        let sums = |term: fn(f64) -> f64| {
            let mut sum = 0.0;
            let running = sorted.iter().map(|x| {
                sum += term(f64::from(*x));
                sum
            });
            std::iter::once(0.0).chain(running).collect()
        };
        Self {
            first: sums(|x| x),
            squares: sums(|x| x * x),
        }
    }

    /// Centres moved to the means of what is nearest to them until they rest, and the sum of square errors then.
    fn settle(&self, sorted: &[f32], mut centres: [f64; 16]) -> ([f64; 16], f64) {
        for _ in 0..1000 {
            let ends = ends(sorted, &centres);
            let mean = |i: usize| match ends[i + 1] - ends[i] {
                0 => centres[i],
                n => (self.first[ends[i + 1]] - self.first[ends[i]]) / n as f64,
            };
            let moved = std::array::from_fn(mean);
            if moved == centres {
                break;
            }
            centres = moved;
        }
        let ends = ends(sorted, &centres);
        let error = |i: usize| {
            let (from, to) = (ends[i], ends[i + 1]);
            let sum = self.first[to] - self.first[from];
            self.squares[to] - self.squares[from] - 2.0 * centres[i] * sum
                + centres[i] * centres[i] * (to - from) as f64
        };
        (centres, (0..16).map(error).sum())
    }
}

/// Where the elements nearest to each centre begin; an element between two as near goes to the lower one.
fn ends(sorted: &[f32], centres: &[f64; 16]) -> [usize; 17] {
    std::array::from_fn(|i| match i {
        0 => 0,
        16 => sorted.len(),
        _ => sorted.partition_point(|x| f64::from(*x) <= f64::midpoint(centres[i - 1], centres[i])),
    })
}
