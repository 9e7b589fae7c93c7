//! Stacks: the values of [`siblings`](super::siblings) along a new first axis, and what reads them.

use super::edit::{Edit, Replaced, pad, volume};
use super::siblings::{Operand, Packs};
use crate::ir::{Op, TensorType, TypeError, Value};
use crate::tensor::{Dim, Shape};

/// What an old value becomes where packs are stacked: a lane of its pack's stack, or itself with lanes that follow each
/// other read as one.
pub(super) fn replace(e: &mut Edit<'_>, packs: &Packs, stacks: &mut [Option<Value>], v: Value) -> Replaced {
    if let Some((pack, lane)) = packs.of.get(&v) {
        let stack = match stacks[*pack] {
            Some(stack) => stack,
            None => build(e, packs, stacks, &packs.lanes[*pack])?,
        };
        stacks[*pack] = Some(stack);
        let one = e.new.slice(stack, 0, *lane, lane + 1)?;
        return e.new.reshape(one, e.old.shape(v)).map(Some);
    }
    match e.old.op(v) {
        Op::Concat(axis) => concat(e, packs, stacks, v, *axis),
        _ => Ok(None),
    }
}

/// Parts that are all lanes of a pack, in order, are a view of its stack.
fn concat(e: &mut Edit<'_>, packs: &Packs, stacks: &[Option<Value>], v: Value, axis: usize) -> Replaced {
    let mut rest = e.old.args(v);
    let mut parts = Vec::new();
    while let Some((first, others)) = rest.split_first() {
        let pack = packs.of.get(first).map(|(pack, _)| *pack);
        match pack.filter(|p| rest.starts_with(&packs.lanes[*p])) {
            Some(pack) => {
                let stack = stacks[pack].expect("lanes are copied before their readers");
                parts.push(side_by_side(e, stack, axis)?);
                rest = &rest[packs.lanes[pack].len()..];
            }
            None => {
                parts.push(e.at(*first));
                rest = others;
            }
        }
    }
    if parts.len() == e.old.args(v).len() {
        return Ok(None);
    }
    e.new.concat(&parts, axis).map(Some)
}

/// `concat(v_1, .., v_n)` along an axis of the lanes.
fn side_by_side(e: &mut Edit<'_>, stack: Value, axis: usize) -> Result<Value, TypeError> {
    let lanes = e.new.shape(stack).0[0].factor();
    let mut perm: Vec<usize> = (1..e.new.shape(stack).rank()).collect();
    perm.insert(axis, 0);
    let y = e.new.permute(stack, &perm)?;
    let mut to = e.new.shape(y).clone();
    to.0.remove(axis);
    to.0[axis] = Dim::Fixed(lanes * to.0[axis].factor());
    e.new.reshape(y, &to)
}

/// The stack of lanes whose operands are stacked.
fn build(e: &mut Edit<'_>, packs: &Packs, stacks: &[Option<Value>], lanes: &[Value]) -> Result<Value, TypeError> {
    let first = lanes[0];
    let node = e.old.node(first);
    let to = behind(Dim::Fixed(lanes.len()), &node.ty.shape);
    if node.op == Op::MatMul {
        return product(e, packs, stacks, lanes, &to);
    }
    let mut args = Vec::new();
    for i in 0..node.args.len() {
        // A view reads its operand in the operand's own shape, everything else in that of the result.
        let shape = behind(to.0[0], e.old.shape(node.args[i]));
        args.push(stacked(e, packs, stacks, lanes, i, &shape)?);
    }
    let op = match node.op.clone() {
        Op::Reduce(fold, axes) => Op::Reduce(fold, axes.iter().map(|a| a + 1).collect()),
        Op::CumSum(axis) => Op::CumSum(axis + 1),
        Op::Concat(axis) => Op::Concat(axis + 1),
        Op::Permute(perm) => Op::Permute(std::iter::once(0).chain(perm.iter().map(|a| a + 1)).collect()),
        Op::Slice {
            axis,
            start,
            stop,
            step,
        } => Op::Slice {
            axis: axis + 1,
            start,
            stop,
            step,
        },
        Op::Broadcast => {
            let x = under(e, args[0], to.rank())?;
            return e.new.broadcast(x, &to);
        }
        op => op,
    };
    let ty = TensorType::new(node.ty.dtype, to);
    e.new.declare(op, &args, ty)
}

