//! What a service sees: open a bundle, run batches.
//!
//! A session runs on a GPU or on the CPU, and says which and why; nothing falls back in silence. Both take the same
//! batches and refuse the same ones with the same words.

use std::collections::BTreeSet;
use std::fmt;

use crate::bundle::{Bundle, Manifest};
use crate::run::{self, AdapterQuery, Batch};
use crate::tensor::Tensors;
use crate::{cpu, ir};

#[cfg(feature = "gpu")]
use std::sync::Arc;

#[cfg(feature = "data")]
use crate::bundle::Space;
#[cfg(feature = "data")]
use crate::tensor::{Data, HostTensor};

/// Where to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best GPU, or else the CPU. A software adapter is no GPU: the CPU executor is faster.
    #[default]
    Auto,
    /// This adapter or none.
    Gpu(AdapterQuery),
    /// The CPU executor.
    Cpu,
}

/// How a session is opened.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Where to run.
    pub device: DeviceChoice,
    /// How a GPU is opened.
    pub gpu: run::DeviceOptions,
    /// Capacities and variant on a GPU.
    pub load: run::Options,
}

/// Why a session does not open or a batch does not run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The runtime's, or a batch that no device takes.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The CPU executor's.
    #[error(transparent)]
    Cpu(#[from] cpu::Error),
    /// The bundle's graph cannot be read.
    #[error("graph of the bundle: {0}")]
    Graph(String),
    /// The GPU was asked for by name in a build that has none.
    #[error("built without the feature `gpu`: {0} cannot be opened")]
    NoGpu(AdapterQuery),
}

impl SessionError {
    /// The exit code of a program that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(e) => e.exit_code(),
            Self::Cpu(cpu::Error::Weights(_) | cpu::Error::NotRowLocal(_)) => 5,
            Self::Graph(_) => 5,
            Self::Cpu(_) => 1,
            Self::NoGpu(_) => 3,
        }
    }
}

/// A bundle ready to run. Threads may share it.
pub struct Session {
    backend: Backend,
    /// The bundle's manifest without its variants.
    manifest: Manifest,
    why: String,
}

enum Backend {
    #[cfg(feature = "gpu")]
    Gpu(Box<run::Runtime>),
    Cpu(Box<cpu::Executor>),
}

impl Session {
    /// Opens a bundle.
    ///
    /// # Errors
    /// Whatever keeps the chosen device from running it; with [`DeviceChoice::Auto`], whatever keeps the CPU from it.
    pub fn open(bundle: &Bundle, options: &SessionOptions) -> Result<Self, SessionError> {
        let (backend, why) = match &options.device {
            DeviceChoice::Cpu => (on_cpu(bundle)?, "as asked".to_owned()),
            DeviceChoice::Gpu(query) => (on_gpu(bundle, query, options)?, "as asked".to_owned()),
            DeviceChoice::Auto => automatic(bundle, options)?,
        };
        Ok(Self {
            backend,
            manifest: Manifest {
                variants: Vec::new(),
                ..bundle.manifest.clone()
            },
            why,
        })
    }

    /// Runs a batch of any size: each input of the model by name, rows or requests first. `request_of_row` may be left
    /// out where there is one request, or one for each row.
    ///
    /// # Errors
    /// [`run::Error::Batch`] and [`run::Error::Index`] for what no device takes, else whatever fails on the way.
    pub fn run(&self, batch: &Tensors) -> Result<Tensors, SessionError> {
        match &self.backend {
            #[cfg(feature = "gpu")]
            Backend::Gpu(runtime) => Ok(runtime.run(batch)?),
            Backend::Cpu(executor) => {
                let sizes = Batch::check(&self.manifest, batch)?.sizes;
                let outputs = executor.run(batch, sizes)?;
                check_finite(&outputs)?;
                Ok(outputs)
            }
        }
    }

    /// What the bundle says of itself, without its variants.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The runtime, where a GPU does the work.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn runtime(&self) -> Option<&run::Runtime> {
        match &self.backend {
            Backend::Gpu(runtime) => Some(runtime),
            Backend::Cpu(_) => None,
        }
    }

    /// Which device and variant run, and why.
    #[must_use]
    pub fn report(&self) -> String {
        format!("{} ({})", self.backend, self.why)
    }
}

/// What makes the inputs of a bundle's model of raw rows, where its file says so: the encoder that it was trained with.
///
/// ```no_run
/// use loopfm::bundle::Bundle;
/// use loopfm::data::{Column, RowBatch};
/// use loopfm::session::{Session, SessionOptions, encoder, inputs};
///
/// let bundle = Bundle::read("vm.loopfm".as_ref())?;
/// let session = Session::open(&bundle, &SessionOptions::default())?;
/// let encoder = encoder(&bundle)?.ok_or("trained on columns")?;
/// // As many rows as candidates; what belongs to the user stands in each.
/// let columns = [("user_id", vec![17; 2]), ("video_id", vec![3, 4]), ("time_ms", vec![1_650_812_741_436; 2])];
/// let rows = RowBatch::new("request", columns.map(|(name, v)| (name.to_owned(), Column::ints(v))));
/// let scores = session.run(&inputs(session.manifest(), encoder.encode(&rows)?))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`crate::data::Error`] when it is another version's, or unsound.
#[cfg(feature = "data")]
pub fn encoder(bundle: &Bundle) -> Result<Option<crate::data::Encoder>, crate::data::Error> {
    let text = bundle.notes.get(crate::bundle::FEATURES);
    text.map(|text| crate::data::Encoder::from_json(text)).transpose()
}

