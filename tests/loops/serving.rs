//! From a run's models to a service: the foundation model goes over new days, the vertical model reads what it left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use loopfm::bundle::{Bundle, NOTE_CUTOFF, Precision};
use loopfm::compile::{self, compile};
use loopfm::compress::unpacked;
use loopfm::data::{Days, Encoded, LogFiles};
use loopfm::embeddings::{Form, Log, Storage};
use loopfm::extract::{self, Extracted, Extraction};
use loopfm::pipeline::{Embeddings, History, Past, Range, Sources, Spec, Stream, Variant, histories};
use loopfm::recall::{self, Recall};
use loopfm::session::{DeviceChoice, Session, SessionOptions};
use loopfm::tensor::Tensors;
use loopfm::{import, model};

use super::log::{Folder, LOOP, rows};

/// What was trained: a foundation model of three days, a vertical model of the two after them.
pub(super) fn trained() -> (Folder, Spec) {
    let folder = Folder::new(&rows());
    let fixed = LOOP.replace("prequential", "fixed");
    let fixed = fixed
        .replace("20220602..20220605", "20220604..20220605")
        .replace("20220601..20220605", "20220601..20220603");
    folder.write("loop.toml", &fixed);
    let spec = Spec {
        variants: vec![Variant::Loopfm],
        seeds: vec![1, 2],
        ..folder.spec()
    };
    folder.run(&spec);
    (folder, spec)
}

pub(super) fn bundle(folder: &Folder, name: &str) -> Bundle {
    let path: PathBuf = folder.path().join("out/runs").join(format!("{name}.model.safetensors"));
    let model = model::load(&path).unwrap();
    let mut options = compile::Options::new(Precision::F16);
    options.profiles.clear();
    let mut bundle = compile(&model.name, &model.graph, &model.weights, &options).unwrap();
    bundle.notes = import::notes(&path).unwrap();
    bundle
}

pub(super) fn extracted(
    folder: &Folder,
    fm: &Bundle,
    out: &str,
    options: &extract::Options,
) -> Result<Extracted, extract::Error> {
    extracted_of(folder, fm, out, options, &[folder.path().join("log.csv")])
}

pub(super) fn extracted_of(
    folder: &Folder,
    fm: &Bundle,
    out: &str,
    options: &extract::Options,
    files: &[PathBuf],
) -> Result<Extracted, extract::Error> {
    let features = extract::encoder(fm)?
        .features()
        .clone()
        .in_folder(folder.path().to_path_buf());
    let log = LogFiles::open(&features, files)?;
    let device = SessionOptions {
        device: DeviceChoice::Cpu,
        ..SessionOptions::default()
    };
    Extraction::open(fm, &device, &log, options, &folder.path().join(out))?.run(&|_| {})
}

pub(super) fn options() -> extract::Options {
    let days = Days {
        first: 20220604,
        last: 20220608,
    };
    extract::Options {
        days: Some(days),
        segment: 400,
        storage: Form::Int8,
        ..extract::Options::default()
    }
}

pub(super) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |e: std::io::Result<std::fs::DirEntry>| {
        let path = e.unwrap().path();
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read(&path).unwrap(),
        )
    };
    let mut all: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(read)
        .filter(|(name, _)| name != "lock")
        .collect();
    all.sort();
    all
}

