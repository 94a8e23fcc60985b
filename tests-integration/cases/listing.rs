//! `list` and `plan`: every state of an image and what a pull would do about it, told without changing anything.

mod cli;

use serde_json::{Value, json};
use tests_integration::tree::Snapshot;
use tests_integration::{AppImage, FaultProxy, OsRoot, PushedImage, Registry, TestHost};

use super::nobody::{bound_images_as_nobody, readable_root, set_mode};

/// A root that binds an image in each state, in the order of the links' names.
struct Scene {
    _registry: Registry,
    proxy: FaultProxy,
    host: TestHost,
    root: OsRoot,
    pinned: PushedImage,
    tagged: PushedImage,
    damaged: PushedImage,
    foreign: PushedImage,
    missing: PushedImage,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::plain();
        let push = |name: &str| AppImage::tiny(name).push(&registry, name, "v1");
        let scene = Self {
            proxy: FaultProxy::in_front_of(&registry),
            host: TestHost::new(),
            root: readable_root(),
            pinned: push("pinned"),
            tagged: push("tagged"),
            damaged: push("damaged"),
            foreign: push("foreign"),
            missing: push("missing"),
            _registry: registry,
        };
        let host = scene.proxy.host();
        scene.host.set_insecure_registries(&[&host]);
        scene
            .root
            .bind_image("a-pinned", &scene.pinned.pinned_at(&host))
            .bind_image("b-tagged", &scene.tagged.at(&host))
            .bind_image("c-damaged", &scene.damaged.at(&host));
        scene.run("pull");
        let foreign = scene.foreign.at(&host);
        scene
            .host
            .store_podman(&["pull", "--quiet", &foreign])
            .code(0);
        scene.root.bind_image("d-foreign", &foreign);
        scene.root.bind_image("e-missing", &scene.missing.at(&host));
        let layer = scene.layer_of(&scene.damaged);
        let layer = scene.host.store_path().join("overlay").join(layer);
        std::fs::remove_dir_all(&layer).unwrap_or_else(|error| panic!("removing {layer}: {error}"));
        scene.proxy.clear();
        scene
    }

    /// Runs a verb with JSON on the root; its items.
    #[track_caller]
    fn run(&self, verb: &str) -> Vec<Value> {
        let args: Vec<&str> = verb
            .split(' ')
            .chain(["--json", "--root", self.root.path().as_str()])
            .collect();
        let document = self.host.bound_images(&args).code(0).json();
        document["items"].as_array().expect("items").clone()
    }

    /// The ID of the only layer of an image; that of a lowest layer is the digest of its contents.
    fn layer_of(&self, image: &PushedImage) -> String {
        image.layer_diff_ids[0].replace("sha256:", "")
    }

    /// Asserts that a closure changes no file of the machine and sends no request.
    #[track_caller]
    fn stands_still_during<T>(&self, run: impl FnOnce() -> T) -> T {
        let look = || {
            (
                Snapshot::of(self.host.sysroot()),
                Snapshot::of(&self.host.run_directory()),
                Snapshot::of(self.root.path()),
            )
        };
        let before = look();
        self.proxy.clear();
        let result = run();
        let after = look();
        assert_eq!(after.0.changes_since(&before.0), Vec::<String>::new());
        assert_eq!(after.1.changes_since(&before.1), Vec::<String>::new());
        assert_eq!(after.2.changes_since(&before.2), Vec::<String>::new());
        assert!(
            self.proxy.requests().is_empty(),
            "{:?}",
            self.proxy.requests()
        );
        result
    }

    fn damage(&self) -> String {
        format!(
            "the directory of layer {} is missing",
            &self.layer_of(&self.damaged)[..12]
        )
    }
}

