//! What work costs where kernels run on processor cores: the wall also counts whatever else the machine is doing.

use std::time::Duration;

/// Time that the living threads of this process have run; only Linux tells.
#[must_use]
pub fn processor_time() -> Option<Duration> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<Option<u64>>().map(Duration::from_nanos)
}
