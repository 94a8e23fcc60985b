//! Tests of the fixture itself, with the real registry, podman and skopeo, and without bound-images.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use camino::Utf8Path;
use tests_integration::app_image::{other_architecture, this_architecture};
use tests_integration::scratch::ScratchDir;
use tests_integration::tree::{Snapshot, files_containing, processes_exposing};
use tests_integration::{AppImage, FaultProxy, Layer, LoopDisk, OsRoot, Registry, TestHost};

pub(super) const MIB: usize = 1 << 20;

/// A host whose store exists and which may pull from these registries without TLS.
pub(super) fn host_with_store(insecure_registries: &[&str]) -> TestHost {
    let host = TestHost::new();
    host.set_insecure_registries(insecure_registries);
    host.store().create_directory();
    host
}

#[test]
fn privileged_pushed_image_comes_back_through_the_proxy() {
    let registry = Registry::plain();
    let proxy = FaultProxy::in_front_of(&registry);
    let image = AppImage::new([
        Layer::new().random("base/data", 3 * MIB, 1),
        Layer::new().file("etc/version", "one"),
    ])
    .push(&registry, "team/app", "v1");
    let host = host_with_store(&[&proxy.host()]);
    let name = image.at(&proxy.host());

    let pulled = host.store_podman(&["pull", "--quiet", &name]);
    assert_eq!(pulled.code(0).stdout().trim(), image.image_id);
    let store = host.store();
    assert_eq!(store.image_id_of(&name), Some(image.image_id.clone()));
    assert_eq!(store.images()[0].digest, image.manifest_digest);
    assert_eq!(store.read_image_file(&name, "etc/version"), "one");
    for digest in &image.layer_digests {
        assert_eq!(
            proxy.count_matching(&format!("GET /v2/team/app/blobs/{digest}")),
            1
        );
    }
    proxy.clear();
    assert!(proxy.requests().is_empty());
}

#[test]
fn privileged_same_input_gives_the_same_image_and_a_tag_moves() {
    let registry = Registry::plain();
    let base = Layer::new().random("base", 5000, 7);
    let build = |text: &str| AppImage::new([base.clone(), Layer::new().file("text", text)]);
    let first = build("one").push(&registry, "app", "latest");
    let again = build("one").push(&registry, "copy", "latest");
    assert_eq!(first.manifest_digest, again.manifest_digest);

    let moved = build("two").push(&registry, "app", "latest");
    assert_ne!(first.image_id, moved.image_id);
    assert_eq!(first.layer_digests[0], moved.layer_digests[0]);

    let host = host_with_store(&[&registry.host()]);
    let pull = |name: &str| {
        host.store_podman(&["pull", "--quiet", name])
            .code(0)
            .stdout()
    };
    assert_eq!(pull(&moved.reference).trim(), moved.image_id);
    assert_eq!(
        pull(&first.pinned_at(&registry.host())).trim(),
        first.image_id
    );
    assert_eq!(host.store().image_ids().len(), 2);
}

#[test]
fn privileged_index_gives_the_image_of_this_machine() {
    let registry = Registry::plain();
    let instance = |architecture: &str| AppImage::tiny(architecture).architecture(architecture);
    let instances = [
        instance(other_architecture()),
        instance(this_architecture()),
    ];
    let index = AppImage::push_index(&instances, &registry, "multi", "v1");
    let host = host_with_store(&[&registry.host()]);

    let pulled = host.store_podman(&["pull", "--quiet", &index.reference]);
    assert_eq!(pulled.code(0).stdout().trim(), index.instances[1].image_id);
}

#[test]
fn privileged_a_lying_config_names_another_layer() {
    let registry = Registry::plain();
    let honest = AppImage::tiny("x").push(&registry, "app", "honest");
    let lying = AppImage::tiny("x")
        .lying_about_layer(0)
        .push(&registry, "app", "lying");
    assert_ne!(honest.image_id, lying.image_id);
    assert_eq!(honest.layer_diff_ids, lying.layer_diff_ids);

    let inspect = ["inspect", "--config", "--tls-verify=false"];
    let reference = format!("docker://{}", lying.reference);
    let config = TestHost::new().run("skopeo", &[&inspect[..], &[&reference]].concat());
    let claimed = config.code(0).json()["rootfs"]["diff_ids"][0].clone();
    assert_ne!(claimed, lying.layer_diff_ids[0]);
}

