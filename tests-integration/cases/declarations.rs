//! Declarations that git cannot hold, that an ordinary user reads, or that change between two runs.
//!
//! All others are golden roots, see `roots.rs`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use tests_integration::app_image::{other_architecture, this_architecture};
use tests_integration::tree::Snapshot;
use tests_integration::{AppImage, FaultProxy, OsRoot, Registry, TestHost};

use super::nobody::{bound_images_as_nobody, readable_root, set_mode};

const LINKS: &str = "usr/lib/bootc/bound-images.d";
const QUADLETS: &str = "/usr/share/containers/systemd";

/// What `check` prints for a root with these faults, in this order.
fn faults(root: &OsRoot, lines: &[String]) -> String {
    let plural = if lines.len() == 1 { "" } else { "s" };
    let head = format!(
        "error: {} invalid declaration{plural} in {}\n",
        lines.len(),
        root.path()
    );
    let lines = lines
        .iter()
        .map(|line| format!("  bound-images.d/{line}\n"));
    head + &lines.collect::<String>()
}

#[test]
fn privileged_what_is_no_text_is_refused_in_one_run() {
    let host = TestHost::new();
    let root = OsRoot::new();
    let valid = "[Image]\nImage=quay.io/web:v1\n";
    let padded = |bytes: usize| format!("{valid}{}\n", "#".repeat(bytes - valid.len() - 1));
    for (name, contents) in [
        ("a-nul", b"[Image]\n\nImage=quay.io/w\0eb:v1\n".to_vec()),
        (
            "b-latin1",
            b"[Unit]\nDescription=caf\xe9\n[Image]\nImage=quay.io/web:v1\n".to_vec(),
        ),
        ("c-large", padded(10 << 20).into_bytes()),
        ("d-one-byte-too-large", padded((1 << 20) + 1).into_bytes()),
        ("e-just-small-enough", padded(1 << 20).into_bytes()),
    ] {
        let file = format!("{QUADLETS}/{name}.image");
        root.write(&file, contents)
            .link(&format!("{name}.image"), &file);
    }
    let place = |name: &str| format!("{name}.image -> {QUADLETS}/{name}.image");
    let expected = [
        format!("{}: line 3 holds a NUL byte", place("a-nul")),
        format!("{}: line 2 is not valid UTF-8", place("b-latin1")),
        format!("{}: it is larger than 1024 KiB", place("c-large")),
        format!(
            "{}: it is larger than 1024 KiB",
            place("d-one-byte-too-large")
        ),
    ];
    let outcome = host.bound_images(&["check", "--json", "--root", root.path().as_str()]);
    assert_eq!(outcome.code(10).stderr(), faults(&root, &expected));
    assert_eq!(outcome.stdout(), "");
}

#[test]
fn privileged_what_is_no_regular_file_is_refused_and_never_waited_for() {
    let host = TestHost::new();
    let root = OsRoot::new();
    root.make_directory(QUADLETS).make_directory(LINKS);
    let quadlets = root.join(QUADLETS);
    let links = root.join(LINKS);
    // The last one has no driver: who opens it is told that there is no such device.
    for (name, kind) in [
        ("p", &["p"][..]),
        ("c", &["c", "1", "5"]),
        ("d", &["c", "60", "0"]),
    ] {
        let node = quadlets.join(format!("{name}.image"));
        host.run("mknod", &[&[node.as_str()], kind].concat())
            .code(0);
        let file = format!("{QUADLETS}/{name}.image");
        root.link(&format!("{name}.image"), &file);
    }
    host.run("mkfifo", &[links.join("fifo.image").as_str()])
        .code(0);
    root.make_directory(&format!("{LINKS}/directory.image"));
    let bad_name = OsStr::from_bytes(b"na\xffme.image");
    symlink("/nowhere", links.as_std_path().join(bad_name)).expect("linking");
    let bad_target = OsStr::from_bytes(b"/usr/na\xffme.image");
    symlink(bad_target, links.join("target.image")).expect("linking");

    let expected = [
        format!("c.image -> {QUADLETS}/c.image: it is not a regular file"),
        format!("d.image -> {QUADLETS}/d.image: it is not a regular file"),
        "directory.image: it is not a symlink".to_owned(),
        "fifo.image: it is not a symlink".to_owned(),
        "na\u{fffd}me.image: its name is not valid UTF-8".to_owned(),
        format!("p.image -> {QUADLETS}/p.image: it is not a regular file"),
        "target.image: its target is not valid UTF-8".to_owned(),
    ];
    let outcome = host.bound_images(&["check", "--root", root.path().as_str()]);
    assert_eq!(outcome.code(10).stderr(), faults(&root, &expected));
}

