//! What values are made of: sums over the batch, or parameters, added up, side by side, turned, cut.

use super::term::Term;
use crate::ir::{Binary, Graph, Op, Scalar, Unary, Value};

/// What a value is made of, if it is nothing but such leaves added up, side by side, turned, cut.
pub(super) fn terms(g: &Graph, leaf: &dyn Fn(Value) -> Option<Term>, v: Value) -> Option<Vec<Term>> {
    let n = g.node(v);
    if let Some(term) = leaf(v) {
        return Some(vec![term]);
    }
    let of = |i: usize| terms(g, leaf, n.args[i]);
    let negative = |terms: Vec<Term>| terms.into_iter().map(Term::negative);
    match &n.op {
        Op::Reshape => {
            let to = n.ty.shape.per_row();
            of(0)?.into_iter().map(|t| t.reshaped(&to)).collect()
        }
        Op::Unary(Unary::Neg) => Some(negative(of(0)?).collect()),
        Op::Binary(Binary::Add) => Some(of(0)?.into_iter().chain(of(1)?).collect()),
        Op::Binary(Binary::Sub) => Some(of(0)?.into_iter().chain(negative(of(1)?)).collect()),
        Op::Permute(perm) => Some(of(0)?.into_iter().map(|t| t.turned(perm)).collect()),
        Op::Slice { axis, start, step, .. } => {
            let count = n.ty.shape.per_row()[*axis];
            of(0)?.into_iter().map(|t| t.cut(*axis, *start, *step, count)).collect()
        }
        Op::Concat(axis) => {
            let extent = n.ty.shape.per_row()[*axis];
            let mut all = Vec::new();
            let mut start = 0;
            for a in &n.args {
                if !is_zero(g, *a) {
                    let part = terms(g, leaf, *a)?;
                    all.extend(part.into_iter().map(|t| t.within(*axis, start, extent)));
                }
                start += g.shape(*a).per_row()[*axis];
            }
            Some(all)
        }
        _ => None,
    }
}

fn is_zero(g: &Graph, v: Value) -> bool {
    match g.op(v) {
        Op::Broadcast | Op::Reshape => is_zero(g, g.args(v)[0]),
        _ => g.constant(v) == Some(Scalar::F32(0.0)),
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
        let leaf = |v: Value| Term::whole(&g, v).filter(|_| is_sum[v.index()]);
        let terms = terms(&g, &leaf, v)?;
        let [term] = &terms[..] else { return None };
        let o = term.order(&g)?;
        let at = |i: usize, j: usize| term.offset() + o.row * i + o.outer * (j / o.block) + o.inner * (j % o.block);
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
        // Beside zeros, turned: column `4 + i` of row `j` in lines of 8.
        let beside: Vec<usize> = (0..24).map(|e| e % 6 * 8 + 4 + e / 6).collect();
        let aside = |g: &mut Graph, v| {
            let zero = g.constant_f32(0.0).expect("zero");
            let zeros = g.broadcast(zero, &Shape::fixed(&[4, 6])).expect("zeros");
            let v = g.concat(&[zeros, v], 0).expect("beside");
            g.permute(v, &[1, 0]).expect("turned")
        };
        assert_eq!(places(aside), Some(beside));
    }
}
