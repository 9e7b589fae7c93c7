//! A batch that has been checked: after this, nothing in it can surprise a kernel.
//!
//! Ids are checked here because a shader cannot: reading beyond a table is no error there but another row's values.

use std::borrow::Cow;

use crate::bundle::{IdCheck, Manifest, Port, Space};
use crate::tensor::{DType, Data, HostTensor, Sizes, Tensors};

use super::split::{self, Chunk, Requests};
use super::{Capacity, Error, Problem};

/// The reserved input that maps rows to requests.
pub const REQUEST_OF_ROW: &str = "request_of_row";

/// A batch that fits its model.
pub struct Batch<'a> {
    /// Rows and requests.
    pub sizes: Sizes,
    /// The request of each row.
    mapping: Mapping<'a>,
    /// Tensors in the order of the manifest's inputs; none for a mapping that was left out.
    inputs: Vec<Option<&'a HostTensor>>,
}

/// Which request a row belongs to.
#[derive(Clone, Copy)]
enum Mapping<'a> {
    Given(&'a [i32]),
    One,
    Identity,
}

impl Mapping<'_> {
    fn of(self, row: usize) -> usize {
        match self {
            Self::Given(map) => usize::try_from(map[row]).unwrap_or(0),
            Self::One => 0,
            Self::Identity => row,
        }
    }
}

impl<'a> Batch<'a> {
    /// Checks names, types, shapes, counts and ids.
    ///
    /// # Errors
    /// [`Error::Batch`] with all that is wrong, or [`Error::Index`] for the first id outside its table.
    pub fn check(manifest: &Manifest, tensors: &'a Tensors) -> Result<Self, Error> {
        let mut problems = unknown(manifest, tensors);
        let mut counts = Counts::default();
        let mut inputs = Vec::with_capacity(manifest.inputs.len());
        for port in &manifest.inputs {
            let tensor = tensors.get(&port.name);
            match tensor {
                Some(tensor) => fit(port, tensor, &mut counts, &mut problems),
                None if port.name == REQUEST_OF_ROW => {}
                None => problems.push(Problem::Missing {
                    input: port.name.clone(),
                }),
            }
            inputs.push(tensor);
        }
        let sizes = counts.sizes();
        let mapping = if problems.is_empty() {
            mapping(manifest, tensors, sizes, &mut problems)
        } else {
            Mapping::One
        };
        if !problems.is_empty() {
            return Err(Error::Batch(problems));
        }
        check_ids(manifest, tensors)?;
        check_mapping(mapping, sizes)?;
        Ok(Self { sizes, mapping, inputs })
    }

    /// The given tensor of the manifest's input `port`.
    #[must_use]
    pub fn input(&self, port: usize) -> Option<&'a HostTensor> {
        self.inputs.get(port).copied().flatten()
    }

    /// The request of each row of a chunk, counted within the chunk.
    #[must_use]
    pub fn request_of_row<'c>(&'c self, chunk: &'c Chunk) -> Cow<'c, [i32]> {
        match (&chunk.mapped, self.mapping) {
            (Some(mapped), _) => Cow::Borrowed(mapped),
            (None, Mapping::Given(map)) => Cow::Borrowed(&map[chunk.rows.clone()]),
            (None, Mapping::One) => Cow::Owned(vec![0; chunk.rows.len()]),
            (None, Mapping::Identity) => Cow::Owned((0..).take(chunk.rows.len()).collect()),
        }
    }

    /// Parts that fit a capacity, in order. Requests without rows come last, and only if `all_requests`.
    #[must_use]
    pub fn chunks(&self, capacity: Capacity, all_requests: bool) -> Vec<Chunk> {
        let Sizes { rows, requests } = self.sizes;
        if rows == 0 && !(all_requests && requests > 0) {
            return Vec::new();
        }
        if rows <= capacity.rows as usize && requests <= capacity.requests as usize {
            return vec![Chunk {
                rows: 0..rows,
                requests: Requests::Range(0..requests),
                mapped: None,
            }];
        }
        let request_of_row = |row| self.mapping.of(row);
        split::deal(self.sizes, request_of_row, capacity, all_requests)
    }
}

/// Rows and requests, and which input said so first.
#[derive(Default)]
struct Counts {
    rows: Option<(usize, String)>,
    requests: Option<(usize, String)>,
}

impl Counts {
    fn sizes(&self) -> Sizes {
        Sizes {
            rows: self.rows.as_ref().map_or(0, |c| c.0),
            requests: self.requests.as_ref().map_or(1, |c| c.0),
        }
    }
}

/// The word for what a space counts.
pub(super) fn space_name(space: Space) -> &'static str {
    match space {
        Space::Rows => "rows",
        Space::Requests => "requests",
    }
}

fn unknown(manifest: &Manifest, tensors: &Tensors) -> Vec<Problem> {
    let names = || manifest.inputs.iter().map(|p| p.name.clone()).collect();
    let known = |name: &String| manifest.inputs.iter().any(|p| p.name == *name);
    let unknown = tensors.keys().filter(|name| !known(name));
    unknown
        .map(|name| Problem::Unknown {
            name: name.clone(),
            inputs: names(),
        })
        .collect()
}

