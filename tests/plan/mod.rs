//! What the compiler plans, without running it: how many dispatches, within which limits, and how much arithmetic.

mod large;

use std::path::Path;

use loopfm::bundle::{Bundle, Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::fuse::{Fusion, Profile, partition};
use loopfm::import;
use loopfm::ir::{self, Binary, Graph, Op, Value};
use loopfm::nn::{self, Built};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

use crate::support::graphs;
use crate::support::models;
use crate::support::rng::Rng;

fn portable(precision: Precision) -> Options {
    Options {
        profiles: vec![&Profile::PORTABLE],
        ..Options::new(precision)
    }
}

fn dispatches(bundle: &Bundle) -> usize {
    let counts = bundle.manifest.variants.iter().map(|v| v.kernels.len());
    counts.max().expect("a bundle has variants")
}

/// Models of the repository, each once.
fn in_repository() -> impl Iterator<Item = models::Golden> {
    let first = |file: &std::path::PathBuf| file.ends_with("golden.io.safetensors");
    models::in_repository()
        .into_iter()
        .filter(first)
        .map(|f| models::load(&f))
}

#[test]
fn known_models_take_few_dispatches() {
    let most = [
        ("w1", 7),
        ("w2", 3),
        ("din", 5),
        ("din_rowdice", 5),
        ("dcnv2", 5),
        ("dcnv2_mix", 5),
        ("dcnmix_wide", 5),
    ];
    let mut seen = 0;
    for golden in in_repository() {
        let folder = golden.name.split('/').next().unwrap_or_default();
        let Some((_, most)) = most.iter().find(|(name, _)| *name == folder) else {
            continue;
        };
        let m = &golden.model;
        let bundle = compile(&m.name, &m.graph, &m.weights, &Options::new(Precision::F16)).unwrap();
        let n = dispatches(&bundle);
        eprintln!("{folder}: {n} dispatches");
        assert!(n <= *most, "{folder} takes {n} dispatches, should take at most {most}");
        seen += 1;
    }
    assert_eq!(seen, most.len());
}

/// The rule: a model takes one dispatch for its rows and one for its requests, each one more where something works on
/// eight or more inner rows, one more before every matmul but the first whose weights are heavy, and one more for each
/// [`Profile::steps`] steps.
pub(crate) fn rule(g: &Graph, bundle: &Bundle, profile: &Profile) -> usize {
    let spaces = 1 + usize::from(g.inputs().any(|(_, _, ty)| matches!(ty.shape.0[0], Dim::Requests(_))));
    let inner = |v: Value| g.shape(v).per_row().iter().rev().skip(1).product::<usize>();
    let anchors = || g.iter().filter(|(_, n)| matches!(n.op, Op::MatMul | Op::Gru));
    let wide = anchors().any(|(v, _)| inner(v) >= 8);
    let heavy = |bytes: usize| bytes >= profile.heavy_bytes;
    let heavies = g
        .params()
        .filter(|(_, _, ty)| heavy(2 * ty.shape.per_row().iter().product::<usize>()));
    let simplified = ir::parse(&bundle.graph).unwrap();
    let groups = partition(&simplified, profile, Fusion::Full).unwrap().groups;
    let steps: usize = groups.iter().map(|x| x.steps.len()).sum();
    spaces * (1 + usize::from(wide)) + heavies.count().saturating_sub(1) + steps / profile.steps
}

#[test]
fn dispatches_follow_a_rule() {
    let mut most = [0; 3];
    for seed in 0..40 {
        let cases = [graphs::mlp(seed), graphs::dcn(seed), graphs::din(seed)];
        for (most, case) in most.iter_mut().zip(&cases) {
            for profile in Profile::ALL {
                let options = Options {
                    profiles: vec![profile],
                    rungs: vec![Rung::Packed],
                    ..Options::new(Precision::F16)
                };
                let bundle =
                    compile("model", &case.graph, &case.weights, &options).unwrap_or_else(|e| panic!("{e}\n{case}"));
                let (n, rule) = (dispatches(&bundle), rule(&case.graph, &bundle, profile));
                assert!(n <= rule, "{n} dispatches, the rule says {rule}\n{case}");
                *most = n.max(*most);
            }
        }
    }
    eprintln!("at most {most:?} dispatches in mlp, dcn, din");
}

#[test]
fn portable_kernels_keep_to_the_limits_of_every_device() {
    for golden in in_repository() {
        let m = &golden.model;
        for precision in [Precision::F16, Precision::F32] {
            let bundle = compile(&m.name, &m.graph, &m.weights, &portable(precision)).unwrap();
            for variant in &bundle.manifest.variants {
                for k in &variant.kernels {
                    // The uniform buffer is no storage buffer.
                    let buffers = k.bindings.len() - 1;
                    let fits = buffers <= 8 && k.workgroup_bytes <= 16 << 10 && k.invocations <= 256;
                    assert!(fits, "{} `{}`: {k:?}", golden.name, k.name);
                }
                assert!(variant.needs.storage_buffers <= 8 && variant.needs.workgroup_bytes <= 16 << 10);
            }
        }
    }
}

/// Texts of the kernels of a model for software adapters.
fn software_texts(name: &str, g: &Graph, weights: &Tensors) -> Vec<String> {
    let options = Options {
        profiles: vec![&Profile::SOFTWARE],
        ..Options::new(Precision::F16)
    };
    let bundle = compile(name, g, weights, &options).unwrap();
    let kernels = bundle.manifest.variants.iter().flat_map(|v| &v.kernels);
    kernels.map(|k| bundle.wgsl[&k.wgsl].clone()).collect()
}

/// Places of a text where it reads or writes memory that lanes go through one by one.
fn touches(text: &str) -> usize {
    let body = text.split_once("fn main").map_or("", |(_, body)| body);
    ["values[", "inputs[", "slots["]
        .iter()
        .map(|m| body.matches(m).count())
        .sum()
}

#[test]
fn drivers_of_software_adapters_get_short_texts() {
    for golden in in_repository() {
        let m = &golden.model;
        for text in software_texts(&m.name, &m.graph, &m.weights) {
            assert!(!text.contains("weights0["), "weights are textures\n{text}");
            // What loops depend on, lavapipe compiles into a kernel, at each dispatch.
            let mut loops = text.lines().filter(|l| l.trim_start().starts_with("for ("));
            assert!(!loops.any(|l| l.contains("sizes.")), "{text}");
        }
        if golden.name.starts_with("w1/") {
            let most = software_texts(&m.name, &m.graph, &m.weights)
                .iter()
                .map(|t| touches(t))
                .max();
            assert!(most <= Some(32), "a kernel of W1 touches memory in {most:?} places");
        }
    }
}

/// A concat of a row's normalised parts, which gates a layer or is read by one: where its parts are not in memory as one,
/// every element of the first asks which part it is in, and the second is a loop for each.
fn joined_parts(gates: bool) -> Result<(Graph, Tensors), ir::TypeError> {
    const PARTS: usize = 9;
    let mut s = Sketch::new();
    let x =
        s.g.input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(8 * PARTS)]))?;
    let part = |i: usize| -> Built {
        let part = s.g.slice(x, 1, 8 * i, 8 * (i + 1))?;
        let affine = (
            s.param(&format!("scale{i}"), &[8])?,
            s.param(&format!("shift{i}"), &[8])?,
        );
        nn::layer_norm(&mut s.g, part, Some(affine), 1e-5)
    };
    let parts = (0..PARTS).map(part).collect::<Result<Vec<_>, _>>()?;
    let joined = s.g.concat(&parts, 1)?;
    let layers = s.layers("layers", &[8 * PARTS, 8 * PARTS, 1])?;
    let relu = |g: &mut Graph, _: usize, x: Value| nn::relu(g, x);
    let hidden = if gates {
        let gate = nn::mlp(&mut s.g, x, &layers[..1], relu)?;
        s.g.binary(Binary::Mul, gate, joined)?
    } else {
        nn::mlp(&mut s.g, joined, &layers[..1], relu)?
    };
    let logit = nn::mlp(&mut s.g, hidden, &layers[1..], relu)?;
    s.g.outputs.push(("logit".into(), logit));
    Ok((s.g, s.weights))
}

