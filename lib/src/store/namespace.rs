//! The private mount namespace in which podman sees the store, and nothing else changes.
//!
//! All unsafe code of the project is here: the work between fork and exec.
//!
//! **Invariant:** propagation is made one-way before the first mount, so the host's mount table
//! never changes, not even for a moment.

#![expect(unsafe_code, reason = "pre_exec is unsafe by nature; see each block")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use camino::Utf8Path;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Where the store appears: podman records the string, and upstream bootc uses the same.
const STORE_ALIAS: &CStr = c"/run/bootc/storage";
/// podman's per-boot state. An empty one keeps our podman from telling the host's first podman
/// of a boot that its containers were already looked after.
const LIBPOD_STATE: &CStr = c"/run/libpod";

/// Makes `command` start in a new mount namespace where `store` is bound on the alias.
///
/// The child is killed when the calling *thread* ends.
pub(super) fn enter_private_namespace(command: &mut Command, store: Arc<OwnedFd>) {
    let parent = rustix::process::getpid();
    // SAFETY: the closure only makes system calls on values made before the fork; it neither
    // allocates nor takes locks.
    unsafe {
        command.pre_exec(move || {
            die_with(parent)?;
            Ok(bind_store(&store)?)
        });
    }
}

/// Makes a sysroot that is mounted read-only writable for this process and its children alone.
///
/// A booted ostree host has `/sysroot` read-only. The calling thread moves into a mount namespace
/// of its own for that, so call this before any other thread is started. Does nothing where the
/// sysroot is writable or does not exist.
pub fn make_writable_here(sysroot: &Utf8Path) -> io::Result<()> {
    let stat = match rustix::fs::statvfs(sysroot.as_str()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if !stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    // SAFETY: no descriptor table is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    receive_mounts_only()?;
    // Where the sysroot is a directory of a read-only mount, that directory becomes a mount.
    rustix::mount::mount_bind(sysroot.as_str(), sysroot.as_str())?;
    rustix::mount::mount_remount(sysroot.as_str(), MountFlags::BIND, c"")?;
    Ok(())
}

/// SIGKILL, because podman takes SIGTERM for a reason to exit with status 0.
fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the signal was set.
    match rustix::process::getppid() {
        Some(pid) if pid == parent => Ok(()),
        _ => Err(io::Error::from(Errno::SRCH)),
    }
}

fn bind_store(store: &OwnedFd) -> Result<(), Errno> {
    // Before unshare: the working directory moves along, a descriptor stays in the old namespace.
    rustix::process::fchdir(store)?;
    // SAFETY: the child of a fork has one thread, and no descriptor table is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    receive_mounts_only()?;
    rustix::mount::mount_bind(c".", STORE_ALIAS)?;
    // A booted ostree host has /sysroot read-only; this bind alone becomes writable.
    rustix::mount::mount_remount(STORE_ALIAS, MountFlags::BIND, c"")?;
    rustix::mount::mount(
        c"tmpfs",
        LIBPOD_STATE,
        c"tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"mode=0700"),
    )?;
    rustix::process::chdir(c"/")
}

/// Lets mounts of the host come into this namespace and none go out.
fn receive_mounts_only() -> Result<(), Errno> {
    let one_way = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    match rustix::mount::mount_change(c"/", one_way) {
        Err(Errno::INVAL) => outside_of_chroot(|| rustix::mount::mount_change(c"/", one_way)),
        other => other,
    }
}

/// Runs `change` at the root of the namespace, and returns into the chroot.
///
/// In a plain chroot `/` is no mount point, so its propagation cannot be changed from within,
/// and a mount made here would show on the host. Entering the namespace in which we are already
/// puts us at its own root.
fn outside_of_chroot(change: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let chroot = rustix::fs::open(c"/", directory, Mode::empty())?;
    let working_directory = rustix::fs::open(c".", directory, Mode::empty())?;
    let readable = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(c"/proc/self/ns/mnt", readable, Mode::empty())?;
    let kind = Some(LinkNameSpaceType::Mount);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?;
    change()?;
    rustix::process::fchdir(&chroot)?;
    rustix::process::chroot(c".")?;
    rustix::process::fchdir(&working_directory)
}
