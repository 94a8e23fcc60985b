//! The locked, swept place in which a verb changes a store.

use camino::Utf8PathBuf;
use cap_std_ext::cap_std::fs::Dir;

use super::Host;
use crate::record::{Lock, StateDir};
use crate::store::{Podman, RunDirs, Store, Workplace};

/// Everything that a verb needs to change the store, while it holds the lock.
pub(super) struct Workspace {
    pub(super) podman: Podman,
    pub(super) state: StateDir,
    pub(super) workplace: Workplace,
    /// The private TMPDIR.
    pub(super) tmp: Dir,
    bootc_dir: Dir,
    bootc_path: Utf8PathBuf,
}

impl Workspace {
    /// Finds podman, takes the lock for `verb` and sweeps what an interrupted run left.
    ///
    /// Nothing is created where podman is missing.
    pub(super) async fn open(host: &Host<'_>, verb: &str) -> anyhow::Result<Self> {
        let podman = Podman::find(host.podman_context()).await?;
        let bootc_dir = host.create_bootc_dir()?;
        let bootc_path = host.bootc_path();
        let state = StateDir::create(&bootc_dir, &bootc_path)?;
        let lock = tokio::select! {
            lock = Lock::acquire(&state, verb, host.patience, host.reporter) => lock?,
            () = host.interrupt.requested() => return Err(super::fetch::interrupted().into()),
        };
        let tmp = state.swept_tmp()?;
        Store::remove_unfinished(&bootc_dir, &bootc_path)?;
        let workplace = RunDirs::create(&host.run)?.workplace(tmp.try_clone()?, lock.fd());
        Ok(Self {
            podman,
            state,
            workplace,
            tmp,
            bootc_dir,
            bootc_path,
        })
    }

    /// Opens the store, which is created where there is none.
    pub(super) async fn store(&self) -> anyhow::Result<Store> {
        match self.store_optional()? {
            Some(store) => Ok(store),
            None => {
                let created =
                    self.podman
                        .create_store(&self.workplace, &self.bootc_dir, &self.bootc_path);
                created.await
            }
        }
    }

    /// Opens the store; `None` when there is none.
    pub(super) fn store_optional(&self) -> anyhow::Result<Option<Store>> {
        Ok(Store::open_optional(&self.bootc_dir, &self.bootc_path)?)
    }

    /// Leaves the private TMPDIR empty. What cannot be swept now is swept by the next run.
    pub(super) fn close(self, host: &Host<'_>) {
        if let Err(error) = self.state.sweep_tmp() {
            host.warn(&format!("{error:#}"));
        }
    }
}