#[test]
fn privileged_list_tells_every_state() {
    let scene = Scene::new();
    let items = scene.stands_still_during(|| scene.run("list"));
    let state = |item: &Value| {
        (
            item["state"].clone(),
            item["verified"].clone(),
            item["damage"].clone(),
        )
    };
    let states: Vec<_> = items.iter().map(state).collect();
    let present = |verified: bool| (json!("present"), json!(verified), Value::Null);
    assert_eq!(
        states,
        [
            present(true),
            present(true),
            (json!("damaged"), json!(false), json!(scene.damage())),
            present(false),
            (json!("missing"), json!(false), Value::Null),
        ]
    );
    let images = [&scene.pinned, &scene.tagged, &scene.damaged, &scene.foreign];
    for (item, image) in items.iter().zip(images) {
        assert_eq!(
            (&item["id"], &item["digest"]),
            (&json!(image.image_id), &json!(image.manifest_digest)),
            "{item}"
        );
        let size = item["sizeBytes"].as_u64();
        assert_eq!(
            size.is_some_and(|size| size > 0),
            item["state"] == "present",
            "{item}"
        );
        assert_eq!(item["deployments"], json!([]));
    }
    assert_eq!(
        (&items[4]["id"], &items[4]["digest"], &items[4]["sizeBytes"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    for (item, name) in items.iter().zip([
        "a-pinned",
        "b-tagged",
        "c-damaged",
        "d-foreign",
        "e-missing",
    ]) {
        let file = format!("/usr/share/containers/systemd/{name}.image");
        let source = json!({ "link": format!("{name}.image"), "file": file, "line": 2, "image": item["image"] });
        assert_eq!(item["sources"], json!([source]));
    }

    // A pull makes all of it present and verified.
    scene.run("pull");
    for item in scene.run("list") {
        assert_eq!(state(&item), present(true), "{item}");
    }
}

#[test]
fn privileged_the_table_of_list_tells_every_state() {
    let scene = Scene::new();
    let root = scene.root.path().as_str();
    let table = scene.stands_still_during(|| scene.host.bound_images(&["list", "--root", root]));
    let rows = cells(&table.code(0).stdout());
    let header = ["IMAGE", "STATE", "DIGEST", "SIZE", "CREDENTIALS"];
    assert_eq!(rows[0], header);
    let host = scene.proxy.host();
    let short = |image: &PushedImage| image.manifest_digest[..19].to_owned();
    let damaged = format!("damaged: {}", scene.damage());
    for (row, (name, state, digest)) in rows[1..].iter().zip([
        (
            format!("{host}/pinned@{}", short(&scene.pinned)),
            "present",
            short(&scene.pinned),
        ),
        (scene.tagged.at(&host), "present", short(&scene.tagged)),
        (scene.damaged.at(&host), &damaged, short(&scene.damaged)),
        (
            scene.foreign.at(&host),
            "present (unverified)",
            short(&scene.foreign),
        ),
        (scene.missing.at(&host), "missing", "-".to_owned()),
    ]) {
        assert_eq!((&row[0], row[1].as_str(), &row[2]), (&name, state, &digest));
        let is_present = state.starts_with("present");
        assert_eq!(row[3] != "-", is_present, "{row:?}");
        assert_eq!(row[4], "anonymous");
    }
    assert_eq!(rows.len(), 6);
    let verbose = scene.host.bound_images(&["list", "-v", "--root", root]);
    let rows = cells(&verbose.code(0).stdout());
    assert_eq!(rows[0].last().map(String::as_str), Some("DECLARED BY"));
    let place = "a-pinned.image -> /usr/share/containers/systemd/a-pinned.image:2";
    assert_eq!(rows[1].last().map(String::as_str), Some(place));
}

#[test]
fn privileged_plan_tells_what_a_pull_would_do() {
    let scene = Scene::new();
    let actions = |items: &[Value]| -> Vec<(Value, Value)> {
        items
            .iter()
            .map(|item| (item["action"].clone(), item["id"].clone()))
            .collect()
    };
    let at = |action: &str, image: &PushedImage| (json!(action), json!(image.image_id));
    let newer = scene.stands_still_during(|| scene.run("plan"));
    assert_eq!(
        actions(&newer),
        [
            at("keep", &scene.pinned),
            at("lookUp", &scene.tagged),
            (json!("replace"), Value::Null),
            at("lookUp", &scene.foreign),
            (json!("fetch"), Value::Null),
        ]
    );
    assert_eq!(newer[2]["reason"], json!(scene.damage()));
    let missing = scene.stands_still_during(|| scene.run("plan --policy missing"));
    assert_eq!(actions(&missing)[1], at("keep", &scene.tagged));
    assert_eq!(actions(&missing)[2], (json!("replace"), Value::Null));
    assert_eq!(actions(&missing)[3], at("keep", &scene.foreign));

    let args = ["plan", "--root", scene.root.path().as_str()];
    let table = scene.host.bound_images(&args);
    let rows = cells(&table.code(0).stdout());
    let shown: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let replace = format!("replace: {}", scene.damage());
    let lookup = "look the tag up again";
    assert_eq!(shown, ["ACTION", "keep", lookup, &replace, lookup, "fetch"]);

    // The pull does as planned.
    let pulled = scene.run("pull");
    let results: Vec<&str> = pulled
        .iter()
        .filter_map(|item| item["result"].as_str())
        .collect();
    assert_eq!(
        results,
        ["present", "present", "fetched", "present", "fetched"]
    );
    assert_eq!(scene.proxy.count_matching("/v2/pinned/"), 0);
    assert_eq!(scene.host.store().image_ids().len(), 5);
}

#[test]
fn privileged_without_a_store_all_is_missing_and_none_is_made() {
    let registry = Registry::plain();
    let proxy = FaultProxy::in_front_of(&registry);
    let image = AppImage::tiny("x").push(&registry, "app", "v1");
    let root = OsRoot::new();
    let (tagged, pinned) = (image.at(&proxy.host()), image.pinned_at(&proxy.host()));
    root.bind_image("tagged", &tagged)
        .bind_image("pinned", &pinned);
    let host = TestHost::new();
    for (verb, key, value) in [("list", "state", "missing"), ("plan", "action", "fetch")] {
        let args = [verb, "--json", "--root", root.path().as_str()];
        let outcome = host.bound_images(&args);
        let items = outcome.code(0).json()["items"].clone();
        assert_eq!(
            (&items[0]["name"], &items[0][key]),
            (&json!(pinned), &json!(value))
        );
        assert_eq!(
            (&items[1]["name"], &items[1][key]),
            (&json!(tagged), &json!(value))
        );
        assert_eq!(outcome.stderr(), "");

        // Nor does it matter that there is no sysroot at all.
        let nowhere = host.sysroot().join("nowhere");
        let outcome = host.bound_images(&[&args[..], &["--sysroot", nowhere.as_str()]].concat());
        assert_eq!(outcome.code(0).json()["items"], items);
        assert_eq!(
            outcome.stderr(),
            format!("warning: there is no sysroot {nowhere}, so no store\n")
        );
    }
    assert_eq!(Snapshot::of(host.sysroot()).paths(), Vec::<&str>::new());
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}

#[test]
fn privileged_a_store_that_a_user_may_not_read_is_unknown_to_him() {
    let scene = Scene::new();
    set_mode(&scene.host.store_path(), 0o700);
    let root = scene.root.path().as_str();
    let warning = format!(
        "warning: {} cannot be read by this user, so what is in it is unknown; run as root to see it\n",
        scene.host.store_path()
    );
    scene.stands_still_during(|| {
        for (verb, key) in [("list", "state"), ("plan", "action")] {
            let outcome = bound_images_as_nobody(&scene.host, &[verb, "--json", "--root", root]);
            let items = outcome.code(0).json()["items"].clone();
            assert_eq!(outcome.stderr(), warning);
            assert_eq!(items.as_array().map(Vec::len), Some(5));
            for item in items.as_array().into_iter().flatten() {
                assert_eq!(
                    (&item[key], &item["id"]),
                    (&json!("unknown"), &Value::Null),
                    "{verb}"
                );
            }
            let table = bound_images_as_nobody(&scene.host, &[verb, "--root", root]);
            for row in &cells(&table.code(0).stdout())[1..] {
                assert_eq!(row[1], "unknown");
            }
        }
    });
}

/// A listing needs no credentials: it tells as much of their place as the user may know.
#[test]
fn privileged_credentials_that_a_user_may_not_read_keep_him_from_no_listing() {
    let host = TestHost::new();
    let root = readable_root();
    for name in ["closed", "hidden"] {
        let file = format!("/usr/share/containers/systemd/{name}.image");
        let text = format!("[Image]\nImage=quay.io/{name}:v1\nAuthFile=/etc/{name}/auth.json\n");
        let link = format!("{name}.image");
        root.quadlet(&file, &text).link(&link, &file);
        root.write(&format!("/etc/{name}/auth.json"), "{}");
    }
    let closed = root.join("/etc/closed/auth.json");
    let hidden = root.join("/etc/hidden/auth.json");
    set_mode(&closed, 0o600);
    set_mode(&root.join("/etc/hidden"), 0o700);
    for verb in ["list", "plan"] {
        let args = [verb, "--json", "--root", root.path().as_str()];
        let items = bound_images_as_nobody(&host, &args).code(0).json()["items"].clone();
        let auth = json!({ "source": "newRoot", "path": closed, "error": null });
        assert_eq!(items[0]["auth"], auth, "{verb}");
        let problem = "Permission denied (os error 13)";
        let error = format!("auth file {hidden} cannot be looked up: {problem}");
        let auth = json!({ "source": "unavailable", "path": null, "error": error });
        assert_eq!(items[1]["auth"], auth, "{verb}");
    }
}

/// The cells of a table; at least two blanks stand between them.
fn cells(table: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let cells = line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        cells.map(str::to_owned).collect()
    };
    table.lines().map(row).collect()
}
