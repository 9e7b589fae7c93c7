//! Sessions: the same bundle on a GPU and on the CPU.

use loopfm::run::AdapterQuery;
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::HostTensor;

use crate::support::tiny::{self, batch, expected};

fn on(device: DeviceChoice) -> SessionOptions {
    SessionOptions {
        device,
        ..SessionOptions::default()
    }
}

fn open(device: DeviceChoice) -> Session {
    Session::open(&tiny::bundle(), &on(device)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_cpu_runs_batches_of_every_size() {
    let session = open(DeviceChoice::Cpu);
    assert_eq!(session.report(), "CPU executor (as asked)");
    for (rows, requests) in [(0, 1), (1, 1), (65, 1), (65, 65), (500, 7)] {
        let batch = batch(rows, requests, |r| r % requests);
        let outputs = session
            .run(&batch)
            .unwrap_or_else(|e| panic!("{rows} rows, {requests} requests: {e}"));
        assert_eq!(outputs, expected(&batch), "{rows} rows, {requests} requests");
    }
}

#[test]
fn the_cpu_refuses_what_a_gpu_refuses() {
    let session = open(DeviceChoice::Cpu);
    let mut wrong = batch(3, 1, |_| 0);
    wrong["id"] = HostTensor::i32(&[3], vec![0, 1, 5]);
    let error = session.run(&wrong).expect_err("out of range");
    assert_eq!(
        error.to_string(),
        "input `id` row 2 column 0 is 5, table `table` takes 0 to 4"
    );
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn the_cpu_refuses_numbers_that_are_none() {
    let session = open(DeviceChoice::Cpu);
    for value in [f32::NAN, f32::INFINITY, f32::MAX] {
        let mut batch = batch(150, 1, |_| 0);
        for row in [140, 141] {
            batch["x"].as_f32_mut().expect("floats")[4 * row + 1] = value;
        }
        let error = session.run(&batch).expect_err("not a number");
        assert_eq!(
            error.to_string(),
            "2 rows have non-finite values, the first in output `y` row 140"
        );
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn auto_always_runs_and_says_where() {
    let session = open(DeviceChoice::Auto);
    let batch = batch(100, 3, |r| r % 3);
    assert_eq!(session.run(&batch).expect("runs"), expected(&batch));
    assert!(session.report().ends_with(')'), "{}", session.report());
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let query = AdapterQuery::Name("no such adapter".into());
    let error = Session::open(&tiny::bundle(), &on(DeviceChoice::Gpu(query)))
        .map(drop)
        .expect_err("not there");
    assert_eq!(error.exit_code(), 3, "{error}");
}

#[cfg(feature = "gpu")]
#[test]
fn a_gpu_runs_the_same() {
    if crate::support::gpu::gpu().is_none() {
        return;
    }
    let session = open(DeviceChoice::Gpu(AdapterQuery::Best));
    assert!(
        session.report().contains("variant portable/packed"),
        "{}",
        session.report()
    );
    let batch = batch(300, 5, |r| r % 5);
    assert_eq!(session.run(&batch).expect("runs"), expected(&batch));
}
