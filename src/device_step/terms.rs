//! Sums over the batch, and values that are made of such sums.

use crate::ir::{Binary, Fold, Graph, Op, Scalar, Unary, Value};
use crate::tensor::Sizes;

/// A sum over the batch as part of a gradient.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) sum: Value,
    pub(super) scale: f32,
    /// First element of the gradient that it is in.
    pub(super) offset: usize,
    /// Axes of that part of the gradient, those of one element aside: extent, and elements of the sum from one index to the
    /// next.
    axes: Vec<(usize, usize)>,
}

/// Where an element of a sum, a matrix, is in the gradient: row `i` and column `j` at
/// `row i + outer (j / block) + inner (j % block)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) row: usize,
    pub(super) block: usize,
    pub(super) outer: usize,
    pub(super) inner: usize,
}

impl Term {
    /// A sum as it stands.
    pub(super) fn whole(g: &Graph, sum: Value) -> Option<Self> {
        matrix(g, sum)?;
        let mut stride = 1;
        let mut axes = Vec::new();
        for n in g.shape(sum).per_row().into_iter().rev() {
            if n != 1 {
                axes.push((n, stride));
            }
            stride *= n;
        }
        axes.reverse();
        Some(Self {
            sum,
            scale: 1.0,
            offset: 0,
            axes,
        })
    }

    /// Whether it lies in a gradient as the sum does.
    pub(super) fn is_straight(&self) -> bool {
        let next = self.axes.iter().skip(1).map(|(n, stride)| n * stride).chain([1]);
        self.offset == 0 && self.axes.iter().zip(next).all(|((_, stride), next)| *stride == next)
    }

    /// Its elements in another shape, row by row.
    fn reshaped(mut self, to: &[usize]) -> Option<Self> {
        let mut from = self.axes.clone();
        // Neighbours that are one axis.
        from.dedup_by(|b, a| {
            let one = a.1 == b.0 * b.1;
            if one {
                *a = (a.0 * b.0, b.1);
            }
            one
        });
        let mut axes = Vec::new();
        for n in to.iter().rev().copied().filter(|n| *n != 1) {
            let (left, stride) = from.last_mut()?;
            if !left.is_multiple_of(n) {
                return None;
            }
            axes.push((n, *stride));
            (*left, *stride) = (*left / n, *stride * n);
            if *left == 1 {
                from.pop();
            }
        }
        axes.reverse();
        self.axes = axes;
        Some(self)
    }

    /// Where its elements are, if two strides of columns say so.
    pub(super) fn order(&self, g: &Graph) -> Option<Order> {
        let (_, columns) = matrix(g, self.sum)?;
        let mut of_rows = Vec::new();
        let mut of_columns = Vec::new();
        let mut place = 1;
        for (n, stride) in self.axes.iter().rev() {
            let within = (columns / stride.max(&1)).clamp(1, *n);
            if *stride >= columns {
                of_rows.push((*stride, place));
            } else {
                of_columns.push((*stride, place));
                if within < *n {
                    of_rows.push((columns, place * within));
                }
            }
            place *= n;
        }
        of_columns.sort_unstable();
        let row = match of_rows[..] {
            [] => 1,
            [(stride, place)] if stride == columns => place,
            _ => return None,
        };
        match of_columns[..] {
            [] => Some((columns.max(1), 0, 1)),
            [(1, inner)] => Some((columns, 0, inner)),
            [(1, inner), (block, outer)] => Some((block, outer, inner)),
            _ => None,
        }
        .map(|(block, outer, inner)| Order {
            row,
            block,
            outer,
            inner,
        })
    }
}

