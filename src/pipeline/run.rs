//! The whole experiment: foundation models of every seed, then every variant of every seed, side by side.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::past::{Sources, histories};
use super::spec::{Fm, Spec};
use super::stream::Stream;
use super::student::{Learnt, School};
use super::teacher::{LABEL, NEVER, Taught, teach};
use super::variant::{Embeddings, Variant};
use super::{Error, fields, stored};
use crate::bundle::{FEATURES, NOTE_CUTOFF, NOTE_FM, NOTE_HISTORY};
use crate::data::Encoder;
use crate::embeddings::Form;
use crate::history::Histories;
use crate::tensor::Tensors;
use crate::train;

/// What a run is told besides its declaration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the log's files.
    pub data: PathBuf,
    /// Folder of what comes out, and of what is finished.
    pub out: PathBuf,
    /// Trainings at once.
    pub threads: usize,
    /// Whether what foundation models leave is written as logs, too: `embeddings/fm-SEED` in `out`.
    pub log: bool,
}

/// What happens in a run.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// The log is read.
    Log {
        /// Impressions.
        rows: usize,
        /// Trainings to come, foundation models among them.
        jobs: usize,
    },
    /// A training has ended, or was found finished.
    Done {
        /// Of what.
        what: &'a str,
        /// Its seed.
        seed: u64,
        /// How long it took; `None` where it was found.
        took: Option<Duration>,
    },
}

/// What became of a run.
pub struct Finished {
    /// The log.
    pub stream: Stream,
    /// Its encoder.
    pub encoder: Encoder,
    /// Of each seed, in order, the foundation model's work.
    pub fm: Vec<Taught>,
    /// Of each variant its models, by seed in order.
    pub learnt: BTreeMap<Variant, Vec<Learnt>>,
    /// Histories of raw events.
    pub raw: Arc<Histories>,
}

/// Runs what is declared. What an earlier run with the same declaration, log and version has finished is not done again.
///
/// # Errors
/// [`Error`]: the first one; what was finished by then stays.
pub fn run(spec: &Spec, options: &Options, observe: &(dyn Fn(&Progress<'_>) + Sync)) -> Result<Finished, Error> {
    let (stream, encoder) = Stream::read(spec, &options.data)?;
    let split = &spec.split;
    let periods = [
        ("fm", Some(split.fm)),
        ("train", Some(split.train)),
        ("valid", split.valid),
        ("test", Some(split.test)),
    ];
    for (name, days) in periods {
        if let Some(days) = days.filter(|days| stream.days(*days).is_empty()) {
            return Err(Error::Empty {
                name,
                days: days.into(),
            });
        }
    }
    let runs = options.out.join("runs");
    std::fs::create_dir_all(&runs).map_err(|source| Error::Io {
        path: runs.clone(),
        source,
    })?;
    let variants = spec.variants();
    let random = variants.iter().any(|v| v.embeddings() == Some(Embeddings::Random));
    let per_seed = variants.len() + 1 + usize::from(random);
    observe(&Progress::Log {
        rows: stream.rows(),
        jobs: per_seed * spec.seeds.len(),
    });
    let job = Job {
        spec,
        columns: Arc::new(Sources::columns(&stream)),
        raw: Arc::new(histories(&stream, &spec.history, None)?),
        fingerprint: stream.fingerprint(),
        stream: &stream,
        encoder: &encoder,
        runs: &runs,
        observe,
    };
    let teachers: Vec<(u64, bool)> = spec
        .seeds
        .iter()
        .flat_map(|s| [(*s, true), (*s, false)])
        .filter(|t| t.1 || random)
        .collect();
    let taught = side_by_side(options.threads, &teachers, |(seed, learns)| job.teach(*seed, *learns))?;
    let mut taught: HashMap<(u64, bool), Taught> = teachers.into_iter().zip(taught).collect();
    let schools: Vec<School<'_>> = spec
        .seeds
        .iter()
        .map(|seed| {
            let fm = taught.remove(&(*seed, true)).ok_or(Error::Stopped)?;
            let random = taught.remove(&(*seed, false));
            School::new(
                (spec, &stream, &encoder),
                (job.columns.clone(), job.raw.clone()),
                *seed,
                (fm, random),
            )
        })
        .collect::<Result<_, _>>()?;
    for school in schools.iter().filter(|_| options.log) {
        let dir = options.out.join("embeddings").join(format!("fm-{}", school.seed));
        stored::write_log(&dir, spec, &stream, &school.fm)?;
    }
    let all: Vec<(Variant, &School<'_>)> = variants.iter().flat_map(|v| schools.iter().map(|s| (*v, s))).collect();
    let learnt = side_by_side(options.threads, &all, |(variant, school)| job.learn(*variant, school))?;
    let mut by_variant: BTreeMap<Variant, Vec<Learnt>> = BTreeMap::new();
    for ((variant, _), learnt) in all.iter().zip(learnt) {
        by_variant.entry(*variant).or_default().push(learnt);
    }
    let fm = schools.into_iter().map(|s| s.fm).collect();
    let raw = Arc::clone(&job.raw);
    Ok(Finished {
        fm,
        learnt: by_variant,
        raw,
        stream,
        encoder,
    })
}

/// What all trainings share.
struct Job<'a> {
    spec: &'a Spec,
    stream: &'a Stream,
    encoder: &'a Encoder,
    columns: Arc<Tensors>,
    raw: Arc<Histories>,
    fingerprint: String,
    runs: &'a Path,
    observe: &'a (dyn Fn(&Progress<'_>) + Sync),
}

