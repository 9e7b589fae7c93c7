//! Products of concatenations: `concat(a, b, ..) W = a W_a + b W_b + ..`, where that pays.
//!
//! The left operand is read as a sum of *terms*, a value times rows of the weight: a part of the concatenation is one
//! term, or two where it is a sum or difference of values that are terms anyway (`(q - k) W = q W - k W`). Terms of one
//! value merge their weights, so `[q, k, q - k, q k] W = q (Wq + Wd) + k (Wk - Wd) + (q k) Wp`.
//!
//! Terms that live in the same space stay one product of one concatenation; the terms that repeat along row axes, or
//! depend on the request alone, are multiplied where they live and repeated afterwards.
//!
//! A product with a repeated value goes into the weight of the other factor: where `q` repeats along the rows of `k`,
//! `k A + (q k) B = k (A + diag(q) B)`, one product per row with a weight per `q` instead of two.
//!
//! All this only if it costs no more for a batch of users or for one user with many candidates, and for one of them
//! clearly less. Floating point: distributes products over sums, so `(q - k) W` loses what `q - k` would have cancelled:
//! the error is relative to `|q| + |k|`.

use indexmap::IndexMap;

use super::affine::product;
use super::edit::{Edit, constant, live, pad, padded, peel, rewrite};
use super::requests::uniform;
use super::{Fault, Weights};
use crate::ir::{Binary, Graph, Op, TypeError, Unary, Value};
use crate::tensor::{Dim, Shape, Sizes};

/// A batch of users, and one user with many candidates: the sizes that costs are compared at.
const BATCHES: [Sizes; 2] = [
    Sizes {
        rows: 512,
        requests: 512,
    },
    Sizes { rows: 500, requests: 1 },
];

pub(super) fn run(g: &Graph, _: &mut Weights<'_>) -> Result<Graph, Fault> {
    Ok(split(g, |_| true)?)
}

/// The same where parameters change, and only where each product has one term. What no input reaches, nobody computes once
/// and for all there; and a concatenation of weights has a gradient that is cut apart.
pub(super) fn of_step(g: &Graph) -> Result<Graph, TypeError> {
    split(g, |split| {
        let mut classes = split.classes.iter();
        classes.all(|(class, terms)| !class.is_constant() && terms.len() == 1)
    })
}

fn split(g: &Graph, accept: impl Fn(&Split) -> bool) -> Result<Graph, TypeError> {
    let uniform = uniform(g);
    let g = rewrite(g, |e, v| match Split::of(e.old, &uniform, v).filter(&accept) {
        Some(split) => split.build(e).map(Some),
        None => Ok(None),
    })?;
    live(&g)
}

/// Rows of a weight, from the first one on; negated or not.
#[derive(Clone, Copy, Debug)]
struct Rows {
    start: usize,
    minus: bool,
}

/// A value and the rows of the weight that it meets; several where terms have merged.
type Terms = IndexMap<Value, Vec<Rows>>;

/// A value `k` times `A + sum of diag(q) B`.
#[derive(Clone, Debug, Default)]
struct Folded {
    own: Vec<Rows>,
    factors: Vec<(Value, Vec<Rows>)>,
}

/// A product as a sum of products.
struct Split {
    weight: Value,
    /// Shape of the product.
    shape: Shape,
    /// Terms by where they live.
    classes: Vec<(Class, Terms)>,
    /// Terms whose weight depends on a row.
    folded: IndexMap<Value, Folded>,
}

/// Where the rows of a term live: its extents but the last, 1 where it repeats, and whether it depends on the request
/// alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Class {
    rows: Vec<Dim>,
    uniform: bool,
}

impl Class {
    fn of(g: &Graph, uniform: &[bool], v: Value) -> Self {
        let mut rows = padded(g.shape(peel(g, v)), g.shape(v).rank()).0;
        rows.pop();
        Self {
            rows,
            uniform: uniform[v.index()],
        }
    }

    fn is_constant(&self) -> bool {
        self.rows.iter().all(|d| !d.is_symbolic())
    }

    /// Number of rows that are computed; a constant term costs nothing.
    fn count(&self, sizes: Sizes) -> usize {
        if self.is_constant() {
            return 0;
        }
        let at = |d: &Dim| match d {
            Dim::Rows(k) if self.uniform => Dim::Requests(*k).at(sizes),
            d => d.at(sizes),
        };
        self.rows.iter().map(at).product()
    }
}

