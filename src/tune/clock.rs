//! What time is measured by.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::run::{AdapterKind, AdapterReport, processor_time};

/// Whose time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's own: what lies between timestamps around all kernels of a batch.
    Device,
    /// The processor's, of all threads: where kernels run on processor cores the wall also counts whatever else the machine
    /// is doing.
    Processor,
    /// The wall's.
    Wall,
}

impl Clock {
    /// The clock that suits a device.
    pub(super) fn of(device: &AdapterReport) -> Self {
        match device.kind {
            AdapterKind::Software if processor_time().is_some() => Self::Processor,
            AdapterKind::Software => Self::Wall,
            _ if device.timestamps => Self::Device,
            _ => Self::Wall,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device time",
            Self::Processor => "processor time",
            Self::Wall => "time on the wall",
        }
    }

    /// Seconds that the host's clocks say something takes.
    pub(super) fn host_seconds<E>(self, mut what: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
        let start = Instant::now();
        let before = processor_time();
        what()?;
        let took = match (self, before, processor_time()) {
            (Self::Processor, Some(before), Some(after)) => after.saturating_sub(before),
            _ => start.elapsed(),
        };
        Ok(took.as_secs_f64())
    }
}
