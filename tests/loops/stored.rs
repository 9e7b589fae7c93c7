//! What vertical models read is what was stored, and a run's embeddings can be a log.

use std::sync::{Arc, Mutex};

use loopfm::data::{Days, LogFiles};
use loopfm::embeddings::{Form, Log};
use loopfm::extract;
use loopfm::history::{Events, Rule, audit, slices};
use loopfm::metrics::{Bootstrap, Metric};
use loopfm::model;
use loopfm::pipeline::{Embeddings, Error, Fm, Options, Past, Progress, Range, Sources, Spec, Variant, histories, run};
use loopfm::recall::Recall;
use loopfm::tensor::Tensors;

use super::log::{Folder, rows};
use super::serving::{bundle, files};

fn stored(spec: &Spec, storage: Form) -> Spec {
    Spec {
        fm: Fm {
            storage,
            ..spec.fm.clone()
        },
        variants: vec![Variant::Loopfm, Variant::Permuted, Variant::LengthOnly],
        ..spec.clone()
    }
}

#[test]
fn storages_change_what_is_read_and_nothing_else() {
    let folder = Folder::new(&rows());
    let spec = folder.spec();
    let went = Mutex::new(Vec::new());
    let observe = |p: &Progress<'_>| {
        if let Progress::Done {
            what, took: Some(_), ..
        } = p
        {
            went.lock().unwrap().push((*what).to_owned());
        }
    };
    let mut logits = Vec::new();
    for form in [Form::F32, Form::Int4] {
        let spec = stored(&spec, form);
        let finished = run(&spec, &folder.options(), &observe).unwrap();
        let mut went: Vec<String> = std::mem::take(&mut went.lock().unwrap());
        went.sort();
        let all = ["fm", "length-only", "loopfm", "permuted", "vm"];
        let again = ["loopfm", "permuted"];
        assert_eq!(went, if form == Form::F32 { &all[..] } else { &again[..] });
        logits.push(finished.learnt[&Variant::Loopfm][0].logits.clone());
        let few = Bootstrap {
            resamples: 50,
            ..Bootstrap::default()
        };
        let report = finished.report(&spec, &few).unwrap();
        let table = &report.storage;
        let names: Vec<&str> = table.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, Form::ALL.map(Form::name));
        assert_eq!(
            table.iter().map(|s| s.bytes).collect::<Vec<_>>(),
            [16.0, 8.0, 4.0, 2.0, 2.0]
        );
        let error: Vec<f64> = table.iter().map(|s| s.error.unwrap()).collect();
        assert_eq!(error[0], 0.0);
        assert!(
            error[1] < error[2] && error[2] < error[4] && error[4] < error[3],
            "{error:?}"
        );
        let mine = report
            .variants
            .iter()
            .find(|v| v.name == Variant::Loopfm.title())
            .unwrap();
        for line in table {
            let read = (line.name == form.name()).then(|| mine.value(Metric::Auc).unwrap().value);
            assert_eq!(line.auc, read, "{}", line.name);
        }
        let bytes = if form == Form::F32 { 16.0 } else { 2.0 };
        assert_eq!(
            (report.protocol.storage.as_str(), report.protocol.bytes_per_impression),
            (form.name(), Some(bytes))
        );
    }
    assert_ne!(logits[0], logits[1]);
}

#[test]
fn embeddings_of_a_run_are_a_log_that_services_read() {
    let folder = Folder::new(&rows());
    let spec = stored(&folder.spec(), Form::KMeans4);
    let options = Options {
        log: true,
        ..folder.options()
    };
    let finished = run(&spec, &options, &|_| {}).unwrap();
    let dir = folder.path().join("out/embeddings/fm-1");
    let log = Log::open(&dir).unwrap();
    let (fm, stream) = (&finished.fm[0], &finished.stream);
    // Days two to five by a model each, the rest by the last.
    assert_eq!(log.segments().len(), 5);
    assert!(log.header().prequential && log.header().side == ["label"]);
    assert_eq!(log.segments()[4].fm, fm.fm());
    assert!(log.segments().iter().all(|s| s.cutoff.unwrap() < s.time[0]));
    let columns = log.columns().unwrap();
    assert_eq!(columns.row, (300..2400).collect::<Vec<u64>>());
    assert_eq!(columns.time, stream.time[300..]);
    assert_eq!(columns.score.as_deref(), Some(&fm.score[300..]));
    let label: Vec<i32> = stream.label[300..].iter().map(|y| 1 + *y as i32).collect();
    assert_eq!(columns.side, [("label".to_owned(), label)]);
    let events = Events {
        key: &columns.key,
        time: &columns.time,
        ingest: None,
        keep: None,
    };
    let rule = Rule {
        delay: 0,
        retention: None,
        max_len: 8,
    };
    let queries = (&columns.key[..], &columns.time[..]);
    audit(&events, &slices(&events, queries, &rule).unwrap(), queries, &rule).unwrap();

    // A service that reads it gives the vertical model what it was trained with.
    let vm = bundle(&folder, "loopfm-1");
    let encoder = extract::encoder(&vm).unwrap();
    let features = encoder.features().clone().in_folder(folder.path().to_path_buf());
    let all = LogFiles::open(&features, &[folder.path().join("log.csv")]).unwrap();
    let days = Days {
        first: 20220607,
        last: 20220608,
    };
    let candidates = encoder.encode_log(&all, Some(days)).unwrap();
    let served = Recall::open(&log, &vm).unwrap().inputs(&candidates).unwrap();
    let (_, codes) = log.read().unwrap();
    let mut values = vec![0.0; 4 * 300];
    values.extend(log.header().storage.decode(&codes, 4));
    let past = |keep: Option<&[bool]>| Arc::new(histories(stream, &spec.history, keep).unwrap());
    let sources = Sources {
        columns: Arc::new(Sources::columns(stream)),
        raw: past(None),
        loopfm: Some((past(Some(&fm.embedded())), Arc::new(Embeddings { width: 4, values }))),
    };
    let graph = model::load(&folder.path().join("out/runs/loopfm-1.model.safetensors"))
        .unwrap()
        .graph;
    let test = stream.days(Range {
        first: 20220607,
        last: 20220608,
    });
    let mut trained = Tensors::new();
    let gather = Past::new(&graph, &sources).unwrap().from(test.start);
    gather.gather(&(0..test.len()).collect::<Vec<_>>(), &mut trained);
    assert_eq!(served, trained);

    // Again: nothing is written twice; a log cut short is gone on with; another model's is refused.
    let whole = files(&dir);
    run(&spec, &options, &|_| {}).unwrap();
    assert!(files(&dir) == whole);
    let manifest = std::fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
    let lines: Vec<&str> = manifest.split_inclusive('\n').collect();
    std::fs::write(dir.join("manifest.jsonl"), lines[..5].concat()).unwrap();
    run(&spec, &options, &|_| {}).unwrap();
    assert!(files(&dir) == whole);
    let mut other = spec.clone();
    other.fm.train.schedule.lr *= 2.0;
    let refused = run(&other, &options, &|_| {}).err().unwrap();
    assert!(
        matches!(refused, Error::Log(_)) && refused.exit_code() == 6,
        "{refused}"
    );
    assert!(files(&dir) == whole);
}