#[test]
fn privileged_an_image_with_a_program_runs_from_the_store() {
    let registry = Registry::plain();
    let image = AppImage::new([Layer::new()
        .program("/bin/cat")
        .program("/bin/sleep")
        .file("etc/version", "runs")])
    .command(&["/bin/cat", "/etc/version"])
    .push(&registry, "app", "v1");
    let host = host_with_store(&[&registry.host()]);
    host.store_podman(&["pull", "--quiet", &image.reference])
        .code(0);

    let run = host.store().run_container(&["--rm"], &image.reference);
    assert_eq!(run.code(0).stdout(), "runs");

    let options = [
        "--detach",
        "--name=left",
        "--entrypoint=[\"/bin/sleep\",\"600\"]",
    ];
    host.store()
        .run_container(&options, &image.reference)
        .code(0);
    let inspect = ["inspect", "--format={{.State.Pid}}", "left"];
    let shown = host.store().main_podman(&inspect).code(0).stdout();
    let pid: u32 = shown.trim().parse().expect("a process ID");
    assert!(
        host.processes().contains(&pid),
        "{pid} {:?}",
        host.processes()
    );
    drop(host);
    assert!(std::fs::read_link(format!("/proc/{pid}/exe")).is_err());
}

#[test]
fn privileged_tls_and_login_are_required_and_accepted() {
    let registry = Registry::options()
        .tls()
        .login("tester", "s3cret-words")
        .start();
    let image = AppImage::tiny("1").push(&registry, "app", "v1");
    let host = host_with_store(&[]);
    let scratch = ScratchDir::new("auth");
    let right = scratch.file("auth.json", registry.auth_json());
    let anonymous = scratch.file("anonymous.json", "{}");
    let certs = format!("--cert-dir={}", registry.cert_dir());
    let pull = |options: &[&str]| {
        host.store_podman(&[&["pull", "--quiet"], options, &[&image.reference]].concat())
    };

    let right = format!("--authfile={right}");
    assert!(pull(&[&right]).code(125).stderr().contains("x509"));
    let anonymous = format!("--authfile={anonymous}");
    let refused = pull(&[&certs, &anonymous]).code(125).stderr();
    assert!(refused.contains("authentication required") || refused.contains("unauthorized"));
    assert_eq!(
        pull(&[&certs, &right]).code(0).stdout().trim(),
        image.image_id
    );
    assert_eq!(
        files_containing(host.sysroot(), b"s3cret-words"),
        Vec::<&Utf8Path>::new()
    );
}

#[test]
fn privileged_a_stopped_registry_refuses_and_comes_back_with_its_images() {
    let mut registry = Registry::options().login("tester", "x").start();
    let image = AppImage::tiny("1").push(&registry, "app", "v1");
    let host = host_with_store(&[&registry.host()]);
    let scratch = ScratchDir::new("auth");
    let auth_file = scratch.file("auth.json", registry.auth_json());
    let auth_option = format!("--authfile={auth_file}");
    let pull = || host.store_podman(&["pull", "--quiet", &auth_option, &image.reference]);

    registry.stop();
    assert!(pull().code(125).stderr().contains("connection refused"));
    registry.start();
    assert_eq!(pull().code(0).stdout().trim(), image.image_id);
}

#[test]
fn privileged_a_power_cut_takes_what_was_not_flushed() {
    let disk = LoopDisk::ext4(64 << 20);
    let host = TestHost::options().sysroot_on(&disk).start();
    let flushed = host.sysroot().join("flushed");
    std::fs::write(&flushed, "safe").expect("writing to the disk");
    host.run("sync", &["--file-system", flushed.as_str()])
        .code(0);
    let unflushed = host.sysroot().join("unflushed");
    std::fs::write(&unflushed, "gone").expect("writing to the disk");

    let after = disk.after_power_cut();
    let read = |name: &str| std::fs::read_to_string(after.path().join("sysroot").join(name));
    assert_eq!(read("flushed").expect("reading a flushed file"), "safe");
    assert_ne!(read("unflushed").unwrap_or_default(), "gone");
    assert_eq!(std::fs::read_to_string(unflushed).expect("reading"), "gone");

    let scratch = ScratchDir::new("copy");
    let copy = scratch.path().join("copy.img");
    disk.copy_image(&copy);
    let later = TestHost::options()
        .sysroot_on(&LoopDisk::from_image(&copy))
        .start();
    let _ = later.run("cat", &[later.sysroot().join("flushed").as_str()]);
    let path = after.path();
    drop(after);
    assert!(!path.exists());
}

