//! Canonical names: ours against those under which podman itself keeps an image.

use serde_json::Value;
use tests_integration::{
    AppImage, FaultProxy, OsRoot, PushedImage, PushedIndex, Registry, TestHost,
};

use super::fixture::host_with_store;

/// A registry with one repository under two tags, a nested one, and an index.
struct Shelf {
    registry: Registry,
    proxy: FaultProxy,
    app: PushedImage,
    index: PushedIndex,
}

impl Shelf {
    fn new() -> Self {
        let registry = Registry::plain();
        let app = AppImage::tiny("v1").push(&registry, "app", "v1");
        AppImage::tiny("latest").push(&registry, "app", "latest");
        AppImage::tiny("nested").push(&registry, "a/b_c/d-e", "V1.2_x-y");
        let index = AppImage::push_index(&[AppImage::tiny("multi")], &registry, "multi", "v1");
        Self {
            proxy: FaultProxy::in_front_of(&registry),
            registry,
            app,
            index,
        }
    }

    /// What an author may write, and the name that it means, both without the registry's host.
    fn forms(&self) -> Vec<(String, String)> {
        let digest = &self.app.manifest_digest;
        let instance = &self.index.instances[0].manifest_digest;
        let index = &self.index.index_digest;
        let same = |name: String| (name.clone(), name);
        vec![
            ("app".into(), "app:latest".into()),
            same("app:latest".into()),
            same("app:v1".into()),
            same(format!("app@{digest}")),
            (format!("app:v1@{digest}"), format!("app@{digest}")),
            (format!("app:no-such-tag@{digest}"), format!("app@{digest}")),
            same("a/b_c/d-e:V1.2_x-y".into()),
            same("multi:v1".into()),
            same(format!("multi@{index}")),
            same(format!("multi@{instance}")),
        ]
    }
}

/// Pulls one declaration of this raw string into a fresh store; the item of the report, and the host.
#[track_caller]
fn pull_declared(raw: &str, insecure: &str) -> (Value, TestHost) {
    let host = TestHost::new();
    host.set_insecure_registries(&[insecure]);
    let root = OsRoot::new();
    root.bind_image("app", raw);
    let outcome = host.bound_images(&["pull", "--json", "--root", root.path().as_str()]);
    let report = outcome.code(0).json();
    assert_eq!(report["items"].as_array().map(Vec::len), Some(1), "{raw}");
    (report["items"][0].clone(), host)
}

#[test]
fn privileged_our_name_is_the_one_under_which_podman_keeps_the_image() {
    let shelf = Shelf::new();
    let registry = shelf.registry.host();
    for (raw, name) in shelf.forms() {
        let name = format!("{registry}/{name}");
        let plain = host_with_store(&[&registry]);
        let pulled = plain.store_podman(&["pull", "--quiet", &format!("{registry}/{raw}")]);
        let id = pulled.code(0).stdout().trim().to_owned();
        let podmans = plain.store().images();
        assert_eq!(podmans.len(), 1, "{raw}");
        assert_eq!(
            (&podmans[0].names, &podmans[0].id),
            (&vec![name.clone()], &id),
            "{raw}"
        );

        for transport in ["", "docker://"] {
            let raw = format!("{transport}{registry}/{raw}");
            let (item, host) = pull_declared(&raw, &registry);
            assert_eq!(item["image"], raw.as_str());
            assert_eq!(item["name"], name.as_str(), "{raw}");
            assert_eq!(item["id"], id.as_str(), "{raw}");
            assert_eq!(item["result"], "fetched", "{raw}");
            assert_eq!(host.store().images(), podmans, "{raw}");
            let digest = name
                .split_once('@')
                .map_or(podmans[0].digest.as_str(), |(_, digest)| digest);
            assert_eq!(item["digest"], digest, "{raw}");
        }
    }
}

/// A quadlet's container asks the store by the raw string, so that must find the image too.
#[test]
fn privileged_the_raw_string_finds_the_image_in_the_store() {
    let shelf = Shelf::new();
    let registry = shelf.registry.host();
    for (raw, _) in shelf.forms() {
        let raw = format!("{registry}/{raw}");
        let (item, host) = pull_declared(&raw, &registry);
        let inspect = ["image", "inspect", "--format={{.Id}}", &raw];
        let found = host.store_podman(&inspect).code(0).stdout();
        assert_eq!(Some(found.trim()), item["id"].as_str(), "{raw}");
    }
}

