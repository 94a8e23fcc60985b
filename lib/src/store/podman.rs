//! Runs podman on a store, in a private mount namespace, and reads its answers.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use cap_std_ext::cap_std::fs::Dir;

use super::classify::{PodmanFault, blames_database, without_queries};
use super::ending::{
    pulled_id, removed, succeeded, understand_child, understand_io, understand_pull,
};
use super::namespace::enter_private_namespace;
use super::orphan_layout::orphan_layout;
use super::place::Store;
use super::podman_argv::{self as argv, PullArgs, fd};
use super::workplace::Workplace;
use crate::child::{self, ChildFault, Exit, Finished, Interrupt, Invocation};
use crate::model::{Fault, FaultKind, ImageId, Platform, StoredLayer, TlsVerify};

const PODMAN: &str = "podman";
const SKOPEO: &str = "skopeo";

/// Directory in the private TMPDIR that holds the layout of one chain of orphans.
const ORPHAN_LAYOUT: &str = "orphan";

/// The oldest podman whose behaviour is known.
const OLDEST_VERSION: (u32, u32) = (4, 3);
/// The oldest one that has `--retry`.
const OLDEST_WITH_RETRY_OPTION: (u32, u32) = (5, 0);

/// `image rm` takes many IDs; this bounds the command line.
const IDS_PER_CALL: usize = 100;

/// Variables that podman inherits. Those that name a login or a store are left out on purpose.
const INHERITED_VARIABLES: [&str; 10] = [
    "PATH",
    "CONTAINERS_REGISTRIES_CONF",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// podman, found and new enough.
#[derive(Debug)]
pub struct Podman {
    version: (u32, u32),
    context: PodmanContext,
}

/// What every podman of a run shares.
#[derive(Debug)]
pub struct PodmanContext {
    /// The environment of this program; see the README for what is passed on.
    pub environment: BTreeMap<String, String>,
    /// End a podman that makes no progress for so long.
    pub stall_limit: Duration,
    /// Ends the run.
    pub interrupt: Interrupt,
}

/// One pull.
#[derive(Debug)]
pub struct PullRequest<'a> {
    /// The canonical name.
    pub reference: &'a str,
    /// The platform to choose.
    pub platform: &'a Platform,
    /// Whether the registry's certificate is checked.
    pub tls_verify: Option<TlsVerify>,
    /// The auth file's content.
    pub auth: Arc<OwnedFd>,
    /// The directory of `CertDir=`.
    pub cert_dir: Option<Arc<OwnedFd>>,
}

impl Podman {
    /// Finds podman and asks for its version; touches neither store nor network.
    ///
    /// Fails with [`FaultKind::Prerequisite`] when it is missing or too old.
    pub async fn find(context: PodmanContext) -> anyhow::Result<Self> {
        let mut podman = Self {
            version: (0, 0),
            context,
        };
        let invocation = podman.invocation(vec!["--version".to_owned()]);
        let limit = podman.context.stall_limit;
        let run = child::run(&invocation, |_| {}, limit, &podman.context.interrupt).await;
        let missing = |message: &str| Fault::new(FaultKind::Prerequisite, message);
        let finished = match run {
            Err(ChildFault::Missing(_)) => {
                let message = "podman is not installed (looked for in PATH); install podman";
                return Err(missing(message).into());
            }
            other => other.map_err(|fault| understand_child(PODMAN, &fault).fault)?,
        };
        podman.version = parse_version(&finished.stdout).ok_or_else(|| {
            missing("podman --version did not answer with a version; reinstall podman")
        })?;
        if podman.version < OLDEST_VERSION {
            let (major, minor) = podman.version;
            let message = format!("podman {major}.{minor} is too old; install podman 4.3 or newer");
            return Err(missing(&message).into());
        }
        Ok(podman)
    }

