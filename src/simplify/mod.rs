//! Algebra before kernels: a graph becomes a cheaper graph with the same meaning.
//!
//! Each pass is a function from graph to graph, checked by typing its result again. All rules are directional: a
//! rule fires only where the result is not worse, so the rounds end. Rules rewrite the graph alone: what they make of
//! parameters (a slice of a weight, a column scaled by a variance) is itself graph, and the last pass evaluates in
//! `f64` whatever no input reaches and rounds it once.
//!
//! One fact carries most rules: an input always has the batch in its shape and no op removes it, so *a value of
//! fixed shape is a constant of the model*.
//!
//! Floating point: sums are reassociated and products distributed over sums, as documented at each rule, so results
//! differ in the last bits; infinities and NaN come out as such, though not always at the same element (`x * 0` is
//! never simplified). `-0.0 + 0.0` may keep its sign.

mod affine;
mod algebra;
mod concat;
mod edit;
mod flops;
mod fold;
mod matmul;
mod numeric;
mod pooling;
mod requests;
mod siblings;
mod sink;
mod slices;
mod spread;
mod stack;
mod views;

use crate::interp::EvalError;
use crate::ir::rows::analyse;
use crate::ir::{Graph, NotRowLocal, Op, TypeError, verify};
use crate::tensor::Tensors;

pub use flops::flops;

/// A step of [`simplify`]: its name and what it does.
pub type Pass = (&'static str, fn(&Graph, &mut Weights<'_>) -> Result<Graph, Fault>);

/// Drops what nothing reads.
const LIVE: Pass = ("live", |g, _| Ok(edit::live(g)?));

/// Passes that bring a graph into normal form.
const NORMAL: &[Pass] = &[
    ("views", views::run),
    ("algebra", algebra::run),
    ("sink", sink::run),
    ("matmul", matmul::run),
    ("affine", affine::run),
    ("spread", spread::run),
];

/// Splits products; wants its graph in normal form, so that factors of a result are in the weights before.
const SPLIT: Pass = ("concat", concat::run);
/// Moves work to the requests.
const MOVE: Pass = ("requests", requests::run);
/// Merges products; wants what is left once all else is done.
const MERGE: Pass = ("siblings", siblings::run);
/// Takes numbers out of products; wants their weights scaled as they will be.
const NUMBERS: Pass = ("numeric", numeric::run);
/// Evaluates constants, last.
const FOLD: Pass = ("fold", fold::run);

/// Rounds until nothing changes. Each ends with fewer or cheaper nodes, or views further down; of some hundred models
/// and thousands of random graphs none changed in more than eight.
const ROUNDS: usize = 32;

/// Parameters while passes run: those of the model and those that folding made.
pub struct Weights<'a> {
    /// The model's own.
    pub given: &'a Tensors,
    /// Folded ones.
    pub folded: Tensors,
}

/// What a pass may run into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A rule built an operation that does not type: a bug.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// A constant could not be evaluated: weights that do not fit the graph.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

/// A graph that could not be simplified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An input whose shape does not depend on the batch.
    #[error("input `{input}` is {seen}: the first extent of an input is a number of rows or requests")]
    FixedInput {
        /// The input.
        input: String,
        /// Its type.
        seen: String,
    },
    /// Rows are mixed: a value of fixed shape would be no constant.
    #[error(transparent)]
    NotRowLocal(#[from] NotRowLocal),
    /// A pass failed.
    #[error("pass `{pass}`: {source}")]
    Pass {
        /// Its name.
        pass: &'static str,
        /// Why.
        source: Fault,
    },
}

/// Names of the passes in the order of their first run.
pub fn passes() -> impl Iterator<Item = &'static str> {
    let all = [LIVE]
        .into_iter()
        .chain(NORMAL.iter().copied())
        .chain([SPLIT, MOVE, MERGE, NUMBERS, FOLD]);
    all.map(|(name, _)| name)
}

