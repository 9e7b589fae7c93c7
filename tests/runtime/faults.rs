//! Everything that may go wrong has a name, and the device goes on.

use std::time::Duration;

use loopfm::bundle::{Binding, Rung, digest};
use loopfm::run::{
    AdapterKind, AdapterQuery, Capacity, Device, DeviceOptions, Error, LimitsChoice, Options, Problem, Runtime,
    VariantChoice,
};
use loopfm::tensor::{Data, HostTensor};

use super::{capacity, open};
use crate::support::gpu::{self, gpu};
use crate::support::tiny::{self, batch, expected};

#[test]
fn everything_wrong_with_a_batch_is_named() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    let mut wrong = batch(3, 2, |r| r % 2);
    wrong.shift_remove("u");
    wrong["id"] = HostTensor::f32(&[3], vec![0.0; 3]);
    wrong["x"] = HostTensor::f32(&[2, 4], vec![0.0; 8]);
    wrong.insert("y".into(), HostTensor::f32(&[1], vec![0.0]));
    let Err(Error::Batch(problems)) = runtime.run(&wrong) else {
        panic!("accepted");
    };
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "`y` is not an input; inputs are x; id; request_of_row; u",
            "input `id` is f32, the model needs i32",
            "input `id` has 3 rows, input `x` has 2",
            "input `request_of_row` has 3 rows, input `x` has 2",
            "input `u` is missing",
        ]
    );
    wrong = batch(3, 2, |r| r % 2);
    wrong["x"] = HostTensor::f32(&[3, 5], vec![0.0; 15]);
    let error = runtime.run(&wrong).expect_err("another width");
    assert_eq!(
        error.to_string(),
        "batch refused: input `x` is [3, 5], the model needs [rows, 4]"
    );
    assert_eq!(error.exit_code(), 1);
    wrong = batch(3, 2, |r| r % 2);
    wrong.shift_remove("request_of_row");
    let error = runtime.run(&wrong).expect_err("no mapping");
    assert!(matches!(error, Error::Batch(p) if matches!(p[..], [Problem::Unmapped { rows: 3, requests: 2, .. }])));
}

#[test]
fn ids_are_checked_before_anything_runs() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    for id in [-1, 5, 0x4000_0000, i32::MIN, i32::MAX] {
        let mut batch = batch(100, 1, |_| 0);
        if let Data::I32(ids) = &mut batch["id"].data {
            ids[77] = id;
        }
        let error = runtime.run(&batch).expect_err("out of range");
        let text = format!("input `id` row 77 column 0 is {id}, table `table` takes 0 to 4");
        assert_eq!(error.to_string(), text);
    }
    let error = runtime.run(&batch(3, 2, |r| r)).expect_err("request 2 of 2");
    assert_eq!(
        error.to_string(),
        "input `request_of_row` row 2 column 0 is 2, table `requests` takes 0 to 1"
    );
}

#[test]
fn status_words_become_errors() {
    let Some(device) = gpu() else { return };
    let runtime = open(device, &tiny::bundle(), &capacity(64, 64));
    let set = |row: usize, value: f32| {
        let mut batch = batch(150, 1, |_| 0);
        if let Data::F32(x) = &mut batch["x"].data {
            x[4 * row] = value;
        }
        batch
    };
    for value in [f32::NAN, f32::INFINITY, f32::MAX] {
        let error = runtime.run(&set(140, value)).expect_err("not a number");
        let at = Some(("y".to_owned(), 140));
        assert_eq!(error, Error::NonFinite { rows: 1, at });
    }
    let error = runtime.run(&set(130, -99.0)).expect_err("claims a wrong index");
    assert_eq!(error.to_string(), "row 130 computes an index outside `computed`");
    let good = batch(150, 1, |_| 0);
    assert_eq!(
        runtime.run(&good).expect("the next batch is none the worse"),
        expected(&good)
    );
}

#[test]
fn limits_name_buffer_and_bytes() {
    let Some(device) = gpu() else { return };
    let allowed = device.report().binding_bytes;
    let error = Runtime::open(device, &tiny::bundle(), &capacity(u32::MAX, 64))
        .map(drop)
        .expect_err("too large");
    assert!(
        matches!(&error, Error::Limit { what, needed, allowed: a, .. }
            if what.starts_with("input arena") && *needed > allowed && *a <= allowed),
        "{error}"
    );
    assert_eq!(error.exit_code(), 3);
}

#[test]
fn portable_limits_and_no_f16() {
    let options = DeviceOptions {
        limits: LimitsChoice::Portable,
        forbid_f16: true,
        ..DeviceOptions::default()
    };
    let Some(device) = gpu::open(&options) else { return };
    let report = device.report();
    assert!(!report.f16);
    assert_eq!(
        (report.storage_buffers, report.invocations, report.workgroup_bytes),
        (8, 256, 16384)
    );
    let mut bundle = tiny::bundle();
    let mut greedy = bundle.manifest.variants[0].clone();
    greedy.profile = "discrete".into();
    greedy.rung = Rung::Native;
    greedy.needs.invocations = 512;
    bundle.manifest.variants.insert(0, greedy);
    let runtime = open(device.clone(), &bundle, &Options::default());
    assert_eq!(
        runtime.report().skipped,
        ["discrete/native skipped: no f16 in shaders, needs 512 invocations per workgroup, there are 256"]
    );
    let asked = Options {
        variant: VariantChoice {
            profile: Some("discrete".into()),
            rung: None,
        },
        ..Options::default()
    };
    let error = Runtime::open(device, &bundle, &asked)
        .map(drop)
        .expect_err("cannot run");
    assert!(matches!(error, Error::NoVariant { .. }), "{error}");
    assert_eq!(error.exit_code(), 3);
}

