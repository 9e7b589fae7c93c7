//! The real impressions of KuaiRand-Pure, against the columns that Python makes of them.

use std::path::{Path, PathBuf};

use loopfm::data::{Days, Features, LogFiles};
use loopfm::import::read_tensors;

/// The declaration that users start from.
fn features(folder: PathBuf) -> Features {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/benchmarks/kuairand/features.toml");
    Features::read(&file).unwrap().in_folder(folder)
}

/// Where the data set is, if it is.
fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("LOOPFM_SHARED").map(PathBuf::from);
    let folder = shared.map(|s| s.join("data/kuairand-pure")).filter(|f| f.is_dir());
    if folder.is_none() {
        eprintln!("skipped: LOOPFM_SHARED names no folder with data/kuairand-pure");
    }
    folder
}

/// Rows of each split agree with `tools/kuairand/columns.py`, whose output `LOOPFM_KUAIRAND` names: every input but the
/// histories, row by row in order of time.
#[test]
fn as_python_encodes_it() {
    let (Some(folder), Some(python)) = (folder(), std::env::var_os("LOOPFM_KUAIRAND")) else {
        eprintln!("skipped: LOOPFM_KUAIRAND names no output of tools/kuairand/columns.py");
        return;
    };
    let features = features(folder.clone());
    let log = LogFiles::open(&features, &[folder.join("impressions_*.parquet")]).unwrap();
    let training: Days = "20220425..20220504".parse().unwrap();
    let encoder = features.fit(&log, Some(training)).unwrap();
    for (split, days) in [
        ("train", "20220425..20220504"),
        ("valid", "20220505"),
        ("test", "20220506..20220508"),
    ] {
        let encoded = encoder.encode_log(&log, Some(days.parse().unwrap())).unwrap();
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|i| encoded.time[*i]);
        let (expected, _) = read_tensors(&PathBuf::from(&python).join(format!("{split}.safetensors"))).unwrap();
        let labels: Vec<f32> = order.iter().map(|i| encoded.label.as_ref().unwrap()[*i]).collect();
        assert_eq!(Some(labels.as_slice()), expected["label"].as_f32());
        let mut compared = 0;
        for (name, tensor) in &encoded.inputs {
            let expected = &expected[name];
            assert_eq!(tensor.shape, expected.shape, "{split} {name}");
            match (tensor.as_i32(), tensor.as_f32()) {
                (Some(seen), _) => {
                    let seen: Vec<i32> = order.iter().map(|i| seen[*i]).collect();
                    assert_eq!(Some(seen.as_slice()), expected.as_i32(), "{split} {name}");
                }
                (_, Some(seen)) => {
                    let apart = order
                        .iter()
                        .zip(expected.as_f32().unwrap())
                        .map(|(i, e)| (seen[*i] - e).abs());
                    assert!(apart.fold(0.0, f32::max) < 2e-7, "{split} {name}");
                }
                _ => panic!("{name} is of another type"),
            }
            compared += 1;
        }
        assert_eq!(compared, 17, "{split}");
    }
}

/// What needs no Python: sizes, days, and an encoder that travels as text.
#[test]
fn fitted_on_training_days() {
    let Some(folder) = folder() else { return };
    let features = features(folder.clone());
    let log = LogFiles::open(&features, &[folder.join("impressions_*.parquet")]).unwrap();
    assert_eq!(log.rows(), Some(228_329));
    let encoder = features.fit(&log, Some("20220425..20220504".parse().unwrap())).unwrap();
    let sizes = encoder.vocabulary_sizes();
    assert_eq!(
        (sizes["author"], sizes["tag"], sizes["hour"], sizes["user"]),
        (5425, 44, 25, 27_286)
    );
    let text = encoder.to_json();
    let again = loopfm::data::Encoder::from_json(&text).unwrap();
    assert_eq!(again.to_json(), text);
    let days = Some("20220505".parse().unwrap());
    let (a, b) = (
        encoder.encode_log(&log, days).unwrap(),
        again.encode_log(&log, days).unwrap(),
    );
    assert_eq!(a, b);
    assert!(a.unknown["author"] > 0 && a.day.unwrap().iter().all(|d| *d == 20_220_505));
}
