//! Tests of the ostree part of the fixture, with the real ostree, podman and ostree-ext, and without bound-images.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests_integration::scratch::ScratchDir;
use tests_integration::tree::walk;
use tests_integration::{
    AppImage, BootedHost, Layer, OsImage, OsRoot, Registry, Sysroot, TestHost,
};

use crate::fixture::host_with_store;

fn sysroot_with<'host>(host: &'host TestHost, versions: &[&str]) -> Sysroot<'host> {
    let sysroot = Sysroot::init(host);
    for version in versions {
        sysroot.import_commit(&OsImage::new(version), &format!("os/{version}"));
    }
    sysroot.deploy_commit(&format!("os/{}", versions[0]), &["--karg=rw"]);
    sysroot
}

#[test]
fn privileged_equal_os_images_have_equal_commits_and_come_back_from_the_registry() {
    let registry = Registry::plain();
    let os = OsImage::new("1");
    let image = os.bind_image("web", "127.0.0.1:1/web:v1").build();
    let again = OsImage::new("1");
    again.bind_image("web", "127.0.0.1:1/web:v1");
    assert_eq!(again.build().commit(), image.commit());
    assert_ne!(OsImage::new("2").build().commit(), image.commit());

    let pushed = image.push(&registry, "os", "v1");
    assert_eq!(pushed.digest, image.digest());
    let host = TestHost::new();
    let inspect = ["inspect", "--tls-verify=false"];
    let reference = format!("docker://{}", pushed.reference);
    let shown = host
        .run("skopeo", &[&inspect[..], &[&reference]].concat())
        .code(0)
        .json();
    assert_eq!(shown["Digest"], pushed.digest);
    assert_eq!(shown["Labels"]["version"], "1");
    assert_eq!(shown["Labels"]["ostree.commit"], pushed.commit);

    let scratch = ScratchDir::new("archive");
    let archive = scratch.path().join("os.tar");
    image.write_oci_archive(&archive);
    let reference = format!("oci-archive:{archive}");
    let from_archive = host.run("skopeo", &["inspect", &reference]).code(0).json();
    assert_eq!(from_archive["Digest"], pushed.digest);
}

#[test]
fn privileged_deployments_of_images_keep_their_origin_and_derived_ones_their_layers() {
    let host = TestHost::new();
    let sysroot = Sysroot::init(&host);
    assert_eq!(sysroot.deployments(), []);
    let base = OsImage::new("1").bind_image("web", "a.test/web:v1").build();
    let first = sysroot.deploy_image(&base, "a.test/os:v1");
    assert_eq!(sysroot.manifest_digest(&first), base.digest());
    assert_eq!(first.declared_images(), ["a.test/web:v1"]);
    assert_eq!(first.kernel_arguments, ["rw"]);
    let origin = sysroot.origin(&first);
    assert!(
        origin.contains("container-image-reference=ostree-unverified-registry:a.test/os:v1\n"),
        "{origin}"
    );

    let added = OsRoot::new();
    added.bind_image("db", "a.test/db:v1");
    let derived = base.derived(&[Layer::from_tree(added.path())]);
    let second = sysroot.deploy_image(&derived, "a.test/os:v2");
    assert_eq!(sysroot.manifest_digest(&second), derived.digest());
    assert_eq!(second.declared_images(), ["a.test/db:v1", "a.test/web:v1"]);
    assert_eq!(sysroot.deployments(), [second.clone(), first.clone()]);

    sysroot.undeploy(0);
    assert_eq!(sysroot.default_deployment().path, first.path);
    assert!(!second.path.exists());
    sysroot.pin(0);
    assert!(sysroot.origin(&first).contains("pinned"));
    sysroot.unpin(0);
    assert!(!sysroot.origin(&first).contains("pinned=true"));
    let path = host.sysroot().to_owned();
    drop(host);
    assert!(!path.exists());
}

