//! Signals, descriptors for progress, file systems that do not tell types, and prunes that fail halfway.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use tests_integration::host::binary_under_test;
use tests_integration::scratch::ScratchDir;
use tests_integration::{AppImage, OsRoot, Outcome, Registry, TestHost};

use super::nobody::{bound_images_as_nobody, readable_root, set_mode};

/// So many images make a document that no pipe takes at once.
const MANY: usize = 400;

/// Nobody would hear of a signal that a verb catches and does not wait for.
#[test]
fn privileged_verbs_that_change_nothing_end_by_the_signal_itself() {
    let host = TestHost::options().timeout(Duration::from_secs(20)).start();
    let root = OsRoot::new();
    for index in 0..MANY {
        root.bind_image(&format!("app{index}"), &format!("127.0.0.1:1/app:v{index}"));
    }
    let scratch = ScratchDir::new("pipe");
    let pipe = scratch.path().join("pipe");
    host.run("mkfifo", &[pipe.as_str()]).code(0);
    for verb in ["check", "list", "plan"] {
        let open = OpenOptions::new().read(true).write(true).open(&pipe);
        let mut reader = open.expect("opening a FIFO");
        let binary = binary_under_test();
        let binary = binary.to_str().expect("a UTF-8 path");
        let script = r#"exec "$@" >"$0""#;
        let sysroot = host.sysroot().as_str();
        let command = [binary, "--json", "--sysroot", sysroot, verb, "--root"];
        let shell = ["-c", script, pipe.as_str()];
        let arguments = [&shell[..], &command, &[root.path().as_str()]].concat();
        let mut running = host.spawn_program("sh", &arguments);
        let mut first = [0];
        reader.read_exact(&mut first).expect("reading a document");
        running.signal(Signal::INT);
        let outcome = running.wait();
        assert_eq!(outcome.signal_optional(), Some(2), "{verb}: {outcome}");
    }
}

/// Runs `check` with the descriptor 9 as `redirection` makes it.
fn check_with_descriptor(redirection: &str, number: &str) -> Outcome {
    let host = TestHost::new();
    let root = OsRoot::new();
    let binary = binary_under_test();
    let script = format!(r#"exec "$@" {redirection}"#);
    let shell = ["-c", &script, "check"];
    let check = [
        binary.to_str().expect("a UTF-8 path"),
        "check",
        "--root",
        root.path().as_str(),
        "--progress-fd",
        number,
    ];
    host.run("bash", &[&shell[..], &check].concat())
}

#[test]
fn privileged_what_takes_no_progress_is_wrong_usage() {
    let socket = "9<>/dev/udp/127.0.0.1/9";
    for (redirection, number, want) in [
        (
            socket,
            "9",
            Some("it is a socket and must be a pipe or a file"),
        ),
        ("9</dev/null", "9", Some("it is not open for writing")),
        ("", "9", Some("no such descriptor is open")),
        // Numbers that the program itself gets for what it opens.
        ("", "3", Some("no such descriptor is open")),
        ("", "5", Some("no such descriptor is open")),
        ("9>/dev/null", "9", None),
        ("9> >(cat)", "9", None),
    ] {
        let outcome = check_with_descriptor(redirection, number);
        let stderr = outcome.stderr();
        match want {
            None => assert_eq!(outcome.code(0).stderr(), "", "{redirection}"),
            Some(want) => {
                let want = format!("error: --progress-fd {number}: {want}\n");
                assert!(outcome.code(2).stderr().starts_with(&want), "{stderr}");
            }
        }
    }
}

/// ext4 without `filetype` lists names alone.
#[test]
fn privileged_links_count_where_the_file_system_lists_no_types() {
    let host = TestHost::new();
    let scratch = ScratchDir::new("untyped");
    let disk = scratch.path().join("disk.img");
    let file = std::fs::File::create(&disk).expect("creating a disk image");
    file.set_len(32 << 20).expect("making it large");
    let make = ["-q", "-F", "-O", "^filetype,^has_journal", disk.as_str()];
    host.run("mkfs.ext4", &make).code(0);
    let root = scratch.subdirectory("root");
    let mount = ["-o", "loop", disk.as_str(), root.as_str()];
    host.run("mount", &mount).code(0);
    let source = OsRoot::new();
    source.bind_image("web", "127.0.0.1:1/web:v1");
    let files = format!("{}/.", source.path());
    host.run("cp", &["-a", &files, root.as_str()]).code(0);

    let report = host.bound_images(&["check", "--json", "--root", root.as_str()]);
    let report = report.code(0).json();
    assert_eq!(report["items"][0]["name"], "127.0.0.1:1/web:v1", "{report}");

    // The same where a killed run left a directory for the next one to sweep.
    let tmp = format!("{root}/ostree/bootc/bound-images/tmp");
    host.run("mkdir", &["-p", &format!("{tmp}/storage1/deep")])
        .code(0);
    let empty = OsRoot::new();
    let prune = ["--sysroot", root.as_str(), "prune", "--root"];
    let binary = binary_under_test();
    let binary = binary.to_str().expect("a UTF-8 path");
    let arguments = [&prune[..], &[empty.path().as_str()]].concat();
    host.run(binary, &arguments).code(0);
    assert_eq!(host.run("ls", &[&tmp]).code(0).stdout(), "");
}

#[test]
fn privileged_a_prune_that_fails_halfway_says_what_is_gone() {
    let registry = Registry::plain();
    let host = TestHost::new();
    host.set_insecure_registries(&[&registry.host()]);
    let root = OsRoot::new();
    for name in ["one", "two"] {
        let image = AppImage::tiny(name).push(&registry, name, "v1");
        root.bind_image(name, &image.reference);
    }
    host.bound_images(&["pull", "--root", root.path().as_str()])
        .code(0);

    // Removes all but the last of the images that it is given, then fails.
    let podman = host.run("sh", &["-c", "command -v podman"]).stdout();
    let scratch = ScratchDir::new("podman");
    let script = format!(
        "#!/bin/bash\ncase \"$*\" in *\"image rm\"*) {0} \"${{@:1:$#-1}}\"; \
         echo 'Error: no more' >&2; exit 125;; esac\nexec {0} \"$@\"\n",
        podman.trim()
    );
    let wrapper = scratch.file("podman", script);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&wrapper, mode).expect("making it executable");
    let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", scratch.path());
    let empty = OsRoot::new();
    let binary = binary_under_test();
    let prune = [
        path.as_str(),
        binary.to_str().expect("a UTF-8 path"),
        "--sysroot",
        host.sysroot().as_str(),
        "prune",
        "--quiet",
        "--root",
        empty.path().as_str(),
    ];
    let outcome = host.run("env", &prune);
    assert_ne!(outcome.exit_code_optional(), Some(0), "{outcome}");
    let stderr = outcome.stderr();
    let warning = "warning: 1 of 2 images were removed before the failure\nerror: ";
    assert!(stderr.starts_with(warning), "{outcome}");
    assert_eq!(host.store().image_ids().len(), 1);
    host.bound_images(&["prune", "--root", empty.path().as_str()])
        .code(0);
    assert_eq!(host.store().image_ids(), Vec::<String>::new());
}

