//! Tables of which only the rows change that a batch looks up.

use loopfm::device_step::Stepper;
use loopfm::ir::{Graph, TensorType};
use loopfm::optim::{self, At, Group, Optimiser, Rule};
use loopfm::tensor::{DType, HostTensor};

use super::{Built, all, attention, batch, check, dense, only, rows, step};
use crate::support::gpu;
use crate::support::rng::Rng;

fn tables(group: Group, others: Group) -> Optimiser {
    let group = Group {
        params: vec!["tables".into()],
        ..group
    };
    Optimiser {
        groups: vec![group, others],
        ..Optimiser::default()
    }
}

#[test]
fn tables_whose_touched_rows_alone_change() {
    let momentum = Group {
        momentum: 0.9,
        l2: 0.01,
        ..all(Rule::Sgd)
    };
    let decay = Group {
        weight_decay: 0.1,
        eps: 1e-5,
        ..all(Rule::Adam)
    };
    for group in [
        all(Rule::RowwiseAdagrad),
        decay,
        momentum,
        all(Rule::Sgd),
        all(Rule::Adagrad),
    ] {
        let group = Group { lazy: true, ..group };
        let optimiser = Optimiser {
            clip: Some(0.05),
            ..tables(group, all(Rule::Sgd))
        };
        // Fewer rows than the table has: most batches leave some alone.
        check(&step(attention, &optimiser), &[2, 1, 5]);
    }
}

#[test]
fn sums_over_rows_of_tensors_that_are_updated_whole() {
    let step = step(attention, &only(all(Rule::RowwiseAdagrad)));
    check(&step, &[7, 60]);
}

/// A table of so many rows, looked up once for each row of the batch.
fn wide_table(extent: usize) -> optim::Step {
    let build = |g: &mut Graph| -> Built {
        let ids = g.input("ids", DType::I32, rows(&[]))?;
        let table = g.param("table", &[extent, 64])?;
        let x = g.gather(table, ids)?;
        dense(g, x, &[64, 1])
    };
    let lazy = Group {
        lazy: true,
        ..all(Rule::Adam)
    };
    step(build, &tables(lazy, all(Rule::Sgd)))
}

#[test]
fn a_large_table_costs_what_a_batch_looks_up() {
    let Some(device) = gpu::gpu() else { return };
    let train = |extent: usize| {
        let step = wide_table(extent);
        let g = &step.graph;
        let zeros = |(_, name, ty): (_, &str, &TensorType)| {
            let shape = ty.shape.per_row();
            let n = shape.iter().product();
            (name.to_owned(), HostTensor::f32(&shape, vec![0.0; n]))
        };
        let mut stepper = Stepper::new(device.clone(), g, g.params().map(zeros).collect(), 1024).expect("a step");
        let mut batch = batch(g, &mut Rng(3), 1024);
        let ids = (0..1024).map(|i| i * 2);
        batch.insert("ids".into(), HostTensor::i32(&[1024], ids.collect()));
        batch.extend(step.scalars(At {
            step: 1,
            rows: 1024,
            lr: 1e-2,
            seed: 0,
        }));
        stepper.step(&batch, 1024).expect("a batch");
        (stepper.work(), stepper.memory())
    };
    let (small, _) = train(3_000);
    let (large, memory) = train(300_000);
    eprintln!("{large:?}, {memory} bytes");
    assert!(small.bytes > 1024 * 64 * 4 * 7, "{small:?}");
    assert_eq!(large, small);
    let table = 300_000 * 64 * 4;
    assert!(memory < 3 * table + 3 * table / 10, "{memory} bytes");
}
