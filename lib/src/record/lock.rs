//! One run at a time: a lock that lives as long as any process that may touch the store.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cap_std_ext::cap_std::fs::{OpenOptions, OpenOptionsExt};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::StateDir;
use crate::model::{Event, Fault, FaultKind, Reporter};

const LOCK_FILE: &str = "lock";
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The lock over pull, tag and removal of one store.
///
/// The descriptor is handed to every podman that changes the store: when this process is
/// killed, the lock is free only after that podman has ended as well.
#[derive(Debug, Clone)]
pub struct Lock(Arc<OwnedFd>);

/// What to do when another run holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Say for whom, and wait.
    Wait,
    /// Fail with [`FaultKind::Locked`].
    GiveUp,
}

impl Lock {
    /// Takes the lock on behalf of `verb`, which other runs will be told.
    pub async fn acquire(
        state: &StateDir,
        verb: &str,
        patience: Patience,
        reporter: &dyn Reporter,
    ) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let path = state.path().join(LOCK_FILE);
        let mut file = state
            .dir()
            .open_with(LOCK_FILE, &options)
            .with_context(|| format!("opening {path}"))?
            .into_std();
        let mut has_reported = false;
        while !try_lock(&file).with_context(|| format!("locking {path}"))? {
            let holder = holder(&mut file);
            if patience == Patience::GiveUp {
                let message = format!("{path} is held by {holder}; run again when it has ended");
                return Err(Fault::new(FaultKind::Locked, message).into());
            }
            if !has_reported {
                reporter.report(&Event::Waiting { holder: &holder });
                has_reported = true;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        // Only a courtesy to whoever waits, so a full disk must not stop a prune here.
        if let Err(error) = sign(&mut file, verb) {
            tracing::debug!(%error, "lock not signed");
        }
        Ok(Self(Arc::new(file.into())))
    }

    /// The descriptor, for children that must keep the lock held.
    pub fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }
}

fn try_lock(file: &File) -> Result<bool, Errno> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn sign(file: &mut File, verb: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "bound-images {verb} (pid {})", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read {
        Ok(_) if !text.is_empty() => text,
        _ => "another run".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cap_std_ext::cap_std::ambient_authority;
    use cap_std_ext::cap_std::fs::Dir;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    impl Reporter for Recorder {
        fn report(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(format!("{event:?}"));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_second_gives_up_or_waits_and_is_told_for_whom() {
        let temp = tempfile::tempdir().unwrap();
        let bootc = Dir::open_ambient_dir(temp.path(), ambient_authority()).unwrap();
        let state = StateDir::create(&bootc, "/x".into()).unwrap();
        let recorder = Recorder::default();
        let first = Lock::acquire(&state, "pull", Patience::Wait, &recorder).await;
        let first = first.expect("nobody holds it");
        let refused = Lock::acquire(&state, "prune", Patience::GiveUp, &recorder).await;
        let error = refused.unwrap_err();
        assert_eq!(Fault::kind_of(&error), FaultKind::Locked);
        let held_by = format!("bound-images pull (pid {})", std::process::id());
        assert!(error.to_string().contains(&held_by), "{error}");

        let held_by_a_child = first.fd();
        drop(first);
        let refused = Lock::acquire(&state, "prune", Patience::GiveUp, &recorder).await;
        assert!(refused.is_err(), "a child still holds the descriptor");

        let release = async {
            tokio::time::sleep(POLL_INTERVAL * 2).await;
            drop(held_by_a_child);
        };
        let waiting = Lock::acquire(&state, "prune", Patience::Wait, &recorder);
        let (second, ()) = tokio::join!(waiting, release);
        second.expect("it was released");
        let events = recorder.0.into_inner().unwrap();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].contains(&held_by), "{events:?}");
    }
}
