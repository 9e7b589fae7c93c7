//! Histories of a batch, straight from the mapped log.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Decoder, Error, Sorted};

/// Fills a batch's inputs with the embeddings of its rows' histories.
///
/// The newest `length` events stand oldest first from place 0 on; places behind them are 0 and masked out.
#[derive(Clone, Debug)]
pub struct Gatherer {
    sorted: Arc<Sorted>,
    decoder: Decoder,
    /// Start and length in the copy, one a row.
    spans: Arc<[[u32; 2]]>,
    length: usize,
    width: usize,
}

impl Gatherer {
    /// For rows whose histories are these runs of the copy: at most `length` events of each, and the first `width` elements of an
    /// embedding.
    ///
    /// # Errors
    /// A run that ends beyond the copy; a width that embeddings do not have.
    pub fn new(sorted: Arc<Sorted>, spans: Vec<[u32; 2]>, length: usize, width: usize) -> Result<Self, Error> {
        let beyond = |[start, len]: &[u32; 2]| *start as usize + *len as usize > sorted.rows();
        if let Some(row) = spans.iter().position(beyond) {
            return Err(Error::Beyond {
                what: format!("the history of row {row}"),
                seen: spans[row].map(|x| x as usize).iter().sum(),
                rows: sorted.rows(),
            });
        }
        let most = sorted.header().width;
        if !(1..=most).contains(&width) {
            return Err(Error::Setting {
                name: "width",
                seen: width.to_string(),
                expected: "1 or more, and at most the log's",
            });
        }
        Ok(Self {
            decoder: Decoder::new(&sorted.header().storage),
            sorted,
            spans: spans.into(),
            length,
            width,
        })
    }

    /// Places of a history.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Elements of an embedding.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Embeddings `f32[rows, length, width]` and mask `bool[rows, length]` of these rows.
    ///
    /// # Panics
    /// If there is no such row, or the buffers are of other lengths: mistakes of the caller.
    pub fn gather(&self, rows: &[usize], embeddings: &mut [f32], mask: &mut [bool]) {
        assert_eq!(embeddings.len(), rows.len() * self.length * self.width, "embeddings");
        assert_eq!(mask.len(), rows.len() * self.length, "mask");
        if mask.is_empty() {
            return;
        }
        let embeddings = embeddings.par_chunks_exact_mut(self.length * self.width);
        let places = embeddings.zip(mask.par_chunks_exact_mut(self.length)).zip(rows);
        places.with_min_len(32).for_each(|((embeddings, mask), row)| {
            let run = self.run(*row);
            let (seen, behind) = embeddings.split_at_mut(run.len() * self.width);
            behind.fill(0.0);
            mask[..run.len()].fill(true);
            mask[run.len()..].fill(false);
            for (at, out) in run.zip(seen.chunks_exact_mut(self.width)) {
                self.decoder.row(self.sorted.codes(at), out);
            }
        });
    }

    /// A side column `i32[rows, length]` of these rows; `None` if the log has none of this name.
    ///
    /// # Panics
    /// As [`Gatherer::gather`].
    #[must_use]
    pub fn side(&self, name: &str, rows: &[usize]) -> Option<Vec<i32>> {
        let column = self.sorted.side(name)?;
        let mut out = vec![0; rows.len() * self.length];
        for (out, row) in out.chunks_exact_mut(self.length.max(1)).zip(rows) {
            let run = &column[self.run(*row)];
            out.iter_mut()
                .zip(run)
                .for_each(|(x, bytes)| *x = i32::from_le_bytes(*bytes));
        }
        Some(out)
    }

    /// Where in the copy a row's newest events are.
    fn run(&self, row: usize) -> std::ops::Range<usize> {
        let [start, len] = self.spans[row].map(|x| x as usize);
        let end = start + len;
        end - len.min(self.length)..end
    }
}
