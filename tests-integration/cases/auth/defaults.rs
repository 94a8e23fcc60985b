//! Images without `AuthFile=`: ostree's order, the new root before the current one, and never a user's own login.

use tests_integration::OsRoot;

use super::Scene;

/// Where a user's own tools keep a login: below `/run`, or below the user's home.
const LOGINS: [&str; 5] = [
    ".docker/config.json",
    ".config/containers/auth.json",
    "named.json",
    "runtime/containers/auth.json",
    "/run/containers/0/auth.json",
];

/// ostree's order, the new root first.
const PLACES: [(&str, &str); 6] = [
    ("newRoot", "/run/ostree/auth.json"),
    ("newRoot", "/etc/ostree/auth.json"),
    ("newRoot", "/usr/lib/ostree/auth.json"),
    ("currentRoot", "/run/ostree/auth.json"),
    ("currentRoot", "/etc/ostree/auth.json"),
    ("currentRoot", "/usr/lib/ostree/auth.json"),
];

/// Each place in turn has the right password, those after it a wrong one, those before it nothing.
#[test]
fn privileged_default_files_are_tried_in_ostrees_order_in_the_new_root_first() {
    for first in 0..PLACES.len() {
        let scene = Scene::new();
        scene.bind("");
        let root_of = |source: &str| match source {
            "newRoot" => &scene.new,
            _ => &scene.current,
        };
        for (source, path) in &PLACES[first + 1..] {
            root_of(source).write(path, scene.wrong());
        }
        let (source, path) = PLACES[first];
        root_of(source).write(path, scene.right());
        scene.source_is(source, Some(root_of(source).join(path).as_str()));
        scene.pull_arrives();
    }
}

#[test]
fn privileged_the_first_default_file_is_used_alone() {
    let scene = Scene::new();
    scene.bind("");
    scene.new.write("/etc/ostree/auth.json", "{\"auths\": {}}");
    scene.new.write("/usr/lib/ostree/auth.json", scene.right());
    scene.current.write("/etc/ostree/auth.json", scene.right());
    scene.source_is(
        "newRoot",
        Some(scene.new.join("/etc/ostree/auth.json").as_str()),
    );
    let _ = scene.pull_is_refused();
}

#[test]
fn privileged_usr_etc_counts_while_etc_is_not_merged() {
    for root_is_new in [true, false] {
        let scene = Scene::new();
        scene.bind("");
        let (root, source) = match root_is_new {
            true => (&scene.new, "newRoot"),
            false => (&scene.current, "currentRoot"),
        };
        root.write("/usr/etc/ostree/auth.json", scene.right());
        root.write("/usr/lib/ostree/auth.json", scene.wrong());
        scene.source_is(
            source,
            Some(root.join("/usr/etc/ostree/auth.json").as_str()),
        );
        scene.pull_arrives();
    }
}

#[test]
fn privileged_a_users_own_login_is_never_used() {
    for login in LOGINS {
        let mut scene = Scene::new();
        scene.bind("");
        let home = OsRoot::new();
        let file = match login.strip_prefix("/run/") {
            Some(below) => scene.host.run_directory().join(below),
            None => home.join(login),
        };
        std::fs::create_dir_all(file.parent().expect("a file has a parent")).expect("creating");
        std::fs::write(&file, scene.right()).expect("writing a login");
        scene.host.set_environment("HOME", home.path().as_str());
        if login == "named.json" {
            scene
                .host
                .set_environment("REGISTRY_AUTH_FILE", file.as_str());
        }
        if login == "runtime/containers/auth.json" {
            let directory = home.join("runtime");
            scene
                .host
                .set_environment("XDG_RUNTIME_DIR", directory.as_str());
        }

        // The login is one that the tools find by themselves.
        let reference = format!("docker://{}", scene.name());
        let inspect = ["inspect", "--raw", "--tls-verify=false", &reference];
        let found = scene.host.run("skopeo", &inspect);
        assert!(
            found.code(0).stdout().contains("layers"),
            "{login}: {found}"
        );

        scene.source_is("anonymous", None);
        let _ = scene.pull_is_refused();
        // Nor when a named file has no login for this registry.
        scene.bind("AuthFile=/etc/other.json\n");
        scene.new.write(
            "/etc/other.json",
            "{\"auths\": {\"quay.io\": {\"auth\": \"YTpi\"}}}",
        );
        let _ = scene.pull_is_refused();
    }
}
