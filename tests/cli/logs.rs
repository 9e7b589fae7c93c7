//! Raw rows from training to serving: `train` fits features, the model's file and the bundle carry them, `run --log` reads
//! rows as they are logged.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use loopfm::import::read_tensors;

use super::{json, loopfm};
use crate::support::files::put;
use crate::support::rng::Rng;

const FEATURES: &str = r#"
[log]
key = "user"
time = { column = "t", unit = "s" }
label = "click"

[[join]]
file = "items.csv"
on = "item"

[features.user]
id = "user"
[features.item]
id = "item"
[features.brand]
id = "brand"
[features.price]
number = "price"
transform = ["log1p", "standardise"]
"#;

const SPEC: &str = r#"
[model]
architecture = "deepfm"
mlp = [8]
fields = [{name = "user", width = 4}, {name = "item", width = 4}, {name = "brand", width = 4}]
dense = [{name = "price", width = 1, embedding = 4}]

[data]
features = "features.toml"
train-days = "20220425..20220426"
valid-days = "20220427"
batch = 64
epochs = 2

[schedule]
lr = 0.02

[[optimiser.groups]]
params = ["*"]
"#;

/// Four days of a log, 100 rows each, and what goes with it.
fn prepare(folder: &Path) {
    let mut rng = Rng(5);
    let mut log = "user,t,click,item\n".to_owned();
    for day in 0..4 {
        for row in 0..100 {
            let (user, item) = (rng.below(20), rng.below(10));
            let click = usize::from((user + item) % 3 == 0);
            let t = 1_650_844_800 + day * 86_400 + row;
            writeln!(log, "u{user},{t},{click},{item}").unwrap();
        }
    }
    put(folder, "log.csv", log);
    let items: String = (0..9).map(|i| format!("{i},b{},{}.5\n", i % 3, i * 10)).collect();
    put(folder, "items.csv", format!("item,brand,price\n{items}"));
    put(folder, "features.toml", FEATURES);
    put(folder, "spec.toml", SPEC);
}

#[test]
fn from_raw_rows_to_scores_of_raw_rows() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    prepare(folder.path());
    let done = loopfm![
        "train",
        at("spec.toml"),
        "--train",
        at("log.csv"),
        "--out",
        at("run"),
        "--json"
    ]
    .ok();
    assert_eq!(json(&done)["rows"], 400);
    assert!(
        fs::read_to_string(at("run/features.json"))
            .unwrap()
            .contains("loopfm.features/1")
    );

    loopfm![
        "compile",
        at("run/model.safetensors"),
        "--output",
        at("vm.loopfm"),
        "--precision",
        "f32"
    ]
    .ok();
    let said = json(&loopfm!["inspect", at("vm.loopfm"), "--json"].ok());
    assert_eq!(
        (
            &said["features"]["fitted_rows"],
            &said["features"]["vocabularies"]["item"]
        ),
        (&200.into(), &11.into())
    );

    // The last day, through the bundle alone: as the model scores what the encoder makes.
    let out = at("scores.safetensors");
    loopfm![
        "run",
        at("vm.loopfm"),
        "--log",
        at("log.csv"),
        "--days",
        "20220428",
        "--device",
        "cpu",
        "--output",
        out
    ]
    .ok();
    let scores = read_tensors(&out).unwrap().0;
    assert_eq!(scores["prob"].data.len(), 100);
    let (notes, model) = (
        loopfm::import::notes(&at("run/model.safetensors")).unwrap(),
        at("run/model.safetensors"),
    );
    let encoder = loopfm::data::Encoder::from_json(&notes["loopfm.features"])
        .unwrap()
        .in_folder(folder.path().to_path_buf());
    let log = loopfm::data::LogFiles::open(encoder.features(), &[at("log.csv")]).unwrap();
    let encoded = encoder.encode_log(&log, Some("20220428".parse().unwrap())).unwrap();
    let model = loopfm::import::load(&model).unwrap();
    let sizes = loopfm::tensor::Sizes {
        rows: 100,
        requests: 100,
    };
    let expected = loopfm::interp::eval::<f32>(&model.graph, &model.weights, &encoded.inputs, sizes).unwrap();
    let expected = expected["prob"].to_host();
    for (a, b) in scores["prob"].as_f32().unwrap().iter().zip(expected.as_f32().unwrap()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }

    // Rows that bring the side table's columns need no side table.
    fs::create_dir(at("far")).unwrap();
    put(
        folder.path(),
        "far/rows.csv",
        "user,t,item,brand,price\nu1,1651104000,3,b0,30.5\nnobody,1651104000,99,,\n",
    );
    loopfm!["run", at("vm.loopfm"), "--log", at("far/rows.csv"), "--device", "cpu"].ok();
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    prepare(folder.path());
    let train = |spec: String| {
        put(folder.path(), "spec.toml", spec);
        loopfm![
            "train",
            at("spec.toml"),
            "--train",
            at("log.csv"),
            "--out",
            at("refused")
        ]
        .fails(1)
    };
    for (from, to, words) in [
        (
            "name = \"item\", width",
            "name = \"thing\", width",
            "field `thing` has no `vocabulary`",
        ),
        (
            "name = \"item\", width",
            "name = \"item\", vocabulary = 3, width",
            "`vocabulary` of 3, its feature has 11 rows",
        ),
        ("20220425..20220426", "yesterday", "`data.train-days` is \"yesterday\""),
        (
            "20220425..20220426",
            "20230101",
            "no rows in the days 20230101..20230101",
        ),
        (
            "features = \"features.toml\"",
            "",
            "`data.features` is missing, with days 20220425..20220426",
        ),
        (
            "features = \"features.toml\"",
            "features = \"features.toml\"\nlabel = \"buy\"",
            "`data.label` is \"buy\"",
        ),
    ] {
        let line = train(SPEC.replace(from, to));
        assert!(line.contains(words), "{line}");
    }
    fs::write(at("log.csv"), "user,t,click,item\nu1,1650844800,1,3,4\n").unwrap();
    let line = train(SPEC.to_owned());
    assert!(
        line.contains("log.csv`, row 0 (line 2): 5 fields, the first record has 4"),
        "{line}"
    );
}