#[test]
fn privileged_an_absolute_link_means_a_file_of_the_root() {
    let host = TestHost::new();
    let (outside, root) = (OsRoot::new(), OsRoot::new());
    outside.write("/web.image", "[Image]\nImage=quay.io/outside:v1\n");
    let web = outside.join("/web.image");
    root.link("web.image", web.as_str());
    symlink(outside.path(), root.join("/srv")).expect("linking");
    root.link("through.image", "/srv/web.image");

    let check = ["check", "--json", "--root", root.path().as_str()];
    let expected = [
        format!(
            "through.image: it is dangling: {} does not exist in the root",
            first_missing(&outside)
        ),
        format!(
            "web.image: it is dangling: {} does not exist in the root",
            first_missing(&outside)
        ),
    ];
    assert_eq!(
        host.bound_images(&check).code(10).stderr(),
        faults(&root, &expected)
    );

    // The same path inside the root is what both mean.
    root.write(web.as_str(), "[Image]\nImage=quay.io/inside:v1\n");
    let report = host.bound_images(&check).code(0).json();
    assert_eq!(report["items"][0]["name"], "quay.io/inside:v1");
    assert_eq!(report["items"].as_array().map(Vec::len), Some(1));
    for (source, link) in [(0, "through.image"), (1, "web.image")] {
        let source = &report["items"][0]["sources"][source];
        assert_eq!(
            (&source["link"], &source["file"]),
            (&link.into(), &web.as_str().into())
        );
    }
}

/// The first component of a path outside that a root does not have.
fn first_missing(outside: &OsRoot) -> String {
    let first = outside.path().components().nth(1);
    format!("/{}", first.expect("a path has components"))
}

#[test]
fn privileged_no_links_is_no_images_and_no_root_is_an_error() {
    let host = TestHost::new();
    let empty = OsRoot::new();
    empty.make_directory(LINKS);
    let without = OsRoot::new();
    for root in [&empty, &without] {
        let root = root.path().as_str();
        for verb in ["check", "list", "plan", "pull"] {
            let outcome = host.bound_images(&[verb, "--json", "--root", root]);
            let document = outcome.code(0).json();
            assert_eq!(document["items"], serde_json::json!([]), "{verb}");
            assert_eq!(
                host.bound_images(&[verb, "--root", root]).code(0).stdout(),
                "No bound images.\n",
                "{verb}"
            );
        }
    }
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());

    let file = empty.join("/etc/file");
    std::fs::write(&file, "").expect("writing");
    let etc = empty.join("/etc");
    let nowhere = empty.join("/nowhere");
    for (root, want) in [
        (
            &etc,
            format!("error: {etc} is not an OS root: it has no usr directory\n"),
        ),
        (
            &nowhere,
            format!("error: opening the root {nowhere}: No such file or directory (os error 2)\n"),
        ),
        (
            &file,
            format!("error: opening the root {file}: Not a directory (os error 20)\n"),
        ),
    ] {
        for verb in ["check", "list", "plan", "pull"] {
            let outcome = host.bound_images(&[verb, "--root", root.as_str()]);
            assert_eq!(outcome.code(1).stderr(), want, "{verb}");
            assert_eq!(outcome.stdout(), "", "{verb}");
        }
    }
}

#[test]
fn privileged_any_user_may_check_and_list() {
    let host = TestHost::new();
    let root = readable_root();
    root.bind_image("web", "quay.io/web:v1");
    let root_path = root.path().as_str();
    let as_root = host.bound_images(&["check", "--json", "--root", root_path]);
    let outcome = bound_images_as_nobody(&host, &["check", "--json", "--root", root_path]);
    assert_eq!(outcome.code(0).json(), as_root.code(0).json());
    assert_eq!(outcome.stderr(), "");

    let listed = bound_images_as_nobody(&host, &["list", "--json", "--root", root_path]);
    let item = &listed.code(0).json()["items"][0];
    assert_eq!(
        (&item["name"], &item["state"]),
        (&"quay.io/web:v1".into(), &"missing".into())
    );
    assert_eq!(listed.stderr(), "");
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());
}

#[test]
fn privileged_what_a_user_may_not_read_is_named_among_all_other_faults() {
    let host = TestHost::new();
    let root = readable_root();
    for name in ["secret", "hidden/deep", "open", "wrong"] {
        let image = if name == "wrong" { "UPPER" } else { name };
        let text = format!("[Image]\nImage=quay.io/{image}:v1\n");
        let file = format!("{QUADLETS}/{name}.image");
        let link = format!("{}.image", name.replace('/', "-"));
        root.quadlet(&file, &text).link(&link, &file);
    }
    set_mode(&root.join(&format!("{QUADLETS}/secret.image")), 0o600);
    set_mode(&root.join(&format!("{QUADLETS}/hidden")), 0o700);
    let expected = [
        "hidden-deep.image: it cannot be followed: Permission denied (os error 13)".to_owned(),
        format!("secret.image -> {QUADLETS}/secret.image: it cannot be read: permission denied"),
        format!(
            "wrong.image -> {QUADLETS}/wrong.image:2: Image=\"quay.io/UPPER:v1\" cannot be bound: invalid reference format"
        ),
    ];
    for verb in ["check", "list", "plan"] {
        let outcome = bound_images_as_nobody(&host, &[verb, "--root", root.path().as_str()]);
        assert_eq!(
            outcome.code(10).stderr(),
            faults(&root, &expected),
            "{verb}"
        );
    }

    let links = root.join(LINKS);
    set_mode(&links, 0o700);
    let outcome = bound_images_as_nobody(&host, &["check", "--root", root.path().as_str()]);
    let want = format!("error: reading {links}: Permission denied (os error 13)\n");
    assert_eq!(outcome.code(17).stderr(), want);
}

