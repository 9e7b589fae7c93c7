//! Models that read the log of embeddings themselves, against models that are fed from it.

use loopfm::bundle::Precision;
use loopfm::compile::{Options, compile};
use loopfm::cpu::Executor;
use loopfm::embeddings::{Decoder, Storage};
use loopfm::ir::{self, Binary, Fold, Graph};
use loopfm::recall::{Kept, Laid};
use loopfm::resident::{self, SPAN, resident};
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::{DType, Dim, HostTensor, Shape, Sizes, Tensors};

use crate::support::rng::Rng;

const T: usize = 6;
const WIDTH: usize = 5;
const EVENTS: usize = 130;
const ROWS: usize = 40;

/// Every event as it is, and something of them that a kernel has to add up.
fn model(width: usize) -> Graph {
    let mut g = Graph::new();
    let rows = |dims: &[usize]| {
        let fixed = dims.iter().map(|n| Dim::Fixed(*n));
        Shape(std::iter::once(Dim::Rows(1)).chain(fixed).collect())
    };
    let x = g.input("loopfm", DType::F32, rows(&[T, width])).unwrap();
    let mask = g.input("loopfm_mask", DType::Bool, rows(&[T])).unwrap();
    let label = g.input("loopfm_label", DType::I32, rows(&[T])).unwrap();
    let scale = g.param("scale", &[width]).unwrap();
    let (seen, label) = (g.cast(mask, DType::F32).unwrap(), g.cast(label, DType::F32).unwrap());
    let weight = g.binary(Binary::Add, seen, label).unwrap();
    let weight = g.reshape(weight, &rows(&[T, 1])).unwrap();
    let one = g.constant_f32(1.0).unwrap();
    let events = g.binary(Binary::Mul, x, one).unwrap();
    let scaled = g.binary(Binary::Mul, x, scale).unwrap();
    let weighed = g.binary(Binary::Mul, scaled, weight).unwrap();
    let pooled = g.reduce(Fold::Sum, weighed, &[1]).unwrap();
    g.outputs = vec![
        ("events".into(), events),
        ("weight".into(), weight),
        ("pooled".into(), pooled),
    ];
    g
}

/// A log in the order of histories, some of which are empty, some longer than the model reads.
fn laid(storage: Storage, rng: &mut Rng) -> Laid {
    let mut codes = Vec::new();
    storage
        .encode(&rng.floats(EVENTS * WIDTH, 1.0), WIDTH, &mut codes)
        .unwrap();
    let spans = (0..ROWS).flat_map(|_| {
        let len = rng.below(10);
        [rng.below(EVENTS - len + 1) as i32, len as i32]
    });
    let spans: Vec<i32> = spans.collect();
    Laid {
        kept: Kept {
            fm: "f".repeat(64),
            prequential: false,
            width: WIDTH,
            storage,
            side: vec!["label".into()],
            positives: false,
        },
        codes,
        side: vec![rng.ids(EVENTS, 3)],
        spans: HostTensor::i32(&[ROWS, 2], spans),
    }
}

/// The batch that a model is fed whose histories are gathered for it.
fn gathered(log: &Laid, width: usize) -> Tensors {
    let (decoder, bytes) = (
        Decoder::new(&log.kept.storage),
        log.kept.storage.row_bytes(log.kept.width),
    );
    let mut events = vec![0.0; ROWS * T * width];
    let (mut mask, mut label) = (vec![false; ROWS * T], vec![0; ROWS * T]);
    for (row, span) in log.spans.as_i32().unwrap().chunks(2).enumerate() {
        let (start, len) = (span[0] as usize, span[1] as usize);
        for (place, event) in (start + len.saturating_sub(T)..start + len).enumerate() {
            let at = row * T + place;
            decoder.row(&log.codes[event * bytes..][..bytes], &mut events[at * width..][..width]);
            mask[at] = true;
            label[at] = log.side[0][event];
        }
    }
    Tensors::from([
        ("loopfm".to_owned(), HostTensor::f32(&[ROWS, T, width], events)),
        ("loopfm_mask".to_owned(), HostTensor::bool(&[ROWS, T], mask)),
        ("loopfm_label".to_owned(), HostTensor::i32(&[ROWS, T], label)),
    ])
}