impl Split {
    /// The cheapest way to write a product, if it is cheaper than the product.
    fn of(g: &Graph, uniform: &[bool], v: Value) -> Option<Self> {
        let (a, weight) = product(g, v)?;
        let terms = terms(g, a);
        let as_is = |sizes| {
            let class = Class {
                rows: g.shape(a).0[..g.shape(a).rank() - 1].to_vec(),
                uniform: uniform[a.index()],
            };
            flops(class.count(sizes), g.shape(weight))
        };
        let split = |folded: IndexMap<Value, Folded>, terms: Terms| {
            let mut classes: IndexMap<Class, Terms> = IndexMap::new();
            for (x, rows) in terms {
                classes.entry(Class::of(g, uniform, x)).or_default().insert(x, rows);
            }
            Self {
                weight,
                shape: g.shape(v).clone(),
                classes: classes.into_iter().collect(),
                folded,
            }
        };
        let mut ways = vec![split(IndexMap::new(), terms.clone())];
        let (folded, rest) = fold_factors(g, terms);
        if !folded.is_empty() {
            ways.push(split(folded, rest));
        }
        let cost = |way: &Self| BATCHES.map(|sizes| way.cost(g, uniform, sizes));
        let best = ways.into_iter().min_by_key(|w| cost(w).iter().sum::<usize>())?;
        let (before, after) = (BATCHES.map(as_is), cost(&best));
        let no_worse = before.iter().zip(&after).all(|(b, a)| a <= b);
        // A tenth: less is not worth another product.
        let clearly = before.iter().zip(&after).any(|(b, a)| a * 10 <= b * 9);
        (no_worse && clearly).then_some(best)
    }

    fn cost(&self, g: &Graph, uniform: &[bool], sizes: Sizes) -> usize {
        let n = self.shape.0.last().map_or(1, |d| d.factor());
        let one = |class: &Class, k: usize| flops(class.count(sizes), &Shape::fixed(&[k, n]));
        let width = |x: &Value| g.shape(*x).0.last().map_or(1, |d| d.factor());
        let plain = self
            .classes
            .iter()
            .map(|(c, terms)| one(c, terms.keys().map(width).sum()));
        let folded = self.folded.iter().map(|(k, f)| {
            // A product with weights per row runs on the rows as they are, and each weight is a multiply-add.
            let rows = Class {
                uniform: uniform[k.index()] && f.factors.iter().all(|(q, _)| uniform[q.index()]),
                ..Class::of(g, uniform, *k)
            };
            let weights = f.factors.iter().map(|(q, _)| one(&Class::of(g, uniform, *q), width(k)));
            one(&rows, width(k)) + weights.sum::<usize>()
        });
        plain.sum::<usize>() + folded.sum::<usize>()
    }

    /// The sum, the largest summands first, each repeated to the shape of the product.
    fn build(&self, e: &mut Edit<'_>) -> Result<Value, TypeError> {
        let mut sum: Vec<Value> = Vec::new();
        for (k, f) in &self.folded {
            sum.push(self.folded_product(e, *k, f)?);
        }
        let mut classes: Vec<&(Class, Terms)> = self.classes.iter().collect();
        classes.sort_by_key(|(c, _)| std::cmp::Reverse(c.count(BATCHES[0])));
        for (class, terms) in classes {
            let y = self.class_product(e, class, terms)?;
            sum.push(e.new.broadcast(y, &self.shape)?);
        }
        let mut sum = sum.into_iter();
        let first = sum.next().expect("a product has a term");
        sum.try_fold(first, |x, y| e.new.binary(Binary::Add, x, y))
    }

    /// `concat(x, ..) concat(W_x, ..)` in the space where the terms live.
    fn class_product(&self, e: &mut Edit<'_>, class: &Class, terms: &Terms) -> Result<Value, TypeError> {
        let (mut parts, mut weights) = (Vec::new(), Vec::new());
        for (x, rows) in terms {
            let width = e.old.shape(*x).0.last().copied().unwrap_or(Dim::Fixed(1));
            let x = e.at(peel(e.old, *x));
            let x = pad(&mut e.new, x, class.rows.len() + 1)?;
            let whole = Shape(class.rows.iter().copied().chain([width]).collect());
            parts.push(e.new.broadcast(x, &whole)?);
            weights.push(self.weight_rows(e, rows, width.factor())?);
        }
        let x = e.new.concat(&parts, class.rows.len())?;
        let w = e.new.concat(&weights, 0)?;
        e.new.matmul(x, w)
    }