#[test]
fn privileged_a_root_that_a_user_may_not_read_is_a_missing_privilege_for_prune() {
    let host = TestHost::new();
    let root = readable_root();
    root.bind_image("web", "127.0.0.1:1/web:v1");
    let links = root.join("/usr/lib/bootc/bound-images.d");
    set_mode(&links, 0o700);
    let prune = ["prune", "--dry-run", "--root", root.path().as_str()];
    let outcome = bound_images_as_nobody(&host, &prune);
    let want = format!(
        "error: nothing was removed, since the needs of a root cannot be known\n\
         reading {links}: Permission denied (os error 13)\n"
    );
    assert_eq!(outcome.code(17).stderr(), want);
}

#[test]
fn privileged_a_quadlet_that_may_hide_in_an_unreadable_place_is_not_looked_for_elsewhere() {
    let host = TestHost::new();
    let root = readable_root();
    let container = "/usr/share/containers/systemd/web.container";
    root.write(container, "[Container]\nImage=web.image\n")
        .link("web.container", container);
    let image = "[Image]\nImage=quay.io/web:v1\n";
    root.write("/usr/share/containers/systemd/web.image", image);
    root.write("/etc/containers/systemd/web.image", image);
    let check = ["check", "--root", root.path().as_str()];
    let head = format!("error: 1 invalid declaration in {}\n", root.path());
    let etc = "/etc/containers/systemd";
    for (place, mode, want) in [
        (
            format!("{etc}/web.image"),
            0o600,
            format!(" -> {etc}/web.image: it cannot be read: permission denied"),
        ),
        (
            etc.to_owned(),
            0o700,
            format!(" -> {container}:2: Image=web.image: {etc} cannot be read: permission denied"),
        ),
    ] {
        set_mode(&root.join(&place), mode);
        let outcome = bound_images_as_nobody(&host, &check);
        let want = format!("{head}  bound-images.d/web.container{want}\n");
        assert_eq!(outcome.code(10).stderr(), want);
    }
}
