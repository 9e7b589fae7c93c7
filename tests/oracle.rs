//! Random graphs on the GPU against the interpreter, each element within the error that rounding explains.
//!
//! `LOOPFM_CASES` and `LOOPFM_SEED` choose how many graphs and where they start. Most run fused in f32 under the
//! portable profile; every tenth also unfused and under the discrete profile, every tenth with weights in f16, every
//! twentieth reading these natively, and on a software adapter every other one under the profile for these.

use std::sync::Arc;
use std::time::Instant;

use loopfm::bundle::{Precision, Rung};
use loopfm::compile::{Options, compile};
use loopfm::fuse::{Fusion, Profile};
use loopfm::interp::{self, Rounding};
use loopfm::run::{self, Capacity, Device, Runtime};

use crate::support::compare::within;
use crate::support::gpu;
use crate::support::graphs::{self, Case};
use crate::support::rng::Rng;

/// Operations of the largest graph: a software driver compiles its kernels in moments.
const OPS: usize = 12;

/// One way to compile a graph.
pub(crate) struct Way {
    name: &'static str,
    profile: &'static Profile,
    rung: Rung,
    fusion: Fusion,
}

impl Way {
    /// Whether the device can run kernels compiled this way.
    pub(crate) fn serves(&self, device: &Device) -> bool {
        (self.rung != Rung::Native || device.report().f16) && gpu::serves(device, self.profile)
    }
}

const FUSED: Way = Way {
    name: "fused, portable, f32",
    profile: &Profile::PORTABLE,
    rung: Rung::F32,
    fusion: Fusion::Full,
};
const UNFUSED: Way = Way {
    name: "unfused, portable, f32",
    fusion: Fusion::None,
    ..FUSED
};
const DISCRETE: Way = Way {
    name: "fused, discrete, f32",
    profile: &Profile::DISCRETE,
    ..FUSED
};
const PACKED: Way = Way {
    name: "fused, portable, packed",
    rung: Rung::Packed,
    ..FUSED
};
const NATIVE: Way = Way {
    name: "fused, portable, native",
    rung: Rung::Native,
    ..FUSED
};

pub(crate) const SOFTWARE: Way = Way {
    name: "fused, software, f32",
    profile: &Profile::SOFTWARE,
    ..FUSED
};
pub(crate) const SOFTWARE_PACKED: Way = Way {
    name: "fused, software, packed",
    rung: Rung::Packed,
    ..SOFTWARE
};

/// How the case of this number is run.
fn ways(number: u64) -> Vec<Way> {
    let mut ways = vec![FUSED];
    match number % 20 {
        0 | 10 => ways.extend([UNFUSED, DISCRETE]),
        5 => ways.push(PACKED),
        15 => ways.extend([PACKED, NATIVE]),
        3 | 13 => ways.push(SOFTWARE_PACKED),
        n if n % 2 == 1 => ways.push(SOFTWARE),
        _ => {}
    }
    ways
}

/// Whether the case said something: its bounds may be too wide to.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    Right,
    Nothing,
}

pub(crate) fn check(device: &Arc<Device>, case: &Case, way: &Way) -> Result<Seen, String> {
    let (precision, rounding) = match way.rung {
        Rung::F32 => (Precision::F32, Rounding::GPU),
        Rung::Packed | Rung::Native => (Precision::F16, Rounding::GPU_F16_WEIGHTS),
    };
    let bounds = interp::bounds(&case.graph, &case.weights, &case.batch, case.sizes, rounding);
    let bounds = bounds.map_err(|e| e.to_string())?;
    if !bounds.values().all(interp::Bound::is_useful) {
        return Ok(Seen::Nothing);
    }
    let options = Options {
        profiles: vec![way.profile],
        rungs: vec![way.rung],
        fusion: way.fusion,
        ..Options::new(precision)
    };
    let bundle = compile("random", &case.graph, &case.weights, &options).map_err(|e| e.to_string())?;
    let kernels: Vec<&str> = bundle.manifest.variants[0]
        .kernels
        .iter()
        .map(|k| k.name.as_str())
        .collect();
    let load = run::Options {
        capacity: Some(Capacity { rows: 1, requests: 1 }),
        ..run::Options::default()
    };
    let at = |e: String| format!("{e}\nkernels {kernels:?}, simplified:\n{}", bundle.graph);
    let runtime = Runtime::open(Arc::clone(device), &bundle, &load).map_err(|e| at(e.to_string()))?;
    let got = runtime.run(&case.batch).map_err(|e| at(e.to_string()))?;
    within(&got, &bounds).map(|()| Seen::Right).map_err(at)
}

/// The graph of a seed with the fewest operations that still fails.
fn smallest(device: &Arc<Device>, seed: u64, ops: usize, way: &Way) -> (Case, String) {
    let failing = |ops: usize| {
        let case = graphs::random(seed, ops);
        check(device, &case, way).err().map(|why| (case, why))
    };
    (1..=ops).find_map(failing).expect("it failed before")
}

#[test]
fn random_graphs_on_the_gpu() {
    let Some(device) = gpu::gpu() else { return };
    let number = |name: &str| {
        let parsed = |s: String| s.parse().unwrap_or_else(|_| panic!("{name}={s}"));
        std::env::var(name).ok().map(parsed)
    };
    let (start, count): (u64, u64) = (
        number("LOOPFM_SEED").unwrap_or(1),
        number("LOOPFM_CASES").unwrap_or(300),
    );
    eprintln!("LOOPFM_SEED={start}, {count} graphs");
    let (mut right, mut nothing, mut faults) = (0, 0, Vec::new());
    let began = Instant::now();
    for i in 0..count {
        let seed = (start << 32) + i;
        let ops = Rng(!seed).between(1, OPS);
        let case = graphs::random(seed, ops);
        for way in ways(i).iter().filter(|w| w.serves(&device)) {
            match check(&device, &case, way) {
                Ok(Seen::Right) => right += 1,
                Ok(Seen::Nothing) => nothing += 1,
                Err(_) => {
                    let (case, why) = smallest(&device, seed, ops, way);
                    eprintln!("{}: {why}\n{case}", way.name);
                    faults.push(format!("{}, {}", case.name, way.name));
                }
            }
        }
    }
    eprintln!(
        "{right} right, {nothing} with bounds too wide to say, {:.0?}",
        began.elapsed()
    );
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    assert!(right > 4 * nothing, "{nothing} graphs said nothing, {right} did");
}