#[test]
fn training_and_serving_read_the_same_bits() {
    let (folder, spec) = trained();
    let (fm, vm) = (bundle(&folder, "fm-1"), bundle(&folder, "loopfm-1"));
    let done = extracted(&folder, &fm, "embeddings", &options()).unwrap();
    assert_eq!((done.rows, done.found, done.width), (1500, 0, 4));
    assert!(done.kernel_rows_per_second.unwrap() > 0.0);
    let log = Log::open(&folder.path().join("embeddings")).unwrap();

    // Serving: raw candidates of the test days, and the log.
    let candidates = candidates(&folder, &vm);
    let mut served = candidates.inputs.clone();
    served.extend(Recall::open(&log, &vm).unwrap().inputs(&candidates).unwrap());

    // Training: the stream, and slices of it.
    let (stream, _) = Stream::read(&spec, folder.path()).unwrap();
    let (columns, codes) = log.read().unwrap();
    let values = log.header().storage.decode(&codes, 4);
    let mut embeddings = vec![0.0; 4 * stream.rows()];
    let mut keep = vec![false; stream.rows()];
    for (row, value) in columns.row.iter().zip(values.chunks_exact(4)) {
        embeddings[*row as usize * 4..][..4].copy_from_slice(value);
        keep[*row as usize] = true;
    }
    let past = |keep: Option<&[bool]>| Arc::new(histories(&stream, &spec.history, keep).unwrap());
    let sources = Sources {
        columns: Arc::new(Sources::columns(&stream)),
        raw: past(None),
        loopfm: Some((
            past(Some(&keep)),
            Arc::new(Embeddings {
                width: 4,
                values: embeddings,
            }),
        )),
    };
    let path = folder.path().join("out/runs/loopfm-1.model.safetensors");
    let test = stream.days(Range {
        first: 20220607,
        last: 20220608,
    });
    let mut trained = Tensors::new();
    let gather = Past::new(&model::load(&path).unwrap().graph, &sources)
        .unwrap()
        .from(test.start);
    gather.gather(&(0..test.len()).collect::<Vec<_>>(), &mut trained);
    assert_eq!(trained.len(), 2);
    for (name, tensor) in &trained {
        assert_eq!(served[name], *tensor, "{name}");
    }
    assert!(trained["loopfm"].as_f32().unwrap().iter().any(|x| *x != 0.0));
    for name in ["item", "kind"] {
        let part = &stream.columns[name].as_i32().unwrap()[test.clone()];
        assert_eq!(served[name].as_i32().unwrap(), part, "{name}");
    }
}

/// Candidates of the test days.
pub(super) fn candidates(folder: &Folder, vm: &Bundle) -> Encoded {
    let encoder = extract::encoder(vm).unwrap();
    let features = encoder.features().clone().in_folder(folder.path().to_path_buf());
    let all = LogFiles::open(&features, &[folder.path().join("log.csv")]).unwrap();
    let days = Days {
        first: 20220607,
        last: 20220608,
    };
    encoder.encode_log(&all, Some(days)).unwrap()
}

#[test]
fn embeddings_of_another_model_are_refused() {
    let (folder, _) = trained();
    let vm = bundle(&folder, "loopfm-1");
    extracted(&folder, &bundle(&folder, "fm-2"), "other", &options()).unwrap();
    let refused = Recall::open(&Log::open(&folder.path().join("other")).unwrap(), &vm).unwrap_err();
    assert!(matches!(refused, recall::Error::OtherFm { .. }), "{refused}");
    assert_eq!(refused.exit_code(), 6);
    let plain = bundle(&folder, "vm-1");
    let refused = Recall::open(&Log::open(&folder.path().join("other")).unwrap(), &plain).unwrap_err();
    assert!(matches!(refused, recall::Error::NoHistory), "{refused}");
    // Nor do two models write to one log.
    let mixed = extracted(&folder, &bundle(&folder, "fm-1"), "other", &options()).unwrap_err();
    assert_eq!(mixed.exit_code(), 6, "{mixed}");
}

#[test]
fn interrupted_extractions_end_as_others() {
    let (folder, _) = trained();
    let fm = bundle(&folder, "fm-1");
    extracted(&folder, &fm, "whole", &options()).unwrap();
    extracted(&folder, &fm, "cut", &options()).unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    assert_eq!(files(&whole), files(&cut));
    // Killed while the third segment's line was being written.
    let manifest = std::fs::read_to_string(cut.join("manifest.jsonl")).unwrap();
    let lines: Vec<&str> = manifest.split_inclusive('\n').collect();
    let kept = lines[..3].concat() + &lines[3][..20];
    std::fs::write(cut.join("manifest.jsonl"), kept).unwrap();
    std::fs::remove_file(cut.join("segment-000003.parquet")).unwrap();
    let again = extracted(&folder, &fm, "cut", &options()).unwrap();
    assert_eq!((again.rows, again.found), (700, 800));
    assert_eq!(files(&whole), files(&cut));
    let nothing = extracted(&folder, &fm, "cut", &options()).unwrap();
    assert_eq!((nothing.rows, nothing.found), (0, 1500));
}

