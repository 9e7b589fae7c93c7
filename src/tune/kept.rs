//! What a tuner found, kept for the next process: one small file for each adapter, model and size of batches.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Clock, Figures};
use crate::bundle::{Bundle, Variant, digest};
use crate::container::write_atomically;
use crate::run::AdapterReport;
use crate::tensor::Sizes;

/// What figures are true of. Whatever of it changes, they are to be made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Name of the adapter.
    pub adapter: String,
    /// API that it is reached through.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// The model's name.
    pub model: String,
    /// The model's fingerprint.
    pub fingerprint: String,
    /// Name and version of what measured.
    pub tool: String,
    /// BLAKE3 over the candidates, their kernels' texts and the memory that they bind.
    pub candidates: String,
    /// Rows of a batch, rounded up to a power of two.
    pub rows: usize,
    /// Requests of a batch, rounded up to a power of two.
    pub requests: usize,
}

/// A file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    subject: Subject,
    clock: Clock,
    figures: Figures,
    /// BLAKE3 over the rest.
    hash: String,
}

impl Subject {
    pub(super) fn new(device: &AdapterReport, bundle: &Bundle, candidates: &[&Variant], sizes: Sizes) -> Self {
        let texts = serde_json::to_string(candidates).unwrap_or_default();
        Self {
            adapter: device.name.clone(),
            backend: device.backend.to_owned(),
            driver: device.driver.clone(),
            model: bundle.manifest.model.clone(),
            fingerprint: bundle.manifest.fingerprint.clone(),
            tool: concat!("loopfm ", env!("CARGO_PKG_VERSION")).to_owned(),
            candidates: digest(texts.as_bytes()),
            rows: sizes.rows.next_power_of_two(),
            requests: sizes.requests.next_power_of_two(),
        }
    }

    /// Where its figures are kept. Another driver or version finds the same file, and replaces it.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        let named = [&self.adapter, &self.backend, &self.fingerprint, &self.model];
        let sizes = format!("{} {}", self.rows, self.requests);
        let of = digest(format!("{named:?} {sizes}").as_bytes());
        folder.join(format!("tuned-{}.json", &of[..16]))
    }

    /// What of it another subject has otherwise.
    fn differs(&self, other: &Self) -> Option<&'static str> {
        let pairs = [
            (self.driver == other.driver, "another version of the driver"),
            (self.tool == other.tool, "another version of loopfm"),
            (self.candidates == other.candidates, "other kernels"),
        ];
        let known = pairs.into_iter().find_map(|(same, what)| (!same).then_some(what));
        known.or((self != other).then_some("another adapter or model"))
    }
}

/// Figures of a subject, if there are any; why not, if a file is there that cannot be used.
pub(super) fn read(path: &Path, subject: &Subject) -> Result<Option<(Clock, Figures)>, String> {
    let ignored = |why: &str| Err(format!("`{}` ignored: {why}", path.display()));
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return ignored(&e.to_string()),
    };
    let Ok(kept) = serde_json::from_slice::<Kept>(&bytes) else {
        return ignored("damaged");
    };
    if kept.hash != hash(&kept) {
        return ignored("damaged");
    }
    match subject.differs(&kept.subject) {
        Some(what) => ignored(&format!("made with {what}")),
        None => Ok(Some((kept.clock, kept.figures))),
    }
}

/// Writes a file whole or not at all; says what became of it.
pub(super) fn write(path: &Path, subject: &Subject, clock: Clock, figures: &Figures) -> String {
    let mut kept = Kept {
        subject: subject.clone(),
        clock,
        figures: figures.clone(),
        hash: String::new(),
    };
    kept.hash = hash(&kept);
    let text = serde_json::to_string_pretty(&kept).unwrap_or_default() + "\n";
    let folder = path.parent().unwrap_or(Path::new("."));
    let written =
        fs::create_dir_all(folder).and_then(|()| write_atomically(path, |file| file.write_all(text.as_bytes())));
    match written {
        Ok(()) => format!("kept in `{}`", path.display()),
        Err(e) => format!("not kept: `{}`: {e}", path.display()),
    }
}

fn hash(kept: &Kept) -> String {
    let rest = (&kept.subject, kept.clock, &kept.figures);
    digest(serde_json::to_string(&rest).unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::{Candidate, Verdict};

    fn subject() -> Subject {
        Subject {
            adapter: "A".into(),
            backend: "vulkan".into(),
            driver: "B 1.2".into(),
            model: "m".into(),
            fingerprint: "f".into(),
            tool: "loopfm 0".into(),
            candidates: "c".into(),
            rows: 64,
            requests: 1,
        }
    }

    fn figures() -> Figures {
        let timed = Verdict::Timed {
            seconds: 0.1 + 0.2,
            ratio: 0.7,
            spread: 1e-3,
        };
        let candidates = [("a/packed", Verdict::Default { seconds: 0.4 }), ("b/packed", timed)];
        let candidates = candidates.map(|(variant, verdict)| Candidate {
            variant: variant.into(),
            verdict,
        });
        Figures {
            chosen: "b/packed".into(),
            unchecked: false,
            candidates: candidates.into(),
        }
    }

    #[test]
    fn figures_come_back_for_their_subject_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = subject().path(folder.path());
        assert_eq!(read(&path, &subject()), Ok(None));
        let note = write(&path, &subject(), Clock::Wall, &figures());
        assert!(note.starts_with("kept in"), "{note}");
        assert_eq!(read(&path, &subject()), Ok(Some((Clock::Wall, figures()))));
        type Change = fn(&mut Subject);
        let others: [(&str, Change); 4] = [
            ("another version of the driver", |s| s.driver = "B 1.3".into()),
            ("another version of loopfm", |s| s.tool = "loopfm 1".into()),
            ("other kernels", |s| s.candidates = "d".into()),
            ("another adapter or model", |s| s.rows = 128),
        ];
        for (what, change) in others {
            let mut other = subject();
            change(&mut other);
            let why = read(&path, &other).expect_err(what);
            assert!(why.ends_with(&format!("ignored: made with {what}")), "{why}");
        }
        // A new driver replaces the file; another model or size has its own.
        let mut other = subject();
        other.driver = "B 1.3".into();
        assert_eq!(other.path(folder.path()), path);
        other.rows = 128;
        assert_ne!(other.path(folder.path()), path);
    }

    #[test]
    fn damaged_files_are_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = subject().path(folder.path());
        write(&path, &subject(), Clock::Wall, &figures());
        let sound = fs::read_to_string(&path).expect("a file");
        for damaged in [
            sound.replace("\"chosen\": \"b/", "\"chosen\": \"a/"),
            sound.replace("0.7", "0.6"),
            sound[..sound.len() / 2].to_owned(),
            String::new(),
        ] {
            assert_ne!(damaged, sound);
            fs::write(&path, damaged).expect("written");
            let why = read(&path, &subject()).expect_err("damaged");
            assert!(why.ends_with("ignored: damaged"), "{why}");
        }
    }
}
