//! Each rule of `simplify` on a graph just large enough to show it, and whole models.

mod affine;
mod models;
mod numeric;
mod products;
mod random;
mod siblings;
mod views;

use loopfm::interp::{Elements, eval, eval_values};
use loopfm::ir::rows::analyse;
use loopfm::ir::{Graph, parse};
use loopfm::simplify::{flops, simplify, simplify_observed};
use loopfm::tensor::{DType, HostTensor, Sizes, Tensors};

/// Sizes at which meanings are compared: several rows per request, and other numbers of rows than extents in tests.
const SIZES: Sizes = Sizes { rows: 7, requests: 3 };

/// A batch of users.
pub(crate) const BATCH: Sizes = Sizes {
    rows: 512,
    requests: 512,
};

/// One user with many candidates.
pub(crate) const SHARED: Sizes = Sizes { rows: 500, requests: 1 };

/// What `simplify` makes of a graph, after checking that its meaning stays.
pub(crate) struct Simplified {
    /// The result.
    pub(crate) graph: Graph,
    /// Its parameters.
    pub(crate) weights: Tensors,
}

/// Parses the nodes of a graph, header and outputs left out: the last node is the output `out`.
pub(crate) fn graph(nodes: &str) -> Graph {
    let lines: Vec<&str> = nodes.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let text = format!(
        "loopfm 1\n{}\nreturn \"out\" = %{}\n",
        lines.join("\n"),
        lines.len() - 1
    );
    parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The nodes of the simplified graph, as [`graph`] takes them.
pub(crate) fn simplified(nodes: &str) -> String {
    text(&check(&graph(nodes)).graph)
}

pub(crate) fn text(g: &Graph) -> String {
    let text = g.to_string();
    let nodes: Vec<&str> = text.lines().skip(1).filter(|l| !l.starts_with("return")).collect();
    nodes.join("\n")
}

/// Names of the ops of a graph, sorted.
pub(crate) fn names(g: &Graph) -> Vec<&str> {
    let mut names: Vec<&str> = g.iter().map(|(_, n)| n.op.name()).collect();
    names.sort_unstable();
    names
}

/// Asserts that a graph simplifies to another one.
#[track_caller]
pub(crate) fn becomes(nodes: &str, expected: &str) {
    let (seen, expected) = (simplified(nodes), text(&graph(expected)));
    assert!(seen == expected, "simplified to\n{seen}\nexpected\n{expected}");
}

/// Simplifies with random weights and compares meanings on a random batch.
#[track_caller]
pub(crate) fn check(g: &Graph) -> Simplified {
    let mut noise = Noise(1);
    let weights: Tensors = g
        .params()
        .map(|(_, name, ty)| (name.to_owned(), noise.tensor(ty.dtype, &ty.shape.per_row(), 3)))
        .collect();
    let batch: Tensors = g
        .inputs()
        .map(|(_, name, ty)| (name.to_owned(), noise.tensor(ty.dtype, &ty.shape.at(SIZES), 3)))
        .collect();
    check_on(g, &weights, &batch, SIZES)
}

/// [`compared`] for a graph that must pass.
#[track_caller]
pub(crate) fn check_on(g: &Graph, weights: &Tensors, batch: &Tensors, sizes: Sizes) -> Simplified {
    compared(g, weights, batch, sizes).unwrap_or_else(|e| panic!("{e}"))
}

/// Simplifies and compares types, inputs and meanings; that nothing is left to simplify; that rows stay apart.
pub(crate) fn compared(g: &Graph, weights: &Tensors, batch: &Tensors, sizes: Sizes) -> Result<Simplified, String> {
    // The graph just before constants are folded: all algebra, no rounding.
    let mut algebra = g.clone();
    let (graph, folded) = simplify_observed(g, weights, &mut |pass, after| {
        if pass != "fold" {
            algebra = after.clone();
        }
    })
    .map_err(|e| e.to_string())?;
    let inputs = |g: &Graph| g.inputs().map(|(_, n, ty)| format!("{n} {ty}")).collect::<Vec<_>>();
    if inputs(g) != inputs(&graph) {
        return Err(format!("inputs become {:?}", inputs(&graph)));
    }
    if analyse(g).is_ok() {
        analyse(&graph).map_err(|e| format!("{e}\n{graph}"))?;
    }
    for sizes in [BATCH, SHARED] {
        let (before, after) = (flops(g, sizes), flops(&graph, sizes));
        if after > before {
            return Err(format!("{before} operations become {after} for {sizes:?} in\n{graph}"));
        }
    }
    let wanted: Vec<_> = g.outputs.iter().map(|(_, v)| *v).collect();
    let before = eval_values::<f64>(g, weights, batch, sizes, &wanted).map_err(|e| e.to_string())?;
    for (g, weights, tolerance) in [(&algebra, weights, 1e-9), (&graph, &folded, 2e-5)] {
        let after = eval::<f64>(g, weights, batch, sizes).map_err(|e| format!("{e}\n{g}"))?;
        for ((name, after), before) in after.iter().zip(&before) {
            if before.shape != after.shape || !close(&before.data, &after.data, tolerance) {
                return Err(format!("{name} changes by more than {tolerance:e} in\n{g}"));
            }
        }
    }
    let (again, _) = simplify(&graph, &folded).map_err(|e| e.to_string())?;
    if again != graph {
        return Err(format!("simplified again\n{graph}\nbecomes\n{again}"));
    }
    Ok(Simplified { graph, weights: folded })
}

/// Largest difference at most `tolerance` of the largest magnitude; infinities and NaN in the same places.
pub(crate) fn close(x: &Elements<f64>, y: &Elements<f64>, tolerance: f64) -> bool {
    let (Elements::Float(x), Elements::Float(y)) = (x, y) else {
        return x == y;
    };
    let scale = x.iter().filter(|x| x.is_finite()).fold(1.0, |m: f64, x| m.max(x.abs()));
    let near = |x: &f64, y: &f64| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * scale;
    x.len() == y.len() && x.iter().zip(y).all(|(x, y)| near(x, y))
}

/// Reproducible values (xorshift).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as u32
    }

    /// Floats in 0.25..1.25, so that roots and quotients of variances make sense; integers below `bound`.
    pub(crate) fn tensor(&mut self, dtype: DType, shape: &[usize], bound: u32) -> HostTensor {
        let n = shape.iter().product();
        let float = |x: u32| 0.25 + x as f32 / (1 << 24) as f32;
        match dtype {
            DType::F32 => HostTensor::f32(shape, (0..n).map(|_| float(self.next())).collect()),
            DType::I32 => HostTensor::i32(shape, (0..n).map(|_| (self.next() % bound) as i32).collect()),
            DType::Bool => HostTensor::bool(shape, (0..n).map(|_| self.next().is_multiple_of(2)).collect()),
        }
    }
}
