//! The rows of a table that a batch touches: what each of them gets, and the table's own values of them.

use super::Error;
use crate::tensor::{DType, HostTensor};

/// Rows of a table, each once, ascending.
pub(super) struct Touched {
    rows: Vec<u32>,
}

/// What goes to which row: an index for each update.
pub(super) struct Updates<'a> {
    pub(super) words: &'a [u32],
    pub(super) index: &'a [u32],
}

impl Touched {
    /// The rows of `table` that any of these indices, of a batch of so many rows, name.
    pub(super) fn new(table: &str, extent: usize, sites: &[Updates<'_>], batch_rows: usize) -> Result<Self, Error> {
        let mut rows: Vec<u32> = Vec::new();
        for site in sites {
            let outside = |row: &u32| usize::try_from(*row).map_or(true, |row| row >= extent);
            if let Some(at) = site.index.iter().position(outside) {
                return Err(Error::Index {
                    index: "an update".into(),
                    table: table.to_owned(),
                    row: at * batch_rows / site.index.len(),
                    value: site.index[at].cast_signed(),
                    extent,
                });
            }
            rows.extend_from_slice(site.index);
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(Self { rows })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// For each row the sum of its updates, in the order in which they come.
    pub(super) fn sums(&self, site: &Updates<'_>) -> Vec<u32> {
        let width = site.words.len().checked_div(site.index.len()).unwrap_or(0);
        let mut by_row: Vec<(u32, u32)> = site.index.iter().copied().zip(0..).collect();
        by_row.sort_unstable();
        let mut sums = vec![0.0; self.rows.len() * width];
        let mut rest = by_row.as_slice();
        for (row, sum) in self.rows.iter().zip(sums.chunks_exact_mut(width.max(1))) {
            let (mine, others) = rest.split_at(rest.partition_point(|(r, _)| r <= row));
            rest = others;
            for (_, at) in mine {
                let update = &site.words[*at as usize * width..][..width];
                sum.iter_mut().zip(update).for_each(|(s, u)| *s += f32::from_bits(*u));
            }
        }
        bytemuck::cast_vec(sums)
    }

    /// These rows of a tensor.
    pub(super) fn gather(&self, words: &[u32], extent: usize) -> Vec<u32> {
        let width = words.len().checked_div(extent).unwrap_or(0);
        let mut rows = Vec::with_capacity(self.rows.len() * width);
        for row in &self.rows {
            rows.extend_from_slice(&words[*row as usize * width..][..width]);
        }
        rows
    }

    /// Writes these rows of a tensor of floats.
    pub(super) fn put(&self, rows: &[u32], tensor: &mut HostTensor) {
        debug_assert_eq!(tensor.dtype(), DType::F32, "only floats are trained");
        let Some(floats) = tensor.as_f32_mut() else { return };
        let width = rows.len().checked_div(self.rows.len()).unwrap_or(0);
        for (row, new) in self.rows.iter().zip(rows.chunks_exact(width.max(1))) {
            let old = &mut floats[*row as usize * width..][..width];
            old.copy_from_slice(bytemuck::cast_slice(new));
        }
    }
}
