//! DeepFM: a [factorisation machine](super::fm) and a tower on the same vectors; their logits are added.
//!
//! The tower reads the fields' vectors side by side: fields, items of histories, dense inputs, `loopfm`.
//!
//! | tensor | shape |
//! |---|---|
//! | those of `fm` | |
//! | `mlp.<i>.weight`, `mlp.<i>.bias`, those of the activation | `[out, in]`, `[out]` |
//! | `out.weight`, `out.bias` | `[1, H]`, `[1]` |
//!
//! `hidden` is `[rows, D + 1 + H]`: that of the machine and what `out` reads.
//!
//! H. Guo and others, "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction", 2017.

use super::features::mlp;
use super::parts::Parts;
use super::spec::Spec;
use super::{Fault, Trunk, fm};
use crate::ir::Binary;

pub(super) const READS: &[&str] = &["mlp", "activation", "dropout", "batch_norm"];

pub(super) fn build(spec: &Spec, p: &mut Parts) -> Result<Trunk, Fault> {
    let terms = fm::terms(p, spec)?;
    let products = p.scoped("products", |p| fm::products(p, &terms.vectors))?;
    p.point("products", products);
    let wide = fm::summed(p, products, terms.linear)?;
    let x = p.beside(&terms.vectors)?;
    p.point("x0", x);
    let tower = mlp(p, spec, x)?;
    let deep = p.linear("out", tower, 1)?;
    Ok(Trunk {
        hidden: p.beside(&[wide.hidden, tower])?,
        logit: p.graph.binary(Binary::Add, wide.logit, deep)?,
    })
}
