//! Affine chains: `((x - mu) r) g + b = x S + T`, and `S`, `T` go into the weights of a product beside them.
//!
//! This is what folds batch normalisation (evaluated with stored statistics), scaled embeddings and `1 / sqrt(d)`:
//! - a chain of constant factors and summands becomes one factor and one summand;
//! - `(a W) S + T = a (W S) + T` for factors per column;
//! - `(x S + T) W = x (diag(S) W) + T W` where nothing else reads `x S + T`;
//! - `(a b) s = (a s) b` for a scalar where `a` is itself made by such a product.
//!
//! A chain ends at a value that something else reads too, so a normalised gate beside an un-normalised path (Dice)
//! becomes one multiply-add and leaves that path alone.
//!
//! Floating point: `T = b - mu S` cancels where `|mu|` is large against the deviation, as the two-step form does not;
//! folding in `f64` keeps the loss to one rounding of `T`.

use std::collections::HashSet;

use super::edit::{Edit, Replaced, constant, constant_under, live, number, rewrite, trim};
use super::{Fault, Weights, fold};
use crate::ir::{Binary, Graph, Op, TypeError, Unary, Value};
use crate::tensor::{DType, Dim, Shape, Sizes};

/// Factors and summands of different axes are merged into one tensor up to this size.
const SMALL: usize = 4096;

pub(super) fn run(g: &Graph, weights: &mut Weights<'_>) -> Result<Graph, Fault> {
    let divisors = safe_divisors(g, weights)?;
    let g = rewrite(g, |e, v| match product(e.old, v) {
        Some((a, w)) => before_product(e, &divisors, a, w),
        None => chain_top(e, &divisors, v),
    })?;
    Ok(live(&g)?)
}

/// The operands of a product with a constant matrix on the right.
pub(super) fn product(g: &Graph, v: Value) -> Option<(Value, Value)> {
    match (g.op(v), g.args(v)) {
        (Op::MatMul, &[a, w]) if constant(g, w) && g.shape(w).rank() == 2 && !constant(g, a) => Some((a, w)),
        _ => None,
    }
}

/// Constant divisors whose reciprocals are all normal numbers.
fn safe_divisors(g: &Graph, weights: &Weights<'_>) -> Result<HashSet<Value>, Fault> {
    let live = g.live();
    let divisor = |(v, n): (Value, &crate::ir::Node)| match n.op {
        Op::Binary(Binary::Div) if live[v.index()] && n.ty.dtype == DType::F32 => constant_under(g, n.args[1]),
        _ => None,
    };
    let wanted: Vec<Value> = g
        .iter()
        .filter_map(divisor)
        .filter(|c| number(g, *c).is_none())
        .collect();
    let tensors = fold::values(g, weights, &wanted)?;
    let safe = |x: &f32| x.is_normal() && x.recip().is_normal();
    let all_safe = |t: &crate::tensor::HostTensor| t.as_f32().is_some_and(|x| x.iter().all(safe));
    Ok(wanted
        .into_iter()
        .zip(&tensors)
        .filter(|(_, t)| all_safe(t))
        .map(|(c, _)| c)
        .collect())
}

/// One link of a chain, its constant an old value.
#[derive(Clone, Copy)]
enum Link {
    Scale(Value),
    Divide(Value),
    Shift(Value),
    Negate,
}

/// What a value is an affine function of, and the links in the order they apply.
fn links(g: &Graph, divisors: &HashSet<Value>, v: Value) -> Option<(Value, Vec<Link>)> {
    if g.ty(v).dtype != DType::F32 || constant(g, v) {
        return None;
    }
    match (g.op(v), g.args(v)) {
        (Op::Unary(Unary::Neg), &[x]) => Some((x, vec![Link::Negate])),
        (Op::Binary(op), &[x, y]) => match (op, constant_under(g, x), constant_under(g, y)) {
            (Binary::Mul, None, Some(c)) => Some((x, vec![Link::Scale(c)])),
            (Binary::Add, None, Some(c)) => Some((x, vec![Link::Shift(c)])),
            (Binary::Sub, Some(c), None) => Some((y, vec![Link::Negate, Link::Shift(c)])),
            (Binary::Div, None, Some(c)) if divisors.contains(&c) => Some((x, vec![Link::Divide(c)])),
            _ => None,
        },
        _ => None,
    }
}