    /// Creates an empty store, complete or not at all.
    pub async fn create_store(
        &self,
        workplace: &Workplace,
        bootc_dir: &Dir,
        path: &Utf8Path,
    ) -> anyhow::Result<Store> {
        let store = Store::begin(bootc_dir, path)?;
        let created = self.run_on(&store, workplace, argv::initialise(), []).await;
        let created = created
            .map_err(|fault| understand_child(PODMAN, &fault))
            .and_then(|finished| succeeded(&finished));
        match created {
            Ok(()) => store.finish(bootc_dir, path),
            Err(mut fault) => {
                // On a full disk, podman 5 says that the kernel does not support overlay mounts.
                if fault.fault.kind == FaultKind::Other && is_full(bootc_dir)? {
                    fault.fault.kind = FaultKind::Space;
                    fault.fault.message.push_str(": no space left on device");
                }
                Store::remove_unfinished(bootc_dir, path)?;
                let context = format!("creating the store {}", path.join("storage"));
                Err(anyhow::Error::from(fault.fault).context(context))
            }
        }
    }

    /// Pulls one image and returns the ID that podman says it has.
    ///
    /// Whether it is in the store under that ID is for the caller to see.
    pub async fn pull(
        &self,
        store: &Store,
        workplace: &Workplace,
        request: &PullRequest<'_>,
    ) -> Result<ImageId, PodmanFault> {
        let args = argv::pull(&PullArgs {
            reference: request.reference,
            platform: request.platform,
            tls_verify: request.tls_verify,
            has_cert_dir: request.cert_dir.is_some(),
            can_disable_retries: self.version >= OLDEST_WITH_RETRY_OPTION,
        });
        let auth = Some((fd::AUTH, Arc::clone(&request.auth)));
        let certs = request
            .cert_dir
            .as_ref()
            .map(|dir| (fd::CERTS, Arc::clone(dir)));
        let fds = auth.into_iter().chain(certs);
        match self.run_on(store, workplace, args, fds).await {
            Ok(finished) => pulled_id(&finished, request.reference),
            Err(fault) => Err(understand_pull(&fault)),
        }
    }

    /// Removes images by ID, with all of their names. Those that are not there are no fault.
    ///
    /// What is gone afterwards is for the caller to see in the store.
    pub async fn remove_images(
        &self,
        store: &Store,
        workplace: &Workplace,
        ids: &[ImageId],
    ) -> Result<(), PodmanFault> {
        for some in ids.chunks(IDS_PER_CALL) {
            let args = argv::remove_images(some);
            removed(&self.run_locally(store, workplace, args).await?)?;
        }
        Ok(())
    }

    /// Gives an image one more name, which any other image loses.
    pub async fn add_name(
        &self,
        store: &Store,
        workplace: &Workplace,
        id: &ImageId,
        name: &str,
    ) -> Result<(), PodmanFault> {
        let args = argv::add_name(id, name);
        succeeded(&self.run_locally(store, workplace, args).await?)
    }

    /// Removes one name of an image that has others. A name that is not there is no fault.
    pub async fn remove_name(
        &self,
        store: &Store,
        workplace: &Workplace,
        name: &str,
    ) -> Result<(), PodmanFault> {
        let args = argv::remove_name(name);
        removed(&self.run_locally(store, workplace, args).await?)
    }

    /// Removes the layers of a chain that belong to no image, with the help of skopeo.
    pub async fn remove_orphans(
        &self,
        store: &Store,
        workplace: &Workplace,
        tmp: &Dir,
        chain: &[StoredLayer],
    ) -> Result<(), PodmanFault> {
        let layout = orphan_layout(chain);
        layout
            .write(tmp, ORPHAN_LAYOUT)
            .map_err(|error| understand_io(&error))?;
        let mut invocation = self.on_store(workplace, argv::adopt(ORPHAN_LAYOUT, &layout.id), []);
        invocation.program = SKOPEO;
        let adopted = self.run_once(store, &invocation).await;
        succeeded(&adopted.map_err(|fault| understand_child(SKOPEO, &fault))?)?;
        self.remove_images(store, workplace, std::slice::from_ref(&layout.id))
            .await
    }

