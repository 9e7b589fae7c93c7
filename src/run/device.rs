//! A device that fails with an error instead of a panic.
//!
//! wgpu panics by default on an error that nobody captured, and when a driver loses the device during a poll. Both are
//! taken in here: handlers are set before the first call, every group of calls runs in error scopes, every poll is
//! guarded and has a timeout.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::bundle::Rung;

use super::adapter::{AdapterReport, MATRICES, choose};
use super::{AdapterQuery, DeviceOptions, Error, LimitsChoice, selftest};

/// An adapter opened for work. Shared by all runtimes on it and by all threads.
pub struct Device {
    wgpu: wgpu::Device,
    queue: wgpu::Queue,
    report: AdapterReport,
    health: Arc<Health>,
    timeout: Duration,
    /// Outcome of the self-test of each rung, made when first asked for.
    probes: [OnceLock<Result<(), Error>>; 3],
    /// Outcome of the self-test of lanes that exchange values.
    lanes: OnceLock<Result<(), Error>>,
    /// Outcome of the self-test of squares with edges of 16 and 8.
    matrices: [OnceLock<Result<(), Error>>; 2],
}

/// What the driver has said of itself.
#[derive(Default)]
struct Health {
    lost: Mutex<Option<String>>,
    uncaptured: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    fn lose(&self, reason: String) {
        lock(&self.lost).get_or_insert(reason);
    }
}

