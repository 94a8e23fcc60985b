//! Runs the command as a user without privileges. Owns no test.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use tests_integration::host::binary_under_test;
use tests_integration::scratch::ScratchDir;
use tests_integration::{OsRoot, Outcome, TestHost};

/// Runs `bound-images --sysroot SYSROOT ARGS…` on the host as the user `nobody`, who may enter the sysroot's parent.
#[track_caller]
pub(super) fn bound_images_as_nobody(host: &TestHost, args: &[&str]) -> Outcome {
    let scratch = ScratchDir::new("nobody");
    set_mode(scratch.path(), 0o755);
    // The build directory may lie where only root looks. Another program copies: a test that forks at this moment
    // would hold our own copy open for writing, and then it cannot be run.
    let binary = scratch.path().join("bound-images");
    let source = binary_under_test();
    let source = source.to_str().expect("the binary has a UTF-8 path");
    host.run("install", &["--mode=755", source, binary.as_str()])
        .code(0);
    let sysroot = host.sysroot();
    set_mode(sysroot.parent().expect("a sysroot has a parent"), 0o755);
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let command = [binary.as_str(), "--sysroot", sysroot.as_str()];
    host.run("setpriv", &[&user[..], &command, args].concat())
}

/// A root that every user can read.
pub(super) fn readable_root() -> OsRoot {
    let root = OsRoot::new();
    set_mode(root.path(), 0o755);
    root
}

/// Sets the permission bits of a file or directory.
#[track_caller]
pub(super) fn set_mode(path: &Utf8Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("setting the mode of {path}: {error}"));
}