/// Compares one tensor with its port.
fn fit(port: &Port, tensor: &HostTensor, counts: &mut Counts, problems: &mut Vec<Problem>) {
    if tensor.dtype() != port.dtype {
        problems.push(Problem::DType {
            input: port.name.clone(),
            seen: tensor.dtype().name(),
            expected: port.dtype.name(),
        });
    }
    let factor = port.factor.max(1) as usize;
    let inner = port.shape.iter().map(|&n| n as usize);
    let Some((&first, rest)) = tensor.shape.split_first() else {
        return problems.push(shape_problem(port, tensor));
    };
    if !rest.iter().copied().eq(inner) || !first.is_multiple_of(factor) {
        return problems.push(shape_problem(port, tensor));
    }
    let count = first / factor;
    if i32::try_from(count).is_err() {
        return problems.push(Problem::TooMany {
            count,
            space: space_name(port.space),
        });
    }
    let known = match port.space {
        Space::Rows => &mut counts.rows,
        Space::Requests => &mut counts.requests,
    };
    match known {
        None => *known = Some((count, port.name.clone())),
        Some((expected, other)) if *expected != count => problems.push(Problem::Count {
            input: port.name.clone(),
            seen: count,
            space: space_name(port.space),
            other: other.clone(),
            expected: *expected,
        }),
        Some(_) => {}
    }
}

fn shape_problem(port: &Port, tensor: &HostTensor) -> Problem {
    let factor = if port.factor > 1 {
        format!("{}*", port.factor)
    } else {
        String::new()
    };
    let inner: String = port.shape.iter().map(|n| format!(", {n}")).collect();
    Problem::Shape {
        input: port.name.clone(),
        seen: tensor.shape.clone(),
        expected: format!("[{factor}{}{inner}]", space_name(port.space)),
    }
}

fn mapping<'a>(manifest: &Manifest, tensors: &'a Tensors, sizes: Sizes, problems: &mut Vec<Problem>) -> Mapping<'a> {
    let Sizes { rows, requests } = sizes;
    let wanted = manifest.inputs.iter().any(|p| p.name == REQUEST_OF_ROW);
    match tensors.get(REQUEST_OF_ROW).and_then(HostTensor::as_i32) {
        Some(map) if wanted => Mapping::Given(map),
        // A model without request inputs does not care.
        _ if !wanted || requests == 1 => Mapping::One,
        _ if requests == rows => Mapping::Identity,
        _ => {
            problems.push(Problem::Unmapped {
                input: REQUEST_OF_ROW,
                rows,
                requests,
            });
            Mapping::One
        }
    }
}

fn check_mapping(mapping: Mapping<'_>, sizes: Sizes) -> Result<(), Error> {
    let Mapping::Given(map) = mapping else {
        // All zero needs a request 0, the identity has as many as it needs.
        return Ok(());
    };
    let in_range = |&r: &i32| usize::try_from(r).is_ok_and(|r| r < sizes.requests);
    match map.iter().position(|r| !in_range(r)) {
        None => Ok(()),
        Some(row) => Err(Error::Index {
            input: REQUEST_OF_ROW.into(),
            row,
            column: 0,
            value: map[row],
            min: 0,
            max: i32::try_from(sizes.requests).unwrap_or(i32::MAX) - 1,
            table: "requests".into(),
        }),
    }
}

fn check_ids(manifest: &Manifest, tensors: &Tensors) -> Result<(), Error> {
    for check in &manifest.checks {
        let port = manifest.inputs.iter().find(|p| p.name == check.input);
        let port =
            port.ok_or_else(|| Error::Malformed(format!("a check names `{}`, which is no input", check.input)))?;
        let width = port.width() as usize;
        let fits = |bounds: &[i32]| bounds.len() == 1 || bounds.len() == width;
        if port.dtype != DType::I32 || !fits(&check.min) || !fits(&check.max) {
            return Err(Error::Malformed(format!(
                "the check of `{}` does not fit it",
                check.input
            )));
        }
        if let Some(Data::I32(ids)) = tensors.get(&check.input).map(|t| &t.data) {
            check_one(check, ids, width)?;
        }
    }
    Ok(())
}

fn check_one(check: &IdCheck, ids: &[i32], width: usize) -> Result<(), Error> {
    let bound = |bounds: &[i32], column: usize| if bounds.len() == 1 { bounds[0] } else { bounds[column] };
    let bad = if let (&[min], &[max]) = (&check.min[..], &check.max[..]) {
        ids.iter().position(|&id| id < min || id > max)
    } else {
        let legal = |(i, &id): (usize, &i32)| {
            let column = i % width;
            bound(&check.min, column) <= id && id <= bound(&check.max, column)
        };
        ids.iter().enumerate().position(|at| !legal(at))
    };
    let Some(at) = bad else { return Ok(()) };
    let (row, column) = (at / width, at % width);
    Err(Error::Index {
        input: check.input.clone(),
        row,
        column,
        value: ids[at],
        min: bound(&check.min, column),
        max: bound(&check.max, column),
        table: check.table.clone(),
    })
}
