//! Notices a program that hangs: it moves no data, computes nothing and waits for no disk.
//!
//! podman has no timeout of its own for a registry that stops in the middle of an answer.
//! Measured: a stalled podman moves up to 80 bytes/s by itself, one on a 1 KB/s link 4 KB/s.

use std::time::{Duration, Instant};

/// Less than this is no progress.
const MIN_BYTES_PER_SECOND: u64 = 256;
/// Less than this share of a CPU is no progress.
const MIN_CPU_PERCENT: u64 = 2;
/// Unit of the times in `/proc/PID/stat` (`USER_HZ`), the same on every Linux architecture.
const TICKS_PER_SECOND: u64 = 100;

pub(super) struct Watchdog {
    process: Option<u32>,
    limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    bytes_moved: u64,
    cpu_ticks: u64,
    waits_for_disk: bool,
}

impl Watchdog {
    pub(super) fn new(process: Option<u32>, limit: Duration) -> Self {
        Self { process, limit }
    }

    /// Returns the limit once the process has made no progress for so long.
    pub(super) async fn stalled(&mut self) -> Duration {
        let Some(process) = self.process else {
            return std::future::pending().await;
        };
        let limit = self.limit;
        let interval = (limit / 8).max(Duration::from_millis(50));
        let mut reference = sample(process);
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(interval).await;
            let now = sample(process);
            if is_progress(reference, now, since.elapsed()) {
                (reference, since) = (now, Instant::now());
            } else if since.elapsed() >= limit {
                return limit;
            }
        }
    }
}

/// A process that cannot be read is ending; that is progress.
fn is_progress(before: Option<Sample>, now: Option<Sample>, elapsed: Duration) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        return true;
    };
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let bytes = now.bytes_moved.saturating_sub(before.bytes_moved);
    let ticks = now.cpu_ticks.saturating_sub(before.cpu_ticks);
    now.waits_for_disk
        || bytes.saturating_mul(1000) > MIN_BYTES_PER_SECOND.saturating_mul(millis)
        || ticks.saturating_mul(100_000)
            > (MIN_CPU_PERCENT * TICKS_PER_SECOND).saturating_mul(millis)
}

fn sample(process: u32) -> Option<Sample> {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let thread_stats =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    Some(Sample {
        bytes_moved: bytes_moved(&io),
        cpu_ticks: cpu_ticks(&stat)?,
        waits_for_disk: thread_stats
            .into_iter()
            .any(|stat| state(&stat) == Some('D')),
    })
}

fn bytes_moved(io: &str) -> u64 {
    io.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(": ")?;
            matches!(key, "rchar" | "wchar").then(|| value.parse::<u64>().ok())?
        })
        .sum()
}

/// Fields after the command name, which itself may hold blanks and parentheses; see proc(5).
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split_ascii_whitespace()
}

fn state(stat: &str) -> Option<char> {
    fields(stat).next()?.chars().next()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // utime, stime, cutime, cstime are the fields 14 to 17; the state is field 3.
    let times = fields(stat).skip(14 - 3).take(4);
    times.map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_in_spite_of_odd_names() {
        let stat = "7 (a) b (c) D 1 7 7 0 -1 0 0 0 0 0 5 6 7 8 20 0 1 0";
        assert_eq!(state(stat), Some('D'));
        assert_eq!(cpu_ticks(stat), Some(26));
        assert_eq!(bytes_moved("rchar: 10\nwchar: 5\nsyscr: 99\n"), 15);
        assert_eq!(cpu_ticks("broken"), Some(0));
    }

    #[test]
    fn little_is_no_progress_and_much_is() {
        let sample = |bytes_moved, cpu_ticks, waits_for_disk| {
            Some(Sample {
                bytes_moved,
                cpu_ticks,
                waits_for_disk,
            })
        };
        let elapsed = Duration::from_secs(15);
        for (now, want) in [
            (sample(1200, 1, false), false),
            (sample(15_000, 1, false), true),
            (sample(0, 200, false), true),
            (sample(0, 0, true), true),
            (None, true),
        ] {
            assert_eq!(
                is_progress(sample(0, 0, false), now, elapsed),
                want,
                "{now:?}"
            );
        }
    }
}
