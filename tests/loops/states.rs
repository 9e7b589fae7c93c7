//! States of what is known, beside slices of the log: the same bits, in the library and by command.

#[cfg(feature = "cli")]
use std::path::Path;

use loopfm::bundle::Bundle;
use loopfm::data::{Days, Encoded};
use loopfm::embeddings::{Form, Log};
use loopfm::extract;
use loopfm::history::Rule;
use loopfm::pipeline::{Options, Variant, run};
use loopfm::recall::{self, Recall, State};
use loopfm::tensor::{Data, Tensors};

use super::log::{Folder, rows};
use super::serving::{bundle, candidates, extracted, options, trained};

/// A storage in which nothing is fitted, so that logs of other days hold the same codes.
fn stored(days: Option<Days>) -> extract::Options {
    extract::Options {
        days: days.or(options().days),
        storage: Form::Int4,
        ..options()
    }
}

/// The days before the test, as a log of embeddings of their own.
fn before(folder: &Folder, fm: &Bundle) -> Log {
    let days = Days {
        first: 20220604,
        last: 20220606,
    };
    extracted(folder, fm, "before", &stored(Some(days))).unwrap();
    Log::open(&folder.path().join("before")).unwrap()
}

#[test]
fn a_state_that_goes_along_and_slices_of_the_log_give_the_same_bits() {
    let (folder, spec) = trained();
    let (fm, vm) = (bundle(&folder, "fm-1"), bundle(&folder, "loopfm-1"));
    extracted(&folder, &fm, "embeddings", &stored(None)).unwrap();
    let log = Log::open(&folder.path().join("embeddings")).unwrap();
    let candidates = candidates(&folder, &vm);
    let expected = Recall::open(&log, &vm).unwrap().inputs(&candidates).unwrap();

    // Of the days before the test a state, saved as at the end of a day; then instant after instant.
    let mut state = State::new(&before(&folder, &fm), spec.history.rule(), false).unwrap();
    assert_eq!(state.append(&before(&folder, &fm)).unwrap(), 900);
    assert_eq!(state.append(&before(&folder, &fm)).unwrap(), 0);
    let path = folder.path().join("today.ring");
    state.save(&path).unwrap();
    let mut recall = Recall::of_state(State::load(&path).unwrap(), &vm).unwrap();
    let (columns, codes) = log.read().unwrap();
    let bytes = codes.len() / columns.key.len();
    for row in 0..candidates.len() {
        let one = Encoded {
            inputs: Tensors::new(),
            key: vec![candidates.key[row]],
            time: vec![candidates.time[row]],
            ingest: None,
            day: None,
            label: None,
            row: vec![row as u64],
            unknown: candidates.unknown.clone(),
            rejected: 0,
        };
        for (name, seen) in recall.inputs(&one).unwrap() {
            let all = &expected[&name];
            let width = all.data.len() / candidates.len();
            let part = row * width..(row + 1) * width;
            match (&seen.data, &all.data) {
                (Data::F32(x), Data::F32(y)) => assert_eq!(x[..], y[part], "row {row}, {name}"),
                (Data::Bool(x), Data::Bool(y)) => assert_eq!(x[..], y[part], "row {row}, {name}"),
                (x, y) => panic!("{name}: {:?} and {:?}", x.dtype(), y.dtype()),
            }
        }
        let event = 900 + row;
        assert_eq!(columns.time[event], candidates.time[row]);
        let state = recall.state().unwrap();
        let times = (columns.time[event], None);
        state
            .push(
                columns.key[event],
                times,
                columns.row[event],
                &codes[event * bytes..][..bytes],
                &[],
            )
            .unwrap();
        if row % 100 == 50 {
            state.save(&path).unwrap();
            recall = Recall::of_state(State::load(&path).unwrap(), &vm).unwrap();
        }
    }
    // What is behind it is no instant of a state's.
    let early = recall.inputs(&candidates).unwrap_err();
    assert!(early.to_string().contains("was asked for after an event"), "{early}");
}

