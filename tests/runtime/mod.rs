//! The runtime on a real device, with a bundle written by hand.

mod choice;
mod faults;
mod kept;

use std::sync::Arc;

use loopfm::bundle::{Bundle, CAPACITY_STEP, Layout, Placement, StoredTensor};
use loopfm::run::{Capacity, Device, Options, REQUEST_OF_ROW, Runtime};
use loopfm::tensor::{HostTensor, Sizes};

use crate::support::gpu::gpu;
use crate::support::tiny::{self, batch, expected};

fn capacity(rows: u32, requests: u32) -> Options {
    Options {
        capacity: Some(Capacity { rows, requests }),
        ..Options::default()
    }
}

fn open(device: Arc<Device>, bundle: &Bundle, options: &Options) -> Runtime {
    Runtime::open(device, bundle, options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn batches_of_every_size() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(60, 100));
    assert_eq!(
        runtime.report().capacity,
        Capacity {
            rows: 64,
            requests: 128
        }
    );
    for rows in [0, 1, 2, 63, 64, 65, 128, 129, 1000] {
        for requests in [1, 2, 63, 64, 128, 129, 300] {
            let batch = batch(rows, requests, |r| r * 31 % requests);
            let outputs = runtime
                .run(&batch)
                .unwrap_or_else(|e| panic!("{rows} rows, {requests} requests: {e}"));
            assert_eq!(outputs, expected(&batch), "{rows} rows, {requests} requests");
        }
    }
}

#[test]
fn mappings_that_go_without_saying() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    for rows in [1, 64, 200] {
        for (requests, map) in [(1, (|_| 0) as fn(usize) -> usize), (rows, |r| r)] {
            let full = batch(rows, requests, map);
            let mut short = full.clone();
            short.shift_remove(REQUEST_OF_ROW);
            assert_eq!(runtime.run(&short).expect("implied"), expected(&full));
        }
    }
}

#[test]
fn no_rows_no_requests() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    let empty = batch(0, 0, |_| 0);
    let outputs = runtime.run(&empty).expect("nothing to do");
    assert_eq!(outputs, expected(&empty));
    assert_eq!(outputs["y"].shape, [0, 4]);
}

#[test]
fn more_workgroups_than_one_axis_takes() {
    let Some(device) = gpu() else { return };
    let mut bundle = tiny::bundle();
    let runtime = {
        let kernel = &mut bundle.manifest.variants[0].kernels[0];
        kernel.groups_per_tile = 70_000;
        open(device, &bundle, &capacity(64, 64))
    };
    let batch = batch(3, 2, |r| r % 2);
    assert_eq!(runtime.run(&batch).expect("surplus groups leave"), expected(&batch));
}

#[test]
fn threads_share_a_runtime() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let runtime = &runtime;
            scope.spawn(move || {
                for i in 0..25 {
                    let batch = batch(1 + 37 * i + thread, 1 + i, |r| r % (1 + i));
                    assert_eq!(runtime.run(&batch).expect("runs"), expected(&batch));
                }
            });
        }
    });
}

