//! Random graphs with weights and a batch: any ops, or the shapes of known models.

mod blocks;
mod build;
mod layout;
mod models;
mod moves;
mod steps;

use std::fmt;

use loopfm::interp;
use loopfm::ir::Graph;
use loopfm::tensor::{Dim, Shape, Sizes, Tensors};

use self::build::Build;
use crate::support::compare::{Tol, compare_outputs};
use crate::support::hosts;
use crate::support::rng::Rng;

pub(crate) use self::models::{dcn, din, mlp};

/// Extents at which kernels go wrong: around powers of two, and one.
pub(crate) const EXTENTS: &[usize] = &[
    1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129,
];

/// A graph and what it is run on. Its text, seed and sizes are what a failure prints.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What it was made of.
    pub(crate) name: String,
    pub(crate) graph: Graph,
    pub(crate) weights: Tensors,
    pub(crate) batch: Tensors,
    pub(crate) sizes: Sizes,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { rows, requests } = self.sizes;
        write!(f, "{}, {rows} rows of {requests} requests\n{}", self.name, self.graph)
    }
}

impl Case {
    fn new(name: String, build: Build) -> Self {
        Self {
            name,
            graph: build.graph,
            weights: build.weights,
            batch: build.batch,
            sizes: build.sizes,
        }
    }

    /// The outputs, in `f64`, rounded to `f32`.
    pub(crate) fn meaning(&self) -> Tensors {
        let outputs = interp::eval::<f64>(&self.graph, &self.weights, &self.batch, self.sizes);
        hosts(&outputs.unwrap_or_else(|e| panic!("{e}\n{self}")))
    }

    /// Whether rounding to `f32` alone does little to the outputs: then a larger difference is a fault.
    fn is_well_conditioned(&self) -> bool {
        let single = interp::eval::<f32>(&self.graph, &self.weights, &self.batch, self.sizes);
        single.is_ok_and(|y| compare_outputs(&hosts(&y), &self.meaning(), CONDITION).is_ok())
    }
}

/// How far `f32` may be from `f64` in a case.
pub(crate) const CONDITION: Tol = Tol {
    abs: 1e-6,
    rel: 0.0,
    of_max: 2e-5,
};

/// A random row-local graph with about `ops` operations. The same seed with fewer ops starts alike.
pub(crate) fn random(seed: u64, ops: usize) -> Case {
    let mut rng = Rng(seed);
    // An ill-conditioned graph is replaced by another one.
    loop {
        let mut build = Build::new(rng.next(), sizes(&mut rng));
        let mut pool = steps::leaves(&mut build);
        let computed = |b: &Build| b.graph.iter().filter(|(_, n)| !n.op.is_leaf()).count();
        let (start, mut attempts) = (computed(&build), 0);
        while computed(&build) < start + ops && attempts < 20 * ops {
            attempts += 1;
            if let Some(v) = moves::any(&mut build, &pool).filter(|v| !pool.contains(v)) {
                pool.push(v);
            }
        }
        steps::outputs(&mut build, &pool);
        let case = Case::new(format!("random graph, seed {seed:#x}, {ops} ops"), build);
        if case.is_well_conditioned() {
            return case;
        }
    }
}

/// How many operations the random graph of a seed has.
pub(crate) fn ops(seed: u64) -> usize {
    Rng(!seed).between(1, 25)
}

/// Rows and requests: one request, one each, or fewer requests than rows.
fn sizes(rng: &mut Rng) -> Sizes {
    let rows = rng.pick(&[1, 2, 3, 5, 7, 8, 9, 16, 17, 33]);
    let requests = match rng.below(3) {
        0 => 1,
        1 => rows,
        _ => rng.between(1, rows),
    };
    Sizes { rows, requests }
}

/// Runs `check` on `count` random graphs, or `LOOPFM_CASES` many, starting at the seed `LOOPFM_SEED`. A failure is
/// shown on the graph of that seed with the fewest operations that still fails.
pub(crate) fn for_random(count: u64, check: impl Fn(&Case) -> Result<(), String>) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|s| s.parse().unwrap_or_else(|_| panic!("{name}={s}")))
    };
    let first: u64 = number("LOOPFM_SEED").unwrap_or(1) << 32;
    for seed in first..first + number("LOOPFM_CASES").unwrap_or(count) {
        let failing = |ops: usize| {
            let case = random(seed, ops);
            check(&case).err().map(|why| (case, why))
        };
        if let Some(whole) = failing(ops(seed)) {
            let (case, why) = (1..ops(seed)).find_map(failing).unwrap_or(whole);
            panic!("{why}\n{case}");
        }
    }
}

/// A shape with rows first.
pub(crate) fn rows(rest: &[usize]) -> Shape {
    led(Dim::Rows(1), rest)
}

fn led(first: Dim, rest: &[usize]) -> Shape {
    Shape([first].into_iter().chain(rest.iter().map(|n| Dim::Fixed(*n))).collect())
}
