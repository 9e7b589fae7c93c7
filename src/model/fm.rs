//! Factorisation machine.
//!
//! Every field is a vector of one width `D` and a number; the logit is the sum of all numbers and of the products of all
//! pairs of vectors, `((sum v)^2 - sum v^2) / 2` summed over `D`. A history is a field for each of its items, the mean or sum
//! of its events; a dense input is mapped to `D`; so is the encoding of what a foundation model left.
//!
//! | tensor | shape |
//! |---|---|
//! | `embedding.<field>.weight`, `linear.<field>.weight` | `[vocabulary, D]`, `[vocabulary, 1]` |
//! | `linear.<history>_<field>.weight`, summed over events | `[vocabulary, 1]` |
//! | `embedding.<dense>.weight`, `linear.<dense>.weight` | `[D, width]`, `[1, width]` |
//! | with `loopfm`: `embedding.loopfm.weight`, `linear.loopfm.weight` | `[D, in]`, `[1, in]` |
//! | `linear.bias` | `[1]` |
//!
//! `hidden` is `[rows, D + 1]`, the products before they are summed and the sum of the numbers; its sum is the logit.
//!
//! S. Rendle, "Factorization Machines", 2010.

use super::features::{Features, Sequence, pooled};
use super::init::Init;
use super::parts::{Built, Parts};
use super::spec::Spec;
use super::{Fault, Trunk, loopfm};
use crate::ir::{Binary, Fold, Value};
use crate::nn;

pub(super) const READS: &[&str] = &[];

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let terms = terms(p, spec)?;
    let products = p.scoped("products", |p| products(p, &terms.vectors))?;
    p.point("products", products);
    summed(p, products, terms.linear)
}

/// What fields bring.
pub(super) struct Terms {
    /// `[rows, D]` each.
    pub(super) vectors: Vec<Value>,
    /// `[rows, 1]`, the sum of their numbers.
    pub(super) linear: Value,
}

pub(super) fn terms(p: &mut Parts, spec: &Spec) -> Result<Terms, Fault> {
    let features = Features::of(p, spec)?;
    let sequences = features.sequences(p, spec)?;
    let width = width(spec)?;
    let (mut vectors, mut numbers) = (Vec::new(), Vec::new());
    for (field, ids, x) in &features.fields {
        vectors.push(*x);
        let table = format!("linear.{}", field.name);
        numbers.push(p.lookup(&table, [field.vocabulary.0, 1], Init::EMBEDDING, *ids)?);
    }
    for s in &sequences {
        history(p, s, &mut vectors, &mut numbers)?;
    }
    for (d, x, _) in &features.dense {
        vectors.push(p.linear_unbiased(&format!("embedding.{}", d.name), *x, width)?);
        numbers.push(p.linear_unbiased(&format!("linear.{}", d.name), *x, 1)?);
    }
    if let Some(x) = loopfm::encoded(p, spec, &features)? {
        vectors.push(p.linear_unbiased("embedding.loopfm", x, width)?);
        numbers.push(p.linear_unbiased("linear.loopfm", x, 1)?);
    }
    let bias = p.param("linear.bias", &[1], Init::Constant(0.0))?;
    let sum = added(p, &numbers)?;
    let linear = p.graph.binary(Binary::Add, sum, bias)?;
    Ok(Terms { vectors, linear })
}

/// A field for each item and side of a history.
fn history(p: &mut Parts, s: &Sequence, vectors: &mut Vec<Value>, numbers: &mut Vec<Value>) -> Result<(), Fault> {
    for item in &s.items {
        vectors.push(pooled(p, item.events, s.mask, s.history.pooling)?);
        let prefix = format!("linear.{}_{}", s.name, item.name);
        let each = match item.field {
            Some((field, _)) => p.lookup(&prefix, [field.vocabulary.0, 1], Init::EMBEDDING, item.past)?,
            None => p.linear_unbiased(&prefix, item.past, 1)?,
        };
        numbers.push(nn::masked_sum(&mut p.graph, each, s.mask)?);
    }
    for side in &s.sides {
        vectors.push(pooled(p, side.events, s.mask, s.history.pooling)?);
        let table = [side.side.vocabulary.0, 1];
        let each = p.lookup(&format!("linear.{}", side.input), table, Init::EMBEDDING, side.past)?;
        numbers.push(nn::masked_sum(&mut p.graph, each, s.mask)?);
    }
    Ok(())
}

/// The one width of all fields.
fn width(spec: &Spec) -> Result<usize, Fault> {
    let fields = spec.fields.0.iter().map(|f| (&f.name, f.width.0));
    let dense = spec.dense.0.iter().filter_map(|d| Some((&d.name, d.embedding?.0)));
    let sides = spec.history.0.iter().flat_map(|h| &h.side.0);
    let sides = sides.map(|side| (&side.name, side.width.0));
    let mut widths = fields.chain(dense).chain(sides);
    let Some((first, width)) = widths.next() else {
        return Err(Fault::Config("no field says how wide the vectors are".into()));
    };
    match widths.find(|(_, w)| *w != width) {
        Some((name, seen)) => Err(Fault::Config(format!(
            "fields of `{}` have one width: `{first}` has {width}, `{name}` {seen}",
            spec.architecture
        ))),
        None => Ok(width),
    }
}

/// `((sum v)^2 - sum v^2) / 2`, element by element.
pub(super) fn products(p: &mut Parts, vectors: &[Value]) -> Built {
    let sum = added(p, vectors)?;
    let mut squares = Vec::new();
    for v in vectors {
        squares.push(p.graph.binary(Binary::Mul, *v, *v)?);
    }
    let squares = added(p, &squares)?;
    let g = &mut p.graph;
    let square = g.binary(Binary::Mul, sum, sum)?;
    let apart = g.binary(Binary::Sub, square, squares)?;
    let half = g.constant_f32(0.5)?;
    Ok(g.binary(Binary::Mul, apart, half)?)
}

/// The logit of products and numbers.
pub(super) fn summed(p: &mut Parts, products: Value, linear: Value) -> Result<Trunk, Fault> {
    let hidden = p.beside(&[products, linear])?;
    let logit = p.graph.reduce(Fold::Sum, hidden, &[1])?;
    Ok(Trunk { hidden, logit })
}

fn added(p: &mut Parts, values: &[Value]) -> Built {
    let mut values = values.iter();
    let Some(&first) = values.next() else {
        return Err(Fault::Config("the model has no inputs".into()));
    };
    values.try_fold(first, |sum, v| Ok(p.graph.binary(Binary::Add, sum, *v)?))
}