/// The sums over the batch that a value is made of, if it is: added up, side by side along the first axis, turned.
pub(super) fn terms(g: &Graph, is_sum: &[bool], v: Value) -> Option<Vec<Term>> {
    let n = g.node(v);
    if is_sum[v.index()] {
        return Some(vec![Term::whole(g, v)?]);
    }
    let of = |i: usize| terms(g, is_sum, n.args[i]);
    let negative = |terms: Vec<Term>| terms.into_iter().map(|t| Term { scale: -t.scale, ..t });
    let own = || n.ty.shape.per_row();
    match &n.op {
        Op::Reshape => {
            let whole = |t: &Term| t.offset == 0 && elements(t) == own().iter().product::<usize>();
            of(0)?
                .into_iter()
                .map(|t| if whole(&t) { t.reshaped(&own()) } else { None })
                .collect()
        }
        Op::Unary(Unary::Neg) => Some(negative(of(0)?).collect()),
        Op::Binary(Binary::Add) => Some(of(0)?.into_iter().chain(of(1)?).collect()),
        Op::Binary(Binary::Sub) => Some(of(0)?.into_iter().chain(negative(of(1)?)).collect()),
        Op::Permute(perm) => {
            let from = g.shape(n.args[0]).per_row();
            // Its axes of more than one element.
            let long: Vec<usize> = (0..from.len()).filter(|a| from[*a] != 1).collect();
            let turned = |t: Term| {
                let at = |a: &usize| long.iter().position(|l| l == a).and_then(|i| t.axes.get(i).copied());
                let known = t.offset == 0 && t.axes.len() == long.len();
                let axes = perm.iter().filter(|a| from[**a] != 1).map(at).collect::<Option<_>>();
                axes.filter(|_| known).map(|axes| Term { axes, ..t.clone() })
            };
            of(0)?.into_iter().map(turned).collect()
        }
        Op::Concat(0) => {
            let mut all = Vec::new();
            let mut offset = 0;
            for a in &n.args {
                if !is_zero(g, *a) {
                    let own = terms(g, is_sum, *a)?;
                    all.extend(own.into_iter().map(|t| Term {
                        offset: t.offset + offset,
                        ..t
                    }));
                }
                offset += g.shape(*a).per_row().iter().product::<usize>();
            }
            Some(all)
        }
        _ => None,
    }
}

fn elements(t: &Term) -> usize {
    t.axes.iter().map(|(n, _)| n).product()
}

fn is_zero(g: &Graph, v: Value) -> bool {
    match g.op(v) {
        Op::Broadcast | Op::Reshape => is_zero(g, g.args(v)[0]),
        _ => g.constant(v) == Some(Scalar::F32(0.0)),
    }
}

/// Rows and columns of a sum over the batch, if it is one matrix or vector.
pub(super) fn matrix(g: &Graph, sum: Value) -> Option<(usize, usize)> {
    let shape = g.shape(sum).at(Sizes::ONE);
    let all = shape.iter().product();
    match g.op(sum) {
        Op::MatMul if shape.len() == 2 => Some((shape[0], shape[1])),
        Op::Reduce(Fold::Sum, _) => Some((1, all)),
        Op::ScatterAdd(0) => Some((shape[0], all / shape[0].max(1))),
        _ => None,
    }
}

/// Whether each element of the result comes from one element of every operand.
pub(super) fn is_pointwise(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::Detach | Op::Broadcast | Op::Reshape
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Dim, Shape};

    /// A sum `[4, 6]` in the order that `moves` brings it to, element by element.
    fn places(moves: impl Fn(&mut Graph, Value) -> Value) -> Option<Vec<usize>> {
        let mut g = Graph::new();
        let rows = |n| Shape(vec![Dim::Rows(1), Dim::Fixed(n)]);
        let x = g.input("x", DType::F32, rows(4)).expect("an input");
        let y = g.input("y", DType::F32, rows(6)).expect("an input");
        let x = g.permute(x, &[1, 0]).expect("turned");
        let sum = g.matmul(x, y).expect("a sum");
        let v = moves(&mut g, sum);
        let is_sum = crate::ir::rows::sums(&g).expect("sums");
        let terms = terms(&g, &is_sum, v)?;
        let [term] = &terms[..] else { return None };
        let o = term.order(&g)?;
        let at = |i: usize, j: usize| o.row * i + o.outer * (j / o.block) + o.inner * (j % o.block);
        Some((0..24).map(|e| at(e / 6, e % 6)).collect())
    }

    #[test]
    fn orders_of_sums() {
        let straight: Vec<usize> = (0..24).collect();
        let flat = |g: &mut Graph, v| g.reshape(v, &Shape::fixed(&[24])).expect("flat");
        assert_eq!(places(|_, v| v), Some(straight.clone()));
        assert_eq!(places(flat), Some(straight));
        let turned: Vec<usize> = (0..24).map(|e| e % 6 * 4 + e / 6).collect();
        assert_eq!(places(|g, v| g.permute(v, &[1, 0]).expect("turned")), Some(turned));
        // [4, 3, 2] with the middle in front.
        let blocks: Vec<usize> = (0..24).map(|e| (e / 2 % 3) * 8 + e / 6 * 2 + e % 2).collect();
        let apart = |g: &mut Graph, v| {
            let v = g.reshape(v, &Shape::fixed(&[4, 3, 2])).expect("blocks");
            g.permute(v, &[1, 0, 2]).expect("turned")
        };
        assert_eq!(places(apart), Some(blocks));
    }
}