#[test]
fn batches_that_stay_on_the_device() {
    let Some(device) = gpu() else { return };
    let runtime = open(Arc::clone(&device), &tiny::bundle(), &capacity(64, 64));
    let batch = batch(50, 1, |_| 0);
    let expected = expected(&batch);
    let buffer = |bytes: &[u8], size: u64| {
        let buffer = device.wgpu().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        device.queue().write_buffer(&buffer, 0, bytes);
        buffer
    };
    let bytes = |tensor: &HostTensor| -> Vec<u8> {
        match (tensor.as_f32(), tensor.as_i32()) {
            (Some(v), _) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            (_, v) => v.unwrap_or(&[]).iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    };
    let inputs = ["x", "id", "u"].map(|name| (name, buffer(&bytes(&batch[name]), bytes(&batch[name]).len() as u64)));
    let inputs = inputs.each_ref().map(|(name, buffer)| (*name, buffer));
    let y = buffer(&[], 50 * 16);
    let sizes = Sizes { rows: 50, requests: 1 };
    runtime
        .run_on(&inputs, sizes, &[("y", &y)])
        .expect("queued")
        .wait()
        .expect("done");
    // The output of one run is the input of the next: y = 2 y' + ...
    let again = [("x", &y), inputs[1], inputs[2]];
    let z = buffer(&[], 50 * 16);
    runtime
        .run_on(&again, sizes, &[("y", &z)])
        .expect("queued")
        .wait()
        .expect("done");
    let mut second = batch.clone();
    second["x"] = expected["y"].clone();
    assert_eq!(runtime.run(&second).expect("runs")["y"], tiny::expected(&second)["y"]);
    let read = read(&device, &z);
    assert_eq!(read, bytes(&tiny::expected(&second)["y"]));
}

fn read(device: &Device, buffer: &wgpu::Buffer) -> Vec<u8> {
    let (sender, receiver) = std::sync::mpsc::channel();
    wgpu::util::DownloadBuffer::read_buffer(device.wgpu(), device.queue(), &buffer.slice(..), move |view| {
        sender.send(view.expect("mapped").to_vec()).expect("somebody waits");
    });
    device.wgpu().poll(wgpu::PollType::wait_indefinitely()).expect("polls");
    receiver.recv().expect("read")
}

#[test]
fn profile_names_every_kernel() {
    let Some(device) = gpu() else { return };
    let timed = device.report().timestamps;
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    let profile = runtime.profile(&batch(200, 3, |r| r % 3)).expect("profiles");
    let names: Vec<_> = profile.kernels.iter().map(|k| k.name.as_str()).collect();
    if timed {
        assert_eq!(names, ["per_request", "double", "sum"]);
        assert!(profile.kernels.iter().all(|k| k.nanoseconds > 0.0), "{profile:?}");
    } else {
        assert!(names.is_empty());
    }
}

#[test]
fn repeated_kernels_leave_the_next_batch_alone() {
    let Some(device) = gpu() else { return };
    let timed = device.report().timestamps;
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    let batch = batch(50, 3, |r| r % 3);
    let sizes = Sizes { rows: 50, requests: 3 };
    let before = runtime.run(&batch).expect("runs");
    for kernel in 0..3 {
        let seconds = runtime.repeat_kernel(kernel, sizes, 5).expect("repeats");
        assert_eq!(seconds.is_some_and(|s| s > 0.0), timed, "{seconds:?}");
    }
    assert_eq!(runtime.run(&batch).expect("runs"), before);
    let large = Sizes {
        rows: 1000,
        requests: 3,
    };
    let refused = runtime.repeat_kernel(0, large, 1).expect_err("above the capacity");
    assert!(matches!(refused, loopfm::run::Error::Limit { .. }), "{refused}");
}

#[test]
fn report_says_what_runs() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &Options::default());
    let report = runtime.report();
    assert_eq!((report.profile.as_str(), report.kernels), ("portable", 3));
    assert_eq!(report.capacity.rows % CAPACITY_STEP, 0);
    assert!(
        report.to_string().contains("variant portable/packed, 3 kernels"),
        "{report}"
    );
}

#[test]
fn weights_larger_than_one_upload() {
    let Some(device) = gpu() else { return };
    let mut bundle = tiny::bundle();
    let n: usize = (68 << 20) / 4;
    let large = HostTensor::f32(&[n], (0..n as u32).map(|i| (i % 1009) as f32).collect());
    bundle.weights.insert("large".into(), StoredTensor::from_host(&large));
    let variant = &mut bundle.manifest.variants[0];
    variant.shards.push(n as u64 / 4 + 3);
    variant.weights.push(Placement {
        tensor: "large".into(),
        first_row: 0,
        rows: n as u64,
        layout: Layout::Words,
        shard: 1,
        offset: 3,
    });
    // Opening compares checksums.
    open(device, &bundle, &capacity(64, 64));
}
