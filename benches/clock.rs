//! What a benchmark measures: time on a processor, or time on the wall.

use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use loopfm::run::processor_time;

/// A clock. Where kernels run on processor cores, as on software adapters, only time on these tells what a run costs:
/// the wall also counts whatever else the machine is doing.
pub(crate) enum Clock {
    /// Of all threads of the process; Linux alone tells.
    Processor,
    /// From this moment on.
    Wall(Instant),
}

impl Clock {
    /// The wall's for a device of its own, else the processor's where it can be read.
    pub(crate) fn new(own_device: bool) -> Self {
        if own_device || processor_time().is_none() {
            Self::Wall(Instant::now())
        } else {
            Self::Processor
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Processor => "processor time of all threads",
            Self::Wall(_) => "wall time",
        }
    }

    fn now(&self) -> Duration {
        match self {
            Self::Processor => processor_time().unwrap_or_default(),
            Self::Wall(start) => start.elapsed(),
        }
    }
}

impl Measurement for Clock {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        self.now().saturating_sub(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