#[test]
fn joined_parts_are_stored_before_layers_read_them() {
    for gates in [true, false] {
        let (g, weights) = joined_parts(gates).unwrap();
        let (g, _) = loopfm::simplify::simplify(&g, &weights).expect("simplifies");
        for profile in Profile::ALL {
            let parts = partition(&g, profile, Fusion::Full).unwrap();
            let roots = parts.groups.iter().flat_map(|x| &x.steps).map(|s| s.root);
            let stored = roots.filter(|v| matches!(g.op(*v), Op::Concat(_))).count();
            assert_eq!(stored, 1, "{}, gates {gates}", profile.name);
        }
    }
}

/// A model in the making: parameters get random weights.
struct Sketch {
    g: Graph,
    weights: Tensors,
}

impl Sketch {
    fn new() -> Self {
        Self {
            g: Graph::new(),
            weights: Tensors::new(),
        }
    }

    fn param(&mut self, name: &str, extents: &[usize]) -> Built {
        let values = Rng(self.weights.len() as u64).floats(extents.iter().product(), 0.1);
        self.weights.insert(name.into(), HostTensor::f32(extents, values));
        self.g.param(name, extents)
    }

    /// Linear layers of these widths.
    fn layers(&mut self, name: &str, widths: &[usize]) -> Result<Vec<(Value, Option<Value>)>, ir::TypeError> {
        let layer = |(i, w): (usize, &[usize])| {
            let weight = self.param(&format!("{name}.{i}.weight"), &[w[1], w[0]])?;
            let bias = self.param(&format!("{name}.{i}.bias"), &[w[1]])?;
            Ok((weight, Some(bias)))
        };
        widths.windows(2).enumerate().map(layer).collect()
    }
}