#[test]
fn privileged_only_root_may_pull_and_prune() {
    let host = TestHost::new();
    let root = readable_root();
    root.bind_image("web", "quay.io/web:v1");
    for verb in ["pull", "prune"] {
        let outcome = bound_images_as_nobody(&host, &[verb, "--root", root.path().as_str()]);
        let want =
            format!("error: {verb} must run as root, since it mounts and changes the store\n");
        assert_eq!(outcome.code(17).stderr(), want);
    }
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());
}

/// Check first: an invalid declaration is found before the network or the store is touched.
#[test]
fn privileged_one_invalid_declaration_keeps_every_verb_from_changing_anything() {
    let registry = Registry::plain();
    let proxy = FaultProxy::in_front_of(&registry);
    let web = AppImage::tiny("web").push(&registry, "web", "v1");
    let db = AppImage::tiny("db").push(&registry, "db", "v1");
    let host = TestHost::new();
    let root = OsRoot::new();
    root.bind_image("web", &web.at(&proxy.host()));
    let root_path = root.path().as_str();
    root.link("broken.image", "/nowhere.image");
    root.bind_image("db", &db.at(&proxy.host()));
    let expected =
        ["broken.image: it is dangling: /nowhere.image does not exist in the root".to_owned()];

    let pull = ["pull", "--json", "--root", root_path];
    let refused = host.bound_images(&pull);
    assert_eq!(refused.code(10).stderr(), faults(&root, &expected));
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());

    root.remove_link("broken.image").remove_link("db.image");
    host.bound_images(&pull).code(0);
    let before = Snapshot::of(host.sysroot());
    proxy.clear();
    root.link("broken.image", "/nowhere.image");
    root.link("db.image", &format!("{QUADLETS}/db.image"));
    root.remove_link("web.image");
    for verb in ["list", "plan", "pull", "prune"] {
        let outcome = host.bound_images(&[verb, "--root", root_path]);
        let stderr = outcome.code(10).stderr();
        assert!(stderr.contains(&expected[0]), "{verb}: {stderr}");
        assert_eq!(outcome.stdout(), "", "{verb}");
    }
    assert_eq!(
        Snapshot::of(host.sysroot()).changes_since(&before),
        Vec::<String>::new()
    );
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
    assert_eq!(host.store().image_ids(), [web.image_id]);

    root.remove_link("broken.image");
    host.bound_images(&pull).code(0);
    let name = db.at(&proxy.host());
    assert_eq!(host.store().image_id_of(&name), Some(db.image_id));
}

#[test]
fn privileged_the_platform_of_a_declaration_chooses_the_image() {
    let registry = Registry::plain();
    let instances = [other_architecture(), this_architecture()]
        .map(|architecture| AppImage::tiny(architecture).architecture(architecture));
    let index = AppImage::push_index(&instances, &registry, "multi", "v1");
    let text = |keys: &str| {
        let reference = &index.reference;
        format!("[Image]\nImage={reference}\nTLSVerify=false\n{keys}")
    };
    let file = format!("{QUADLETS}/multi.image");
    for (keys, instance) in [
        (String::new(), 1),
        (format!("Arch={}\n", this_architecture()), 1),
        (format!("Arch={}\nOS=linux\n", other_architecture()), 0),
    ] {
        let (host, root) = (TestHost::new(), OsRoot::new());
        root.quadlet(&file, &text(&keys)).link("multi.image", &file);
        let pull = ["pull", "--json", "--root", root.path().as_str()];
        let item = host.bound_images(&pull).code(0).json()["items"][0].clone();
        let want = &index.instances[instance].image_id;
        assert_eq!(item["id"], want.as_str(), "{keys}");
        assert_eq!(
            &host.store().image_ids(),
            std::slice::from_ref(want),
            "{keys}"
        );
    }
    for keys in ["OS=plan9\n", "Arch=s390x\n"] {
        let (host, root) = (TestHost::new(), OsRoot::new());
        root.quadlet(&file, &text(keys)).link("multi.image", &file);
        let outcome = host.bound_images(&["pull", "--json", "--root", root.path().as_str()]);
        assert_eq!(
            outcome.code(18).json()["items"][0]["result"],
            "failed",
            "{keys}"
        );
        assert_eq!(host.store().image_ids(), Vec::<String>::new(), "{keys}");
    }
}