    /// Runs a podman that asks no registry.
    async fn run_locally(
        &self,
        store: &Store,
        workplace: &Workplace,
        args: Vec<String>,
    ) -> Result<Finished, PodmanFault> {
        let run = self.run_on(store, workplace, args, []).await;
        run.map_err(|fault| understand_child(PODMAN, &fault))
    }

    /// Runs podman on a store; a database that does not fit is dropped and podman run again.
    async fn run_on(
        &self,
        store: &Store,
        workplace: &Workplace,
        args: Vec<String>,
        fds: impl IntoIterator<Item = (i32, Arc<OwnedFd>)>,
    ) -> Result<Finished, ChildFault> {
        let invocation = self.on_store(workplace, args, fds);
        let finished = self.run_once(store, &invocation).await?;
        if finished.exit != Exit::Code(125) || !blames_database(&finished.stderr) {
            return Ok(finished);
        }
        tracing::warn!(store = %store.path(), "podman's database does not fit, dropping it");
        store.drop_database()?;
        self.run_once(store, &invocation).await
    }

    fn on_store(
        &self,
        workplace: &Workplace,
        args: Vec<String>,
        fds: impl IntoIterator<Item = (i32, Arc<OwnedFd>)>,
    ) -> Invocation {
        let mut invocation = self.invocation(args);
        let tmpdir = argv::fd_path(fd::TMPDIR);
        // Settings and logins below a home directory are those of a person, not of the host.
        invocation.env.insert("HOME", tmpdir.clone());
        invocation.env.insert("TMPDIR", tmpdir);
        invocation.fds.extend(fds);
        invocation.fds.extend([
            (fd::RUNROOT, Arc::clone(&workplace.runroot)),
            (fd::TMPDIR, Arc::clone(&workplace.tmp)),
            (fd::LOCK, Arc::clone(&workplace.lock)),
        ]);
        invocation
    }

    async fn run_once(
        &self,
        store: &Store,
        invocation: &Invocation,
    ) -> Result<Finished, ChildFault> {
        store.drop_default_network_backend()?;
        let store_fd: Arc<OwnedFd> = Arc::new(store.dir().try_clone()?.into_std_file().into());
        let prepare = |command: &mut std::process::Command| {
            enter_private_namespace(command, store_fd);
        };
        let (limit, interrupt) = (self.context.stall_limit, &self.context.interrupt);
        let finished = child::run(invocation, prepare, limit, interrupt).await?;
        tracing::debug!(exit = ?finished.exit, stderr = without_queries(&finished.stderr).trim_end());
        Ok(finished)
    }

    fn invocation(&self, args: Vec<String>) -> Invocation {
        let inherited =
            |name: &'static str| Some((name, self.context.environment.get(name)?.clone()));
        let mut env: BTreeMap<&'static str, String> = INHERITED_VARIABLES
            .into_iter()
            .filter_map(inherited)
            .collect();
        // Error texts are read, so they must not be translated.
        env.insert("LC_ALL", "C".to_owned());
        Invocation {
            program: PODMAN,
            args,
            env,
            fds: BTreeMap::new(),
        }
    }
}

fn is_full(dir: &Dir) -> io::Result<bool> {
    let stat = rustix::fs::fstatvfs(dir.open(".")?)?;
    Ok(stat.f_bavail == 0 || (stat.f_files > 0 && stat.f_favail == 0))
}

/// `podman version 4.3.1` → (4, 3)
fn parse_version(stdout: &str) -> Option<(u32, u32)> {
    let version = stdout.trim().rsplit(' ').next()?;
    let mut numbers = version.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_kinds_are_read() {
        for (stdout, want) in [
            ("podman version 4.3.1\n", Some((4, 3))),
            ("podman version 5.4.2", Some((5, 4))),
            ("podman version 6.0.0-dev", Some((6, 0))),
            ("podman", None),
            ("", None),
        ] {
            assert_eq!(parse_version(stdout), want, "{stdout:?}");
        }
    }
}
