//! Products of the same rows that hand them on in registers: that they are found, and that they compute what is meant.

use loopfm::bundle::Precision;
use loopfm::compile::{Options, compile};
use loopfm::fuse::{Fusion, Profile, partition};
use loopfm::ir;
use loopfm::tensor::{HostTensor, Shape, Sizes, Tensors};

use crate::support::graphs::Case;
use crate::support::rng::Rng;

/// An attention: `lead` of histories of `m` rows of `k`, layers of `n` columns, then a weighted sum of rows of `pooled`.
struct Attention {
    lead: &'static [usize],
    m: usize,
    k: usize,
    n: &'static [usize],
    pooled: Option<usize>,
    /// Whether each row of the batch has a first matrix of its own.
    folded: bool,
    /// Products that take their rows from registers.
    chained: usize,
}

const ALL: &[Attention] = &[
    Attention {
        lead: &[],
        m: 50,
        k: 64,
        n: &[64, 16, 1],
        pooled: Some(64),
        folded: true,
        chained: 3,
    },
    // Several rows of the batch in a workgroup, the last ones beyond its end.
    Attention {
        lead: &[],
        m: 9,
        k: 20,
        n: &[8, 8, 1],
        pooled: Some(12),
        folded: false,
        chained: 3,
    },
    Attention {
        lead: &[],
        m: 33,
        k: 12,
        n: &[32, 1],
        pooled: Some(36),
        folded: true,
        chained: 2,
    },
    Attention {
        lead: &[3],
        m: 12,
        k: 7,
        n: &[16, 1],
        pooled: Some(8),
        folded: false,
        chained: 2,
    },
    Attention {
        lead: &[],
        m: 10,
        k: 33,
        n: &[96, 8],
        pooled: None,
        folded: false,
        chained: 1,
    },
    Attention {
        lead: &[],
        m: 8,
        k: 40,
        n: &[32, 32, 1],
        pooled: None,
        folded: true,
        chained: 2,
    },
    // Columns that lanes cannot share evenly.
    Attention {
        lead: &[],
        m: 16,
        k: 8,
        n: &[36, 1],
        pooled: Some(8),
        folded: false,
        chained: 0,
    },
    // More than lanes keep: the second product starts anew.
    Attention {
        lead: &[],
        m: 16,
        k: 64,
        n: &[64, 64, 8, 1],
        pooled: Some(8),
        folded: false,
        chained: 3,
    },
];

impl Attention {
    fn case(&self, seed: u64) -> Case {
        let Self { lead, m, k, .. } = *self;
        let axes = |last: &[usize]| {
            let all = lead.iter().chain(last).map(|n| format!(", {n}"));
            format!("f32[rows{}]", all.collect::<String>())
        };
        let mut lines: Vec<String> = Vec::new();
        let mut add = |text: String| {
            lines.push(format!("%{} = {text}", lines.len()));
            format!("%{}", lines.len() - 1)
        };
        let x = add(format!("input \"x\" : {}", axes(&[m, k])));
        let y = add(format!("input \"y\" : {}", axes(&[m, self.pooled.unwrap_or(1)])));
        let q = add(format!("input \"q\" : {}", axes(&[k, 1])));
        let (mut rows, mut inner) = (x, k);
        for (i, &n) in self.n.iter().enumerate() {
            let w = add(format!("param \"w{i}\" : f32[{inner}, {n}]"));
            let b = add(format!("param \"b{i}\" : f32[{n}]"));
            let w = match self.folded && i == 0 {
                true => {
                    let matrix = axes(&[inner, n]);
                    let (w, q) = (
                        add(format!("broadcast({w}) : {matrix}")),
                        add(format!("broadcast({q}) : {matrix}")),
                    );
                    let product = add(format!("mul({q}, {w}) : {matrix}"));
                    add(format!("add({product}, {w}) : {matrix}"))
                }
                false => w,
            };
            let ty = axes(&[m, n]);
            let product = add(format!("matmul({rows}, {w}) : {ty}"));
            let b = add(format!("broadcast({b}) : {ty}"));
            let sum = add(format!("add({product}, {b}) : {ty}"));
            rows = add(format!("sigmoid({sum}) : {ty}"));
            inner = n;
        }
        if let Some(d) = self.pooled {
            let scores = add(format!("reshape({rows}) : {}", axes(&[1, m])));
            rows = add(format!("matmul({scores}, {y}) : {}", axes(&[1, d])));
        }
        let text = format!("loopfm 1\n{}\nreturn \"z\" = {rows}\n", lines.join("\n"));
        let graph = ir::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut rng = Rng(seed);
        let mut random = |shape: &Shape, sizes: Sizes| {
            let extents = shape.at(sizes);
            HostTensor::f32(&extents, rng.floats(extents.iter().product(), 0.5))
        };
        let sizes = Sizes { rows: 5, requests: 1 };
        let weights: Tensors = (graph.params())
            .map(|(_, name, ty)| (name.to_owned(), random(&ty.shape, sizes)))
            .collect();
        let batch: Tensors = (graph.inputs())
            .map(|(_, name, ty)| (name.to_owned(), random(&ty.shape, sizes)))
            .collect();
        Case {
            name: format!("{lead:?} {m} {k} {:?}", self.n),
            graph,
            weights,
            batch,
            sizes,
        }
    }
}

#[test]
fn attentions_are_chains_where_lanes_share_loads() {
    for (seed, attention) in ALL.iter().enumerate() {
        let case = attention.case(seed as u64);
        let options = Options {
            profiles: vec![&Profile::SOFTWARE],
            ..Options::new(Precision::F16)
        };
        let bundle =
            compile("attention", &case.graph, &case.weights, &options).unwrap_or_else(|e| panic!("{e}\n{case}"));
        let chained = |profile: &Profile| {
            let graph = ir::parse(&bundle.graph).unwrap();
            let groups = partition(&graph, profile, Fusion::Full).unwrap().groups;
            groups
                .iter()
                .flat_map(|x| &x.steps)
                .filter(|s| s.into.is_some())
                .count()
        };
        assert_eq!(chained(&Profile::SOFTWARE), attention.chained, "{case}");
        assert_eq!(chained(&Profile::PORTABLE), 0, "{case}");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn chains_compute_what_is_meant() {
    use crate::oracle::{SOFTWARE, SOFTWARE_PACKED, Seen, check};
    use crate::support::gpu;

    let Some(device) = gpu::gpu() else { return };
    for (seed, attention) in ALL.iter().enumerate() {
        let case = attention.case(seed as u64);
        for way in [SOFTWARE, SOFTWARE_PACKED] {
            if way.serves(&device) {
                let seen = check(&device, &case, &way).unwrap_or_else(|e| panic!("{e}\n{case}"));
                assert!(seen == Seen::Right, "bounds too wide to say\n{case}");
            }
        }
    }
}
