//! Principal components.

use rayon::prelude::*;

use super::{Error, check};

/// The directions in which a sample varies most.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pca {
    /// Elements of a row.
    pub width: usize,
    /// The sample's mean, `[width]`.
    pub mean: Vec<f32>,
    /// Unit vectors by variance, greatest first, `[d, width]`; the greatest element of each is positive. Directions without
    /// variance are 0.
    pub components: Vec<f32>,
    /// Variance along each, of all `width`.
    pub variances: Vec<f64>,
    /// Codes are divided by it, so that those of the sample are within -1..1.
    pub scale: f32,
}

impl Pca {
    /// The first `d` components of rows of `width` elements, up to about 1,024.
    ///
    /// # Errors
    /// No rows, numbers that are none, more components than elements.
    pub fn fit(values: &[f32], width: usize, d: usize) -> Result<Self, Error> {
        check(values, width)?;
        if !(1..=width).contains(&d) {
            return Err(Error::Setting {
                name: "d",
                seen: d,
                most: width,
            });
        }
        let n = (values.len() / width) as f64;
        let mut mean = vec![0.0; width];
        for row in values.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(m, x)| *m += f64::from(*x) / n);
        }
        let (variances, vectors) = eigen(covariance(values, &mean), width);
        let components = vectors.into_iter().take(d).flat_map(upright).collect();
        let mean = mean.iter().map(|m| *m as f32).collect();
        let mut pca = Self {
            width,
            mean,
            components,
            variances,
            scale: 1.0,
        };
        let most = pca.encode(values)?.iter().fold(0.0f32, |most, z| most.max(z.abs()));
        pca.scale = if most > 0.0 { most } else { 1.0 };
        Ok(pca)
    }

    /// How many components there are.
    #[must_use]
    pub fn d(&self) -> usize {
        self.components.len() / self.width
    }

    /// Codes `[rows, d]`.
    ///
    /// # Errors
    /// Values that are no rows, numbers that are none.
    pub fn encode(&self, values: &[f32]) -> Result<Vec<f32>, Error> {
        check(values, self.width)?;
        let mut codes = vec![0.0; values.len() / self.width * self.d()];
        let rows = values
            .par_chunks_exact(self.width)
            .zip(codes.par_chunks_exact_mut(self.d()));
        rows.for_each(|(row, codes)| {
            let off: Vec<f32> = row.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
            for (code, unit) in codes.iter_mut().zip(self.components.chunks_exact(self.width)) {
                *code = unit.iter().zip(&off).map(|(u, x)| u * x).sum::<f32>() / self.scale;
            }
        });
        Ok(codes)
    }

    /// What codes `[rows, prefix]` stand for, `[rows, width]`.
    #[must_use]
    pub fn decode(&self, codes: &[f32], prefix: usize) -> Vec<f32> {
        let mut values = self.mean.repeat(codes.len() / prefix.max(1));
        for (row, codes) in values
            .chunks_exact_mut(self.width)
            .zip(codes.chunks_exact(prefix.max(1)))
        {
            for (code, unit) in codes.iter().zip(self.components.chunks_exact(self.width)) {
                row.iter_mut().zip(unit).for_each(|(x, u)| *x += self.scale * code * u);
            }
        }
        values
    }
}

/// Rows of the covariance.
fn covariance(values: &[f32], mean: &[f64]) -> Vec<Vec<f64>> {
    let (width, n) = (mean.len(), (values.len() / mean.len()) as f64);
    let row = |i: usize| {
        let mut row = vec![0.0; width];
        for x in values.chunks_exact(width) {
            let off = (f64::from(x[i]) - mean[i]) / n;
            row.iter_mut()
                .zip(x)
                .zip(mean)
                .for_each(|((c, x), m)| *c += off * (f64::from(*x) - m));
        }
        row
    };
    (0..width).into_par_iter().map(row).collect()
}

/// Eigenvalues of a symmetric matrix without negative ones, greatest first, and their unit vectors: Hestenes' one-sided Jacobi.
/// Pairs of rows are rotated until all are orthogonal; the rows are then eigenvectors, as long as their eigenvalues.
fn eigen(mut rows: Vec<Vec<f64>>, width: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let total: f64 = rows.iter().map(|row| dot(row, row)).sum();
    for _ in 0..40 {
        let mut rotated = false;
        for i in 0..width {
            let (above, below) = rows.split_at_mut(i + 1);
            let a = &mut above[i];
            for b in below {
                let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
                // Rows of no length lie in the noise of the others.
                if ab.abs() <= 1e-12 * (aa * bb).sqrt() || aa.max(bb) <= 1e-30 * total || ab == 0.0 {
                    continue;
                }
                rotated = true;
                let zeta = (bb - aa) / (2.0 * ab);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let (c, s) = (1.0 / t.hypot(1.0), t / t.hypot(1.0));
                for (x, y) in a.iter_mut().zip(b.iter_mut()) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let mut found: Vec<(f64, Vec<f64>)> = rows.into_iter().map(|row| (dot(&row, &row).sqrt(), row)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let least = 1e-12 * found.first().map_or(0.0, |f| f.0);
    found.into_iter().fold(
        (Vec::new(), Vec::new()),
        |(mut values, mut vectors), (value, mut row)| {
            let by = if value > least { 1.0 / value } else { 0.0 };
            row.iter_mut().for_each(|x| *x *= by);
            values.push(value);
            vectors.push(row);
            (values, vectors)
        },
    )
}

/// Of the two directions of a line the one whose greatest element is positive.
fn upright(vector: Vec<f64>) -> impl Iterator<Item = f32> {
    let greatest = vector
        .iter()
        .fold(0.0f64, |g, x| if x.abs() > g.abs() { *x } else { g });
    let sign = if greatest < 0.0 { -1.0 } else { 1.0 };
    vector.into_iter().map(move |x| (sign * x) as f32)
}
