//! Where a random graph starts and ends.

use loopfm::ir::{Op, Value};
use loopfm::tensor::{DType, Data, Dim, Shape};

use super::build::Build;
use super::{EXTENTS, led};
use crate::support::rng::Rng;

/// Elements of a row that an input or an intermediate value may have.
pub(super) const PER_ROW: usize = 4096;

/// Inputs of random kinds; at least ids, and floats of some shape. Those of requests are gathered to rows.
pub(super) fn leaves(b: &mut Build) -> Vec<Value> {
    let mut given = vec![leaf(b, "ids", 0, Dim::Rows(1), &[])];
    for i in 0..b.rng.between(1, 4) {
        let dim = if b.rng.one_in(3) {
            Dim::Requests(1)
        } else {
            Dim::Rows(1)
        };
        let kind = if i == 0 { 1 } else { b.rng.below(5) };
        let rest = extents(&mut b.rng);
        given.push(leaf(b, &format!("x{i}"), kind, dim, &rest));
    }
    let of_requests = |b: &Build, v: Value| b.shape(v).0[0] == Dim::Requests(1);
    if !given.iter().any(|v| of_requests(b, *v)) {
        return given;
    }
    let row = b.request_of_row();
    let to_rows = |b: &mut Build, v: Value| match of_requests(b, v) {
        true => b.apply(Op::Gather(0), &[v, row]).expect("a request of the batch"),
        false => v,
    };
    given.into_iter().map(|v| to_rows(b, v)).collect()
}

/// Up to three extents that hold a moderate number of elements together.
fn extents(rng: &mut Rng) -> Vec<usize> {
    let mut extents = Vec::new();
    for _ in 0..rng.pick(&[0, 1, 1, 2, 2, 3]) {
        let room = PER_ROW / 8 / extents.iter().product::<usize>();
        let fitting: Vec<usize> = EXTENTS.iter().copied().filter(|n| *n <= room).collect();
        extents.push(rng.pick(&fitting));
    }
    extents
}

fn leaf(b: &mut Build, name: &str, kind: usize, dim: Dim, rest: &[usize]) -> Value {
    let shape = led(dim, rest);
    let n = shape.numel(b.sizes);
    let data = match kind {
        0 => Data::I32(b.rng.ids(n, 20)),
        1..=3 => Data::F32(b.rng.floats(n, 2.0)),
        _ => Data::Bool((0..n).map(|_| b.rng.one_in(2)).collect()),
    };
    b.input(name, shape, data)
}

/// Returns the last values that nothing reads, rows first.
pub(super) fn outputs(b: &mut Build, pool: &[Value]) {
    let users = b.graph.users();
    let wanted = |v: &Value| {
        let shape = b.graph.shape(*v);
        users[v.index()].is_empty() && shape.symbolic().is_some() && !b.graph.op(*v).is_leaf()
    };
    let mut wanted: Vec<Value> = pool.iter().copied().filter(wanted).collect();
    wanted.drain(..wanted.len().saturating_sub(4));
    if wanted.is_empty() {
        wanted.push(pool[0]);
    }
    for (i, v) in wanted.into_iter().enumerate() {
        let v = rows_first(b, v);
        if b.graph.outputs.iter().all(|(_, w)| *w != v) {
            b.graph.outputs.push((format!("y{i}"), v));
        }
    }
}

/// `[.., k*rows, ..]` as `[rows, k, ..]`.
fn rows_first(b: &mut Build, v: Value) -> Value {
    let shape = b.shape(v);
    let (axis, dim) = shape.symbolic().expect("chosen so");
    let order: Vec<usize> = [axis]
        .into_iter()
        .chain((0..shape.rank()).filter(|a| *a != axis))
        .collect();
    let moved = match axis {
        0 => v,
        _ => b.apply(Op::Permute(order), &[v]).expect("values stay moderate"),
    };
    let mut dims = b.shape(moved).0;
    if dim.factor() > 1 {
        dims.splice(0..1, [Dim::Rows(1), Dim::Fixed(dim.factor())]);
    }
    b.reshape(moved, Shape(dims)).expect("values stay moderate")
}

/// A float value whose elements keep their distance from whole and half numbers, so that rounding cannot move one
/// across a step: eighths from an integer value.
pub(super) fn eighths(b: &mut Build, ints: Value) -> Option<Value> {
    let x = b.cast(ints, DType::F32)?;
    let x = b.scaled(x, 0.25)?;
    let eighth = b.float(0.125);
    b.binary(loopfm::ir::Binary::Sub, x, eighth)
}
