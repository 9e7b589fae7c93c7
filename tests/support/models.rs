//! Exported models and their goldens: those of the repository, and those of the folder that `LOOPFM_EXPORTS` names.

use std::path::{Path, PathBuf};

use loopfm::import::{self, Model};
use loopfm::tensor::Tensors;

/// A batch and the answers to it.
pub(crate) struct Golden {
    /// Folder and file, for messages.
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) batch: Tensors,
    pub(crate) want: Tensors,
}

/// Goldens in `tests/data/graphs`.
pub(crate) fn in_repository() -> Vec<PathBuf> {
    let mut list = Vec::new();
    collect(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/graphs")),
        &mut list,
    );
    assert!(!list.is_empty(), "no goldens in tests/data/graphs");
    list
}

/// Goldens in the folder that `LOOPFM_EXPORTS` names; says so when it names none.
pub(crate) fn elsewhere() -> Vec<PathBuf> {
    let mut list = Vec::new();
    match std::env::var_os("LOOPFM_EXPORTS") {
        Some(folder) => {
            collect(Path::new(&folder), &mut list);
            assert!(!list.is_empty(), "no goldens in {}", folder.display());
        }
        None => eprintln!("skipped: LOOPFM_EXPORTS names no folder of exports"),
    }
    list
}

fn collect(folder: &Path, list: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, list);
        } else if path.to_string_lossy().ends_with(".io.safetensors") {
            list.push(path);
        }
    }
}

/// Loads a golden and the model beside it.
pub(crate) fn load(file: &Path) -> Golden {
    let model = import::load(&file.with_file_name("model.safetensors")).unwrap_or_else(|e| panic!("{e}"));
    let (tensors, _) = import::read_tensors(file).unwrap_or_else(|e| panic!("{e}"));
    let part = |prefix: &str| -> Tensors {
        let named = |(name, t): (&String, &_)| Some((name.strip_prefix(prefix)?.to_owned(), Clone::clone(t)));
        tensors.iter().filter_map(named).collect()
    };
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
    let name = format!(
        "{}/{}",
        folder.to_string_lossy(),
        file.file_name().unwrap_or_default().to_string_lossy()
    );
    Golden {
        name,
        model,
        batch: part("in."),
        want: part("out."),
    }
}
