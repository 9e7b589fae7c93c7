//! Inference against FuxiCTR's models with the same weights (`tools/export/tests/make_architectures.py`).

use std::path::{Path, PathBuf};

use loopfm::import::read_tensors;
use loopfm::model::load;
use loopfm::tensor::{Sizes, Tensors};

use super::{close, run};
use crate::support::compare::numbers;

/// Folders of `tests/data/zoo`.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zoo");
    let mut folders: Vec<PathBuf> = root.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn architectures_agree_with_fuxictr() {
    let mut seen = 0;
    for folder in folders() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let model = load(&folder).unwrap_or_else(|e| panic!("{e}"));
        let (io, _) = read_tensors(&folder.join("golden.io.safetensors")).unwrap();
        let part = |prefix: &str| -> Tensors {
            let named = |(n, t): (&String, &_)| Some((n.strip_prefix(prefix)?.to_owned(), Clone::clone(t)));
            io.iter().filter_map(named).collect()
        };
        let (batch, want) = (part("in."), part("out."));
        let sizes = Sizes {
            rows: want["prob"].shape[0],
            requests: 1,
        };
        let got = run(&model.graph, &model.weights, &batch, sizes);
        for (output, want) in &want {
            let (_, got) = got.iter().find(|(name, _)| name == output).unwrap();
            // Constants, and what FuxiCTR stores of its answers, are f32.
            close(&format!("{name} `{output}`"), got, &numbers(want), 1e-6);
        }
        seen += 1;
    }
    assert_eq!(seen, 10);
}
