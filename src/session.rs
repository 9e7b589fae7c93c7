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
mod rows;
#[cfg(feature = "data")]
pub use rows::{encoder, inputs};

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

/// What to load on a device.
#[cfg(feature = "gpu")]
type Choose<'c> = dyn FnMut(&Arc<run::Device>) -> Result<run::Options, run::Error> + 'c;
/// Without devices there is none to choose for.
#[cfg(not(feature = "gpu"))]
type Choose<'c> = dyn FnMut(()) -> Result<run::Options, run::Error> + 'c;

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
        Self::open_choosing(bundle, options, &mut |_| Ok(options.load.clone()))
    }

    /// The same, where what is loaded is chosen once the device is known, if it is a GPU.
    pub(crate) fn open_choosing(
        bundle: &Bundle,
        options: &SessionOptions,
        choose: &mut Choose<'_>,
    ) -> Result<Self, SessionError> {
        let (backend, why) = match &options.device {
            DeviceChoice::Cpu => (on_cpu(bundle)?, "as asked".to_owned()),
            DeviceChoice::Gpu(query) => (on_gpu(bundle, query, options, choose)?, "as asked".to_owned()),
            DeviceChoice::Auto => automatic(bundle, options, choose)?,
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
fn load(bundle: &Bundle, device: run::Device, choose: &mut Choose<'_>) -> Result<Backend, run::Error> {
    let device = Arc::new(device);
    let options = choose(&device)?;
    let runtime = run::Runtime::open(device, bundle, &options)?;
    Ok(Backend::Gpu(Box::new(runtime)))
}

#[cfg(feature = "gpu")]
fn on_gpu(
    bundle: &Bundle,
    query: &AdapterQuery,
    options: &SessionOptions,
    choose: &mut Choose<'_>,
) -> Result<Backend, SessionError> {
    let device = run::Device::open(query, &options.gpu)?;
    Ok(load(bundle, device, choose)?)
}

#[cfg(not(feature = "gpu"))]
fn on_gpu(_: &Bundle, query: &AdapterQuery, _: &SessionOptions, _: &mut Choose<'_>) -> Result<Backend, SessionError> {
    Err(SessionError::NoGpu(query.clone()))
}

#[cfg(feature = "gpu")]
fn automatic(
    bundle: &Bundle,
    options: &SessionOptions,
    choose: &mut Choose<'_>,
) -> Result<(Backend, String), SessionError> {
    let why = match run::Device::open(&AdapterQuery::Best, &options.gpu) {
        Ok(device) if device.report().kind == run::AdapterKind::Software => {
            let name = &device.report().name;
            format!("adapter `{name}` is software, which the CPU executor outruns")
        }
        Ok(device) => match load(bundle, device, choose) {
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
fn automatic(bundle: &Bundle, _: &SessionOptions, _: &mut Choose<'_>) -> Result<(Backend, String), SessionError> {
    Ok((on_cpu(bundle)?, "built without the feature `gpu`".to_owned()))
}