/// The stack of operand `i`, of a shape.
fn stacked(
    e: &mut Edit<'_>,
    packs: &Packs,
    stacks: &[Option<Value>],
    lanes: &[Value],
    i: usize,
    shape: &Shape,
) -> Result<Value, TypeError> {
    match packs.operand(e.old, lanes, i).expect("packs are of what stacks") {
        Operand::Pack(p) => Ok(stacks[p].expect("operands are copied before their readers")),
        Operand::Shared(x) => {
            let x = e.at(x);
            e.new.broadcast(x, shape)
        }
        Operand::Constants(all, _) => {
            let mut parts = Vec::new();
            for c in all {
                let c = e.ahead(c)?;
                let c = pad(&mut e.new, c, shape.rank())?;
                parts.push(c);
            }
            let c = e.new.concat(&parts, 0)?;
            e.new.broadcast(c, shape)
        }
    }
}

/// The stack of products.
fn product(
    e: &mut Edit<'_>,
    packs: &Packs,
    stacks: &[Option<Value>],
    lanes: &[Value],
    to: &Shape,
) -> Result<Value, TypeError> {
    let [a, w] = [0, 1].map(|i| e.old.args(lanes[0])[i]);
    let weights = match packs.operand(e.old, lanes, 1).expect("packs are of what stacks") {
        Operand::Pack(_) => {
            let shapes = [a, w].map(|x| behind(to.0[0], e.old.shape(x)));
            let x = stacked(e, packs, stacks, lanes, 0, &shapes[0])?;
            let y = stacked(e, packs, stacks, lanes, 1, &shapes[1])?;
            return e.new.matmul(x, y);
        }
        Operand::Shared(w) => {
            let shape = behind(to.0[0], e.old.shape(a));
            let x = stacked(e, packs, stacks, lanes, 0, &shape)?;
            let w = e.at(w);
            return e.new.matmul(x, w);
        }
        Operand::Constants(weights, _) => weights,
    };
    let weights = weights.into_iter().map(|w| e.ahead(w)).collect::<Result<Vec<_>, _>>()?;
    let width = to.0.last().map_or(1, |d| d.factor());
    if let Some(Operand::Shared(a)) = packs.operand(e.old, lanes, 0)
        && (width.is_multiple_of(4) || width == 1)
    {
        return beside(e, a, &weights, to);
    }
    // Rows in one axis, so that both operands have the lanes as their only leading one.
    let rows = e.old.shape(a);
    let (rows, inner) = (&rows.0[..rows.rank() - 1], rows.0[rows.rank() - 1]);
    let x = stacked(e, packs, stacks, lanes, 0, &behind(to.0[0], e.old.shape(a)))?;
    let (count, symbolic) = volume(rows);
    let rows = symbolic.map_or(Dim::Fixed(count), |d| d.with_factor(count));
    let x = e.new.reshape(x, &Shape(vec![to.0[0], rows, inner]))?;
    let mut parts = Vec::new();
    for w in weights {
        let one = behind(Dim::Fixed(1), e.new.shape(w));
        parts.push(e.new.reshape(w, &one)?);
    }
    let w = e.new.concat(&parts, 0)?;
    let y = e.new.matmul(x, w)?;
    e.new.reshape(y, to)
}

/// `x [W_1 .. W_n]` with its columns apart and the lanes in front.
fn beside(e: &mut Edit<'_>, a: Value, weights: &[Value], to: &Shape) -> Result<Value, TypeError> {
    let a = e.at(a);
    let w = e.new.concat(weights, 1)?;
    let y = e.new.matmul(a, w)?;
    let rank = to.rank();
    let mut apart = to.0[1..].to_vec();
    apart.insert(rank - 2, to.0[0]);
    let y = e.new.reshape(y, &Shape(apart))?;
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.remove(rank - 2);
    perm.insert(0, rank - 2);
    e.new.permute(y, &perm)
}

/// A shape behind a new first axis.
fn behind(first: Dim, shape: &Shape) -> Shape {
    Shape(std::iter::once(first).chain(shape.0.iter().copied()).collect())
}

/// A stack with axes of extent 1 behind the lanes up to a rank.
fn under(e: &mut Edit<'_>, stack: Value, rank: usize) -> Result<Value, TypeError> {
    let mut shape = e.new.shape(stack).clone();
    while shape.rank() < rank {
        shape.0.insert(1, Dim::Fixed(1));
    }
    e.new.reshape(stack, &shape)
}
