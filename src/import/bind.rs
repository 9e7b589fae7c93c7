//! Whether a checkpoint's tensors are a graph's parameters, told of all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checkpoint, Error};
use crate::ir::{Graph, TensorType};

/// A tensor that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum Problem {
    #[error("missing: tensor `{tensor}`, {expected}")]
    Missing { tensor: String, expected: TensorType },
    #[error("unexpected: tensor `{tensor}`, {seen}")]
    Unexpected { tensor: String, seen: String },
    #[error("shape: tensor `{tensor}` is {seen}, expected {expected}")]
    Shape {
        tensor: String,
        seen: TensorType,
        expected: TensorType,
    },
    #[error("type: tensor `{tensor}` is {seen}, expected {expected}")]
    Type {
        tensor: String,
        seen: String,
        expected: TensorType,
    },
}

/// Compares the checkpoint's tensors with the graph's parameters; reads headers alone.
///
/// # Errors
/// [`Error::Mismatch`] with every tensor that is missing, unexpected (and not spare), mis-shaped or
/// mis-typed.
pub fn bind(checkpoint: &Checkpoint, graph: &Graph) -> Result<(), Error> {
    let seen: BTreeMap<&str, _> = checkpoint.entries().map(|e| (e.name.as_str(), e)).collect();
    let mut expected = BTreeSet::new();
    let mut problems = Vec::new();
    for (_, name, ty) in graph.params() {
        expected.insert(name);
        let tensor = name.to_owned();
        let Some(entry) = seen.get(name) else {
            problems.push(Problem::Missing {
                tensor,
                expected: ty.clone(),
            });
            continue;
        };
        match entry.graph_type() {
            Some(seen) if seen.dtype == ty.dtype && seen.shape == ty.shape => {}
            Some(seen) if seen.dtype == ty.dtype => problems.push(Problem::Shape {
                tensor,
                seen,
                expected: ty.clone(),
            }),
            _ => problems.push(Problem::Type {
                tensor,
                seen: format!("{} {:?}", entry.dtype, entry.shape),
                expected: ty.clone(),
            }),
        }
    }
    let wanted = |name: &str| expected.contains(name) || checkpoint.spare.contains(name);
    let unexpected = seen.values().filter(|e| !wanted(&e.name));
    problems.extend(unexpected.map(|e| Problem::Unexpected {
        tensor: e.name.clone(),
        seen: format!("{} {:?}", e.dtype, e.shape),
    }));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Mismatch {
            path: checkpoint.path.clone(),
            problems,
        })
    }
}
