//! Batches of the reference workloads on the best adapter, on the CPU executor, and as bare matrix products.
//!
//! `gemm` is one thread doing the products of the graph as it is written, at their sizes, and nothing else: no lookup, no
//! activation, no algebra. It is what every figure is compared with, in the same run, since a time by itself says more
//! about the machine than about us. `NAME/kernel/PROFILE-RUNG/KERNEL` is one kernel of the variant that runs when nothing else is
//! asked for, by itself: in the device's own time where it has a clock, else as everything here.

mod adapter;
mod clock;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, Criterion};
use gemm::Parallelism;
use loopfm::bundle::{Bundle, Precision};
use loopfm::compile::{Options, compile};
use loopfm::cpu::Executor;
use loopfm::ir::{Graph, Op};
use loopfm::run::{self, AdapterKind, Device, Runtime};
use loopfm::tensor::Sizes;
use workloads::Workload;

fn main() {
    let (device, clock) = adapter::open();
    let mut criterion = Criterion::default().with_measurement(clock).configure_from_args();
    for workload in workloads::all() {
        let mut group = criterion.benchmark_group(&workload.name);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(4));
        measure(&mut group, &workload, device.as_ref());
    }
    criterion.final_summary();
}

fn measure(group: &mut BenchmarkGroup<Clock>, w: &Workload, device: Option<&Arc<Device>>) {
    let mut products = products(&w.graph, w.sizes);
    group.bench_function("gemm", |b| b.iter(|| products.iter_mut().for_each(Product::run)));

    let bundle = compile(&w.name, &w.graph, &w.weights, &Options::new(Precision::F16)).expect("the workload compiles");
    let graph = loopfm::ir::parse(&bundle.graph).expect("a bundle's graph is sound");
    let weights = bundle
        .weights
        .iter()
        .map(|(name, t)| (name.clone(), t.to_host()))
        .collect();
    let executor = Executor::new(&graph, &weights).expect("the CPU takes any bundle");
    group.bench_function("cpu", |b| b.iter(|| executor.run(&w.batch, w.sizes)));

    let Some(device) = device else { return };
    for variant in &bundle.manifest.variants {
        let name = format!("{}-{:?}", variant.profile, variant.rung).to_lowercase();
        let mut options = run::Options::default();
        options.variant.profile = Some(variant.profile.clone());
        options.variant.rung = Some(variant.rung);
        match Runtime::open(Arc::clone(device), &bundle, &options) {
            Ok(runtime) => drop(group.bench_function(&name, |b| b.iter(|| runtime.run(&w.batch)))),
            Err(e) => eprintln!("{}/{name}: {e}", w.name),
        }
    }
    match Runtime::open(Arc::clone(device), &bundle, &run::Options::default()) {
        Ok(runtime) => one_by_one(group, w, &bundle, &runtime),
        Err(e) => eprintln!("{}/kernel: {e}", w.name),
    }
}

/// Kernels of one variant, each by itself.
fn one_by_one(group: &mut BenchmarkGroup<Clock>, w: &Workload, bundle: &Bundle, runtime: &Runtime) {
    // What kernels read is what a batch left.
    if let Err(e) = runtime.run(&w.batch) {
        return eprintln!("{}/kernel: {e}", w.name);
    }
    let report = runtime.report();
    let (profile, rung, own) = (
        &report.profile,
        report.rung,
        report.adapter.kind != AdapterKind::Software,
    );
    let mut variants = bundle.manifest.variants.iter();
    let variant = variants.find(|v| v.profile == *profile && v.rung == rung);
    for (i, kernel) in variant.iter().flat_map(|v| &v.kernels).enumerate() {
        let name = format!("kernel/{profile}-{rung:?}/{}", kernel.name).to_lowercase();
        group.bench_function(&name, |b| {
            b.iter_custom(|times| {
                let clock = Clock::new(own);
                let start = clock.start();
                let times = u32::try_from(times).unwrap_or(u32::MAX);
                let seconds = runtime.repeat_kernel(i, w.sizes, times).expect("a kernel that has run");
                let of_device = seconds.filter(|_| own).map(Duration::from_secs_f64);
                of_device.unwrap_or_else(|| clock.end(start))
            });
        });
    }
}

/// `count` products of `[m, k]` and `[k, n]`, the second given transposed, as PyTorch keeps its weights.
struct Product {
    count: usize,
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    y: Vec<f32>,
}

/// The matrix products of a graph, at these sizes.
fn products(g: &Graph, sizes: Sizes) -> Vec<Product> {
    let live = g.live();
    let anchors = g
        .iter()
        .filter(|(v, node)| live[v.index()] && matches!(node.op, Op::MatMul));
    let product = |args: &[loopfm::ir::Value]| {
        let [a, b] = [g.shape(args[0]).at(sizes), g.shape(args[1]).at(sizes)];
        let (k, n) = (b[b.len() - 2], b[b.len() - 1]);
        let count = b[..b.len() - 2].iter().product();
        let m = a.iter().product::<usize>() / k / count;
        let of = |numel: usize| vec![0.5; numel];
        let (a, b, y) = (of(m * k), of(k * n), of(m * n));
        Product {
            count,
            m,
            n,
            k,
            a,
            b,
            y,
        }
    };
    anchors.map(|(_, node)| product(&node.args)).collect()
}

impl Product {
    #[allow(
        unsafe_code,
        reason = "`gemm` takes pointers; each is to a buffer of just the size it is told"
    )]
    fn run(&mut self) {
        let Self { count, m, n, k, .. } = *self;
        let stride = |n: usize| isize::try_from(n).expect("a buffer's extent");
        for _ in 0..count {
            // SAFETY: `a` is m x k, `b` is n x k, `y` is m x n, row-major and not overlapping.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    self.y.as_mut_ptr(),
                    1,
                    stride(n),
                    false,
                    self.a.as_ptr(),
                    1,
                    stride(k),
                    self.b.as_ptr(),
                    stride(k),
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        }
        std::hint::black_box(&self.y);
    }
}