/// Of encoded rows those inputs that a model reads. Rows that agree in all that is of the request are one request, as those
/// of one user are; else each row is a request of its own.
#[cfg(feature = "data")]
#[must_use]
pub fn inputs(manifest: &Manifest, encoded: crate::data::Encoded) -> Tensors {
    let port = |name: &str| manifest.inputs.iter().find(|port| port.name == name);
    let rows = encoded.len();
    let mut inputs: Tensors = encoded
        .inputs
        .into_iter()
        .filter(|(name, _)| port(name).is_some())
        .collect();
    let of_request = |name: &str| port(name).is_some_and(|p| p.space == Space::Requests);
    if rows > 1 && inputs.iter().all(|(name, t)| !of_request(name) || rows_agree(t, rows)) {
        for (_, t) in inputs.iter_mut().filter(|(name, _)| of_request(name)) {
            *t = first_row(t, rows);
        }
    }
    inputs
}

#[cfg(feature = "data")]
fn rows_agree(t: &HostTensor, rows: usize) -> bool {
    fn agree<T: PartialEq>(data: &[T], width: usize) -> bool {
        data.iter().zip(data.iter().skip(width)).all(|(a, b)| a == b)
    }
    let width = t.data.len() / rows;
    match &t.data {
        Data::F32(x) => agree(x, width),
        Data::I32(x) => agree(x, width),
        Data::Bool(x) => agree(x, width),
    }
}

#[cfg(feature = "data")]
fn first_row(t: &HostTensor, rows: usize) -> HostTensor {
    let width = t.data.len() / rows;
    let data = match &t.data {
        Data::F32(x) => Data::F32(x[..width].to_vec()),
        Data::I32(x) => Data::I32(x[..width].to_vec()),
        Data::Bool(x) => Data::Bool(x[..width].to_vec()),
    };
    let mut shape = t.shape.clone();
    shape[0] = 1;
    HostTensor { shape, data }
}

/// Refuses outputs that are not numbers, as the kernels of a GPU do.
fn check_finite(outputs: &Tensors) -> Result<(), run::Error> {
    let (mut rows, mut first) = (BTreeSet::new(), None);
    for (name, tensor) in outputs {
        let (Some(x), Some(&extent)) = (tensor.as_f32(), tensor.shape.first()) else {
            continue;
        };
        let width = x.len() / extent.max(1);
        for (at, _) in x.iter().enumerate().filter(|(_, x)| !x.is_finite()) {
            rows.insert(at / width);
            first.get_or_insert_with(|| (name.clone(), at / width));
        }
    }
    match first {
        None => Ok(()),
        at => Err(run::Error::NonFinite {
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            at,
        }),
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "gpu")]
            Self::Gpu(runtime) => runtime.report().fmt(f),
            Self::Cpu(_) => f.write_str("CPU executor"),
        }
    }
}

fn on_cpu(bundle: &Bundle) -> Result<Backend, SessionError> {
    let graph = ir::parse(&bundle.graph).map_err(|e| SessionError::Graph(e.to_string()))?;
    let weights = bundle
        .weights
        .iter()
        .map(|(name, t)| (name.clone(), t.to_host()))
        .collect();
    Ok(Backend::Cpu(Box::new(cpu::Executor::new(&graph, &weights)?)))
}

#[cfg(feature = "gpu")]
fn load(bundle: &Bundle, device: run::Device, options: &SessionOptions) -> Result<Backend, run::Error> {
    let runtime = run::Runtime::open(Arc::new(device), bundle, &options.load)?;
    Ok(Backend::Gpu(Box::new(runtime)))
}

#[cfg(feature = "gpu")]
fn on_gpu(bundle: &Bundle, query: &AdapterQuery, options: &SessionOptions) -> Result<Backend, SessionError> {
    let device = run::Device::open(query, &options.gpu)?;
    Ok(load(bundle, device, options)?)
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(_: &Bundle, query: &AdapterQuery, _: &SessionOptions) -> Result<Backend, SessionError> {
    Err(SessionError::NoGpu(query.clone()))
}

#[cfg(feature = "gpu")]
fn automatic(bundle: &Bundle, options: &SessionOptions) -> Result<(Backend, String), SessionError> {
    let why = match run::Device::open(&AdapterQuery::Best, &options.gpu) {
        Ok(device) if device.report().kind == run::AdapterKind::Software => {
            let name = &device.report().name;
            format!("adapter `{name}` is software, which the CPU executor outruns")
        }
        Ok(device) => match load(bundle, device, options) {
            Ok(backend) => return Ok((backend, "the best adapter".to_owned())),
            // What the device cannot do the CPU can; what is wrong with the bundle is wrong anywhere.
            Err(e) if matches!(e.exit_code(), 3 | 4 | 7) => e.to_string(),
            Err(e) => return Err(e.into()),
        },
        Err(e) => e.to_string(),
    };
    Ok((on_cpu(bundle)?, why))
}

#[cfg(not(feature = "gpu"))]
fn automatic(bundle: &Bundle, _: &SessionOptions) -> Result<(Backend, String), SessionError> {
    Ok((on_cpu(bundle)?, "built without the feature `gpu`".to_owned()))
}
