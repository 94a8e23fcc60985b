//! What the command line means on this machine: the only place that opens ambient paths.

use std::time::Duration;

use anyhow::Context as _;
use bound_images_lib::child::Interrupt;
use bound_images_lib::model::{Fault, FaultKind, Reporter};
use bound_images_lib::ops::Host;
use bound_images_lib::record::Patience;
use bound_images_lib::root::OsRoot;
use bound_images_lib::store::make_writable_here;
use camino::Utf8Path;
use cap_std_ext::cap_std::ambient_authority;
use cap_std_ext::cap_std::fs::Dir;

use crate::args::GlobalArgs;

/// How long podman may make no progress, unless a verb has an option for it.
pub(crate) const DEFAULT_STALL_SECS: u64 = 60;

/// Opens what every verb needs of the machine.
pub(crate) fn host<'a>(
    global: &GlobalArgs,
    stall_secs: u64,
    interrupt: &Interrupt,
    reporter: &'a dyn Reporter,
) -> anyhow::Result<Host<'a>> {
    Ok(Host {
        sysroot: open_dir_optional(&global.sysroot)
            .with_context(|| format!("opening the sysroot {}", global.sysroot))?,
        sysroot_path: global.sysroot.clone(),
        run: open_dir(Utf8Path::new("/run")).context("opening /run")?,
        // What is not UTF-8 is nothing that podman needs from us.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        stall_limit: Duration::from_secs(stall_secs),
        patience: match global.no_wait {
            true => Patience::GiveUp,
            false => Patience::Wait,
        },
        interrupt: interrupt.clone(),
        reporter,
    })
}

/// Opens the root of the running system.
pub(crate) fn current_root(global: &GlobalArgs) -> anyhow::Result<OsRoot> {
    root(&global.current_root).context("the current root")
}

/// Opens a root.
pub(crate) fn root(path: &Utf8Path) -> anyhow::Result<OsRoot> {
    let dir = open_dir(path).with_context(|| format!("opening the root {path}"))?;
    Ok(OsRoot::new(dir, path.to_owned())?)
}

/// Prepares for changing the store: fails unless this is root, whose mounts and store these are,
/// and makes a read-only sysroot writable for this process. Call it before anything is opened.
pub(crate) fn prepare_to_change(global: &GlobalArgs, verb: &str) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        let message = format!("{verb} must run as root, since it mounts and changes the store");
        return Err(Fault::new(FaultKind::Prerequisite, message).into());
    }
    make_writable_here(&global.sysroot)
        .with_context(|| format!("making the sysroot {} writable", global.sysroot))
}

fn open_dir(path: &Utf8Path) -> std::io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

fn open_dir_optional(path: &Utf8Path) -> std::io::Result<Option<Dir>> {
    match open_dir(path) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