/// An affine function `x S + T` of an old value; `S` and `T` are constants of the new graph.
struct Chain {
    root: Value,
    /// The node next to the root.
    first: Value,
    nodes: usize,
    /// Whether it is not `(x + t) s`, which a multiply-add takes as `x s + t s`.
    normal: bool,
    scale: Option<Value>,
    shift: Option<Value>,
}

/// The longest chain that ends in `v` through values that nothing else reads.
fn chain(e: &mut Edit<'_>, divisors: &HashSet<Value>, v: Value) -> Result<Option<Chain>, TypeError> {
    let Some((mut root, mut all)) = links(e.old, divisors, v) else {
        return Ok(None);
    };
    let (mut first, mut nodes) = (v, 1);
    while let Some((x, more)) = links(e.old, divisors, root).filter(|_| e.only_user(root).is_some()) {
        all.splice(0..0, more);
        (first, root) = (root, x);
        nodes += 1;
    }
    let normal = !matches!(all[..], [Link::Shift(_), Link::Scale(_) | Link::Divide(_)]);
    if !compact(e.old, &all) {
        return Ok(None);
    }
    let (mut scale, mut shift) = (None, None);
    for link in all {
        let (op, c) = match link {
            Link::Scale(c) => (Binary::Mul, e.at(c)),
            Link::Divide(c) => {
                let c = e.at(c);
                (Binary::Mul, e.new.unary(Unary::Recip, c)?)
            }
            Link::Negate => (Binary::Mul, e.new.constant_f32(-1.0)?),
            Link::Shift(c) => (Binary::Add, e.at(c)),
        };
        if op == Binary::Mul {
            scale = Some(merged(&mut e.new, op, scale, c)?);
        }
        if op == Binary::Add || shift.is_some() {
            shift = Some(merged(&mut e.new, op, shift, c)?);
        }
    }
    Ok(Some(Chain {
        root,
        first,
        nodes,
        normal,
        scale,
        shift,
    }))
}

/// Whether the constants of a chain merge without growing much.
fn compact(g: &Graph, links: &[Link]) -> bool {
    let mut dims: Vec<usize> = Vec::new();
    let mut largest = SMALL;
    for link in links {
        let (Link::Scale(c) | Link::Divide(c) | Link::Shift(c)) = *link else {
            continue;
        };
        let own = g.shape(c).per_row();
        largest = largest.max(own.iter().product());
        // Right-aligned, so kept reversed.
        for (i, n) in own.iter().rev().enumerate() {
            match dims.get_mut(i) {
                Some(d) => *d = (*d).max(*n),
                None => dims.push(*n),
            }
        }
    }
    dims.iter().product::<usize>() <= largest
}

fn merged(g: &mut Graph, op: Binary, x: Option<Value>, c: Value) -> Result<Value, TypeError> {
    match x {
        Some(x) => g.binary(op, x, c),
        None => Ok(c),
    }
}

/// The end of a chain: fewer ops, or none for a factor that goes into the product at its root.
fn chain_top(e: &mut Edit<'_>, divisors: &HashSet<Value>, v: Value) -> Replaced {
    let continues = |user: Value| links(e.old, divisors, user).is_some_and(|(x, _)| x == v);
    if e.only_user(v).is_some_and(continues) {
        return Ok(None);
    }
    let Some(c) = chain(e, divisors, v)? else {
        return Ok(None);
    };
    let mut y = e.at(c.root);
    let mut left = c.scale;
    if let Some(s) = c.scale.filter(|_| e.only_user(c.root) == Some(c.first))
        && let Some(scaled) = into_product(e, c.root, s)?
    {
        (y, left) = (scaled, None);
    }
    let absorbed = left.is_none() && c.scale.is_some();
    let ops = usize::from(left.is_some()) + usize::from(c.shift.is_some());
    if !absorbed && ops >= c.nodes && c.normal {
        return Ok(None);
    }
    if let Some(s) = left {
        y = e.new.binary(Binary::Mul, y, s)?;
    }
    if let Some(t) = c.shift {
        y = e.new.binary(Binary::Add, y, t)?;
    }
    Ok(Some(y))
}

