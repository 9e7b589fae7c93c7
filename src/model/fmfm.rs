//! Field-matrixed factorisation machine: the product of two fields is weighted by what belongs to this pair.
//!
//! A pair `i < j` adds `(v_i * w_ij) v_j` (`vectorized`) or `(v_i W_ij) v_j` (`matrixed`); pairs are numbered 01, 02, .., 12, ...
//! Fields and numbers are those of [`fm`].
//!
//! | tensor | shape |
//! |---|---|
//! | those of `fm` | |
//! | `interaction.weight` | `[pairs, D]`, matrixed `[pairs, D, D]` |
//!
//! `hidden` is `[rows, D + 1]`: the weighted products before they are summed over `D`, and the sum of the numbers.
//!
//! Y. Sun and others, "FM^2: Field-matrixed Factorization Machines for Recommender Systems", 2021.

use super::init::Init;
use super::parts::{Built, Parts};
use super::sections::Interaction;
use super::spec::Spec;
use super::{Fault, Trunk, fm};
use crate::ir::{Binary, Fold, Value};
use crate::tensor::{Dim, Shape};

pub(super) const READS: &[&str] = &["interaction"];

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let terms = fm::terms(p, spec)?;
    let products = p.scoped("interaction", |p| {
        products(p, &terms.vectors, spec.interaction.unwrap_or_default())
    })?;
    p.point("products", products);
    fm::summed(p, products, terms.linear)
}

/// Weighted products of all pairs, `[rows, D]`.
fn products(p: &mut Parts, vectors: &[Value], interaction: Interaction) -> Built {
    let fields = vectors.len();
    if fields < 2 {
        return Err(Fault::Config("`fmfm` needs two fields to make a pair".into()));
    }
    let (pairs, d) = (fields * (fields - 1) / 2, p.width(vectors[0]));
    let matrixed = interaction == Interaction::Matrixed;
    let extents = if matrixed { vec![pairs, d, d] } else { vec![pairs, d] };
    let weights = p.param("interaction.weight", &extents, Init::xavier_normal(&extents))?;
    let (mut sum, mut first) = (None, 0);
    for (i, v) in vectors[..fields - 1].iter().enumerate() {
        let others = p.beside(&vectors[i + 1..])?;
        let n = fields - 1 - i;
        let own = p.graph.slice(weights, 0, first, first + n)?;
        first += n;
        let weighted = if matrixed {
            by_matrices(p, *v, own, [n, d])?
        } else {
            by_vectors(p, *v, own, [n, d])?
        };
        let product = p.graph.binary(Binary::Mul, weighted, others)?;
        let shape = Shape(vec![Dim::Rows(1), Dim::Fixed(n), Dim::Fixed(d)]);
        let product = p.graph.reshape(product, &shape)?;
        let product = p.graph.reduce(Fold::Sum, product, &[1])?;
        let product = p.graph.reshape(product, &Shape(vec![Dim::Rows(1), Dim::Fixed(d)]))?;
        sum = Some(match sum {
            None => product,
            Some(sum) => p.graph.binary(Binary::Add, sum, product)?,
        });
    }
    sum.ok_or_else(|| Fault::Config("`fmfm` has no pairs".into()))
}

/// `v [rows, D]` by each of `[n, D, D]`: `[rows, n D]`.
fn by_matrices(p: &mut Parts, v: Value, weights: Value, [n, d]: [usize; 2]) -> Built {
    let side_by_side = p.graph.permute(weights, &[1, 0, 2])?;
    let side_by_side = p.graph.reshape(side_by_side, &Shape::fixed(&[d, n * d]))?;
    Ok(p.graph.matmul(v, side_by_side)?)
}

/// `v [rows, D]` times each of `[n, D]`: `[rows, n D]`.
fn by_vectors(p: &mut Parts, v: Value, weights: Value, [n, d]: [usize; 2]) -> Built {
    let v = p
        .graph
        .reshape(v, &Shape(vec![Dim::Rows(1), Dim::Fixed(1), Dim::Fixed(d)]))?;
    let weighted = p.graph.binary(Binary::Mul, v, weights)?;
    Ok(p.graph
        .reshape(weighted, &Shape(vec![Dim::Rows(1), Dim::Fixed(n * d)]))?)
}
