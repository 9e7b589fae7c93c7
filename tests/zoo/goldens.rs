//! Inference and training against FuxiCTR's models with the same weights (`tools/export/tests/make_architectures.py`).

use std::path::{Path, PathBuf};

use loopfm::import::read_tensors;
use loopfm::ir::Graph;
use loopfm::model::{Mode, load};
use loopfm::tensor::{Sizes, Tensors};

use super::{close, network, run, scalars};
use crate::support::compare::numbers;

/// Folders of `tests/data/zoo`.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zoo");
    let mut folders: Vec<PathBuf> = root.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// A model of FuxiCTR under our names.
struct Golden {
    name: String,
    config: String,
    weights: Tensors,
    io: Tensors,
    sizes: Sizes,
}

impl Golden {
    fn load(folder: &Path) -> Self {
        let (io, _) = read_tensors(&folder.join("golden.io.safetensors")).unwrap();
        let (weights, _) = read_tensors(&folder.join("model.safetensors")).unwrap();
        let rows = io["out.prob"].shape[0];
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            config: std::fs::read_to_string(folder.join("config.json")).unwrap(),
            weights,
            io,
            sizes: Sizes { rows, requests: rows },
        }
    }

    fn part(&self, prefix: &str) -> Tensors {
        let named = |(n, t): (&String, &_)| Some((n.strip_prefix(prefix)?.to_owned(), Clone::clone(t)));
        self.io.iter().filter_map(named).collect()
    }

    /// Compares the outputs of a graph with the answers of this prefix.
    fn compare(&self, graph: &Graph, prefix: &str) {
        let mut batch = self.part("in.");
        scalars(&mut batch, self.sizes.rows, 0);
        let got = run(graph, &self.weights, &batch, self.sizes);
        for (output, want) in &self.part(prefix) {
            let (_, got) = got.iter().find(|(name, _)| name == output).unwrap();
            // Constants, and what is stored of FuxiCTR's answers, are f32.
            close(&format!("{} {prefix}{output}", self.name), got, &numbers(want), 2e-6);
        }
    }
}

#[test]
fn architectures_agree_with_fuxictr() {
    let folders = folders();
    assert_eq!(folders.len(), 10);
    for folder in folders {
        let golden = Golden::load(&folder);
        let model = load(&folder).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(model.weights.len(), golden.weights.len());
        golden.compare(&model.graph, "out.");
    }
}

#[test]
fn training_agrees_with_fuxictr() {
    let mut statistics = 0;
    for folder in folders() {
        let golden = Golden::load(&folder);
        let train = network(&golden.config, Mode::Train);
        golden.compare(&train.graph, "train.");
        statistics += train
            .graph
            .outputs
            .iter()
            .filter(|(name, _)| name.starts_with("next."))
            .count();
    }
    assert!(statistics > 20, "{statistics} statistics");
}