#[test]
fn days_that_the_model_knows_are_refused() {
    let (folder, _) = trained();
    let mut fm = bundle(&folder, "fm-1");
    let all = extract::Options {
        days: None,
        ..options()
    };
    let refused = extracted(&folder, &fm, "leak", &all).unwrap_err();
    assert!(matches!(refused, extract::Error::Known { row: 0, .. }), "{refused}");
    let words = "to see what a leak does";
    let told = extract::Options {
        leak: Some(words.into()),
        ..all.clone()
    };
    assert_eq!(extracted(&folder, &fm, "told", &told).unwrap().rows, 2400);
    assert_eq!(
        Log::open(&folder.path().join("told")).unwrap().header().leak.as_deref(),
        Some(words)
    );
    fm.notes.remove(NOTE_CUTOFF);
    assert!(matches!(
        extracted(&folder, &fm, "none", &all),
        Err(extract::Error::NoCutoff)
    ));
    let said = extract::Options { cutoff: Some(0), ..all };
    assert_eq!(extracted(&folder, &fm, "said", &said).unwrap().rows, 2400);
    let nothing = extract::Options {
        layers: vec!["nothing".into()],
        cutoff: Some(0),
        ..options()
    };
    let refused = extracted(&folder, &fm, "layers", &nothing).unwrap_err();
    assert!(refused.to_string().contains("`embedding`"), "{refused}");
}

#[test]
fn histories_are_declared_in_the_model() {
    let (folder, spec) = trained();
    let text = &bundle(&folder, "loopfm-1").notes["loopfm.note.history"];
    let read: History = serde_json::from_str(text).unwrap();
    assert_eq!(read, spec.history);
}

#[test]
fn devices_store_what_the_host_would() {
    let (folder, _) = trained();
    let path = folder.path().join("out/runs/fm-1.model.safetensors");
    let model = model::load(&path).unwrap();
    let mut kernels = compile::Options::new(Precision::F16);
    // The codes of every profile are compared where they are packed.
    kernels.profiles.retain(|profile| profile.software);
    let fm = compile(&model.name, &model.graph, &model.weights, &kernels).unwrap();
    let encoder = extract::encoder(&bundle(&folder, "fm-1")).unwrap();
    let features = encoder.features().clone().in_folder(folder.path().to_path_buf());
    let log = LogFiles::open(&features, &[folder.path().join("log.csv")]).unwrap();
    let rows = loopfm::session::inputs(&fm.manifest, encoder.encode_log(&log, None).unwrap());
    let cpu = SessionOptions {
        device: DeviceChoice::Cpu,
        ..SessionOptions::default()
    };
    let layers = ["embedding".to_owned()];
    let whole = Session::open(&fm, &cpu).unwrap().run(&rows).unwrap();
    let sample = whole["embedding"].as_f32().unwrap();
    for form in [Form::F16, Form::Int8, Form::KMeans4] {
        let storage = loopfm::compress::fit(form, sample).unwrap();
        let stores = extract::storing(&fm, &layers, &storage).unwrap().unwrap();
        assert_eq!(stores.manifest.variants.len(), fm.manifest.variants.len());
        let bytes = storage.row_bytes(4);
        let same = |what: &str, whole: &Tensors, out: &Tensors| {
            let mut expected = Vec::new();
            storage
                .encode(whole["embedding"].as_f32().unwrap(), 4, &mut expected)
                .unwrap();
            let codes = unpacked(out["loopfm.codes"].as_i32().unwrap(), bytes);
            assert!(codes == expected, "{what}, {form}");
            assert_eq!(out["prob"], whole["prob"], "{what}, {form}");
        };
        same(
            "CPU",
            &whole,
            &Session::open(&stores, &cpu).unwrap().run(&rows).unwrap(),
        );
        #[cfg(feature = "gpu")]
        on_devices(&rows, (&fm, &stores), &same);
        // What comes back from a device is codes, as many words as they need, and the score.
        assert_eq!(stores.manifest.outputs.len(), 2);
        assert_eq!(stores.manifest.outputs[0].width() as usize, bytes.div_ceil(4));
    }
    assert!(extract::storing(&fm, &layers, &Storage::F32).unwrap().is_none());
}

/// Compares, on every variant of the shared device, what a model leaves with what it stores.
#[cfg(feature = "gpu")]
fn on_devices(rows: &Tensors, (fm, stores): (&Bundle, &Bundle), same: &dyn Fn(&str, &Tensors, &Tensors)) {
    use crate::support::gpu::each_variant;
    let whole = std::cell::RefCell::new(std::collections::HashMap::new());
    each_variant(fm, |what, runtime| {
        whole.borrow_mut().insert(what.to_owned(), runtime.run(rows).unwrap());
    });
    each_variant(stores, |what, runtime| {
        same(what, &whole.borrow()[what], &runtime.run(rows).unwrap());
    });
}
