//! Models on data: their outputs for every row, block by block, so that data may be larger than memory.

use std::ops::Range;
use std::sync::Arc;

use super::columns::Columns;
use super::needs::Needs;
use super::split::Reader;
use super::{Error, LABEL, Split};
use crate::cpu::Executor;
use crate::import::Model;
use crate::optim::rows_for_requests;
use crate::tensor::{Data, HostTensor, Sizes, Tensors};

/// Outputs of a model for all rows of `split`, in their order, on the CPU: `outputs` by name, `[rows, ..]` each. Every row
/// brings its own inputs, also what the model has per request.
///
/// # Errors
/// [`Error::NoOutput`], [`Error::Data`] where the split is not what the model needs, [`Error::Output`] for numbers that
/// are none.
pub fn score(model: &Model, outputs: &[&str], split: &Split) -> Result<Tensors, Error> {
    let mut all = Tensors::new();
    score_blocks(model, outputs, split, |_, block| {
        for (name, part) in block {
            append(&mut all, name, part);
        }
        Ok::<(), Error>(())
    })?;
    Ok(all)
}

/// As [`score`], handing each block of rows to `each` with their numbers, counted through all files of the split.
///
/// # Errors
/// As [`score`], and those of `each`.
pub fn score_blocks<E: From<Error>>(
    model: &Model,
    outputs: &[&str],
    split: &Split,
    mut each: impl FnMut(Range<usize>, Tensors) -> Result<(), E>,
) -> Result<(), E> {
    let (executor, needs) = prepared(model, outputs)?;
    let (reader, mut done) = (Reader::new(split, &Arc::new(needs)), 0);
    run(&executor, &reader, |_, rows, out| {
        for (name, tensor) in &out {
            check(&model.name, name, tensor, done)?;
        }
        let from = done;
        done += rows.len();
        each(from..done, out)
    })
}

/// The executor of some outputs of a model, and what it needs.
fn prepared(model: &Model, outputs: &[&str]) -> Result<(Executor, Needs), Error> {
    let mut graph = rows_for_requests(&model.graph)?;
    let there: Vec<String> = graph.outputs.iter().map(|(name, _)| format!("`{name}`")).collect();
    let wanted = outputs.iter().map(|name| {
        let found = graph.outputs.iter().find(|(n, _)| n == name);
        found.cloned().ok_or_else(|| Error::NoOutput {
            model: model.name.clone(),
            output: (*name).to_owned(),
            there: there.clone(),
        })
    });
    graph.outputs = wanted.collect::<Result<_, _>>()?;
    let executor = Executor::new(&graph, &model.weights)?;
    Ok((executor, Needs::of_inputs(graph, &model.weights)))
}

/// Runs all rows, in order; a block's rows are numbers of its file.
pub(super) fn run<E: From<Error>>(
    executor: &Executor,
    reader: &Reader<'_>,
    mut each: impl FnMut(&Columns, Range<usize>, Tensors) -> Result<(), E>,
) -> Result<(), E> {
    for file in 0..reader.len() {
        let columns = reader.load(file).map_err(Error::from)?;
        for rows in columns.blocks() {
            let numbers: Vec<usize> = rows.clone().collect();
            let mut batch = columns.take(&numbers).map_err(Error::from)?;
            batch.shift_remove(LABEL);
            let sizes = Sizes {
                rows: rows.len(),
                requests: rows.len(),
            };
            let out = executor.run(&batch, sizes).map_err(Error::from)?;
            each(&columns, rows, out)?;
        }
    }
    Ok(())
}

/// Every number of an output is one.
fn check(model: &str, output: &str, tensor: &HostTensor, before: usize) -> Result<(), Error> {
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let x = tensor.as_f32().unwrap_or(&[]);
    match x.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::Output {
            model: model.to_owned(),
            output: output.to_owned(),
            row: before + at * rows / x.len(),
            seen: x[at],
        }),
    }
}

fn append(all: &mut Tensors, name: String, part: HostTensor) {
    let Some(known) = all.get_mut(&name) else {
        all.insert(name, part);
        return;
    };
    match (&mut known.data, part.data) {
        (Data::F32(x), Data::F32(more)) => x.extend(more),
        (Data::I32(x), Data::I32(more)) => x.extend(more),
        (Data::Bool(x), Data::Bool(more)) => x.extend(more),
        (Data::F32(_) | Data::I32(_) | Data::Bool(_), _) => return,
    }
    if let (Some(rows), Some(more)) = (known.shape.first_mut(), part.shape.first()) {
        *rows += more;
    }
}