#[test]
fn privileged_spellings_of_one_image_are_one_pull_and_all_are_reported() {
    let shelf = Shelf::new();
    let host_name = shelf.proxy.host();
    let digest = &shelf.app.manifest_digest;
    for spellings in [
        [
            "app".to_owned(),
            "app:latest".into(),
            "docker://app:latest".into(),
        ],
        [
            format!("app@{digest}"),
            format!("app:v1@{digest}"),
            format!("docker://app:other@{digest}"),
        ],
    ] {
        let raws = spellings.map(|spelling| match spelling.strip_prefix("docker://") {
            Some(rest) => format!("docker://{host_name}/{rest}"),
            None => format!("{host_name}/{spelling}"),
        });
        shelf.proxy.clear();
        let _ = pull_declared(&raws[0], &host_name);
        let requests_of_one: Vec<String> = lines(&shelf.proxy);
        assert!(shelf.proxy.count_matching("GET /v2/app/manifests/") >= 1);

        let host = TestHost::new();
        let root = OsRoot::new();
        for (raw, name) in raws.iter().zip(["a", "b", "c"]) {
            root.bind_image(name, raw);
        }
        let root_path = root.path().as_str();
        shelf.proxy.clear();
        let pulled = host.bound_images(&["pull", "--json", "--root", root_path]);
        let pulled = pulled.code(0).json();
        assert_eq!(lines(&shelf.proxy), requests_of_one);
        assert_eq!(host.store().images().len(), 1);
        let listed = host.bound_images(&["list", "--json", "--root", root_path]);
        for document in [pulled, listed.code(0).json()] {
            let items = document["items"].as_array().expect("items");
            assert_eq!(items.len(), 1, "{document}");
            assert_eq!(items[0]["image"], raws[0].as_str());
            assert_eq!(items[0]["sources"], sources(&raws), "{document}");
        }
    }
}

/// Every request so far, sorted: blobs come in any order.
fn lines(proxy: &FaultProxy) -> Vec<String> {
    let requests = proxy.requests();
    let mut lines: Vec<String> = requests
        .iter()
        .map(tests_integration::proxy::Request::line)
        .collect();
    lines.sort();
    lines
}

fn sources(raws: &[String; 3]) -> Value {
    let source = |(raw, name): (&String, &str)| {
        serde_json::json!({
            "link": format!("{name}.image"),
            "file": format!("/usr/share/containers/systemd/{name}.image"),
            "line": 2,
            "image": raw,
        })
    };
    raws.iter().zip(["a", "b", "c"]).map(source).collect()
}

/// A tag and a digest of one image are two names: both are needed, and the layers are fetched once.
#[test]
fn privileged_a_tag_and_a_digest_of_one_image_are_two_names_of_it() {
    let shelf = Shelf::new();
    let host = TestHost::new();
    let (by_tag, by_digest) = (
        shelf.app.at(&shelf.proxy.host()),
        shelf.app.pinned_at(&shelf.proxy.host()),
    );
    let root = OsRoot::new();
    root.bind_image("tag", &by_tag)
        .bind_image("digest", &by_digest);
    let outcome = host.bound_images(&["pull", "--json", "--root", root.path().as_str()]);
    let items = outcome.code(0).json()["items"].clone();
    for (position, name) in [(0, &by_digest), (1, &by_tag)] {
        assert_eq!(items[position]["name"], name.as_str());
        assert_eq!(items[position]["id"], shelf.app.image_id.as_str());
        assert_eq!(
            items[position]["digest"],
            shelf.app.manifest_digest.as_str()
        );
    }
    let images = host.store().images();
    assert_eq!(images.len(), 1);
    let mut names = [by_tag, by_digest];
    names.sort();
    assert_eq!(images[0].names, names);
    let blob = format!("GET /v2/app/blobs/{}", shelf.app.layer_digests[0]);
    assert_eq!(shelf.proxy.count_matching(&blob), 1);
}
