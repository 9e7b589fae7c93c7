//! The two reference workloads at their full size, with random weights and batches.
//!
//! W1 is a foundation model that runs offline and whose hidden layer is logged; W2 a vertical model that attends over a
//! user's history of such layers.

use loopfm::ir::{Binary, Graph, TypeError, Unary, Value};
use loopfm::nn;
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};

/// A model and a batch for it.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    pub(crate) weights: Tensors,
    pub(crate) batch: Tensors,
    pub(crate) sizes: Sizes,
}

/// W1 on 256 rows, W2 on 500 candidates of one user and on 512 users.
pub(crate) fn all() -> Vec<Workload> {
    let sizes = |rows, requests| Sizes { rows, requests };
    let graphs = [
        ("w1", w1(), sizes(256, 1)),
        ("w2-shared", w2(), sizes(500, 1)),
        ("w2-users", w2(), sizes(512, 512)),
    ];
    let workload = |(name, graph, sizes): (&str, Result<Graph, TypeError>, Sizes)| {
        let graph = graph.expect("the workload is well typed");
        let mut random = Random(1);
        let weights = weights(&graph, &mut random);
        let batch = graph.inputs().map(|(_, name, ty)| {
            let extents = ty.shape.at(sizes);
            let tensor = match ty.dtype {
                DType::F32 => random.floats(&extents, 1.0),
                DType::I32 => random.ids(&extents, 8 * IDS),
                DType::Bool => HostTensor::bool(&extents, vec![true; extents.iter().product()]),
            };
            (name.to_owned(), tensor)
        });
        let batch = batch.filter(|(name, _)| name != "request_of_row").collect();
        let name = name.to_owned();
        Workload {
            name,
            graph,
            weights,
            batch,
            sizes,
        }
    };
    graphs.into_iter().map(workload).collect()
}

/// Random weights of a graph's parameters.
pub(crate) fn weights(graph: &Graph, random: &mut Random) -> Tensors {
    let weights = graph.params().map(|(_, name, ty)| {
        let extents = ty.shape.per_row();
        // Keeps activations near 1 through any depth.
        let scale = (3.0 / *extents.last().unwrap_or(&1) as f32).sqrt();
        (name.to_owned(), random.floats(&extents, scale))
    });
    weights.collect()
}

/// Ids of a field: the tables of all fields stand in one.
const IDS: usize = 10_000;

/// 16 fields of 32; three full-rank cross layers beside an MLP 1024-512-256; `emb` of 256 and `logit`.
pub(crate) fn w1() -> Result<Graph, TypeError> {
    let mut g = Graph::new();
    let ids = g.input("ids", DType::I32, Shape(vec![Dim::Rows(1), Dim::Fixed(16)]))?;
    let table = g.param("table", &[16 * IDS, 32])?;
    let fields = g.gather(table, ids)?;
    let x0 = g.reshape(fields, &Shape(vec![Dim::Rows(1), Dim::Fixed(512)]))?;
    let mut x = x0;
    for i in 0..3 {
        let y = linear(&mut g, &format!("cross.{i}"), x, 512, 512)?;
        let y = g.binary(Binary::Mul, x0, y)?;
        x = g.binary(Binary::Add, y, x)?;
    }
    let deep = mlp(&mut g, "deep", x0, &[512, 1024, 512, 256], nn::relu)?;
    let deep = nn::relu(&mut g, deep)?;
    let both = g.concat(&[x, deep], 1)?;
    let emb = linear(&mut g, "emb", both, 768, 256)?;
    let logit = linear(&mut g, "logit", emb, 256, 1)?;
    g.outputs = vec![("emb".into(), emb), ("logit".into(), logit)];
    Ok(g)
}

/// 8 fields of 16, a candidate of 64 and a history of 50 of them; attention 256-64-16-1, then an MLP 256-256-128-1.
pub(crate) fn w2() -> Result<Graph, TypeError> {
    let mut g = Graph::new();
    let ids = g.input("ids", DType::I32, Shape(vec![Dim::Rows(1), Dim::Fixed(8)]))?;
    let candidate = g.input("cand", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(64)]))?;
    let per_request = |last: &[usize]| {
        let fixed = last.iter().map(|n| Dim::Fixed(*n));
        Shape([Dim::Requests(1), Dim::Fixed(50)].into_iter().chain(fixed).collect())
    };
    let history = g.input("hist", DType::F32, per_request(&[64]))?;
    let mask = g.input("mask", DType::Bool, per_request(&[]))?;
    let request_of_row = g.input("request_of_row", DType::I32, Shape(vec![Dim::Rows(1)]))?;
    let (history, mask) = (g.gather(history, request_of_row)?, g.gather(mask, request_of_row)?);
    let alpha = [g.param("att.alpha.0", &[1])?, g.param("att.alpha.1", &[1])?];
    let pooled = nn::target_attention(&mut g, candidate, history, mask, false, |g, pairs| {
        let hidden = linear(g, "att.0", pairs, 256, 64)?;
        let hidden = nn::prelu(g, hidden, alpha[0])?;
        let hidden = linear(g, "att.1", hidden, 64, 16)?;
        let hidden = nn::prelu(g, hidden, alpha[1])?;
        linear(g, "att.2", hidden, 16, 1)
    })?;
    let table = g.param("table", &[8 * IDS, 16])?;
    let fields = g.gather(table, ids)?;
    let fields = g.reshape(fields, &Shape(vec![Dim::Rows(1), Dim::Fixed(128)]))?;
    let all = g.concat(&[fields, pooled, candidate], 1)?;
    let logit = mlp(&mut g, "mlp", all, &[256, 256, 128, 1], nn::relu)?;
    let prob = g.unary(Unary::Sigmoid, logit)?;
    g.outputs = vec![("prob".into(), prob)];
    Ok(g)
}

fn linear(g: &mut Graph, name: &str, x: Value, from: usize, to: usize) -> nn::Built {
    let weight = g.param(&format!("{name}.weight"), &[to, from])?;
    let bias = g.param(&format!("{name}.bias"), &[to])?;
    nn::linear(g, x, weight, Some(bias))
}

pub(crate) fn mlp(
    g: &mut Graph,
    name: &str,
    mut x: Value,
    widths: &[usize],
    activation: fn(&mut Graph, Value) -> nn::Built,
) -> nn::Built {
    for (i, w) in widths.windows(2).enumerate() {
        x = if i == 0 { x } else { activation(g, x)? };
        x = linear(g, &format!("{name}.{i}"), x, w[0], w[1])?;
    }
    Ok(x)
}

/// Knuth's linear congruence: enough to be different numbers, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Even between `-scale` and `scale`.
    pub(crate) fn floats(&mut self, shape: &[usize], scale: f32) -> HostTensor {
        let unit = |x: u64| x as f32 / (1u64 << 30) as f32 - 1.0;
        let values = (0..shape.iter().product()).map(|_| scale * unit(self.next()));
        HostTensor::f32(shape, values.collect())
    }

    fn ids(&mut self, shape: &[usize], below: usize) -> HostTensor {
        let values = (0..shape.iter().product()).map(|_| (self.next() % below as u64) as i32);
        HostTensor::i32(shape, values.collect())
    }
}