fn storages() -> [Storage; 5] {
    let centres = std::array::from_fn(|i| i as f32 / 7.0 - 1.0);
    [
        Storage::F32,
        Storage::F16,
        Storage::Int8 { scale: 0.01 },
        Storage::Int4,
        Storage::KMeans4 { centres },
    ]
}

#[test]
fn a_log_beside_the_weights_gives_the_same_numbers() {
    let rng = &mut Rng(11);
    let sizes = Sizes {
        rows: ROWS,
        requests: ROWS,
    };
    for storage in storages() {
        let log = laid(storage.clone(), rng);
        let read = Tensors::from([(SPAN.to_owned(), log.spans.clone())]);
        for width in [WIDTH, 2] {
            let model = model(width);
            let mut weights = Tensors::from([("scale".to_owned(), HostTensor::f32(&[width], rng.floats(width, 1.0)))]);
            let fed = gathered(&log, width);
            let expected = Executor::new(&model, &weights).unwrap().run(&fed, sizes).unwrap();
            assert_eq!(expected["events"].as_f32(), fed["loopfm"].as_f32());
            let (graph, params) = resident(&model, &log).unwrap();
            assert_eq!(ir::parse(&graph.to_string()).unwrap(), graph);
            weights.extend(params);
            let seen = Executor::new(&graph, &weights).unwrap().run(&read, sizes).unwrap();
            assert_eq!(seen, expected, "{storage:?}, {width} wide");
        }
    }
}

#[test]
fn bundles_take_a_log_on_every_device() {
    let rng = &mut Rng(12);
    #[cfg(feature = "gpu")]
    let gpu = crate::support::gpu::gpu().map(|_| DeviceChoice::Gpu(loopfm::run::AdapterQuery::Best));
    #[cfg(not(feature = "gpu"))]
    let gpu = None;
    let devices: Vec<DeviceChoice> = std::iter::once(DeviceChoice::Cpu).chain(gpu).collect();
    for storage in storages() {
        let log = laid(storage.clone(), rng);
        let weights = Tensors::from([("scale".to_owned(), HostTensor::f32(&[WIDTH], rng.floats(WIDTH, 1.0)))]);
        let bundle = compile("vm", &model(WIDTH), &weights, &Options::new(Precision::F16)).unwrap();
        let made = resident::compile(&bundle, &log).unwrap();
        assert_ne!(made.manifest.fingerprint, bundle.manifest.fingerprint);
        let inputs: Vec<&str> = made.manifest.inputs.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(inputs, [SPAN]);
        for device in &devices {
            let options = SessionOptions {
                device: device.clone(),
                ..SessionOptions::default()
            };
            let run = |bundle, batch: Tensors| Session::open(bundle, &options).unwrap().run(&batch).unwrap();
            let fed = run(&bundle, gathered(&log, WIDTH));
            let read = run(&made, Tensors::from([(SPAN.to_owned(), log.spans.clone())]));
            assert_eq!(read["events"], fed["events"], "{storage:?} on {device:?}");
            assert_eq!(read, fed, "{storage:?} on {device:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let log = laid(Storage::Int4, &mut Rng(1));
    let refused = |g: &Graph| resident(g, &log).unwrap_err().to_string();
    assert_eq!(
        refused(&Graph::new()),
        "the model has no input `loopfm` of shape [rows, T, d]"
    );
    assert_eq!(
        refused(&model(6)),
        "the model reads embeddings of 6 elements, the log's have 5"
    );
    let mut g = model(5);
    g.input("loopfm_click", DType::I32, Shape(vec![Dim::Rows(1), Dim::Fixed(T)]))
        .unwrap();
    assert_eq!(
        refused(&g),
        "the model reads `loopfm_click`, which is not beside the embeddings of this log"
    );
}