impl Device {
    /// Opens the adapter that `query` names.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] and [`Error::NoDevice`].
    pub fn open(query: &AdapterQuery, options: &DeviceOptions) -> Result<Self, Error> {
        let adapter = choose(query)?;
        let mut report = AdapterReport::new(&adapter);
        let mut features = wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::PIPELINE_CACHE;
        features.set(wgpu::Features::SHADER_F16, !options.forbid_f16);
        features.set(MATRICES, options.matrices && !report.matrices.is_empty());
        let features = features & adapter.features();
        let limits = match options.limits {
            LimitsChoice::Adapter => adapter.limits(),
            LimitsChoice::Portable => wgpu::Limits::defaults().or_worse_values_from(&adapter.limits()),
        };
        report.limit(&limits, features);
        let (wgpu, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("loopfm"),
            required_features: features,
            required_limits: limits,
            experimental_features: experimental(features),
            ..Default::default()
        }))
        .map_err(|e| Error::NoDevice {
            adapter: report.name.clone(),
            why: e.to_string(),
        })?;
        let health = Arc::new(Health::default());
        let uncaptured = Arc::clone(&health);
        wgpu.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            lock(&uncaptured.uncaptured).get_or_insert(e.to_string());
        }));
        let lost = Arc::clone(&health);
        wgpu.set_device_lost_callback(move |reason, message| {
            lost.lose(format!("{reason:?} {message}").trim().to_lowercase());
        });
        Ok(Self {
            wgpu,
            queue,
            report,
            health,
            timeout: options.timeout,
            probes: Default::default(),
            lanes: OnceLock::new(),
            matrices: Default::default(),
        })
    }

    /// What the device offers, after options took their share.
    #[must_use]
    pub fn report(&self) -> &AdapterReport {
        &self.report
    }

    /// The wgpu device, for callers with buffers of their own.
    #[must_use]
    pub fn wgpu(&self) -> &wgpu::Device {
        &self.wgpu
    }

    /// The only queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Whether this device computes rightly what kernels of a rung need; tried once.
    ///
    /// # Errors
    /// What went wrong.
    pub fn probe(&self, rung: Rung) -> Result<(), Error> {
        let once = &self.probes[rung as usize];
        once.get_or_init(|| selftest::run(self, rung)).clone()
    }

    /// Whether the lanes of a subgroup exchange values as kernels expect; tried once, and only for kernels that do.
    ///
    /// # Errors
    /// What went wrong.
    pub fn probe_lanes(&self) -> Result<(), Error> {
        self.lanes.get_or_init(|| selftest::run_lanes(self)).clone()
    }

    /// Whether cooperative matrices of this edge multiply as kernels expect; tried once, and only for kernels that use them.
    ///
    /// # Errors
    /// What went wrong.
    pub fn probe_matrices(&self, edge: u32) -> Result<(), Error> {
        let once = &self.matrices[usize::from(edge != 16)];
        once.get_or_init(|| selftest::run_matrices(self, edge)).clone()
    }

    /// Plays a device that multiplies matrices of this edge, with this outcome of its self-test.
    #[cfg(test)]
    pub(crate) fn play_matrices(&mut self, edge: u32, outcome: Result<(), Error>) {
        self.report.matrices = vec![edge];
        self.matrices[usize::from(edge != 16)] = OnceLock::from(outcome);
    }

    /// Plays a device of this kind.
    #[cfg(test)]
    pub(crate) fn play_kind(&mut self, kind: super::AdapterKind) {
        self.report.kind = kind;
    }

    /// Does some wgpu calls; whatever wgpu has to say about them becomes an error.
    pub(super) fn guarded<T>(&self, doing: &str, calls: impl FnOnce() -> T) -> Result<T, Error> {
        self.alive(doing)?;
        let filters = [
            wgpu::ErrorFilter::Internal,
            wgpu::ErrorFilter::Validation,
            wgpu::ErrorFilter::OutOfMemory,
        ];
        let scopes = filters.map(|filter| self.wgpu.push_error_scope(filter));
        let value = calls();
        let mut errors = scopes.into_iter().rev().map(|scope| pollster::block_on(scope.pop()));
        // All scopes must be popped, also after the first error.
        let error = errors.by_ref().fold(None, Option::or);
        match error {
            None => self.alive(doing).map(|()| value),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { doing: doing.into() }),
            Some(e @ (wgpu::Error::Validation { .. } | wgpu::Error::Internal { .. })) => {
                // A dead device refuses everything for reasons that tell nothing.
                let _ = self.poll(wgpu::PollType::Poll);
                self.alive(doing)?;
                let (doing, message) = (doing.into(), e.to_string());
                Err(match e {
                    wgpu::Error::Internal { .. } => Error::Driver { doing, message },
                    _ => Error::Bug { doing, message },
                })
            }
        }
    }

    /// An error if the device has been lost, or if wgpu complained where nobody listened.
    pub(super) fn alive(&self, doing: &str) -> Result<(), Error> {
        if let Some(reason) = lock(&self.health.lost).clone() {
            return Err(Error::Lost {
                doing: doing.into(),
                reason,
            });
        }
        match lock(&self.health.uncaptured).take() {
            None => Ok(()),
            Some(message) => Err(Error::Bug {
                doing: doing.into(),
                message,
            }),
        }
    }

    /// Waits until a submission is done.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex, doing: &str) -> Result<(), Error> {
        let outcome = self.poll(wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(self.timeout),
        });
        if outcome.is_err() {
            // The callback of a lost device runs in a poll that does not itself fail.
            let _ = self.poll(wgpu::PollType::Poll);
        }
        self.alive(doing)?;
        match outcome {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(self.timed_out(doing)),
            Err(e @ wgpu::PollError::WrongSubmissionIndex(..)) => Err(Error::Bug {
                doing: doing.into(),
                message: e.to_string(),
            }),
        }
    }

    /// Waits for the callback of a mapping whose submission is done. Another thread's poll may be the one that calls it.
    pub(super) fn mapped(&self, mapping: &Mapping, doing: &str) -> Result<(), Error> {
        let start = Instant::now();
        let refused = |e: &str| Error::Bug {
            doing: doing.into(),
            message: format!("a buffer cannot be mapped: {e}"),
        };
        loop {
            let answer = mapping.0.try_recv().or_else(|_| {
                let _ = self.poll(wgpu::PollType::Poll);
                mapping.0.recv_timeout(Duration::from_millis(10))
            });
            self.alive(doing)?;
            match answer {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => return Err(refused(&e.to_string())),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(refused("it is gone")),
                Err(mpsc::RecvTimeoutError::Timeout) if start.elapsed() > self.timeout => {
                    return Err(self.timed_out(doing));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn poll(&self, kind: wgpu::PollType) -> Result<wgpu::PollStatus, wgpu::PollError> {
        // wgpu 30 panics when the driver reports a lost device from within a poll; its own state stays usable.
        catch_unwind(AssertUnwindSafe(|| self.wgpu.poll(kind))).unwrap_or_else(|_| {
            self.health.lose("the driver failed during a poll".into());
            Err(wgpu::PollError::Timeout)
        })
    }

    fn timed_out(&self, doing: &str) -> Error {
        Error::Timeout {
            doing: doing.into(),
            seconds: self.timeout.as_secs(),
        }
    }
}

#[allow(
    unsafe_code,
    reason = "wgpu asks whoever uses what it calls experimental to know that it is"
)]
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if !features.intersects(wgpu::Features::all_experimental_mask()) {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: of the experimental features only cooperative matrices are ever asked for, where the caller did
    // (`DeviceOptions::matrices`). They let shaders do more; no call of wgpu's changes. What wgpu does not check of them is
    // how far a square reaches beyond the element that it starts at. Of a bundle only texts that this process has generated
    // itself may use them (`kernels::load`), and every square that our generator writes lies whole within memory that is
    // padded to whole squares, at indices below bounds known when it writes them, never at one that data decide.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// A mapping under way.
pub(super) struct Mapping(mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>);

impl Mapping {
    /// Asks for a whole buffer.
    pub(super) fn start(buffer: &wgpu::Buffer, mode: wgpu::MapMode) -> Self {
        let (sender, receiver) = mpsc::channel();
        buffer.map_async(mode, .., move |result| {
            // Nobody waits any more if the receiver is gone.
            let _ = sender.send(result);
        });
        Self(receiver)
    }
}
