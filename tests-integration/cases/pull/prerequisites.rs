//! What `pull` needs of the machine, and what it does where that is missing: nothing.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use tests_integration::host::binary_under_test;
use tests_integration::scratch::ScratchDir;
use tests_integration::tree::Snapshot;
use tests_integration::{OsRoot, Outcome};

use super::super::bench::{Bench, items};

/// Runs `pull` with only these directories in `PATH`.
fn pull_with_path(bench: &Bench, path: &str) -> Outcome {
    let path = format!("PATH={path}");
    let binary = binary_under_test();
    let binary = binary.to_str().expect("a UTF-8 path");
    let (sysroot, root) = (bench.host.sysroot(), bench.root.path());
    let args = [
        "--sysroot",
        sysroot.as_str(),
        "pull",
        "--json",
        "--root",
        root.as_str(),
    ];
    bench
        .host
        .run("env", &[&[&path, binary], &args[..]].concat())
}

/// Panics if anything was created in the sysroot or in `/run`.
#[track_caller]
fn assert_untouched(bench: &Bench) {
    for directory in [bench.host.sysroot(), &bench.host.run_directory()] {
        assert_eq!(Snapshot::of(directory).paths(), Vec::<&Utf8Path>::new());
    }
    assert_eq!(bench.proxy.requests().len(), 0);
}

#[test]
fn privileged_without_podman_nothing_is_created() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    let empty = ScratchDir::new("path");
    let refused = pull_with_path(&bench, empty.path().as_str());
    let message = "error: podman is not installed (looked for in PATH); install podman";
    assert!(refused.code(17).stderr().contains(message), "{refused}");
    assert_eq!(refused.stdout(), "");
    assert_untouched(&bench);
}

#[test]
fn privileged_a_root_without_images_needs_no_podman_and_creates_nothing() {
    let bench = Bench::new();
    let empty = ScratchDir::new("path");
    let no_links = OsRoot::at(bench.root.path());
    for make_directory in [false, true] {
        if make_directory {
            no_links.make_directory("/usr/lib/bootc/bound-images.d");
        }
        let pulled = pull_with_path(&bench, empty.path().as_str());
        assert_eq!(items(pulled.code(0)).len(), 0);
        assert_eq!(pulled.stderr(), "");
        assert_untouched(&bench);
    }
}

/// The one place where podman is not the real one: an old one cannot be had.
#[test]
fn privileged_a_podman_that_is_too_old_or_no_podman_is_refused() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    let fake = ScratchDir::new("path");
    for (answer, message) in [
        (
            "podman version 4.2.9",
            "podman 4.2 is too old; install podman 4.3 or newer",
        ),
        (
            "podman version 3.4.4",
            "podman 3.4 is too old; install podman 4.3 or newer",
        ),
        (
            "hello",
            "podman --version did not answer with a version; reinstall podman",
        ),
    ] {
        let script = format!("#!/bin/sh\necho '{answer}'\n");
        let podman = fake.file("podman", script);
        std::fs::set_permissions(podman, PermissionsExt::from_mode(0o755)).expect("chmod");
        let refused = pull_with_path(&bench, &format!("{}:/usr/bin:/bin", fake.path()));
        assert!(refused.code(17).stderr().contains(message), "{refused}");
        assert_untouched(&bench);
    }
}

#[test]
fn privileged_anyone_but_root_is_refused() {
    let bench = Bench::new();
    bench.bind_tiny("app");
    // Where cargo builds may be closed to others.
    let open = ScratchDir::new("open");
    let binary = open.path().join("bound-images");
    std::fs::copy(binary_under_test(), &binary).expect("copying the binary");
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    let nobody = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        binary.as_str(),
    ];
    let (sysroot, root) = (bench.host.sysroot().as_str(), bench.root.path().as_str());
    let pull = ["--sysroot", sysroot, "pull", "--root", root];
    let refused = bench.host.run("setpriv", &[&nobody[..], &pull].concat());
    let message = "error: pull must run as root, since it mounts and changes the store";
    assert!(refused.code(17).stderr().contains(message), "{refused}");
    assert_untouched(&bench);
}

#[test]
fn privileged_a_faulty_declaration_stops_all_before_anything_is_touched() {
    let bench = Bench::new();
    bench.bind_tiny("good");
    bench.root.bind_image("bad", "registry.example/%H:v1");
    bench.root.link("dangling.image", "/usr/nowhere.image");
    let refused = bench.pull(&[]);
    let stderr = refused.code(10).stderr();
    for expected in ["bad.image", "dangling.image"] {
        assert!(stderr.contains(expected), "{expected} is not in {refused}");
    }
    assert_eq!(refused.stdout(), "");
    assert_untouched(&bench);
}
