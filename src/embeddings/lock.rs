//! One writer at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Error;

/// A folder's lock. The kernel releases it whichever way its holder ends, so that none is ever stale. It holds on one machine's
/// own disks; network file systems may not know it.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("lock");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                // Whoever holds it may not have come to say who it is.
                let _ = file.take(200).read_to_string(&mut by);
                let by = if by.is_empty() { "another process" } else { &by }.to_owned();
                return Err(Error::Locked { dir: dir.into(), by });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io(&path)(source)),
        }
        let holder = format!("process {} on {} since {}", std::process::id(), host(), now());
        let told = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        told.map_err(Error::io(&path))?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A courtesy.
        let _ = self.0.set_len(0);
        // Closing releases the lock too, but not while a process that another thread is starting has the file open still.
        let _ = self.0.unlock();
    }
}

fn host() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.map_or("this machine".to_owned(), |name| name.trim().to_owned())
}

/// The date and time, UTC.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Hinnant's civil calendar: years of 400 that begin in March.
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02} UTC",
        era * 400 + year + next
    )
}