/// A prequential run's log, by its last version; histories of positives alone.
#[test]
fn states_hold_positives_of_prequential_logs() {
    let folder = Folder::new(&rows());
    let mut spec = folder.spec();
    spec.history.positives = true;
    spec.variants = vec![Variant::Loopfm];
    let options = Options {
        log: true,
        ..folder.options()
    };
    run(&spec, &options, &|_| {}).unwrap();
    let vm = bundle(&folder, "loopfm-1");
    let log = Log::open(&folder.path().join("out/embeddings/fm-1")).unwrap();
    let columns = log.columns().unwrap();
    let mut state = State::new(&log, spec.history.rule(), true).unwrap();
    let positives = columns.side[0].1.iter().filter(|y| **y == 2).count();
    assert_eq!(state.append(&log).unwrap(), positives);
    assert_eq!(state.kept().fm, log.segments()[4].fm);
    // Whoever was there, a day after the last event.
    let mut candidates = candidates(&folder, &vm);
    candidates.time.fill(columns.time.iter().max().unwrap() + 86_400_000);
    let expected = Recall::open(&log, &vm).unwrap().inputs(&candidates).unwrap();
    assert!(expected["loopfm"].as_f32().unwrap().iter().any(|x| *x != 0.0));
    let seen = Recall::of_state(state, &vm).unwrap().inputs(&candidates).unwrap();
    assert_eq!(seen, expected);
}

#[test]
fn states_of_other_histories_and_other_models_are_refused() {
    let (folder, spec) = trained();
    let (fm, vm) = (bundle(&folder, "fm-1"), bundle(&folder, "loopfm-1"));
    let log = before(&folder, &fm);
    let rule = spec.history.rule();
    let refused = |rule, vm: &Bundle| Recall::of_state(State::new(&log, rule, false).unwrap(), vm).unwrap_err();
    let shorter = refused(Rule { max_len: 3, ..rule }, &vm);
    assert!(matches!(shorter, recall::Error::OtherRule { .. }), "{shorter}");
    assert_eq!(shorter.exit_code(), 6);
    let later = refused(Rule { delay: 5, ..rule }, &vm);
    assert!(matches!(later, recall::Error::OtherRule { .. }), "{later}");
    let other = refused(rule, &bundle(&folder, "loopfm-2"));
    assert!(matches!(other, recall::Error::OtherFm { .. }), "{other}");
    // Histories of positives are made of a log that knows which these are.
    let positives = State::new(&log, rule, true).unwrap_err();
    assert!(matches!(positives, recall::Error::NoLabels), "{positives}");
    // Nor does a state take another model's embeddings.
    let mut state = State::new(&log, rule, false).unwrap();
    extracted(&folder, &bundle(&folder, "fm-2"), "other", &options()).unwrap();
    let mixed = state
        .append(&Log::open(&folder.path().join("other")).unwrap())
        .unwrap_err();
    assert_eq!(mixed.exit_code(), 6, "{mixed}");
}

/// What `loopfm run` makes of the test days.
#[cfg(feature = "cli")]
fn scores(folder: &Folder, vm: &Path, more: &[&str]) -> Tensors {
    let at = |name: &str| folder.path().join(name);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loopfm"));
    command.args([
        "run".as_ref(),
        vm.as_os_str(),
        "--log".as_ref(),
        at("log.csv").as_os_str(),
    ]);
    command
        .args(["--days", "20220607..20220608", "--output"])
        .arg(at("scores"));
    let done = command.args(more).current_dir(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    loopfm::import::read_tensors(&at("scores")).unwrap().0
}

#[cfg(feature = "cli")]
#[test]
fn the_command_takes_logs_states_and_logs_on_the_device() {
    use loopfm::bundle::Precision;
    use loopfm::compile::{self, compile};

    let (folder, spec) = trained();
    let (fm, mut vm) = (bundle(&folder, "fm-1"), bundle(&folder, "loopfm-1"));
    let before = before(&folder, &fm);
    let mut state = State::new(&before, spec.history.rule(), false).unwrap();
    state.append(&before).unwrap();
    state.save(&folder.path().join("today.ring")).unwrap();
    let path = folder.path().join("vm.loopfm");
    let mut devices = vec!["cpu"];
    if cfg!(feature = "gpu") && crate::support::gpu::gpu().is_some() {
        let model = loopfm::model::load(&folder.path().join("out/runs/loopfm-1.model.safetensors")).unwrap();
        let options = compile::Options::new(Precision::F16);
        let notes = vm.notes.clone();
        vm = compile(&model.name, &model.graph, &model.weights, &options).unwrap();
        vm.notes = notes;
        devices.push("gpu");
    }
    vm.write(&path).unwrap();
    for device in devices {
        let run = |more: &[&str]| scores(&folder, &path, &[&["--device", device], more].concat());
        let of_log = run(&["--past", "before"]);
        assert_eq!(of_log, run(&["--past", "today.ring"]), "{device}");
        let resident = run(&["--past", "before", "--resident"]);
        assert_eq!(of_log["prob"], resident["prob"], "{device}");
    }
}