/// The simplified graph and exactly the parameters it reads. Inputs and outputs stay as declared, in order, also
/// inputs that nothing reads any more: a batch still gives them.
///
/// # Errors
/// [`Error`] when an input lacks the batch, rows are mixed, or weights do not fit the graph.
pub fn simplify(graph: &Graph, weights: &Tensors) -> Result<(Graph, Tensors), Error> {
    simplify_observed(graph, weights, &mut |_, _| {})
}

/// [`simplify`], showing the graph after each pass that changed it.
///
/// # Errors
/// As [`simplify`].
pub fn simplify_observed(
    graph: &Graph,
    weights: &Tensors,
    seen: &mut dyn FnMut(&'static str, &Graph),
) -> Result<(Graph, Tensors), Error> {
    if let Some((_, name, ty)) = graph.inputs().find(|(_, _, ty)| ty.shape.symbolic().is_none()) {
        return Err(Error::FixedInput {
            input: name.to_owned(),
            seen: ty.to_string(),
        });
    }
    analyse(graph)?;
    let mut weights = Weights {
        given: weights,
        folded: Tensors::new(),
    };
    let mut step = |g: Graph, &(pass, run): &Pass| {
        let checked = |g: Graph| verify(&g).map(|()| g).map_err(Fault::from);
        let next = run(&g, &mut weights)
            .and_then(checked)
            .map_err(|source| Error::Pass { pass, source })?;
        if next != g {
            seen(pass, &next);
        }
        Ok(next)
    };
    let mut g = step(graph.clone(), &LIVE)?;
    g = arranged(g, &mut step)?;
    g = step(g, &MOVE)?;
    g = settled(g, &mut |g| {
        let g = arranged(g, &mut step)?;
        let g = step(g, &MERGE)?;
        step(g, &NUMBERS)
    })?;
    g = step(g, &FOLD)?;
    let used = |name: &str| {
        let tensor = weights.folded.get(name).or_else(|| weights.given.get(name));
        tensor.map(|t| (name.to_owned(), t.clone()))
    };
    let used = g.params().filter_map(|(_, name, _)| used(name)).collect();
    Ok((g, used))
}

/// The one rule that also serves where parameters change and rows meet, as in a training step before its gradients are
/// taken: products of concatenations become cheaper products, by factors of a row folded into weights. What it makes of
/// parameters, slices of them and sums of slices, stays graph, so that gradients flow through it. Inputs, outputs and
/// parameters stay as declared.
///
/// # Errors
/// [`Error::Pass`] for a rule that built what does not type: a bug.
pub fn split(graph: &Graph) -> Result<Graph, Error> {
    let fault = |e: TypeError| Error::Pass {
        pass: SPLIT.0,
        source: e.into(),
    };
    let mut g = settled(graph.clone(), &mut |g| concat::of_step(&g).map_err(fault))?;
    for (_, name, ty) in graph.params() {
        if g.params().all(|(_, known, _)| known != name) {
            let param = g.declare(Op::Param(name.to_owned()), &[], ty.clone());
            param.map_err(fault)?;
        }
    }
    Ok(g)
}

type Step<'a> = dyn FnMut(Graph, &Pass) -> Result<Graph, Error> + 'a;

/// Normal form, products split, and so on until nothing changes.
fn arranged(g: Graph, step: &mut Step<'_>) -> Result<Graph, Error> {
    settled(g, &mut |g| {
        let g = settled(g, &mut |g| NORMAL.iter().try_fold(g, &mut *step))?;
        step(g, &SPLIT)
    })
}

/// Repeats a step until nothing changes.
fn settled(mut g: Graph, step: &mut dyn FnMut(Graph) -> Result<Graph, Error>) -> Result<Graph, Error> {
    for _ in 0..ROUNDS {
        let next = step(g.clone())?;
        if next == g {
            return Ok(g);
        }
        g = next;
    }
    debug_assert!(false, "rules undo each other in\n{g}");
    Ok(g)
}