#[test]
fn privileged_a_missing_or_damaged_image_makes_a_deployment_incomplete() {
    let registry = Registry::plain();
    let app = AppImage::tiny("one").push(&registry, "web", "v1");
    let host = host_with_store(&[&registry.host()]);
    let sysroot = Sysroot::init(&host);
    let os = OsImage::new("1");
    sysroot.import_commit(os.bind_image("web", &app.reference), "os/1");
    sysroot.deploy_commit("os/1", &[]);
    let is_complete =
        || catch_unwind(AssertUnwindSafe(|| sysroot.assert_bootable_is_complete())).is_ok();

    assert!(!is_complete());
    let by_digest = app.pinned_at(&registry.host());
    for name in [&by_digest, &app.reference] {
        host.store_podman(&["pull", "--quiet", name]).code(0);
        assert!(is_complete(), "{name}");
    }
    let files = walk(&host.store_path());
    let file = files.iter().find(|path| path.ends_with("etc/version"));
    std::fs::write(file.expect("the layer has its file"), "two").expect("damaging a layer");
    assert!(!is_complete());
}

#[test]
fn privileged_what_a_booted_host_stages_is_the_default_after_its_shutdown() {
    let host = TestHost::new();
    let sysroot = sysroot_with(&host, &["1", "2"]);
    let booted = BootedHost::boot(&sysroot);
    let first = booted.deployment().clone();
    assert_eq!(booted.status(), [format!("* test {}", first.id)]);
    let release = booted.run("cat", &["/usr/lib/os-release"]).code(0).stdout();
    assert_eq!(release, "ID=test\nVERSION_ID=1\n");
    booted
        .run("sh", &["-c", "echo kept >/etc/kept; echo x >/run/gone"])
        .code(0);
    assert!(first.path.join("etc/kept").exists());
    assert!(booted.run_directory().join("gone").exists());

    let stage = ["admin", "deploy", "--stage", "--os=test", "os/2"];
    booted.run("ostree", &stage).code(0);
    let staged = booted.staged().expect("a deployment is staged");
    assert!(staged.path.join("usr/lib/os-release").exists());
    assert_eq!(sysroot.default_deployment().id, first.id);
    booted.assert_bootable_is_complete();

    let booted = booted.reboot();
    assert_eq!(booted.deployment().id, staged.id);
    assert_eq!(
        booted.status(),
        [
            format!("* test {}", staged.id),
            format!("test {} (rollback)", first.id)
        ]
    );
    assert_eq!(booted.staged(), None);
    assert_eq!(booted.run("cat", &["/etc/kept"]).code(0).stdout(), "kept\n");
    booted.run("ls", &["/run/gone"]).code(2);

    drop(booted);
    let booted = BootedHost::boot_chosen(&sysroot, &sysroot.deployments()[1]);
    assert_eq!(booted.status()[1], format!("* test {}", first.id));
}

#[test]
fn privileged_what_is_staged_is_lost_in_a_power_cut() {
    let host = TestHost::new();
    let sysroot = sysroot_with(&host, &["1", "2"]);
    let booted = BootedHost::boot_with_readonly_sysroot(&sysroot);
    let first = booted.deployment().id.clone();
    booted.run("touch", &["/sysroot/written"]).code(1);
    let stage = ["admin", "deploy", "--stage", "--os=test", "os/2"];
    booted.run("ostree", &stage).code(0);
    assert!(booted.staged().is_some());

    drop(booted);
    let booted = BootedHost::boot(&sysroot);
    assert_eq!(booted.status(), [format!("* test {first}")]);
}

#[test]
fn privileged_containers_run_on_a_booted_host_and_end_with_it() {
    let registry = Registry::plain();
    let app = AppImage::new([Layer::new().program("/bin/cat").file("etc/version", "runs")])
        .push(&registry, "app", "v1");
    let host = host_with_store(&[&registry.host()]);
    let sysroot = sysroot_with(&host, &["1"]);
    let booted = BootedHost::boot(&sysroot);
    booted
        .run("podman", &["pull", "--quiet", &app.reference])
        .code(0);
    let run = [
        "--cgroup-manager=cgroupfs",
        "run",
        "--rm",
        "--network=none",
        "--cgroups=disabled",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=4096:4096",
        &app.reference,
        "/bin/cat",
        "/etc/version",
    ];
    assert_eq!(booted.run("podman", &run).code(0).stdout(), "runs");

    booted.bound_images(&["--version"]).code(0);
    let pid = booted.spawn_program("sleep", &["600"]).pid();
    let detached = booted.run("sh", &["-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"]);
    let detached = detached.code(0).stdout();
    drop(booted);
    for pid in [pid.to_string(), detached.trim().to_owned()] {
        assert!(std::fs::read_link(format!("/proc/{pid}/exe")).is_err());
    }
}