#[test]
fn privileged_hosts_have_their_own_run_until_they_reboot() {
    let mut host = TestHost::options().shared_mounts().start();
    host.run("touch", &["/run/mark", "/var/tmp/mark"]).code(0);
    host.run("mount", &["-t", "tmpfs", "leak", "/var/lib/containers"])
        .code(0);
    assert!(host.run_directory().join("mark").exists());
    assert!(host.var_tmp().join("mark").exists());
    assert!(!Utf8Path::new("/run/mark").exists() && !Utf8Path::new("/var/tmp/mark").exists());
    let propagation = ["-n", "-o", "PROPAGATION", "/var/tmp"];
    assert_eq!(host.run("findmnt", &propagation).stdout().trim(), "shared");
    assert_eq!(
        TestHost::new().run("findmnt", &propagation).stdout().trim(),
        "private"
    );

    host.reboot();
    assert_eq!(host.run("ls", &["-A", "/run"]).code(0).stdout(), "");
    let leaked = host.run("findmnt", &["-n", "-S", "leak"]);
    assert_eq!(leaked.code(1).stdout(), "");
    assert!(host.var_tmp().join("mark").exists());
}

#[test]
fn privileged_processes_start_clean_and_end_in_time() {
    let mut host = TestHost::options().timeout(Duration::from_secs(1)).start();
    host.set_environment("MARK", "needle-in-environ");
    let mut sleeping = host.spawn_program("sleep", &["60"]);
    while processes_exposing(b"needle-in-environ").is_empty() {
        assert!(sleeping.is_running());
    }
    let too_slow = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sleeping.wait()));
    let panic = too_slow.expect_err("sleep takes longer than a second");
    let message = panic.downcast_ref::<String>().expect("a formatted message");
    assert!(message.contains("killed after its time limit"), "{message}");
    assert!(processes_exposing(b"needle-in-environ").is_empty());

    let names = host
        .run("sh", &["-c", "env | cut -d= -f1 | sort"])
        .code(0)
        .stdout();
    assert_eq!(
        names,
        "CONTAINERS_REGISTRIES_CONF\nHOME\nLC_ALL\nMARK\nPATH\nPWD\n"
    );
}

#[test]
fn roots_and_snapshots_show_every_change() {
    let root = OsRoot::new();
    let before = Snapshot::of(root.path());
    root.bind_image("web", "127.0.0.1:5000/web:v1").link(
        "relative.image",
        "../../../share/containers/systemd/web.image",
    );
    let read_link = |name: &str| {
        let links = root.join("/usr/lib/bootc/bound-images.d");
        std::fs::read_to_string(links.join(name)).unwrap_or_default()
    };
    assert!(read_link("relative.image").contains("Image=127.0.0.1:5000/web:v1\n"));
    assert_eq!(
        read_link("web.image"),
        "",
        "absolute links are meant inside the root"
    );

    let quadlet = root.join("/usr/share/containers/systemd/web.image");
    assert_eq!(
        files_containing(root.path(), b"5000/web:v1"),
        [quadlet.as_path()]
    );
    root.remove_link("web.image").remove_link("relative.image");
    let bound = Snapshot::of(root.path());
    let file = std::fs::File::options().write(true).open(&quadlet);
    file.and_then(|file| file.write_all_at(b"x", 0))
        .expect("changing a byte");
    let changes = Snapshot::of(root.path()).changes_since(&bound);
    assert!(matches!(&changes[..], [change] if change.starts_with("changed usr/share")));
    assert_eq!(
        bound
            .changes_since(&before)
            .iter()
            .filter(|line| line.contains("web.image"))
            .count(),
        1
    );
}