    /// `k (A + diag(q) B)`.
    fn folded_product(&self, e: &mut Edit<'_>, k: Value, f: &Folded) -> Result<Value, TypeError> {
        let (rank, width) = (e.old.shape(k).rank(), e.old.shape(k).0.last().map_or(1, |d| d.factor()));
        let mut weight = None;
        if !f.own.is_empty() {
            weight = Some(self.weight_rows(e, &f.own, width)?);
        }
        for (q, rows) in &f.factors {
            let q = e.at(peel(e.old, *q));
            let q = pad(&mut e.new, q, rank)?;
            let mut swap: Vec<usize> = (0..rank).collect();
            swap.swap(rank - 2, rank - 1);
            let column = e.new.permute(q, &swap)?;
            let b = self.weight_rows(e, rows, width)?;
            let scaled = e.new.binary(Binary::Mul, column, b)?;
            weight = Some(match weight {
                Some(a) => e.new.binary(Binary::Add, scaled, a)?,
                None => scaled,
            });
        }
        let k = e.at(k);
        let weight = weight.expect("a folded term has a factor");
        let mut per_row = e.new.shape(k).0[..rank - 2].to_vec();
        per_row.extend(&e.new.shape(weight).0[rank - 2..]);
        let weight = e.new.broadcast(weight, &Shape(per_row))?;
        e.new.matmul(k, weight)
    }

    /// The sum of some rows of the weight.
    fn weight_rows(&self, e: &mut Edit<'_>, rows: &[Rows], width: usize) -> Result<Value, TypeError> {
        let whole = e.at(self.weight);
        let mut sum: Option<Value> = None;
        // Additions first: a sum need not begin with a negation.
        for r in rows.iter().filter(|r| !r.minus).chain(rows.iter().filter(|r| r.minus)) {
            let w = e.new.slice(whole, 0, r.start, r.start + width)?;
            sum = Some(match (sum, r.minus) {
                (None, false) => w,
                (None, true) => e.new.unary(Unary::Neg, w)?,
                (Some(s), false) => e.new.binary(Binary::Add, s, w)?,
                (Some(s), true) => e.new.binary(Binary::Sub, s, w)?,
            });
        }
        Ok(sum.expect("a term has rows"))
    }
}

fn flops(rows: usize, weight: &Shape) -> usize {
    2 * rows * weight.0.iter().map(|d| d.factor()).product::<usize>()
}

/// The terms of a left operand.
fn terms(g: &Graph, a: Value) -> Terms {
    let last = g.shape(a).rank() - 1;
    let parts = if *g.op(a) == Op::Concat(last) { g.args(a) } else { &[a] };
    // A value that repeats or is a part anyway costs little as a term of its own.
    let cheap = |x: Value| *g.op(x) == Op::Broadcast || parts.contains(&x);
    let mut terms = Terms::new();
    let mut start = 0;
    for part in parts {
        let pair = match (g.op(*part), g.args(*part)) {
            (Op::Binary(op @ (Binary::Add | Binary::Sub)), &[x, y]) if cheap(x) && cheap(y) => {
                Some([(x, false), (y, *op == Binary::Sub)])
            }
            _ => None,
        };
        let own = [(*part, false)];
        for (x, minus) in pair.as_ref().map_or(&own[..], |p| &p[..]) {
            terms.entry(*x).or_default().push(Rows { start, minus: *minus });
        }
        start += g.shape(*part).0[last].factor();
    }
    terms
}

/// Moves products `q k` into the term `k`, where `q` repeats along the rows of `k` and `k` is a term.
fn fold_factors(g: &Graph, mut terms: Terms) -> (IndexMap<Value, Folded>, Terms) {
    let mut folded: IndexMap<Value, Folded> = IndexMap::new();
    let products: Vec<Value> = terms.keys().copied().collect();
    for p in products {
        let (Op::Binary(Binary::Mul), &[x, y]) = (g.op(p), g.args(p)) else {
            continue;
        };
        let pair = [(x, y), (y, x)].into_iter().find(|(q, k)| {
            let known = terms.contains_key(k) || folded.contains_key(k);
            known && repeats_along_rows(g, *q) && *g.op(*k) != Op::Broadcast
        });
        let Some((q, k)) = pair else {
            continue;
        };
        let own = terms.shift_remove(&k);
        let entry = folded.entry(k).or_default();
        entry.own.extend(own.into_iter().flatten());
        let rows = terms.shift_remove(&p).expect("listed above");
        entry.factors.push((q, rows));
    }
    (folded, terms)
}

/// Whether a value is one row repeated along the last axis but one, of an extent above 1.
fn repeats_along_rows(g: &Graph, q: Value) -> bool {
    let rank = g.shape(q).rank();
    let inner = peel(g, q);
    rank > 2
        && inner != q
        && !constant(g, inner)
        && padded(g.shape(inner), rank).0[rank - 2] == Dim::Fixed(1)
        && g.shape(q).0[rank - 2] != Dim::Fixed(1)
}