#[test]
fn kernels_that_wgpu_refuses() {
    let Some(device) = gpu() else { return };
    let mut bundle = tiny::bundle();
    let text = "@compute @workgroup_size(1) fn main() { nonsense(); }".to_owned();
    bundle.manifest.variants[0].kernels[1].wgsl = digest(&text);
    bundle.wgsl.insert(digest(&text), text);
    let error = Runtime::open(device.clone(), &bundle, &Options::default())
        .map(drop)
        .expect_err("refused");
    assert!(
        matches!(&error, Error::Bug { doing, .. } if doing == "compile kernel `double`"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 70);
    bundle = tiny::bundle();
    bundle.manifest.variants[0].kernels[2].bindings[3] = Binding::Weights(7);
    let error = Runtime::open(device.clone(), &bundle, &Options::default())
        .map(drop)
        .expect_err("refused");
    assert_eq!(error.exit_code(), 5, "{error}");
    // A texture where the text has a buffer.
    bundle = tiny::bundle();
    bundle.manifest.variants[0].kernels[2].bindings[3] = Binding::WeightsImage(0);
    let error = Runtime::open(device.clone(), &bundle, &Options::default())
        .map(drop)
        .expect_err("refused");
    assert_eq!(error.exit_code(), 70, "{error}");
    bundle = tiny::bundle();
    bundle.manifest.variants[0].weights[0].offset = u64::MAX / 2;
    let error = Runtime::open(device, &bundle, &Options::default())
        .map(drop)
        .expect_err("refused");
    assert_eq!(error.exit_code(), 5, "{error}");
}

#[test]
fn a_lost_device_is_an_error() {
    let Some(device) = gpu::open(&DeviceOptions::default()) else {
        return;
    };
    let runtime = open(device.clone(), &tiny::bundle(), &capacity(64, 64));
    let batch = batch(300, 4, |r| r % 4);
    assert_eq!(runtime.run(&batch).expect("alive"), expected(&batch));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| (0..100_000).find_map(|_| runtime.run(&batch).err()));
        std::thread::sleep(Duration::from_millis(30));
        device.wgpu().destroy();
        let error = worker.join().expect("no panic").expect("an error in the end");
        assert!(matches!(error, Error::Lost { .. }), "{error}");
        assert_eq!(error.exit_code(), 7);
    });
    let error = runtime.run(&batch).expect_err("still lost");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    let error = Runtime::open(device, &tiny::bundle(), &Options::default())
        .map(drop)
        .expect_err("still lost");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}

#[test]
fn adapters_that_are_not_there() {
    let Some(_) = gpu() else { return };
    let wanted = [AdapterQuery::Index(1000), AdapterQuery::Name("no such adapter".into())];
    for query in wanted {
        let error = Device::open(&query, &DeviceOptions::default())
            .map(drop)
            .expect_err("not there");
        assert!(matches!(error, Error::NoAdapter { .. }), "{error}");
        assert_eq!(error.exit_code(), 3);
    }
    let best = loopfm::run::adapters().into_iter().next().expect("gpu() found one");
    for query in [
        AdapterQuery::Index(0),
        AdapterQuery::Kind(best.kind),
        AdapterQuery::Name(best.name.to_uppercase()),
    ] {
        let device = Device::open(&query, &DeviceOptions::default()).expect("there");
        assert_eq!(device.report().name, best.name);
    }
    assert!(AdapterKind::Discrete < AdapterKind::Software);
}

#[test]
fn every_rung_passes_its_self_test() {
    let Some(device) = gpu() else { return };
    let report = device.report();
    for (rung, there) in [
        (Rung::F32, true),
        (Rung::Packed, report.packed_f16),
        (Rung::Native, report.f16),
    ] {
        if there {
            device.probe(rung).unwrap_or_else(|e| panic!("{rung:?}: {e}"));
        }
    }
    if report.subgroups == Some((8, 8)) {
        device.probe_lanes().unwrap_or_else(|e| panic!("lanes: {e}"));
    }
}

#[test]
fn kernels_for_software_adapters_run_on_no_other() {
    let Some(device) = gpu() else { return };
    let mut bundle = tiny::bundle();
    let mut software = bundle.manifest.variants[0].clone();
    software.profile = "software".into();
    software.needs.software = true;
    bundle.manifest.variants.insert(0, software);
    let runtime = Runtime::open(device.clone(), &bundle, &Options::default()).expect("one of the two runs");
    let report = runtime.report();
    if device.report().kind == AdapterKind::Software {
        assert_eq!(report.profile, "software");
    } else {
        assert_eq!(report.profile, "portable");
        assert!(
            report
                .to_string()
                .contains("software/packed skipped: not a software adapter"),
            "{report}"
        );
    }
}

#[test]
fn capacities_round_up() {
    let rounded = |rows, requests| Capacity { rows, requests }.rounded();
    assert_eq!(rounded(0, 1), Capacity { rows: 64, requests: 64 });
    assert_eq!(
        rounded(64, 65),
        Capacity {
            rows: 64,
            requests: 128
        }
    );
    assert_eq!(rounded(u32::MAX, 1).rows % 64, 0);
}