impl Job<'_> {
    /// A foundation model over the log.
    fn teach(&self, seed: u64, learns: bool) -> Result<Taught, Error> {
        let train = self.fm_training(seed);
        let what = if learns { "fm" } else { "fm-random" };
        let hash = self.hash(&(what, &train, &self.fm(Form::F32), &self.spec.split.fm))?;
        let path = self.runs.join(format!("{what}-{seed}.safetensors"));
        let sources = Sources {
            columns: self.columns.clone(),
            raw: self.raw.clone(),
            loopfm: None,
        };
        self.once(
            what,
            seed,
            || Taught::read(&path, &hash),
            || {
                let (taught, model) = teach(self.stream, self.spec, &sources, &train, learns)?;
                let cutoff = taught.cutoffs.last().copied().unwrap_or(NEVER);
                let mut notes = self.notes();
                notes.insert(NOTE_CUTOFF.to_owned(), cutoff.to_string());
                train::save(&self.model(what, seed), &model, &notes)?;
                taught.write(&path, &hash)?;
                Ok(taught)
            },
        )
    }

    fn fm_training(&self, seed: u64) -> train::Spec {
        let mut train = self.spec.fm.train.clone();
        train.seed = seed;
        train.data.label = LABEL.to_owned();
        fields::sized(&mut train.model, &self.encoder.vocabulary_sizes());
        train
    }

    /// The foundation model's declaration, were it stored so.
    fn fm(&self, storage: Form) -> Fm {
        Fm {
            storage,
            ..self.spec.fm.clone()
        }
    }

    /// A vertical model.
    fn learn(&self, variant: Variant, school: &School<'_>) -> Result<Learnt, Error> {
        let seed = school.seed;
        let train = school.training(variant)?;
        // What reads no stored embeddings does not depend on how they are stored.
        let form = if variant.reads_stored() {
            self.spec.fm.storage
        } else {
            Form::F32
        };
        let fm = (self.fm(form), self.fm_training(seed));
        let hash = self.hash(&(variant, &train, &self.spec.split, fm))?;
        let path = self.runs.join(format!("{}-{seed}.safetensors", variant.key()));
        self.once(
            variant.key(),
            seed,
            || Learnt::read(&path, &hash),
            || {
                let (learnt, model) = school.learn(variant)?;
                let mut notes = self.notes();
                if variant.embeddings() == Some(Embeddings::Fm) {
                    notes.insert(NOTE_FM.to_owned(), school.fm.fm().to_owned());
                }
                train::save(&self.model(variant.key(), seed), &model, &notes)?;
                learnt.write(&path, &hash)?;
                Ok(learnt)
            },
        )
    }

    /// What all models say of themselves.
    fn notes(&self) -> BTreeMap<String, String> {
        let history = serde_json::to_string(&self.spec.history).unwrap_or_default();
        let notes = [(FEATURES, self.encoder.to_json()), (NOTE_HISTORY, history)];
        notes.map(|(key, text)| (key.to_owned(), text)).into()
    }

    /// Where a trained model goes.
    fn model(&self, what: &str, seed: u64) -> PathBuf {
        self.runs.join(format!("{what}-{seed}.model.safetensors"))
    }

    fn once<T>(
        &self,
        what: &str,
        seed: u64,
        find: impl FnOnce() -> Option<T>,
        make: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let (made, took) = match find() {
            Some(found) => (found, None),
            None => (make()?, Some(start.elapsed())),
        };
        (self.observe)(&Progress::Done { what, seed, took });
        Ok(made)
    }

    /// Of all that a training is a function of.
    fn hash(&self, of: &impl serde::Serialize) -> Result<String, Error> {
        let text = serde_json::to_string(&(env!("CARGO_PKG_VERSION"), &self.fingerprint, &self.spec.history, of));
        let text = text.map_err(|e| Error::Declared { why: e.to_string() })?;
        Ok(blake3::hash(text.as_bytes()).to_hex()[..32].to_owned())
    }
}

/// Does work for every item on some threads, each of which has one core to itself. The first error stops the rest.
fn side_by_side<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let done: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let one = || -> Result<(), Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = pool.map_err(|e| Error::Declared {
            why: format!("a thread: {e}"),
        })?;
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = pool.install(|| work(item))?;
            let at = done.iter().zip(items).find(|(_, i)| std::ptr::eq(*i, item));
            if let Some((place, _)) = at {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                if let Err(e) = one() {
                    next.store(items.len(), Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                }
            });
        }
    });
    if let Some(e) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(e);
    }
    let taken = |place: Mutex<Option<R>>| place.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_iter()
        .map(|place| taken(place).ok_or(Error::Stopped))
        .collect()
}
