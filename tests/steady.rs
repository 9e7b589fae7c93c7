//! A session that has run a few batches takes no more memory, and none of a batch's size but what it hands out.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use loopfm::bundle::{Bundle, Precision};
use loopfm::compile::{Options, compile};
use loopfm::ir::Graph;
use loopfm::nn;
use loopfm::run::AdapterQuery;
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Tensors};

/// The system's allocator, which also counts.
struct Counting;

/// Bytes in use.
static LIVE: AtomicIsize = AtomicIsize::new(0);
/// The largest piece since this was last set to zero.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

fn count(new: usize, former: usize) {
    LARGEST.fetch_max(new, Ordering::Relaxed);
    LIVE.fetch_add(new.cast_signed() - former.cast_signed(), Ordering::Relaxed);
}

#[allow(
    unsafe_code,
    reason = "an allocator is; this one hands everything on to the system's"
)]
// SAFETY: every call goes to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROWS: usize = 3_000;
const WIDTH: usize = 32;

/// Two layers and an output that is much smaller than the input and the layer between.
fn bundle() -> Bundle {
    let mut g = Graph::new();
    let x = g
        .input("x", DType::F32, Shape(vec![Dim::Rows(1), Dim::Fixed(WIDTH)]))
        .unwrap();
    let (first, last) = (
        g.param("first", &[64, WIDTH]).unwrap(),
        g.param("last", &[1, 64]).unwrap(),
    );
    let logit = nn::mlp(&mut g, x, &[(first, None), (last, None)], |g, _, x| nn::relu(g, x)).unwrap();
    g.outputs.push(("logit".into(), logit));
    let numbers = |n: usize| {
        (0u8..=250)
            .cycle()
            .take(n)
            .map(|i| f32::from(i) / 250.0 - 0.5)
            .collect()
    };
    let weights = [("first", vec![64, WIDTH]), ("last", vec![1, 64])];
    let weights = weights.map(|(name, shape)| {
        (
            name.to_owned(),
            HostTensor::f32(&shape, numbers(shape.iter().product())),
        )
    });
    compile(
        "steady",
        &g,
        &weights.into_iter().collect(),
        &Options::new(Precision::F16),
    )
    .unwrap()
}

fn steady(session: &Session) {
    let x = vec![0.25; ROWS * WIDTH];
    let batch: Tensors = [("x".to_owned(), HostTensor::f32(&[ROWS, WIDTH], x))]
        .into_iter()
        .collect();
    let run = || assert_eq!(session.run(&batch).unwrap()["logit"].shape, [ROWS, 1]);
    let hundred = || {
        let before = LIVE.load(Ordering::Relaxed);
        LARGEST.store(0, Ordering::Relaxed);
        (0..100).for_each(|_| run());
        (LIVE.load(Ordering::Relaxed) - before, LARGEST.load(Ordering::Relaxed))
    };
    hundred();
    let on_device = device_memory(session);
    // A thread of the pool takes memory when it first gets work, which on a busy machine may be late. What leaks does so in
    // each of many windows.
    let (grown, largest) = (0..5).map(|_| hundred()).min().unwrap();
    let report = session.report();
    // Less than the smallest thing that a run could leave behind a hundred times: its output.
    assert!(
        grown < 100 * 4 * ROWS as isize / 10,
        "{report}: {grown} bytes more after 100 batches"
    );
    // The output, as words and as a tensor; nothing as large as the input or the layer between.
    assert!(largest <= 2 * 4 * ROWS, "{report}: {largest} bytes in one piece");
    assert_eq!(
        device_memory(session),
        on_device,
        "{report}: memory of the device after 500 batches"
    );
}

/// Buffers on the device, and their bytes, as wgpu's allocator counts them.
#[cfg(feature = "gpu")]
fn device_memory(session: &Session) -> Option<(usize, u64)> {
    let report = session.runtime()?.device().wgpu().generate_allocator_report()?;
    assert!(report.total_allocated_bytes > 0, "weights are somewhere");
    Some((report.allocations.len(), report.total_allocated_bytes))
}

#[cfg(not(feature = "gpu"))]
fn device_memory(_: &Session) -> Option<()> {
    None
}

/// One test: two would count each other's memory.
#[test]
fn sessions_stay_as_large_as_they_are() {
    let bundle = bundle();
    let open = |device: DeviceChoice| {
        let options = SessionOptions {
            device,
            ..SessionOptions::default()
        };
        Session::open(&bundle, &options)
    };
    steady(&open(DeviceChoice::Cpu).unwrap());
    match open(DeviceChoice::Gpu(AdapterQuery::Best)) {
        Ok(session) => steady(&session),
        Err(e) => {
            let required = cfg!(feature = "gpu") && std::env::var("LOOPFM_REQUIRE_GPU").is_ok_and(|v| v == "1");
            assert!(!required, "LOOPFM_REQUIRE_GPU=1, but: {e}");
            eprintln!("skipped on the GPU: {e}");
        }
    }
}
