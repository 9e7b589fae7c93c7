//! What each storage and width costs.

use std::fmt;

use serde::Serialize;

use super::{Error, check};
use crate::embeddings::Storage;

/// One storage at one width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// How elements are stored.
    pub storage: Storage,
    /// How many of them, from the first on.
    pub width: usize,
    /// Bytes of an impression's embedding.
    pub bytes: usize,
    /// Mean square of what storing changes in an element.
    pub code_error: f64,
    /// Error of what is rebuilt from the stored elements, as the caller measures it.
    pub error: Option<f64>,
}

/// Every storage at every width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows of the sample.
    pub rows: usize,
    /// By width, then in the order asked for.
    pub lines: Vec<Line>,
}

/// Says how far what a decoder makes of stored prefixes, decoded to `[rows, prefix]`, is from what was encoded.
pub type Rebuild<'a> = &'a dyn Fn(&[f32], usize) -> f64;

/// Stores embeddings `z` `[rows, width]` in each way at each prefix, and measures what is lost,
/// in the elements and, by `rebuild`, in what a decoder makes of them.
///
/// # Errors
/// Embeddings that are no rows or not finite; prefixes beyond them; elements that a storage cannot hold.
pub fn report(
    z: &[f32],
    width: usize,
    prefixes: &[usize],
    storages: &[Storage],
    rebuild: Option<Rebuild<'_>>,
) -> Result<Report, Error> {
    check(z, width)?;
    let mut lines = Vec::new();
    for &prefix in prefixes {
        if !(1..=width).contains(&prefix) {
            return Err(Error::Setting {
                name: "prefix",
                seen: prefix,
                most: width,
            });
        }
        let kept: Vec<f32> = z.chunks_exact(width).flat_map(|row| &row[..prefix]).copied().collect();
        for storage in storages {
            storage.check()?;
            let mut codes = Vec::new();
            storage.encode(&kept, prefix, &mut codes)?;
            let back = storage.decode(&codes, prefix);
            let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            lines.push(Line {
                storage: storage.clone(),
                width: prefix,
                bytes: storage.row_bytes(prefix),
                code_error: kept.iter().zip(&back).map(square).sum::<f64>() / kept.len() as f64,
                error: rebuild.map(|rebuild| rebuild(&back, prefix)),
            });
        }
    }
    Ok(Report {
        rows: z.len() / width,
        lines,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<8} {:>6} {:>6} {:>12} {:>12}",
            "storage", "width", "bytes", "code error", "error"
        )?;
        for line in &self.lines {
            let error = line.error.map_or(String::new(), |e| format!("{e:.4e}"));
            let Line {
                storage,
                width,
                bytes,
                code_error,
                ..
            } = line;
            let text = format!(
                "{:<8} {width:>6} {bytes:>6} {code_error:>12.4e} {error:>12}",
                storage.name()
            );
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