/// `(a W) s = a (W s)` for a factor per column; `(a b) s = (a s) b` for a scalar that `a` takes in.
fn into_product(e: &mut Edit<'_>, v: Value, scale: Value) -> Replaced {
    if let Some((a, w)) = product(e.old, v) {
        let s = trim(&mut e.new, scale)?;
        if e.new.shape(s).rank() > 1 || copies(e, w) {
            return Ok(None);
        }
        let (a, w) = (e.at(a), e.at(w));
        let w = e.new.binary(Binary::Mul, w, s)?;
        return e.new.matmul(a, w).map(Some);
    }
    let (Op::MatMul, &[a, b]) = (e.old.op(v), e.old.args(v)) else {
        return Ok(None);
    };
    if e.new.shape(scale).numel(Sizes::ONE) != 1 {
        return Ok(None);
    }
    let s = e.new.reshape(scale, &Shape::default())?;
    let (x, y) = (e.at(a), e.at(b));
    if takes_factor(e, a, v) {
        let x = e.new.binary(Binary::Mul, x, s)?;
        e.new.matmul(x, y).map(Some)
    } else if takes_factor(e, b, v) {
        let y = e.new.binary(Binary::Mul, y, s)?;
        e.new.matmul(x, y).map(Some)
    } else {
        Ok(None)
    }
}

/// Whether a scalar factor on `v`, read by `user` alone, ends in the weights of a product.
fn takes_factor(e: &Edit<'_>, v: Value, user: Value) -> bool {
    if e.only_user(v) != Some(user) {
        return false;
    }
    match (e.old.op(v), e.old.args(v)) {
        (Op::Permute(_) | Op::Reshape, &[x]) => takes_factor(e, x, v),
        (Op::Binary(Binary::Add), &[x, y]) => constant_under(e.old, y).is_some() && takes_factor(e, x, v),
        _ => product(e.old, v).is_some_and(|(_, w)| !copies(e, w)),
    }
}

/// `(x S + T) W = x (diag(S) W) + T W` if every reader of `x S + T` is such a product.
fn before_product(e: &mut Edit<'_>, divisors: &HashSet<Value>, a: Value, w: Value) -> Replaced {
    let reads = |user: &Value| product(e.old, *user).is_some_and(|(x, w)| x == a && !copies(e, w));
    if e.is_output(a) || !e.users[a.index()].iter().all(reads) {
        return Ok(None);
    }
    let Some(c) = chain(e, divisors, a)? else {
        return Ok(None);
    };
    let k = e.old.shape(w).0[0];
    let mut weight = e.at(w);
    if let Some(s) = c.scale {
        let s = trim(&mut e.new, s)?;
        if e.new.shape(s).rank() > 1 {
            return Ok(None);
        }
        let column = Shape(vec![
            e.new.shape(s).0.first().copied().unwrap_or(Dim::Fixed(1)),
            Dim::Fixed(1),
        ]);
        let s = e.new.reshape(s, &column)?;
        weight = e.new.binary(Binary::Mul, weight, s)?;
    }
    let x = e.at(c.root);
    let mut y = e.new.matmul(x, weight)?;
    if let Some(t) = c.shift {
        let mut whole = e.new.shape(t).clone();
        while whole.rank() < 2 {
            whole.0.insert(0, Dim::Fixed(1));
        }
        *whole.0.last_mut().expect("rank 2") = k;
        let t = e.new.broadcast(t, &whole)?;
        let w = e.at(w);
        let t = e.new.matmul(t, w)?;
        y = e.new.binary(Binary::Add, y, t)?;
    }
    Ok(Some(y))
}

/// Whether changing a weight would keep a second large tensor: something else reads its parameter as it is.
pub(super) fn copies(e: &Edit<'_>, w: Value) -> bool {
    let mut open = vec![w];
    let mut shared = false;
    while let Some(x) = open.pop() {
        let direct = |u: &Value| !constant(e.old, *u) && product(e.old, *u).is_none_or(|(_, y)| y != x);
        shared |= matches!(e.old.op(x), Op::Param(_)) && e.users[x.index()].iter().any(direct);
        open.extend(e.old.args(x));
    }
    shared && e.old.shape(w).numel(Sizes::ONE) > fold::LARGE
}
