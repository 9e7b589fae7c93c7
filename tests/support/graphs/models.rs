//! Graphs shaped as the models users bring, of random sizes.

use loopfm::ir::{Binary, Op, Scalar, Unary, Value};
use loopfm::tensor::{Data, Dim, Shape, Sizes};

use super::build::Build;
use super::{Case, EXTENTS, blocks, led, rows, sizes};
use crate::support::rng::Rng;

const MODERATE: &str = "layers keep values moderate";

fn finish(name: &str, seed: u64, mut b: Build, logit: Value) -> Case {
    let score = b.unary(Unary::Sigmoid, logit).expect(MODERATE);
    b.graph.outputs = vec![("logit".into(), logit), ("score".into(), score)];
    Case::new(format!("{name}, seed {seed:#x}"), b)
}

/// Layers with activations, then one score. `[rows, k] -> [rows, 1]`.
fn tower(b: &mut Build, x: Value, depth: usize) -> Value {
    let mut h = x;
    for _ in 0..depth {
        let n = b.rng.pick(EXTENTS);
        let y = b.linear(h, n).expect(MODERATE);
        h = b.activation(y).expect(MODERATE);
    }
    b.linear(h, 1).expect(MODERATE)
}

/// Embeddings of ids, one table for each field, next to each other: `[rows, fields * width]`.
fn embedded(b: &mut Build, name: &str, dim: Dim, fields: usize, width: usize) -> Value {
    let shape = led(dim, &[fields]);
    let mut columns = Vec::new();
    let vocabularies: Vec<usize> = (0..fields).map(|_| b.rng.pick(EXTENTS)).collect();
    let rows = dim.at(b.sizes);
    let mut ids = Vec::new();
    for _ in 0..rows {
        ids.extend(vocabularies.iter().map(|n| b.rng.below(*n) as i32));
    }
    let ids = b.input(name, shape, Data::I32(ids));
    for (field, n) in vocabularies.into_iter().enumerate() {
        let op = Op::Slice {
            axis: 1,
            start: field,
            stop: field + 1,
            step: 1,
        };
        let id = if fields == 1 {
            ids
        } else {
            b.apply(op, &[ids]).expect("a column")
        };
        let id = b.reshape(id, Shape(vec![dim])).expect("one id a row");
        let table = b.param(&[n, width], 1.0);
        columns.push(b.apply(Op::Gather(0), &[table, id]).expect("ids are of the table"));
    }
    b.apply(Op::Concat(1), &columns).expect("columns of one width")
}

/// Dense features through a tower.
pub(crate) fn mlp(seed: u64) -> Case {
    let mut rng = Rng(seed);
    let mut b = Build::new(rng.next(), sizes(&mut rng));
    let width = rng.pick(EXTENTS);
    let data = rng.floats(b.sizes.rows * width, 1.0);
    let x = b.input("dense", rows(&[width]), Data::F32(data));
    let logit = tower(&mut b, x, rng.between(1, 5));
    finish("mlp", seed, b, logit)
}

/// Deep and cross network, version 2: `x = x0 * (x W + b) + x`, next to a tower.
pub(crate) fn dcn(seed: u64) -> Case {
    let mut rng = Rng(seed);
    let mut b = Build::new(rng.next(), sizes(&mut rng));
    let (fields, width) = (rng.between(1, 12), rng.pick(&[1, 4, 8, 10, 16]));
    let x0 = embedded(&mut b, "ids", Dim::Rows(1), fields, width);
    let mut x = x0;
    for _ in 0..rng.between(1, 3) {
        let y = b.linear(x, fields * width).expect(MODERATE);
        let y = b.tame(y, 2.0).expect(MODERATE);
        let crossed = b.binary(Binary::Mul, y, x0).expect(MODERATE);
        x = b.binary(Binary::Add, crossed, x).expect(MODERATE);
    }
    let deep = {
        let n = rng.pick(EXTENTS);
        let y = b.linear(x0, n).expect(MODERATE);
        b.activation(y).expect(MODERATE)
    };
    let both = b.apply(Op::Concat(1), &[x, deep]).expect(MODERATE);
    let logit = b.linear(both, 1).expect(MODERATE);
    finish("dcn", seed, b, logit)
}

/// Deep interest network: a history of ids (0 is padding) scored against the candidate; the history may be of the
/// request.
pub(crate) fn din(seed: u64) -> Case {
    let mut rng = Rng(seed);
    let sizes: Sizes = sizes(&mut rng);
    let mut b = Build::new(rng.next(), sizes);
    let (vocabulary, width, t) = (
        rng.pick(&EXTENTS[4..]),
        rng.pick(&[4, 8, 16, 24, 32]),
        rng.pick(&EXTENTS[..16]),
    );
    let of = if rng.one_in(2) { Dim::Requests(1) } else { Dim::Rows(1) };
    let item = Data::I32(rng.ids(sizes.rows, vocabulary));
    let item = b.input("item", Shape(vec![Dim::Rows(1)]), item);
    let history = Data::I32(rng.ids(of.at(sizes) * t, vocabulary));
    let mut history = b.input("history", led(of, &[t]), history);
    if of == Dim::Requests(1) {
        let row = b.request_of_row();
        history = b.apply(Op::Gather(0), &[history, row]).expect("a request of the batch");
    }
    let fields = rng.between(1, 4);
    let profile = embedded(&mut b, "profile", Dim::Rows(1), fields, width);
    let table = b.param(&[vocabulary, width], 1.0);
    let query = b.apply(Op::Gather(0), &[table, item]).expect("ids are of the table");
    let keys = b.apply(Op::Gather(0), &[table, history]).expect("ids are of the table");
    let pooled = attend(&mut b, query, keys, history, rng.one_in(2)).expect(MODERATE);
    let all = b.apply(Op::Concat(1), &[query, pooled, profile]).expect(MODERATE);
    let all = b.tame(all, 4.0).expect(MODERATE);
    let logit = tower(&mut b, all, rng.between(1, 3));
    finish("din", seed, b, logit)
}

/// `[rows, E]`: keys weighted by their scores, padding left out.
fn attend(b: &mut Build, query: Value, keys: Value, history: Value, softmax: bool) -> Option<Value> {
    let (t, width) = (b.fixed_axis(keys, 1)?, b.fixed_axis(keys, 2)?);
    let query = b.reshape(query, rows(&[1, width]))?;
    let score = blocks::din_score(b, query, keys)?;
    let score = b.reshape(score, rows(&[t]))?;
    let padding = b.constant(Scalar::I32(0));
    let mask = b.binary(Binary::Ne, history, padding)?;
    let fill = b.float(if softmax { -30.0 } else { 0.0 });
    let fill = b.broadcast(fill, &rows(&[t]))?;
    let score = b.apply(Op::Select, &[mask, score, fill])?;
    let weight = if softmax { b.softmax(score, 1)? } else { score };
    let weight = b.reshape(weight, rows(&[1, t]))?;
    let weight = if softmax { weight } else { b.tame(weight, 0.5)? };
    let pooled = b.apply(Op::MatMul, &[weight, keys])?;
    b.reshape(pooled, rows(&[width]))
}
