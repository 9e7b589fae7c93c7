//! Training steps: forward, loss, backward and update, as one run of the graph, on the CPU executor and, as
//! `NAME-device`, on the best adapter. In processor time where that adapter is software, else in time on the wall, batch
//! in and metrics out.
//!
//! - `w2-dense`, `w2-lazy`: the history model of the other benches on 512 rows with Adam, its table of 80,000 rows
//!   updated whole, or where the batch touches it.
//! - `tower`: 256-256-128-1 on 512 rows with Adam.
//! - `table-3000`, `table-300000`: a table of so many rows of 64 with 1,024 ids a step, lazy: the time should be the same.

mod adapter;
mod clock;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use loopfm::cpu::Stepper;
use loopfm::device_step;
use loopfm::ir::{Graph, Op, TypeError, Unary, Value};
use loopfm::nn;
use loopfm::optim::{At, Group, INV_ROWS, Optimiser, Rule, Step, rows_for_requests, step};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

/// A step, what it starts from, and a batch.
struct Training {
    name: &'static str,
    step: Step,
    state: Tensors,
    batch: Tensors,
    rows: usize,
}

fn main() {
    let (device, clock) = adapter::open();
    let mut criterion = Criterion::default().with_measurement(clock).configure_from_args();
    let mut group = criterion.benchmark_group("train-step");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    let all = [
        w2("w2-dense", false),
        w2("w2-lazy", true),
        tower(),
        table("table-3000", 3_000),
        table("table-300000", 300_000),
    ];
    for training in all {
        let t = training.expect("the workload is well typed");
        let mut stepper = Stepper::new(&t.step.graph, t.state.clone()).expect("the step runs");
        group.bench_function(t.name, |b| {
            b.iter(|| stepper.step(&t.batch, t.rows).expect("the batch fits"));
        });
        let Some(device) = &device else { continue };
        let name = format!("{}-device", t.name);
        let rows = u32::try_from(t.rows).expect("few rows");
        match device_step::Stepper::new(Arc::clone(device), &t.step.graph, t.state, rows) {
            Ok(mut stepper) => drop(group.bench_function(&name, |b| {
                b.iter(|| stepper.step(&t.batch, t.rows).expect("the batch fits"));
            })),
            Err(e) => eprintln!("{name}: {e}"),
        }
    }
    group.finish();
    criterion.final_summary();
}

/// The history model, whose probability is a sigmoid of the logit that is trained.
fn w2(name: &'static str, lazy: bool) -> Result<Training, TypeError> {
    let mut all = workloads::all().into_iter();
    let w = all.find(|w| w.name == "w2-users").expect("a workload of 512 users");
    let mut g = rows_for_requests(&w.graph)?;
    let (_, prob) = g.outputs.pop().expect("a probability");
    debug_assert_eq!(*g.op(prob), Op::Unary(Unary::Sigmoid), "of a logit");
    let logit = g.args(prob)[0];
    training(name, g, logit, w.weights, w.batch, w.sizes.rows, lazy)
}

fn tower() -> Result<Training, TypeError> {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(256)]))?;
    let logit = workloads::mlp(&mut g, "mlp", x, &[256, 256, 128, 1], nn::relu)?;
    let weights = random(g.params().map(|(_, name, ty)| (name, ty.shape.per_row())), 0.05);
    let batch = random([("x", vec![512, 256])].into_iter(), 1.0);
    training("tower", g, logit, weights, batch, 512, false)
}

fn table(name: &'static str, extent: usize) -> Result<Training, TypeError> {
    let mut g = Graph::new();
    let ids = g.input("ids", DType::I32, Shape(vec![Dim::Rows(1), Dim::Fixed(2)]))?;
    let table = g.param("table", &[extent, 64])?;
    let found = g.gather(table, ids)?;
    let flat = g.reshape(found, &Shape(vec![Dim::Rows(1), Dim::Fixed(128)]))?;
    let logit = workloads::mlp(&mut g, "mlp", flat, &[128, 1], nn::relu)?;
    let weights = random(g.params().map(|(_, name, ty)| (name, ty.shape.per_row())), 0.05);
    let id = |i: usize| i32::try_from(i * 7919 % extent).unwrap_or(0);
    let ids = HostTensor::i32(&[512, 2], (0..1024).map(id).collect());
    training(
        name,
        g,
        logit,
        weights,
        Tensors::from([("ids".to_owned(), ids)]),
        512,
        true,
    )
}

/// The step of a logit `[rows, 1]` against a label, with Adam.
fn training(
    name: &'static str,
    mut g: Graph,
    logit: Value,
    weights: Tensors,
    mut batch: Tensors,
    rows: usize,
    lazy: bool,
) -> Result<Training, TypeError> {
    let per_row = Shape(vec![Dim::Rows(1)]);
    let label = g.input("label", DType::F32, per_row.clone())?;
    let inv_rows = g.input(INV_ROWS, DType::F32, Shape::default())?;
    let logit = g.reshape(logit, &per_row)?;
    let loss = nn::bce_with_logits(&mut g, logit, label)?;
    let loss = nn::mean_over_rows(&mut g, loss, None, inv_rows)?;
    g.outputs = vec![("loss".into(), loss)];
    let adam = Group {
        rule: Rule::Adam,
        lazy,
        ..Group::default()
    };
    let optimiser = Optimiser {
        groups: vec![adam],
        ..Optimiser::default()
    };
    let step = step(g, loss, &optimiser).expect("a loss of trained parameters");
    let labels = (0..rows)
        .map(|i| (i % 3 == 0).into())
        .map(|l: u8| f32::from(l))
        .collect();
    batch.insert("label".into(), HostTensor::f32(&[rows], labels));
    let at = At {
        step: 1,
        rows,
        lr: 1e-3,
        seed: 0,
    };
    batch.extend(step.scalars(at));
    let mut state = step.state.clone();
    state.extend(weights);
    Ok(Training {
        name,
        step,
        state,
        batch,
        rows,
    })
}

fn random<'a>(shapes: impl Iterator<Item = (&'a str, Vec<usize>)>, scale: f32) -> Tensors {
    let mut random = workloads::Random(2);
    let tensor = |(name, extents): (&str, Vec<usize>)| (name.to_owned(), random.floats(&extents, scale));
    shapes.map(tensor).collect()
}