/// Attention over 50 positions of width 64, scored by 256-64-16-1, and a tower 256-256-128-1.
fn full_w2() -> Result<(Graph, Tensors), ir::TypeError> {
    let mut s = Sketch::new();
    let shape =
        |first: Dim, rest: &[usize]| Shape([first].into_iter().chain(rest.iter().map(|n| Dim::Fixed(*n))).collect());
    let (rows, requests) = (Dim::Rows(1), Dim::Requests(1));
    let ids = s.g.input("ids", DType::I32, shape(rows, &[8]))?;
    let candidate = s.g.input("cand", DType::F32, shape(rows, &[64]))?;
    let history = s.g.input("hist", DType::F32, shape(requests, &[50, 64]))?;
    let mask = s.g.input("mask", DType::Bool, shape(requests, &[50]))?;
    let request = s.g.input(ir::REQUEST_OF_ROW, DType::I32, shape(rows, &[]))?;
    let (history, mask) = (s.g.gather(history, request)?, s.g.gather(mask, request)?);
    let table = s.param("emb.weight", &[8000, 16])?;
    let embedded = s.g.gather(table, ids)?;
    let embedded = s.g.reshape(embedded, &shape(rows, &[128]))?;
    let alphas = [s.param("a1", &[1])?, s.param("a2", &[1])?];
    let scorer = s.layers("att", &[256, 64, 16, 1])?;
    let pooled = nn::target_attention(&mut s.g, candidate, history, mask, false, |g, pairs| {
        nn::mlp(g, pairs, &scorer, |g, i, x| nn::prelu(g, x, alphas[i]))
    })?;
    let all = nn::beside(&mut s.g, &[embedded, pooled, candidate])?;
    let tower = s.layers("mlp", &[256, 256, 128, 1])?;
    let logit = nn::mlp(&mut s.g, all, &tower, |g, _, x| nn::relu(g, x))?;
    let prob = s.g.unary(ir::Unary::Sigmoid, logit)?;
    s.g.outputs.push(("prob".into(), prob));
    Ok((s.g, s.weights))
}

#[test]
fn the_plan_of_w2_does_a_fraction_of_its_arithmetic() {
    let mut models = vec![("by hand", full_w2().unwrap())];
    match std::env::var_os("LOOPFM_EXPORTS") {
        Some(folder) => {
            let m = import::load(&Path::new(&folder).join("w2/model.safetensors")).unwrap();
            models.push(("exported", (m.graph, m.weights)));
        }
        None => eprintln!("w2 by hand alone: LOOPFM_EXPORTS names no folder of exports"),
    }
    for (name, (graph, weights)) in models {
        let bundle = compile("w2", &graph, &weights, &portable(Precision::F16)).unwrap();
        let flops = bundle.manifest.flops;
        // Nothing is shared where every row is a request.
        let planned = flops.planned_per_row + flops.planned_per_request;
        eprintln!(
            "w2 {name}: {:.2} times fewer, {:.2} with one request; {flops:?}",
            flops.written_per_row / planned,
            flops.written_per_row / flops.planned_per_row
        );
        assert!(flops.written_per_row >= 2.5 * planned, "w2 {name}: {flops:?}");
        assert!(dispatches(&bundle) <= 3, "w2 {name}");
        // Between the layers of the attention lanes hand rows on: only the candidate's part lies in workgroup memory.
        let options = Options {
            profiles: vec![&Profile::SOFTWARE],
            ..Options::new(Precision::F16)
        };
        let bundle = compile("w2", &graph, &weights, &options).unwrap();
        let kernels = &bundle.manifest.variants[0].kernels;
        assert_eq!((kernels.len(), kernels[0].workgroup_bytes), (2, 4 * 64), "w2 {name}");
        // Scores too: the history is read once.
        let planned = ir::parse(&bundle.graph).unwrap();
        let groups = partition(&planned, &Profile::SOFTWARE, Fusion::Full).unwrap().groups;
        let chained = groups.iter().flat_map(|x| &x.steps).filter(|s| s.into.is_some());
        assert_eq!(chained.count(), 3, "w2 {name}");
    }
}

#[test]
fn compiling_twice_gives_the_same_bytes() {
    let bytes = |g: &Graph, w: &Tensors| {
        let bundle = compile("model", g, w, &Options::new(Precision::F16)).unwrap();
        bundle.to_bytes().unwrap()
    };
    let same = |name: &str, g: &Graph, w: &Tensors| assert!(bytes(g, w) == bytes(g, w), "{name} differs");
    for golden in in_repository() {
        same(&golden.name, &golden.model.graph, &golden.model.weights);
    }
    for seed in 0..8 {
        let case = graphs::random(seed, 20);
        same(&case.to_string(), &case.graph, &case.weights);
    }
}
